"""What is said while a tool runs and when it has answered: Vapi's tool messages (vapi.md 3.3).

Owns how ``messages`` of a tool document, and those that a tool server sends with an answer, are
read, and which of them applies to a call. Pure and total: any JSON is read, what makes no sense is
left out. A variant is chosen by the call's id, so that a replay says the same. It must not know how
words are spoken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, Literal

from tools.loose_json import as_list, as_object, as_text, as_whole_number

Kind = Literal["start", "delayed", "complete", "failed"]
Role = Literal["assistant", "system"]

MAX_CHARACTERS: Final = 1_000
DELAY_MS: Final = (0, 120_000)
# Between two messages of a call that is late (vapi.md 3.3).
DELAYS_APART_MS: Final = 2_500

_KINDS: Final[Mapping[str, Kind]] = {
    "request-start": "start",
    "request-response-delayed": "delayed",
    "request-complete": "complete",
    "request-failed": "failed",
}
# What Vapi says where a tool has no words for its start, and the like in other languages.
_FILLERS: Final[Mapping[str, Sequence[str]]] = {
    "en": (
        "Hold on a sec.",
        "One moment.",
        "Just a sec.",
        "Give me a moment.",
        "This'll just take a sec.",
    ),
    "de": ("Einen Moment.", "Einen Augenblick bitte.", "Einen kleinen Moment bitte."),
    "es": ("Un momento.", "Un segundo, por favor.", "Deme un momento."),
    "fr": ("Un instant.", "Un petit instant.", "Un moment, s'il vous plaît."),
    "it": ("Un attimo.", "Un momento, per favore.", "Solo un secondo."),
    "nl": ("Een momentje.", "Een ogenblik alstublieft.", "Heel even geduld."),
    "pl": ("Chwileczkę.", "Jedną chwilę.", "Proszę o chwilę cierpliwości."),
    "pt": ("Um momento.", "Só um segundo.", "Um instante, por favor."),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one argument; ``value`` is compared loosely, as its schema makes it a text."""

    operator: str
    param: str
    value: Any = ""


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """One message. ``filler``: words of ours, where the tool has none of its own.

    ``blocking``: the request leaves when it has been heard. ``after_ms`` is the time of a
    ``delayed`` one. ``role`` and ``ends_call`` are those of ``complete`` and ``failed``; a system
    message tells the model, which then speaks itself.
    """

    kind: Kind
    text: str = ""
    conditions: tuple[Condition, ...] = ()
    blocking: bool = False
    role: Role = "assistant"
    ends_call: bool = False
    after_ms: int = 0
    filler: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ToolMessage:
        """Return the message of which ``dataclasses.asdict`` made ``value``."""
        conditions = tuple(Condition(**each) for each in value["conditions"])
        return cls(**{**value, "conditions": conditions})


def _as_written(text: str) -> str:
    return text


def read_messages(
    value: Any, *, language: str = "", fill: Callable[[str], str] = _as_written
) -> tuple[ToolMessage, ...]:
    """Read the ``messages`` of a tool, or the ``message`` of an answer: a list, an object, a text.

    Args:
        language: that of the call; picks among the ``contents`` of a message.
        fill: fills in the variables of a text.
    """
    entries = value if isinstance(value, list | tuple) else [value]
    found = (_message(each, language, fill) for each in entries)
    return tuple(each for each in found if each is not None)


def _message(entry: Any, language: str, fill: Callable[[str], str]) -> ToolMessage | None:
    if isinstance(entry, str):
        entry = {"type": "request-complete", "content": entry}
    if not isinstance(entry, Mapping):
        return None
    # An unknown type is one for a failure at Vapi.
    kind = _KINDS.get(as_text(entry.get("type")), "failed")
    content = _content(entry, language)
    if content is None and kind != "start":
        return None
    return ToolMessage(
        kind=kind,
        text=fill(content or "").strip()[:MAX_CHARACTERS],
        conditions=tuple(
            Condition(as_text(each.get("operator")), as_text(each.get("param")), each.get("value"))
            for each in map(as_object, as_list(entry.get("conditions")))
        ),
        blocking=kind == "start" and entry.get("blocking") is True,
        role="system" if entry.get("role") == "system" and kind != "start" else "assistant",
        ends_call=entry.get("endCallAfterSpokenEnabled") is True,
        after_ms=as_whole_number(entry.get("timingMilliseconds"), DELAY_MS, 0),
        filler=content is None,
    )


