"""One call of a log into rows: a new call, more of a known one, or nothing.

Owns who a call is (Vapi's id, else the carrier's), what of it may be kept, and that nobody is told:
no webhook, no report, no analysis and no recording follows from a log. A call that came here and
that Vapi answered keeps its row and its facts; the log adds what was said and done. One that this
platform answered is left alone. Erased callers do not come back.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Literal

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from assistants.models import Assistant, AssistantRevision
from calls.bridge.effects import RecordTool, RecordTurn
from calls.bridge.summary import percentile
from calls.models import (
    Call,
    CallLogImport,
    Erasure,
    ImportedCall,
    PhoneNumber,
    RetentionRule,
    ToolInvocation,
    Turn,
)
from calls.parity.logs.past_call import UNKNOWN_REASON, PastCall, digest, merged, moved
from calls.privacy.keeping import Keeping
from calls.selectors.erasures import sid_hash
from calls.services.past_refusal import refusal_follow
from calls.services.privacy import keeping_for
from calls.services.sequences import past_call_of
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.rest import iso
from voiceplatform.base.selectors import uuids_in

Outcome = Literal["created", "updated", "unchanged", "older", "erased", "ours", "unreadable"]
# Rows of one insert (design.md 9).
_BATCH: Final = 200
_MOST_TELLINGS: Final = 50
_COLUMNS: Final = (
    *("direction", "caller", "callee", "started_at", "ended_at", "ended_reason", "consent"),
    *("duration_seconds", "cost_usd", "turn_latency_p50_ms", "turn_latency_p95_ms", "analysis"),
)
# By so much the clocks of two machines may differ.
_CLOCKS: Final = dt.timedelta(minutes=10)
_DEAREST_USD: Final = 9999.0


@dataclass(slots=True)
class Store:
    """What every call of one import needs to know; read once, then again after each batch.

    ``hold`` is called in the transaction of every write and raises where the importer has lost its
    lease. ``since``: calls that began before are left out.
    """

    organisation: Organisation
    log_import: CallLogImport | None = None
    since: dt.datetime | None = None
    hold: Callable[[], None] = lambda: None
    _numbers: dict[str, PhoneNumber] = field(default_factory=dict)
    _assistants: dict[str, Assistant] = field(default_factory=dict)
    _erased: frozenset[str] = frozenset()
    _read_at: dt.datetime = field(default_factory=timezone.now)

    def __post_init__(self) -> None:
        """Read it."""
        self.refresh()

    def refresh(self) -> None:
        """Read again what may have changed: numbers, assistants, who was erased."""
        numbers = PhoneNumber.objects.for_organisation(self.organisation).defer("previous_target")
        self._numbers = {}
        for number in numbers:
            self._numbers |= {str(number.pk): number, number.number_e164: number}
        rows = Assistant.objects.for_organisation(self.organisation)
        self._assistants = {str(each.pk): each for each in rows}
        self._read_at = timezone.now()
        self._erased = self._erased_since(None)

    def _erased_since(self, moment: dt.datetime | None) -> frozenset[str]:
        rows = Erasure.objects.for_organisation(self.organisation)
        rows = rows.filter(at__gte=moment) if moment is not None else rows
        return frozenset(each for row in rows.values_list("sid_hashes", flat=True) for each in row)

    def put(self, past: PastCall) -> Outcome:
        """Store one call in one transaction; the same log twice changes nothing."""
        began_at = past.created_at or past.started_at or past.ended_at
        if past.stack == "direct":
            return "ours"
        if self.since is not None and began_at is not None and began_at < self.since:
            return "older"
        if _is_among(past, self._erased):
            return "erased"
        try:
            with transaction.atomic():
                return self._put(past)
        except DecryptionError:
            return "unreadable"
        except IntegrityError:
            # Another import has stored the same call at this moment: what it wrote is found now.
            try:
                with transaction.atomic():
                    return self._put(past)
            except DecryptionError:
                return "unreadable"

    def _put(self, past: PastCall) -> Outcome:
        self.hold()
        # An erasure writes its tombstone under this lock: it waits for this transaction and then
        # finds the call, or it was first and is seen here.
        Organisation.objects.select_for_update(no_key=True).filter(
            pk=self.organisation.pk
        ).values_list("pk").first()
        if _is_among(past, self._erased_since(self._read_at - _CLOCKS)):
            return "erased"
        row = self._known(past)
        if row is None:
            call = self._call_of_ours(past)
            if call is not None and call.stack == Call.Stack.DIRECT:
                return "ours"
            row = self._begin(past, call)
            self._write(row, past, digest(past))
            return "created"
        mark = digest(past)
        if mark in row.tellings:
            return "unchanged"
        before = past_call_of(row.call)
        after = merged(before, past)
        if digest(after) == digest(before):
            row.tellings = [*row.tellings, mark][-_MOST_TELLINGS:]
            row.save(update_fields=["tellings"])
            return "unchanged"
        self._write(row, after, mark)
        return "updated"

    def _known(self, past: PastCall) -> ImportedCall | None:
        rows = ImportedCall.objects.select_for_update(of=("self",)).filter(
            organisation=self.organisation
        )
        wanted = Q(log_id=past.log_id) if past.log_id else Q(provider_sid=past.provider_sid)
        found: ImportedCall | None = rows.filter(wanted).select_related("call").first()
        if found is None and past.log_id and past.provider_sid:
            # A telling that had the carrier's id alone.
            same = rows.filter(log_id="", provider_sid=past.provider_sid)
            found = same.select_related("call").first()
        return found

    def _call_of_ours(self, past: PastCall) -> Call | None:
        """Return the row of a call that came here: by its sid at Twilio, or by the log's id."""
        rows = Call.objects.for_organisation(self.organisation).filter(
            imported_at__isnull=True, imported__isnull=True
        )
        wanted = Q(pk__in=uuids_in([past.log_id]))
        if past.provider_sid:
            wanted |= Q(call_sid=past.provider_sid)
        found: Call | None = rows.filter(wanted).first()
        return found

    def _begin(self, past: PastCall, call: Call | None) -> ImportedCall:
        was_here = call is not None
        if call is None:
            (call_id,) = uuids_in([past.log_id]) or [uuid.uuid4()]
            if Call.objects.filter(pk=call_id).exists():
                call_id = uuid.uuid4()  # another organisation has a call of this id
            now = timezone.now()
            call = Call.objects.create(
                id=call_id,
                organisation=self.organisation,
                call_sid=f"vp{call_id.hex}",  # never one of Twilio's: no webhook finds it
                stack=Call.Stack.VAPI,
                status=Call.Status.ENDED,
                ended_at=now,
                ended_reason=UNKNOWN_REASON,
                imported_at=now,
                next_step={"kind": "hangup"},
            )
        return ImportedCall(
            call=call,
            organisation=self.organisation,
            log_id=past.log_id,
            was_here=was_here,
            log_import=self.log_import,
        )

    def _write(self, row: ImportedCall, past: PastCall, mark: str) -> None:
        call = row.call
        if row.was_here and call.started_at is not None:
            past = moved(past, call.started_at)
        assistant = self._assistants.get(past.assistant_id)
        number = self._numbers.get(past.number_id)
        ours = past.caller if past.direction == "outbound" else past.callee
        number = number or self._numbers.get(ours)
        if not row.was_here:
            past = _with_number(past, number)
            self._call_columns(call, past)
        # What may be kept is the rule of the assistant that answered, as far as it is known here.
        keeping = keeping_for(_as_if(call, assistant, past))
        self._conversation(call, past, keeping)
        analysis = keeping.variables(dict(past.analysis)) if past.analysis else None
        if not row.was_here or call.analysis is None:
            call.analysis = analysis or None
        # A call that came here has facts of its own; they stay.
        call.save(update_fields=["analysis"] if row.was_here else _COLUMNS)
        row.log_id = row.log_id or past.log_id
        row.provider_sid = past.provider_sid
        row.number = number or row.number
        row.assistant = assistant or row.assistant
        row.is_whole, row.has_times, row.consent = past.is_whole, past.has_times, past.consent
        row.tellings = [*row.tellings, mark][-_MOST_TELLINGS:]
        row.facts = _facts(past)
        row.structured = keeping.variables(dict(past.structured)) or None
        refused = past.consent == "refused"
        # The addresses of a recording that nobody may fetch are nothing to keep.
        row.recordings = None if refused else dict(past.recordings) or None
        row.save()
        if refused:
            refusal_follow(call)
        began_at = past.created_at or past.started_at or past.ended_at or timezone.now()
        if row.was_here:
            began_at = call.created_at
        else:
            Call.objects.filter(pk=call.pk).update(created_at=began_at)
        look_again(self.organisation, began_at)

    def _call_columns(self, call: Call, past: PastCall) -> None:
        latest = max(
            (each.ended_ms or each.started_ms for each in past.speech),
            default=0,
        )
        started_at = past.started_at or past.created_at or past.ended_at
        began_at = started_at or timezone.now()
        call.direction = past.direction
        call.caller, call.callee = past.caller, past.callee
        call.started_at = started_at
        call.ended_at = past.ended_at or began_at + dt.timedelta(milliseconds=latest)
        call.ended_reason = past.ended_reason or UNKNOWN_REASON
        call.duration_seconds = past.duration_seconds
        call.cost_usd = Decimal(str(round(min(max(past.cost_usd or 0, 0), _DEAREST_USD), 6)))
        waits = _turn_waits(past)
        call.turn_latency_p50_ms = percentile(waits, 0.5)
        call.turn_latency_p95_ms = percentile(waits, 0.95)
        if past.consent != "unknown":
            at = past.started_at or past.created_at
            call.consent = {"state": past.consent, "at": iso(at), "kind": "log"}

    def _conversation(self, call: Call, past: PastCall, keeping: Keeping) -> None:
        """Put what was said and done in place of what was there."""
        Turn.objects.filter(call=call).delete()
        ToolInvocation.objects.filter(call=call).delete()
        turns = [
            keeping.turn(
                RecordTurn(
                    ordinal=place,
                    role=each.role,
                    text=each.text,
                    text_unheard=each.unheard,
                    item_id="",
                    started_ms=each.started_ms,
                    ended_ms=each.ended_ms,
                    interrupted=each.interrupted,
                    latency_ms=each.latency_ms,
                )
            )
            for place, each in enumerate(past.speech)
        ]
        Turn.objects.bulk_create(
            [
                Turn(
                    call=call,
                    ordinal=each.ordinal,
                    role=each.role,
                    text=each.text,
                    text_unheard=each.text_unheard,
                    started_ms=each.started_ms,
                    ended_ms=each.ended_ms,
                    interrupted=each.interrupted,
                    latency_ms=each.latency_ms,
                )
                for each in turns
            ],
            batch_size=_BATCH,
        )
        tools = [
            keeping.tool(
                RecordTool(
                    tool_call_id=each.tool_call_id,
                    name=each.name,
                    arguments_json=each.arguments_json,
                    state="running" if each.running else each.state,  # type: ignore[arg-type]
                    output=each.output,
                    started_ms=each.started_ms,
                    duration_ms=each.duration_ms,
                )
            )
            for each in past.tools
        ]
        ToolInvocation.objects.bulk_create(
            [
                ToolInvocation(
                    call=call,
                    organisation=self.organisation,
                    tool_call_id=each.tool_call_id,
                    name=each.name,
                    arguments_json=each.arguments_json,
                    state=each.state,
                    output=each.output,
                    started_ms=each.started_ms,
                    duration_ms=each.duration_ms,
                )
                for each in tools
            ],
            batch_size=_BATCH,
        )
        # A list of tool calls shows when they were made, not when their log was read.
        made_at = call.started_at or call.created_at
        ToolInvocation.objects.filter(call=call).update(created_at=made_at)


