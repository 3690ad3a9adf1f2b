"""Commands to a live call as Vapi's clients send them: the only reader of that format.

Vendor pages: https://docs.vapi.ai/calls/call-features and the SDK's ``ClientInboundMessage*``
types, read 2026-11-22 (vapi.md 6.6). Owns what a body must look like and says what is wrong with
one, field by field. Whether a number may be dialled is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Kind = Literal[
    "say",
    "add-message",
    "mute-assistant",
    "unmute-assistant",
    "mute-customer",
    "unmute-customer",
    "say-first-message",
    "end-call",
    "transfer",
    "handoff",
]
Role = Literal["system", "user", "assistant"]

MAX_CONTENT_CHARS: Final = 4_000
MAX_DESTINATION_CHARS: Final = 300
CONTROLS: Final = (
    *("mute-assistant", "unmute-assistant", "mute-customer", "unmute-customer"),
    "say-first-message",
)
ROLES: Final = ("system", "user", "assistant")
TYPES: Final = ("say", "add-message", "control", "end-call", "transfer", "handoff")
_ELSEWHERE: Final = {
    "send-transport-message": "Fix: leave it out; the transport is Twilio's media stream.",
}


class ControlWireError(ValueError):
    """The body is no command; ``sentences`` each begin with the path of a field."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class Control:
    """One command to a live call.

    ``text`` is what is to be said or told. ``interrupts``: at once, instead of what is being said;
    ``interruptible``: the caller may cut it off; ``answers``: the assistant is to say something to
    it; ``dial_to``: whom the caller is handed to. ``destination``: of a handoff, as it came;
    ``successor`` is what it means, as JSON, once that was looked up, and ``handoff_id`` names it.
    """

    kind: Kind
    text: str = ""
    role: Role = "system"
    ends_call: bool = False
    interruptible: bool = True
    interrupts: bool = False
    answers: bool = True
    dial_to: str = ""
    destination: Mapping[str, Any] = field(default_factory=dict)
    successor: Mapping[str, Any] = field(default_factory=dict)
    handoff_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value from which ``from_json`` makes an equal command."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Control:
        """Return the command that ``to_json`` wrote.

        Raises:
            TypeError: the value was not written by ``to_json``.
        """
        return cls(**value)


def control_of(body: Mapping[str, Any]) -> Control:
    """Return the command of a body, e.g. ``{"type": "say", "content": "One moment, please."}``.

    Raises:
        ControlWireError: with a sentence for every field that is wrong.
    """
    kind = body.get("type")
    if isinstance(kind, str) and kind in _ELSEWHERE:
        raise ControlWireError([f"type {kind} is not supported here. {_ELSEWHERE[kind]}"])
    read = _Reader(body)
    if kind == "say":
        control = Control(
            "say",
            text=read.words("content"),
            ends_call=read.flag("endCallAfterSpoken", False),
            interruptible=read.flag("interruptionsEnabled", True),
            interrupts=read.flag("interruptAssistantEnabled", False),
        )
    elif kind == "add-message":
        message = read.inner("message")
        control = Control(
            "add-message",
            text=message.words("content"),
            role=message.choice("role", ROLES),
            answers=read.flag("triggerResponseEnabled", True),
        )
    elif kind == "control":
        control = Control(read.choice("control", CONTROLS))
    elif kind == "end-call":
        control = Control("end-call")
    elif kind == "transfer":
        control = _transfer(read)
    elif kind == "handoff":
        control = _handoff(read)
    else:
        choices = ", ".join(TYPES)
        raise ControlWireError([f"type must be one of the following values: {choices}"])
    if read.wrong:
        raise ControlWireError(read.wrong)
    return control


def _transfer(read: _Reader) -> Control:
    destination = read.inner("destination")
    kind = destination.choice("type", ("number", "sip"))
    dial_to = destination.words(
        "sipUri" if kind == "sip" else "number", longest=MAX_DESTINATION_CHARS
    )
    if destination.body.get("extension"):
        destination.say("extension", "is not supported: the caller is handed to a number only")
    plan = destination.body.get("transferPlan")
    mode = plan.get("mode") if isinstance(plan, Mapping) else None
    if mode not in (None, "blind-transfer"):
        destination.say("transferPlan.mode", "must be blind-transfer, the one kind there is here")
    # Vapi's destination has words of its own; what stands beside it is newer and wins.
    own = destination.body.get("message")
    text = read.words("content", needed=False) or (own if isinstance(own, str) else "")
    return Control("transfer", text=text[:MAX_CONTENT_CHARS], dial_to=dial_to)


def _handoff(read: _Reader) -> Control:
    """Read a handoff; it is documented, but not in the SDK's union (vapi.md 6.6)."""
    destination = read.inner("destination")
    kind = destination.choice("type", ("assistant", "squad"))
    names = ("squadId",) if kind == "squad" else ("assistantId", "assistantName", "assistant")
    given = {name: destination.body.get(name) for name in names}
    for name, value in given.items():
        if value is not None and not isinstance(value, dict if name == "assistant" else str):
            destination.say(name, f"must be {'an object' if name == 'assistant' else 'a string'}")
        elif isinstance(value, str) and "\x00" in value:
            destination.say(name, "must not contain a NUL character")  # PostgreSQL takes none
    if not any(given.values()):
        destination.say(names[0], f"must name who takes the call over: {' or '.join(names)}")
    return Control(
        "handoff", text=read.words("content", needed=False), destination=dict(destination.body)
    )


class _Reader:
    """One object of a body; what is wrong with it is collected in ``wrong``."""

    def __init__(self, body: Any, path: str = "", wrong: list[str] | None = None) -> None:
        self.wrong: list[str] = [] if wrong is None else wrong
        self._path = path
        if not isinstance(body, Mapping):
            self.wrong.append(f"{path} must be an object")
        self._is_object = isinstance(body, Mapping)
        self.body: Mapping[str, Any] = body if isinstance(body, Mapping) else {}

    def say(self, name: str, what: str) -> None:
        """Note that a field is wrong; of something that is no object that has been said."""
        if self._is_object:
            self.wrong.append(f"{self._path}.{name} {what}".lstrip("."))

    def inner(self, name: str) -> _Reader:
        """Return the object in a field."""
        return _Reader(self.body.get(name), f"{self._path}.{name}".lstrip("."), self.wrong)

    def words(self, name: str, *, needed: bool = True, longest: int = MAX_CONTENT_CHARS) -> str:
        """Return text that is not empty."""
        value = self.body.get(name)
        if value is None and not needed:
            return ""
        if not isinstance(value, str):
            self.say(name, "must be a string")
            return ""
        if needed and not value.strip():
            self.say(name, "should not be empty")
        if len(value) > longest:
            self.say(name, f"must be shorter than or equal to {longest} characters")
        return value.strip()

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.say(name, "must be a boolean value")
            return default
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> Any:
        """Return one of some words; the first where it is none of them."""
        value = self.body.get(name)
        if value not in choices:
            self.say(name, f"must be one of the following values: {', '.join(choices)}")
            return choices[0]
        return value
