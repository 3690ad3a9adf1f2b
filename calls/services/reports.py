"""What the outside is told of a call: Vapi's server messages and our ``call.ended`` log.

Rows are written in the transaction of their cause; who delivers them, and when, is the outbox's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.events.composed import to_compose
from calls.events.outbox import Destination, event_enqueue
from calls.models import Call
from calls.numbers.destinations import is_sip
from calls.selectors.handoffs import activations_of
from calls.services import watch_poke
from calls.services.analysis import analysis_awaited
from calls.services.server_messages.targets import target_of
from calls.services.vapi_objects import (
    compliance_object,
    cost_breakdown,
    costs,
    envelope_for,
)
from calls.wire import call_events
from tools.wire import vapi_messages, vapi_server
from voiceplatform.base.rest import iso

REPORT = "end-of-call-report"
# The media process reports within seconds of the end; if it died, this is how long we wait.
REPORT_GRACE = timedelta(seconds=20)


def _tell_server(call: Call, kind: str, key: str, render: Any) -> None:
    """Enqueue one server message for whoever is told of the call, and a team's receivers."""
    target = target_of(call)
    wanted = target is not None and kind in target.messages
    if not wanted and call.revision is None:
        return

    @cache
    def payload() -> Any:
        return render(envelope_for(call, timestamp_ms=_now_ms()))

    event_enqueue(
        call=call,
        kind=kind,
        dedupe_key=f"{key}:{call.pk}",
        destination=target.destination if target is not None and wanted else None,
        payload=lambda event_id, sequence: payload(),
    )


