"""What a call did, as far as parity looks at it: its tool calls in order, and how it came out.

Pure. Owns these values and their stored form, which carries a version: what a later version of the
software wrote is refused in words. It must not compare anything; that is ``differ``'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, get_args

VERSION: Final = 1

Outcome = Literal["ok", "failed", "unknown"]
Stack = Literal["vapi", "direct"]


class SequenceUnreadable(ValueError):
    """What is stored of a call cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool.

    ``at_ms``: from the start of the call. ``message``: which message of the model asked for it,
    counted from 0. Several calls of one message have no order among themselves
    (docs/adr/0042-parallel-calls-have-no-order.md); None: this call was asked for by itself, or
    the log says in which order the calls of a message were made.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outcome: Outcome = "unknown"
    at_ms: int | None = None
    result: str | None = field(default=None, repr=False)
    tool_call_id: str = ""
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How a call came out; None is "not known" and is never compared.

    ``tools_ok``: no tool call failed for good. ``ended``: the reason in Vapi's words ('' unknown).
    """

    tools_ok: bool | None = None
    transferred: bool | None = None
    ended: str = ""
    structured: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Sequence:
    """What one call did on one stack.

    ``key``: our call id, or that of the log. ``cut``: the call was compared only as far as
    ``tools`` reaches, what came after is unknown. ``cut_with``: both sides of a replay have the
    same one where they were cut at the same moment. ``scenario``: '' for a call that has none.
    """

    key: str
    stack: Stack
    tools: tuple[ToolCall, ...] = ()
    outcomes: Outcomes = field(default_factory=Outcomes)
    cut: bool = False
    scenario: str = ""
    cut_with: str = ""


def last_tries(tools: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    """Return the calls without those that failed and were made again at once, alike.

    The tool failed, not the model, and what counts is how it came out in the end. A repeat of a
    call that went well stays: it may book twice.
    """
    kept: list[ToolCall] = []
    for tool in tools:
        if kept and kept[-1].outcome == "failed" and _is_repeat(kept[-1], tool):
            kept[-1] = tool
        else:
            kept.append(tool)
    return tuple(kept)


def _is_repeat(before: ToolCall, after: ToolCall) -> bool:
    if before.message is not None and before.message == after.message:
        return False  # asked for at once, so before the failure was known
    same_name = before.name == after.name
    return same_name and canonical_arguments(before.arguments) == canonical_arguments(
        after.arguments
    )


def canonical_arguments(arguments: Any) -> str:
    """Return a JSON value as text that is the same for values that mean the same.

    Keys are sorted, there is no white space, ``2``, ``2.0`` and ``2e0`` are one number; text stays
    as it is. Infinite numbers and NaN, which JSON has not, become null. So does what is nested
    deeper than 100 levels.
    """
    return json.dumps(
        _canonical(arguments, 100), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )


def sequence_dump(sequence: Sequence) -> dict[str, Any]:
    """Return a sequence as JSON."""
    outcomes = sequence.outcomes
    return {
        "version": VERSION,
        "key": sequence.key,
        "stack": sequence.stack,
        "scenario": sequence.scenario,
        "cut": sequence.cut,
        "cut_with": sequence.cut_with,
        "tools": [
            {
                "name": tool.name,
                "arguments": tool.arguments,
                "outcome": tool.outcome,
                "at_ms": tool.at_ms,
                "result": tool.result,
                "tool_call_id": tool.tool_call_id,
                "message": tool.message,
            }
            for tool in sequence.tools
        ],
        "outcomes": {
            "tools_ok": outcomes.tools_ok,
            "transferred": outcomes.transferred,
            "ended": outcomes.ended,
            "structured": outcomes.structured,
        },
    }


def sequence_load(stored: Any) -> Sequence:
    """Return the sequence that ``sequence_dump`` wrote.

    Raises:
        SequenceUnreadable: another version wrote it, or something is missing or broken.
    """
    if not isinstance(stored, Mapping) or stored.get("version") != VERSION:
        found = stored.get("version") if isinstance(stored, Mapping) else None
        raise SequenceUnreadable(
            f"this call was stored as version {found}, this software reads {VERSION}. "
            "Fix: run the version of the software that wrote it, or run the comparison again."
        )
    try:
        outcomes = stored["outcomes"]
        return Sequence(
            key=str(stored["key"]),
            stack=_one_of(stored["stack"], get_args(Stack)),
            tools=tuple(_tool(each) for each in stored["tools"]),
            outcomes=Outcomes(
                tools_ok=_maybe(outcomes["tools_ok"], bool),
                transferred=_maybe(outcomes["transferred"], bool),
                ended=str(outcomes["ended"]),
                structured=_maybe(outcomes["structured"], dict),
            ),
            cut=bool(stored["cut"]),
            scenario=str(stored["scenario"]),
            cut_with=str(stored.get("cut_with") or ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SequenceUnreadable(
            f"this stored call is broken ({type(error).__name__}: {error}). "
            "Fix: run the comparison again."
        ) from error


def _tool(stored: Any) -> ToolCall:
    return ToolCall(
        name=str(stored["name"]),
        arguments=_maybe(stored["arguments"], dict) or {},
        outcome=_one_of(stored["outcome"], get_args(Outcome)),
        at_ms=_maybe(stored["at_ms"], int),
        result=_maybe(stored["result"], str),
        tool_call_id=str(stored["tool_call_id"]),
        message=_maybe(stored["message"], int),
    )


def _one_of(value: Any, known: tuple[Any, ...]) -> Any:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return value


def _maybe(value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _canonical(value: Any, levels: int) -> Any:
    if not levels:
        return None
    if isinstance(value, Mapping):
        return {str(name): _canonical(child, levels - 1) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(child, levels - 1) for child in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal):
        return _number(value)
    return str(value)


def _number(value: float | Decimal) -> int | float | None:
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(value)