def _is_among(past: PastCall, erased: frozenset[str]) -> bool:
    return any(sid_hash(each) in erased for each in (past.log_id, past.provider_sid) if each)


def _with_number(past: PastCall, number: PhoneNumber | None) -> PastCall:
    """Return the call with our side's number filled in, which GET /call leaves out."""
    if number is None:
        return past
    if past.direction == "outbound":
        return past if past.caller else replace(past, caller=number.number_e164)
    return past if past.callee else replace(past, callee=number.number_e164)


def _as_if(call: Call, assistant: Assistant | None, past: PastCall) -> Call:
    """Return the call as the rules of privacy see it: with the assistant that the log names."""
    revision: AssistantRevision | None = (
        assistant.current_revision if assistant is not None else call.revision
    )
    shown = Call(organisation_id=call.organisation_id, consent=call.consent)
    shown.revision = revision
    if past.consent == "refused":
        shown.consent = {"state": Call.Consent.REFUSED}
    return shown


def _facts(past: PastCall) -> dict[str, Any]:
    found = {
        "assistant_id": past.assistant_id,
        "assistant_name": past.assistant_name,
        "squad_id": past.squad_id,
        "number_id": past.number_id,
        "ended_reason": past.ended_reason,
        "has_ended": past.has_ended,
        "tells_tools": past.tells_tools,
        "start_is_told": past.start_is_told,
        "created_at": iso(past.created_at),
        "ended_at": iso(past.ended_at),
        "was_transferred": past.was_transferred,
        "cost_usd": past.cost_usd,
        "costs": list(past.costs),
        "cost_breakdown": dict(past.cost_breakdown),
        "latency": dict(past.latency),
        "problems": list(past.problems),
    }
    return {name: value for name, value in found.items() if value not in (None, "", {}, [])}


def _turn_waits(past: PastCall) -> list[int]:
    turns = past.latency.get("turns") or []
    waits = [each.get("turnLatency") for each in turns if isinstance(each, dict)]
    return sorted(round(each) for each in waits if each and 0 < each < 600_000)


def look_again(organisation: Organisation, began_at: dt.datetime) -> None:
    """Have retention look once more from ``began_at`` on: it was through with that time."""
    RetentionRule.objects.filter(organisation=organisation).filter(
        Q(look_from__isnull=True) | Q(look_from__gt=began_at)
    ).update(look_from=began_at)