def _tell_shortly(
    call: Call,
    kind: str,
    key: str,
    own: Mapping[str, Any] | None = None,
    assistants: Mapping[str, int | None] | None = None,
) -> None:
    """Enqueue a message about a call that is on; its envelope is made when it is sent."""
    target = target_of(call)
    wanted = target is not None and kind in target.messages
    if not wanted and (call.revision is None or call.stack == Call.Stack.VAPI):
        return
    event_enqueue(
        call=call,
        kind=kind,
        dedupe_key=f"{key}:{call.pk}",
        destination=target.destination if target is not None and wanted else None,
        payload=to_compose(kind=kind, own=own or {}, now_ms=_now_ms(), assistants=assistants),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def call_began_enqueue(call: Call) -> None:
    """Tell that a call is in progress, and who speaks in it; in the caller's transaction."""
    _tell_server(
        call,
        "status-update",
        "status-update:in-progress",
        lambda envelope: vapi_server.status_update_message(envelope, status="in-progress"),
    )
    own = {"newAssistant": call.revision_id}
    _tell_shortly(call, "assistant.started", "assistant.started", assistants=own)


def call_handed_enqueue(call_id: str, tool_call_ids: Sequence[str]) -> None:
    """Tell which assistant has taken a call over from which one; in the caller's transaction.

    Args:
        tool_call_ids: the function calls that handed it over, which are stored.
    """
    call = Call.objects.get(pk=call_id)
    parts = activations_of(call)
    for before, part in pairwise(parts):
        if part.tool_call_id not in {each[:64] for each in tool_call_ids}:
            continue
        key = part.tool_call_id
        pair = {"fromAssistant": before.revision_id, "toAssistant": part.revision_id}
        _tell_shortly(call, "transfer-update", f"transfer-update:{key}", assistants=pair)
        own = {"newAssistant": part.revision_id}
        _tell_shortly(call, "assistant.started", f"assistant.started:{key}", assistants=own)


def call_forwarding_enqueue(call: Call, to: str) -> None:
    """Tell that a call is being transferred to a number or SIP address.

    In the caller's transaction.
    """
    destination = vapi_messages.transfer_destination(to, is_sip=is_sip(to))
    _tell_shortly(
        call,
        "transfer-update",
        f"transfer-update:{call.stream_count}",
        {"destination": destination},
    )
    _tell_server(
        call,
        "status-update",
        f"status-update:forwarding:{call.stream_count}",
        lambda envelope: vapi_server.status_update_message(
            envelope,
            status="forwarding",
            destination=destination,
        ),
    )


def call_ended_enqueue(call: Call) -> None:
    """Tell that a call has ended, the number's guard too; in the transaction that closes it.

    The report waits for the media process's last word when a stream may still be reporting, so
    that it holds every turn, and then for the analysis; the sweep sends it without what does not
    come.
    """
    _tell_server(
        call,
        "status-update",
        "status-update:ended",
        lambda envelope: vapi_server.status_update_message(
            envelope, status="ended", ended_reason=call.ended_reason
        ),
    )
    transaction.on_commit(watch_poke.poke)
    if _stream_reports_outstanding(call):
        call.report_due_at = timezone.now() + REPORT_GRACE
    else:
        _reports_settle(call, timezone.now())


def _reports_settle(call: Call, now: datetime) -> None:
    """Enqueue the report, unless it waits for the call's analysis; the caller saves the call."""
    until = analysis_awaited(call, now)
    if until is None:
        reports_enqueue(call)
    else:
        call.report_due_at = until


def _stream_reports_outstanding(call: Call) -> bool:
    opened = call.stream_count if call.media_token_used_at else call.stream_count - 1
    streams = call.metrics.get("streams", [])
    # An earlier one that has not reported by now was killed, and its turns are stored.
    newest_has = any(each.get("number") == opened for each in streams)
    return not newest_has and len(streams) < opened


def reports_enqueue(call: Call) -> None:
    """Enqueue end-of-call report and ``call.ended`` log; repeats change nothing."""
    call.report_due_at = None

    def report(envelope: vapi_server.Envelope) -> dict[str, Any]:
        return vapi_server.end_of_call_report_message(
            envelope,
            ended_reason=call.ended_reason,
            started_at=iso(call.started_at),
            ended_at=iso(call.ended_at),
            duration_ms=_duration_ms(call),
            cost=float(call.cost_usd),
            costs=costs(call),
            cost_breakdown=cost_breakdown(call),
            compliance=compliance_object(call),
            analysis=call.analysis,
        )

    _tell_server(call, REPORT, REPORT, report)
    log_enqueue(call)


def log_enqueue(call: Call) -> bool:
    """Enqueue ``call.ended`` for every receiver; False if all of them have been told.

    The organisation's old call log URL, where one is entered, is one more of them.
    """
    organisation = call.organisation

    @cache
    def facts() -> call_events.CallEnded:
        return _facts(call)

    return event_enqueue(
        call=call,
        kind=call_events.CALL_ENDED,
        dedupe_key=f"{call_events.CALL_ENDED}:{call.pk}",
        destination=Destination(
            organisation.call_log_url, {}, signing_secret=organisation.call_log_secret
        )
        if organisation.call_log_url
        else None,
        payload=lambda event_id, sequence: call_events.call_ended(event_id, facts(), sequence),
    )


def _duration_ms(call: Call) -> int:
    if call.started_at is None or call.ended_at is None:
        return 0
    return max(0, round((call.ended_at - call.started_at).total_seconds() * 1000))


def _money(value: Any) -> str:
    return f"{Decimal(str(value)):.6f}"


def _facts(call: Call) -> call_events.CallEnded:
    revision = call.revision
    return call_events.CallEnded(
        call_id=str(call.pk),
        call_sid=call.call_sid,
        organisation_id=str(call.organisation_id),
        assistant_id=str(revision.assistant_id) if revision else None,
        assistant_revision=revision.number if revision else None,
        direction=call.direction,
        stack=call.stack,
        number=call.callee,
        caller=call.caller,
        started_at=iso(call.started_at),
        ended_at=iso(call.ended_at),
        duration_seconds=call.duration_seconds,
        ended_reason=call.ended_reason,
        turns=call.turns.count(),
        tool_calls=[
            call_events.ToolCallEntry(
                tool_call_id=tool.tool_call_id,
                name=tool.name,
                arguments_json=tool.arguments_json,
                state=tool.state,
                started_ms=tool.started_ms,
                duration_ms=tool.duration_ms,
            )
            for tool in call.tool_invocations.order_by("started_ms", "pk")
        ],
        first_word_ms=call.first_word_ms,
        turn_latency_p50_ms=call.turn_latency_p50_ms,
        turn_latency_p95_ms=call.turn_latency_p95_ms,
        cost_usd=_money(call.cost_usd),
        cost={name: _money(value) for name, value in call.metrics.get("cost_usd", {}).items()},
    )


def overdue_reports_enqueue(now: datetime | None = None) -> int:
    """Send the reports whose last word, or whose analysis, never came; return how many."""
    now = now or timezone.now()
    due = Call.objects.filter(report_due_at__lte=now)
    count = 0
    for call_id in list(due.values_list("pk", flat=True)[:100]):
        with transaction.atomic():
            call = Call.objects.select_for_update().get(pk=call_id)
            # Somebody may have sent it, or let it wait for its analysis, since the look.
            if call.report_due_at is not None and call.report_due_at <= now:
                _reports_settle(call, now)
                call.save(update_fields=["report_due_at", "analysis_due_at", "metrics"])
                count += call.report_due_at is None
    return count
