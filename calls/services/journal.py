"""Writes of a live call: turns, tool calls, evidence, replay record, next step, news of it."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.bridge.effects import (
    CallNews,
    NextStep,
    PolicyLinePlayed,
    RecordHandoff,
    RecordMcpTool,
    RecordTool,
    RecordTurn,
)
from calls.models import Call, CallInputChunk, ToolExchange, ToolInvocation, Turn
from calls.privacy.keeping import EVERYTHING, Keeping
from calls.services.handoffs import handoffs_store
from calls.services.privacy import keeping_of
from calls.services.recordings import recording_review
from calls.services.reports import call_handed_enqueue
from calls.services.server_messages.in_call import news_enqueue
from calls.services.server_messages.targets import Target
from tools.models import Tool

TURN_FIELDS = (
    "role",
    "text",
    "text_unheard",
    "item_id",
    "started_ms",
    "ended_ms",
    "interrupted",
    "latency_ms",
)
TOOL_FIELDS = ("name", "arguments_json", "state", "output", "started_ms", "duration_ms")
NUL = "\x00"


def _storable(text: str) -> str:
    """Return text that every database takes: PostgreSQL refuses NUL and lone surrogates."""
    return text.replace(NUL, "").encode("utf-8", "replace").decode()


def batch_store(
    *,
    call_id: str,
    stream_number: int,
    turns: Sequence[RecordTurn],
    tools: Sequence[RecordTool],
    policy: PolicyLinePlayed | None,
    pieces: Sequence[tuple[int, str]],
    refused: bool = False,
    emergency: bool = False,
    dial_to: str = "",
    spend_microusd: int = 0,
    stream_ms: int = 0,
    handoffs: Sequence[RecordHandoff] = (),
    news: Sequence[CallNews] = (),
    target: Target | None = None,
    keeping: Keeping | None = EVERYTHING,
) -> Keeping:
    """Store one batch in one transaction; the same batch twice changes nothing.

    Returns what may be kept of the call, as it was looked up or given.

    Args:
        refused: the caller has refused the policy line: evidence is kept, the replay record of
            the call is not, what was stored of it before included.
        emergency: an emergency word was heard.
        dial_to: the number that the caller is being handed to; it is dialled even if the stream is
            lost before it says so itself.
        spend_microusd: what the stream has cost so far; ``stream_ms`` is how long it has lasted.
            They count if it never reports itself.
        handoffs: assistants that have taken the call over, in order.
        news: what ``target`` and a team's receivers are to be told of, by number.
        keeping: what of it may be kept; applied before anything is written. None: another
            assistant has taken the call over, whose rules are looked up.
    """
    if keeping is None:
        keeping = keeping_of(call_id, handoffs[-1].record["revision_id"] if handoffs else None)
    handoffs = [keeping.handoff(each) for each in handoffs]
    turns = [keeping.turn(turn) for turn in turns]
    tools = [keeping.tool(tool) for tool in tools]
    pieces = pieces if keeping.inputs else ()
    news = [told for each in news if (told := keeping.news(each)) is not None]
    packed = [
        CallInputChunk(
            call_id=call_id,
            stream_number=stream_number,
            ordinal=ordinal,
            data=zlib.compress(text.encode("utf-8", "surrogatepass"), 3),
        )
        for ordinal, text in pieces
    ]
    with transaction.atomic():
        if spend_microusd:
            _note_spend(call_id, stream_number, spend_microusd, stream_ms)
        Turn.objects.bulk_create(
            [_turn_row(call_id, turn) for turn in turns],
            update_conflicts=True,
            unique_fields=["call", "ordinal"],
            update_fields=TURN_FIELDS,
        )
        if tools:
            owner = Call.objects.filter(pk=call_id).values_list("organisation", flat=True).first()
            ToolInvocation.objects.bulk_create(
                _tool_rows(call_id, owner, tools),
                update_conflicts=True,
                unique_fields=["call", "tool_call_id"],
                update_fields=TOOL_FIELDS,
            )
        if refused:
            _stamp(call_id, "policy_refused_at")
            CallInputChunk.objects.filter(call_id=call_id).delete()
            ToolExchange.objects.filter(call_id=call_id).update(content=None)
        elif packed and not _was_refused(call_id, stream_number):
            CallInputChunk.objects.bulk_create(packed, ignore_conflicts=True)
        if emergency:
            _stamp(call_id, "emergency_at")
        if policy is not None:
            _stamp(call_id, "policy_played_at")
        for each in handoffs:
            # What happened before is told to the server of whoever had the call then.
            before = [told for told in news if told.number <= each.news_before]
            news = news[len(before) :]
            _tell(call_id, stream_number, before, target)
            handoffs_store(call_id, [each])
            call_handed_enqueue(call_id, [each.tool_call_id])
        if refused or policy is not None or handoffs:
            recording_review(call_id)
        if dial_to:
            next_step_store(call_id=call_id, step="dial", dial_to=dial_to)
        _tell(call_id, stream_number, news, target)
    return keeping


def _tell(
    call_id: str, stream_number: int, news: Sequence[CallNews], target: Target | None
) -> None:
    if news:
        news_enqueue(call_id=call_id, stream_number=stream_number, news=news, target=target)


def _note_spend(call_id: str, stream_number: int, spend_microusd: int, stream_ms: int) -> None:
    call = Call.objects.select_for_update().only("metrics").get(pk=call_id)
    so_far = {"number": stream_number, "spend_microusd": spend_microusd, "stream_ms": stream_ms}
    earlier = call.metrics.get("unreported", [])
    others = [each for each in earlier if each["number"] != stream_number]
    call.metrics = {**call.metrics, "unreported": [*others, so_far]}
    call.save(update_fields=["metrics"])


def _stamp(call_id: str, column: str) -> None:
    """Set a time of evidence, once."""
    Call.objects.filter(pk=call_id, **{f"{column}__isnull": True}).update(
        **{column: timezone.now()}
    )


def _was_refused(call_id: str, stream_number: int) -> bool:
    """Tell whether an earlier stream of the call was told not to record."""
    return (
        stream_number > 1
        and Call.objects.filter(pk=call_id, policy_refused_at__isnull=False).exists()
    )


def _turn_row(call_id: str, turn: RecordTurn) -> Turn:
    return Turn(
        call_id=call_id,
        ordinal=turn.ordinal,
        role=turn.role,
        text=_storable(turn.text),
        text_unheard=_storable(turn.text_unheard),
        item_id=turn.item_id[:64],
        started_ms=turn.started_ms,
        ended_ms=turn.ended_ms,
        interrupted=turn.interrupted,
        latency_ms=turn.latency_ms,
    )


def _tool_rows(
    call_id: str, owner: uuid.UUID | None, tools: Sequence[RecordTool]
) -> list[ToolInvocation]:
    """Return rows; of a call that the model's own server made nobody else notes the tool."""
    handles = {tool.handle for tool in tools if isinstance(tool, RecordMcpTool) and tool.handle}
    # A plan may outlive the row it was made of.
    found = Tool.objects.filter(pk__in=handles).values_list("pk", flat=True) if handles else ()
    known = {str(pk): pk for pk in found}
    return [
        _tool_row(call_id, owner, tool, known.get(getattr(tool, "handle", ""))) for tool in tools
    ]


