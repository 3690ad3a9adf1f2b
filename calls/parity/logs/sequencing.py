"""A past call as a sequence: what parity compares, from what was said and done in it.

Pure. Owns which calls count as made together, what counts as a transfer, and under which name the
platform's own tools are compared, since both stacks spell those in several ways. It must not know
where a call was read from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from calls.conversation import Entry, ToolUse
from calls.parity.logs.past_call import PastCall
from calls.parity.logs.results import has_failed
from calls.parity.sequence import Outcome, Outcomes, Sequence, Stack, ToolCall, last_tries

# The carrier's part of a call: one name for each, whichever stack or export spells it.
_OWN_NAMES: Final[Mapping[str, str]] = {
    "endcall": "endCall",
    "endcalltool": "endCall",
    "endcallfunction": "endCall",
    "hangup": "endCall",
    "transfercall": "transferCall",
    "transfercalltool": "transferCall",
    "dialkeypad": "dtmf",
    "dtmf": "dtmf",
    "dtmftool": "dtmf",
}
PLATFORM_TOOLS: Final = frozenset(_OWN_NAMES.values())
_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]+")
# Reasons of an end that tell of a transfer (vapi.md 6.4).
_TRANSFERRED: Final = ("assistant-forwarded-call", "customer-ended-call-after-warm-transfer")
_NOT_TRANSFERRED: Final = (
    "call.in-progress.error-transfer-failed",
    "call.forwarding.operator-busy",
    "call.forwarding.no-answer",
)


def tool_name(name: str) -> str:
    """Return the name under which a tool is compared: one for each spelling of our own kinds."""
    return _OWN_NAMES.get(_NOT_LETTERS.sub("", name.lower()), name)


def outcome_of(tool: ToolUse) -> Outcome:
    """Return whether a tool did what it was asked, by its state and by the words of its answer."""
    if tool.running:
        return "unknown"
    if tool.state not in {"ok", "unknown"}:
        return "failed"
    return "failed" if has_failed(tool.output) else "ok"


def arguments_of(tool: ToolUse) -> Mapping[str, Any]:
    """Return the arguments as an object; text that is none stands under ``_text``."""
    try:
        value = json.loads(tool.arguments_json or "{}")
    except (ValueError, RecursionError):
        return {"_text": tool.arguments_json}
    if isinstance(value, str) and value.lstrip().startswith("{"):
        # Some logs write the text of the arguments as text once more.
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            inner = None
        value = inner if isinstance(inner, dict) else value
    return value if isinstance(value, dict) else {"_value": value}


def tool_calls(entries: Iterable[Entry], *, has_times: bool = True) -> tuple[ToolCall, ...]:
    """Return the tool calls of a conversation in order; those made together share a message."""
    found: list[ToolCall] = []
    groups = [entry.tools for entry in entries if entry.kind == "tool-calls"]
    for place, group in enumerate(groups):
        found += [
            ToolCall(
                name=tool_name(tool.name),
                arguments=arguments_of(tool),
                outcome=outcome_of(tool),
                at_ms=tool.started_ms if has_times else None,
                result=None if tool.running else tool.output,
                tool_call_id=tool.tool_call_id,
                message=place if len(group) > 1 else None,
            )
            for tool in group
        ]
    return tuple(found)


def was_transferred(ended_reason: str, tools: Iterable[ToolCall] = ()) -> bool | None:
    """Tell whether the caller reached somebody else, as far as the end and the tools say.

    That a transfer was begun does not prove that it was answered (vapi.md 9, trap 32); both stacks
    are read by the same rule. None: the end is not known.
    """
    if ended_reason in _NOT_TRANSFERRED:
        return False
    if ended_reason.startswith(_TRANSFERRED):
        return True
    asked = any(tool.name == "transferCall" and tool.outcome == "ok" for tool in tools)
    if asked and ended_reason.startswith("customer-ended-call-during-transfer"):
        return True
    return False if ended_reason else None


def sequence_from(
    *,
    key: str,
    stack: Stack,
    entries: Iterable[Entry],
    ended_reason: str,
    structured: Mapping[str, Any] | None = None,
    transferred: bool | None = None,
    is_whole: bool = True,
    has_times: bool = True,
) -> Sequence:
    """Return what one call did.

    Args:
        transferred: what is known of it besides the reason of the end.
        is_whole: False: only the beginning is known, so its outcomes are not compared.
    """
    tools = tool_calls(entries, has_times=has_times)
    if not is_whole:
        return Sequence(key, stack, tools, Outcomes(), cut=True)
    states = {tool.outcome for tool in last_tries(tools)}
    outcomes = Outcomes(
        # One unknown answer among good ones leaves the whole unknown.
        tools_ok=False if "failed" in states else None if "unknown" in states else True,
        transferred=transferred
        if transferred is not None
        else was_transferred(ended_reason, tools),
        ended=ended_reason,
        structured=structured or None,
    )
    return Sequence(key, stack, tools, outcomes)


def sequence_of_log(call: PastCall) -> Sequence:
    """Return what the call of a log did."""
    return sequence_from(
        key=call.key,
        stack=call.stack,
        entries=call.entries,
        ended_reason=call.ended_reason,
        structured=structured_of(call.analysis, call.structured),
        transferred=call.was_transferred,
        is_whole=call.is_whole,
        has_times=call.has_times,
    )


def structured_of(
    analysis: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """Return the structured data of a call, by name; None when it has none.

    ``structuredData`` of the analysis plan, and structured outputs by their names.
    """
    found: dict[str, Any] = {}
    data = (analysis or {}).get("structuredData")
    if isinstance(data, Mapping):
        found |= data
    for each in (outputs or {}).values():
        if isinstance(each, Mapping) and isinstance(each.get("name"), str):
            found[each["name"]] = each.get("result")
    return found or None
