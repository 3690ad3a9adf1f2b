"""What the bridge asks the shell to do; values only, drained after every input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.handoffs import Context
from tools.rejection import Said

Role = Literal["user", "assistant", "system"]
NextStep = Literal["hangup", "resume", "dial", "operator", "message", "apologise"]
ToolState = Literal["running", "ok", "error", "timeout", "refused"]
# ``words``: what has been said of a turn so far; ``said``: all of it that was heard. ``output``: a
# piece of the model's text; ``calls``: a function call of it; ``voiced``: a text made into speech.
# ``sounds``: the assistant begins to be heard. ``late``: the model owes a word. ``conversation``:
# it has changed. ``control``: a server is to act at the carrier, "hang-up" or "forward:<to whom>".
NewsKind = Literal[
    "speech-started",
    "speech-stopped",
    "sounds",
    "words",
    "said",
    "conversation",
    "interrupted",
    "late",
    "output",
    "calls",
    "voiced",
    "language",
    "control",
]


@dataclass(frozen=True, slots=True)
class DispatchTool:
    """One function call of the model, as it is handed to who answers it.

    ``judge``: it is not to be run yet; the tool's rejection plan has conditions in Liquid, and
    ``said``, the conversation so far, is what they are about. The answer is leave (``ok``) or the
    words of the refusal.
    """

    tool_call_id: str
    name: str
    arguments_json: str
    said: tuple[Said, ...] = ()
    judge: bool = False


@dataclass(frozen=True, slots=True)
class DispatchTools:
    """Run the calls of one response in a task; ``CallBridge.tool_finished`` answers each of them.

    They are in the order in which the model made them.
    """

    calls: tuple[DispatchTool, ...]


@dataclass(frozen=True, slots=True)
class RecordTurn:
    """Store what was said; a later one with the same ordinal replaces it."""

    ordinal: int
    role: Role
    text: str
    text_unheard: str
    item_id: str
    started_ms: int
    ended_ms: int | None
    interrupted: bool
    latency_ms: int | None


@dataclass(frozen=True, slots=True)
class RecordTool:
    """Store a tool call; a later one with the same tool_call_id replaces it."""

    tool_call_id: str
    name: str
    arguments_json: str
    state: ToolState
    output: str
    started_ms: int
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class CallNews:
    """Something to be told while the call is on; ``number`` counts them in a stream, from 1.

    ``turn`` is the ordinal of the turn that it is about; ``text`` is what was said, or a word of
    ours, by ``kind``.
    """

    number: int
    kind: NewsKind
    at_ms: int
    role: Role = "assistant"
    turn: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class RecordMcpTool(RecordTool):
    """Store a call that the model's own server made; ``handle`` names the tool's row."""

    handle: str = ""


@dataclass(frozen=True, slots=True)
class PolicyLinePlayed:
    """The policy line has been heard to its end: evidence, with the stream time in ms."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class PolicyRefused:
    """The caller has refused what the policy line says: evidence, with the stream time in ms."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class EmergencyHeard:
    """The caller has said an emergency word; it is acted on once in a call."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call at the carrier; what is queued has been heard."""

    ended_reason: str


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Store the next step, then close Twilio's socket: Twilio then asks the action URL.

    ``dial_to`` is the number of the step ``dial``; ``operator`` leaves it to the action URL.
    """

    next_step: NextStep
    code: int = 1000
    dial_to: str = ""


@dataclass(frozen=True, slots=True)
class DialModel:
    """Open another socket to the model and configure it with ``config_text``.

    Answered by ``realtime_opened(session=…)`` and what the model says, or by ``realtime_closed``.
    ``model`` is the one to be asked; '' is that of the call's plan.
    """

    session: int
    config_text: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class RecordHandoff:
    """Store that another assistant has taken over; what is said from ``first_ordinal`` on is its.

    ``transfers`` says of its tools that hand the caller to a number which one that is; ``record``
    is what the service that loaded the assistant has asked for (``Successor.record``).
    ``news_before``: so many news of the stream are from before.
    """

    tool_call_id: str
    at_ms: int
    first_ordinal: int
    from_name: str
    to_name: str
    context: Context = Context()
    transfers: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    news_before: int = 0


@dataclass(frozen=True, slots=True)
class CloseModel:
    """Close a session's socket, or give up dialling it; nothing more is heard of it."""

    session: int


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The last effect, exactly once. ``call_over`` False: the action URL decides what follows."""

    ended_reason: str
    call_over: bool
    metrics: dict[str, Any] = field(default_factory=dict)


Effect = (
    DispatchTools
    | RecordTurn
    | RecordTool
    | CallNews
    | RecordMcpTool
    | PolicyLinePlayed
    | PolicyRefused
    | EmergencyHeard
    | HangUp
    | CloseStream
    | DialModel
    | CloseModel
    | RecordHandoff
    | StreamEnded
)