def _tool_row(
    call_id: str, owner: uuid.UUID | None, tool: RecordTool, tool_id: uuid.UUID | None
) -> ToolInvocation:
    return ToolInvocation(
        call_id=call_id,
        organisation_id=owner,
        tool_id=tool_id,
        tool_call_id=tool.tool_call_id[:64],
        name=_storable(tool.name)[:200],
        arguments_json=_storable(tool.arguments_json),
        state=tool.state,
        output=_storable(tool.output),
        started_ms=tool.started_ms,
        duration_ms=tool.duration_ms,
    )


def next_step_store(
    *, call_id: str, step: NextStep, dial_to: str = "", handed_over: bool = False
) -> None:
    """Store what the action URL answers; a call that has been told to hang up stays told.

    Args:
        handed_over: the stream ends because its process does, for no fault of anybody.
    """
    stored: dict[str, Any] = {"kind": step, "to": dial_to} if dial_to else {"kind": step}
    if handed_over:
        stored["handed_over"] = True
    Call.objects.filter(pk=call_id).exclude(next_step={"kind": "hangup"}).update(next_step=stored)


def record_text(call_id: str, stream_number: int) -> str:
    """Return the replay record of one stream, '' if there is none."""
    chunks = CallInputChunk.objects.filter(call_id=call_id, stream_number=stream_number)
    return "".join(
        zlib.decompress(chunk.data).decode("utf-8", "surrogatepass")
        for chunk in chunks.order_by("ordinal")
    )
