"""All that is kept of one caller, as one JSON object for the person who asks for it.

Reads the same places as ``calls.services.erasure`` and writes nothing but the audit entry. The
result holds everything that was said: who gets it is for the one who runs it to know.
"""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django.db import models
from django.utils import timezone

from assistants.models import StoredResource
from assistants.selectors import CALL_KIND
from calls.models import Call, CallHandover, CallInputChunk, ImportedCall, MissedCall, ToolExchange
from calls.services.call_rows import below
from calls.services.erasure import caller_number, calls_of_caller
from calls.services.journal import record_text
from calls.services.recording_files import sound_read
from calls.services.tool_records import exchange_bodies
from voiceplatform.base.models import AuditEntry, Organisation
from voiceplatform.base.services import audit_write

FORMAT: Final = 1
# Ours, and no data about the person: where a report goes, with its key.
_LEFT_OUT: Final = frozenset(
    {"destination", "next_step", "twilio_sequence", "report_due_at", "analysis_due_at"}
)
# What a hand-over keeps for later requests opens the old stack: cookies, addresses with tokens.
_LEFT_OUT_OF: Final[Mapping[type[models.Model], frozenset[str]]] = {
    CallHandover: frozenset({"answer", "cookies", "status_url"}),
    ImportedCall: frozenset({"recordings", "tellings"}),
}


def caller_export(*, organisation: Organisation, number: str, actor: Any) -> dict[str, Any]:
    """Return all that is kept of the person with ``number``; the export is audited.

    Raises:
        NotANumber: ``number`` is none.
    """
    number = caller_number(number)
    missed = MissedCall.objects.for_organisation(organisation).filter(caller=number)
    calls = [_call(call) for call in calls_of_caller(organisation, number)]
    audit_write(
        actor=actor,
        action="caller.export",
        organisation=organisation,
        details={"calls": len(calls)},
    )
    return {
        "format": FORMAT,
        "number": number,
        "exported_at": timezone.now().isoformat(),
        "organisation": organisation.name,
        "calls": calls,
        "missed_calls": [_row(each) for each in missed.order_by("called_at")],
    }


def _call(call: Call) -> dict[str, Any]:
    companion = StoredResource.objects.filter(pk=call.pk, kind=CALL_KIND).first()
    streams = CallInputChunk.objects.filter(call=call).order_by("stream_number")
    numbers = streams.values_list("stream_number", flat=True).distinct()
    audit = AuditEntry.objects.filter(target_id=str(call.pk)).order_by("pk")
    return {
        **_row(call),
        "given_by_clients": companion.document_redacted if companion is not None else None,
        "recorded_inputs": {str(number): record_text(str(call.pk), number) for number in numbers},
        **_below(call),
        "recording_wav_b64": _sound(call),
        "audit": [{"at": e.at.isoformat(), "actor": e.actor, "action": e.action} for e in audit],
    }


def _sound(call: Call) -> str | None:
    """Return the call's recording as a WAV file in base64, None where there is none."""
    try:
        return base64.b64encode(b"".join(sound_read(call.pk))).decode()
    except FileNotFoundError:
        return None


def _below(row: models.Model) -> dict[str, Any]:
    """Return the rows that hang on ``row`` by table, those of tables that come later included."""
    found: dict[str, Any] = {}
    for model, name in below(type(row)):
        if model is CallInputChunk:
            continue
        rows = model._base_manager.filter(**{name: row.pk}).order_by("pk")
        found[str(model._meta.verbose_name_plural)] = [
            {**_row(each), **_bodies(each), **_below(each)} for each in rows
        ]
    return found


def _bodies(row: models.Model) -> dict[str, Any]:
    if isinstance(row, ToolExchange):
        bodies = exchange_bodies(row)
        return {"request": bodies.request, "response": bodies.response}
    return {}


def _row(row: models.Model) -> dict[str, Any]:
    left_out = _LEFT_OUT | _LEFT_OUT_OF.get(type(row), frozenset())
    return {
        each.attname: _plain(getattr(row, each.attname))
        for each in row._meta.concrete_fields
        if each.attname not in left_out and not isinstance(each, models.BinaryField)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID | Decimal) else value
