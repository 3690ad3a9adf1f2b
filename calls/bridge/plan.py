"""Everything a call needs to know before it starts, as one frozen value.

The shell builds it from the database once; the bridge never asks for more. It turns into JSON and
back without loss, because a recorded call is replayed from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from calls.bridge.person_plan import PersonPlan
from calls.money.rates import ModelPrice, price_for
from calls.wire.realtime import (
    Dialect,
    FunctionTool,
    McpServer,
    SessionConfig,
    TurnDetection,
)
from tools.spec import ToolSpec

GreetingMode = Literal["exact", "generated", "wait"]
ResumeReason = Literal["lost", "transfer-failed"]


@dataclass(frozen=True, slots=True)
class Clip:
    """Rendered speech: base64 mu-law pieces, in order, with the words they carry."""

    payloads: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who speaks first and what; ``exact`` says ``text``, ``generated`` lets the model choose.

    With a ``clip`` of the ``text`` we say it ourselves, before the model is there.
    """

    mode: GreetingMode = "wait"
    text: str = ""
    interruptible: bool = False
    clip: Clip | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings; no call is without them (design.md 10).

    ``max_duration_ms`` counts from the call's first stream (``elapsed_ms`` of a plan); tool calls,
    spend and handoffs count per stream, so the shell of a resumed one passes what is left.
    """

    max_duration_ms: int = 600_000
    max_tool_calls: int = 50
    max_spend_microusd: int = 5_000_000
    max_handoffs: int = 20


@dataclass(frozen=True, slots=True)
class Watchdog:
    """How long silence is believed, in ms (openai_realtime.md 7.3)."""

    ready_ms: int = 8_000
    start_ms: int = 10_000
    response_ms: int = 3_000
    first_audio_ms: int = 4_000
    stall_ms: int = 5_000
    retry_pause_ms: int = 1_000
    tool_ms: int = 330_000
    # A tool that the model's own server asks; nothing can be taken back there.
    mcp_ms: int = 60_000
    mark_slack_ms: int = 2_000
    goodbye_ms: int = 15_000
    hang_up_ms: int = 5_000
    caller_audio_ms: int = 30_000
    # Another socket to the model: how long one attempt may take, how much silence is covered by a
    # tone, and at which age a session is replaced (7.4: about 55 min, when idle) or must be (1.4).
    attempt_ms: int = 3_000
    hold_ms: int = 2_000
    session_ms: int = 3_300_000
    session_hard_ms: int = 3_540_000


@dataclass(frozen=True, slots=True)
class Idle:
    """What a quiet line leads to (vapi.md 2.2); ``silence_ms`` 0 never ends the call.

    ``most`` messages are spoken in a stream, counted anew after every word of the caller if
    ``counts_anew``.
    """

    messages: tuple[str, ...] = ()
    wait_ms: int = 10_000
    most: int = 3
    counts_anew: bool = False
    silence_ms: int = 0
    silence_message: str = ""


@dataclass(frozen=True, slots=True)
class Interruption:
    """What it takes to interrupt the assistant (vapi.md 2.7); by default to speak is enough.

    ``words`` above 0, else ``voice_ms`` above 0, ask for more; ``backoff_ms`` is the pause after.
    """

    words: int = 0
    voice_ms: int = 0
    backoff_ms: int = 0
    acknowledgements: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()

    @property
    def guards(self) -> bool:
        """Tell whether anything but speech itself is needed."""
        return self.words > 0 or self.voice_ms > 0


@dataclass(frozen=True, slots=True)
class Keypad:
    """When the caller's keys are complete: at a delimiter, or so long after the last one."""

    timeout_ms: int = 2_000
    delimiters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filler:
    """What is heard when an answer does not come; without a clip the model may be ``asked``.

    It can only be asked while a tool runs: at any other time it is the one who owes the answer.
    """

    clip: Clip | None = None
    after_ms: int = 2_000
    asked: bool = False


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One earlier turn: of a conversation that goes on, or an example to begin with.

    A ``tool`` is a function call with its output in ``text``. ``pending``: it was cut off and is
    to be run again, because its tool says that this does no harm.
    """

    role: Literal["user", "assistant", "system", "tool"]
    text: str
    tool_call_id: str = ""
    name: str = ""
    arguments_json: str = ""
    pending: bool = False
    item_id: str = ""
    audio_b64: str = ""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The plan of one stream of a call. ``history`` is set when the call is being resumed;
    ``examples`` are turns of the assistant's document that every conversation begins with.
    ``revision_id`` names the assistant as it was read; after a handoff it is another one.
    """

    call_id: str
    call_sid: str
    account_sid: str
    dialect: Dialect = "openai_ga"
    model: str = "gpt-realtime-2.1"
    session: SessionConfig = SessionConfig()
    tools: tuple[ToolSpec, ...] = ()
    policy_line: Clip | None = None
    greeting: Greeting = Greeting()
    apology: Clip | None = None
    end_call_message: str = ""
    limits: Limits = Limits()
    watchdog: Watchdog = Watchdog()
    price: ModelPrice = field(default_factory=lambda: price_for(""))
    resumed: bool = False
    resume_reason: ResumeReason = "lost"
    history: tuple[HistoryItem, ...] = ()
    first_ordinal: int = 0
    elapsed_ms: int = 0
    examples: tuple[HistoryItem, ...] = ()
    idle: Idle = Idle()
    end_call_phrases: tuple[str, ...] = ()
    interruption: Interruption = Interruption()
    keypad: Keypad | None = None
    filler: Filler = Filler()
    person: PersonPlan = PersonPlan()
    # Silence ahead of the first sound: the way to the caller may swallow it (twilio.md T18b).
    lead_in_ms: int = 0
    assistant_name: str = ""
    revision_id: str = ""
    # Kinds of ``CallNews`` that somebody wants to be told of.
    tells: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value from which ``from_json`` makes an equal plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CallPlan:
        """Return the plan that ``to_json`` wrote, of an earlier version too.

        Raises:
            KeyError, TypeError: the value was not written by ``to_json``.
        """
        session = dict(value["session"])
        session["turn_detection"] = TurnDetection(**session["turn_detection"])
        session["tools"] = tuple(FunctionTool(**tool) for tool in session["tools"])
        servers = (_tuples(server) for server in session.get("mcp_servers", ()))
        session["mcp_servers"] = tuple(McpServer(**server) for server in servers)
        for name in ("keywords", "languages"):
            session[name] = tuple(session.get(name, ()))
        filler, greeting = value.get("filler", {}), value["greeting"]
        keypad = value.get("keypad")
        return cls(
            **{
                **value,
                "session": SessionConfig(**session),
                "tools": tuple(ToolSpec.from_json(tool) for tool in value["tools"]),
                "policy_line": _clip(value["policy_line"]),
                "apology": _clip(value["apology"]),
                "greeting": Greeting(**{**greeting, "clip": _clip(greeting.get("clip"))}),
                "limits": Limits(**value["limits"]),
                "watchdog": Watchdog(**value["watchdog"]),
                "price": ModelPrice(**value["price"]),
                "history": tuple(HistoryItem(**item) for item in value["history"]),
                "examples": tuple(HistoryItem(**item) for item in value.get("examples", ())),
                "idle": Idle(**_tuples(value.get("idle", {}))),
                "end_call_phrases": tuple(value.get("end_call_phrases", ())),
                "person": PersonPlan.from_json(value.get("person", {})),
                "interruption": Interruption(**_tuples(value.get("interruption", {}))),
                "keypad": keypad and Keypad(**_tuples(keypad)),
                "filler": Filler(**{**filler, "clip": _clip(filler.get("clip"))}),
                "tells": tuple(value.get("tells", ())),
            }
        )

    @property
    def holds_the_floor(self) -> bool:
        """Tell whether the opening must not be interrupted (ADR 0015).

        A resumed stream has a policy line when no earlier one has played it to its end.
        """
        return self.policy_line is not None or (
            not self.resumed and self.greeting.mode != "wait" and not self.greeting.interruptible
        )


def _clip(body: Mapping[str, Any] | None) -> Clip | None:
    return Clip(payloads=tuple(body["payloads"]), text=body["text"]) if body else None


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}
