"""Sequences of calls that have rows here, whether they came here or their log was imported.

Owns how rows become the values that parity compares (``calls.parity``). Reads only; what a caller
of these may show of them is decided where calls are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from calls.conversation import Entry
from calls.conversation import conversation as in_order
from calls.models import Call, ImportedCall
from calls.parity.logs.loose import time_of
from calls.parity.logs.past_call import PastCall
from calls.parity.logs.sequencing import sequence_from, structured_of
from calls.parity.sequence import Sequence, Stack
from calls.selectors.past_calls import imported_of, past_calls, with_spoken_parts
from calls.selectors.records import speech_of, tool_use_of
from tools.loose_json import as_object
from voiceplatform.base.fields import DecryptionError

__all__ = [
    "entries_of",
    "facts_of",
    "imported_of",
    "past_call_of",
    "past_calls",
    "recordings_of",
    "sequence_of",
    "sequences_of",
    "with_spoken_parts",
]


def entries_of(call: Call) -> tuple[Entry, ...]:
    """Return what was said and done in a call, in the order in which it was heard."""
    return in_order(map(speech_of, call.turns.all()), map(tool_use_of, call.tool_invocations.all()))


def sequence_of(call: Call) -> Sequence:
    """Return what a call did: one that came here, or one whose log was imported.

    Of a call that came here and that Vapi answered, the log says it; without its log the sequence
    is empty and cut.
    """
    imported = imported_of(call)
    stack: Stack = "vapi" if call.stack == Call.Stack.VAPI else "direct"
    facts = facts_of(imported)
    return sequence_from(
        key=imported.log_id if imported is not None and imported.log_id else str(call.pk),
        stack=stack,
        entries=entries_of(call),
        ended_reason=_ended_reason(call, imported, facts),
        structured=structured_of(as_object(call.analysis), _opened(imported, "structured")),
        transferred=facts.get("was_transferred"),
        is_whole=imported.is_whole if imported is not None else stack == "direct",
        has_times=imported.has_times if imported is not None else True,
    )


def sequences_of(calls: Iterable[Call]) -> list[Sequence]:
    """Return the sequences of several calls, whose turns and tool calls were fetched along."""
    return [sequence_of(call) for call in calls]


def past_call_of(call: Call) -> PastCall:
    """Return a stored call as a value, as its log told it and as far as it may be kept.

    Own calls too: what they say and do is theirs, costs and recordings are the log's alone.
    """
    imported = imported_of(call)
    facts = facts_of(imported)
    return PastCall(
        log_id=imported.log_id if imported is not None else str(call.pk),
        provider_sid=imported.provider_sid if imported is not None else call.call_sid,
        stack="vapi" if call.stack == Call.Stack.VAPI else "direct",
        direction=call.direction,  # type: ignore[arg-type]  # one of the three, by who writes it
        caller=call.caller,
        callee=call.callee,
        assistant_id=str(facts.get("assistant_id") or ""),
        assistant_name=str(facts.get("assistant_name") or ""),
        squad_id=str(facts.get("squad_id") or ""),
        number_id=str(facts.get("number_id") or ""),
        created_at=time_of(facts.get("created_at")) if imported is not None else call.created_at,
        started_at=call.started_at,
        start_is_told=bool(facts.get("start_is_told")) if imported is not None else True,
        ended_at=time_of(facts.get("ended_at")) if imported is not None else call.ended_at,
        has_ended=bool(facts.get("has_ended")) if imported is not None else call.status == "ended",
        tells_tools=bool(facts.get("tells_tools"))
        if imported is not None
        else call.stack == Call.Stack.DIRECT,
        ended_reason=_ended_reason(call, imported, facts),
        speech=tuple(map(speech_of, call.turns.order_by("ordinal"))),
        tools=tuple(map(tool_use_of, call.tool_invocations.order_by("started_ms", "pk"))),
        has_times=imported.has_times if imported is not None else True,
        was_transferred=facts.get("was_transferred"),
        analysis=as_object(call.analysis),
        structured=_opened(imported, "structured"),
        cost_usd=facts.get("cost_usd"),
        costs=tuple(facts.get("costs") or ()),
        cost_breakdown=as_object(facts.get("cost_breakdown")),
        latency=as_object(facts.get("latency")),
        recordings=recordings_of(imported),
        consent=imported.consent if imported is not None else "unknown",  # type: ignore[arg-type]
        problems=tuple(facts.get("problems") or ()),
    )


def _ended_reason(call: Call, imported: ImportedCall | None, facts: Mapping[str, Any]) -> str:
    """Return why a call ended, '' where nobody has told: of an old stack's call by its log."""
    return call.ended_reason if imported is None else str(facts.get("ended_reason") or "")


def facts_of(imported: ImportedCall | None) -> Mapping[str, Any]:
    """Return what a log says beside the conversation; nothing where no key opens it."""
    return _opened(imported, "facts")


def recordings_of(imported: ImportedCall | None) -> Mapping[str, str]:
    """Return the addresses of a call's recordings at the old stack, by name."""
    return {name: str(url) for name, url in _opened(imported, "recordings").items()}


def _opened(imported: ImportedCall | None, column: str) -> Mapping[str, Any]:
    try:
        return as_object(getattr(imported, column)) if imported is not None else {}
    except DecryptionError:
        return {}