def _content(entry: Mapping[str, Any], language: str) -> str | None:
    """Return the words for a language, None where the message has none (not even '')."""
    texts: dict[str, str] = {}
    for each in map(as_object, as_list(entry.get("contents"))):
        if isinstance(each.get("text"), str):
            texts.setdefault(as_text(each.get("language")).lower(), each["text"])
    wanted = language.lower()
    for name in (wanted, wanted.split("-")[0]):
        if name and name in texts:
            return texts[name]
    content = entry.get("content")
    if isinstance(content, str):
        return content
    return next(iter(texts.values()), None)


def with_fillers(messages: Sequence[ToolMessage], language: str) -> tuple[ToolMessage, ...]:
    """Return the messages of a tool that is waited for, with words for its start in any case.

    Without a message for the start, or with one that has no words, Vapi says a filler (trap 6).
    """
    words = _FILLERS.get(language.lower().split("-")[0], ())
    made: list[ToolMessage] = []
    for each in messages:
        same = [replace(each, text=text) for text in words] if each.filler else [each]
        made += same
    if not any(each.kind == "start" for each in messages):
        made += [ToolMessage("start", text, filler=True) for text in words]
    return tuple(made)


def chosen(
    messages: Iterable[ToolMessage], kind: Kind, arguments: Mapping[str, Any], seed: str
) -> ToolMessage | None:
    """Return the message of ``kind`` that applies: its conditions hold, or it has none.

    Those with conditions come first; of several one is picked by ``seed``.
    """
    mine = [each for each in messages if each.kind == kind]
    meant = [each for each in mine if each.conditions and _hold(each.conditions, arguments)]
    variants = meant or [each for each in mine if not each.conditions]
    if not variants:
        return None
    digest = blake2b(f"{kind}:{seed}".encode("utf-8", "replace"), digest_size=4).digest()
    return variants[int.from_bytes(digest, "big") % len(variants)]


def delays(
    messages: Iterable[ToolMessage], arguments: Mapping[str, Any], seed: str
) -> list[tuple[int, str]]:
    """Return (ms after the request, words) of the stages of a call that is late, soonest first."""
    late = [each for each in messages if each.kind == "delayed" and each.text]
    stages: list[tuple[int, str]] = []
    for after_ms in sorted({each.after_ms for each in late}):
        same = [each for each in late if each.after_ms == after_ms]
        picked = chosen(same, "delayed", arguments, f"{seed}:{after_ms}")
        if picked is not None:
            stages.append((after_ms, picked.text))
    return stages


def arguments_of(arguments_json: str) -> Mapping[str, Any]:
    """Return the model's arguments for conditions; none where they are no object."""
    try:
        value = json.loads(arguments_json)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def is_empty(output: str) -> bool:
    """Tell whether a result is none in JavaScript's eyes: a message for success is not said."""
    return output.strip() in {"", "null", "false", "0"}


def _hold(conditions: Iterable[Condition], arguments: Mapping[str, Any]) -> bool:
    return all(_holds(each, arguments.get(each.param)) for each in conditions)


def _holds(condition: Condition, value: Any) -> bool:
    operator, wanted = condition.operator, condition.value
    left, right = _number(value), _number(wanted)
    if operator in ("eq", "neq"):
        numbers = left is not None and right is not None
        same = left == right if numbers else _words(value) == _words(wanted)
        return same == (operator == "eq")
    if left is None or right is None:
        return False
    if operator == "gt":
        return left > right
    if operator == "gte":
        return left >= right
    if operator == "lt":
        return left < right
    return operator == "lte" and left <= right


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
