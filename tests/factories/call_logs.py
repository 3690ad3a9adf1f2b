"""Rows of imported calls, the imports that brought them, and recording addresses."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any

from django.utils import timezone

from calls.models import (
    Call,
    CallLogImport,
    CallLogPiece,
    ImportedCall,
    ShimRecord,
    ToolInvocation,
    ToolShim,
    Turn,
)
from tests.factories.base import default_organisation, next_number


def make_imported_call(
    turns: tuple[tuple[str, str], ...] = (), tools: tuple[str, ...] = (), **columns: Any
) -> ImportedCall:
    """Make a call whose log was imported; keywords of ``Call`` and ``ImportedCall`` alike.

    With ``call``: that one came here, and its log was imported.
    """
    own = {name.name for name in ImportedCall._meta.get_fields()} - {"organisation", "call"}
    known: Call | None = columns.pop("call", None)
    organisation = columns.pop("organisation", None) or default_organisation()
    log_id = str(columns.pop("log_id", uuid.uuid4()))
    imported = {name: columns.pop(name) for name in list(columns) if name in own}
    now = timezone.now() - dt.timedelta(hours=1)
    defaults: dict[str, Any] = {
        "organisation": organisation,
        "call_sid": f"vp{uuid.uuid4().hex}",
        "stack": "vapi",
        "status": "ended",
        "ended_reason": "customer-ended-call",
        "started_at": now,
        "ended_at": now + dt.timedelta(minutes=1),
        "imported_at": timezone.now(),
        "caller": "+14155550142",
        "callee": "+14155550143",
    }
    call = known or Call.objects.create(**{**defaults, **columns})
    for place, (role, text) in enumerate(turns):
        Turn.objects.create(call=call, ordinal=place, role=role, text=text, started_ms=place * 1000)
    for place, name in enumerate(tools):
        ToolInvocation.objects.create(
            call=call,
            organisation=organisation,
            tool_call_id=f"call_{place}",
            name=name,
            arguments_json="{}",
            state="ok",
            output="done",
            started_ms=place * 1000 + 500,
        )
    return ImportedCall.objects.create(
        call=call,
        organisation=call.organisation,
        log_id=log_id,
        **{"was_here": known is not None, **imported},
    )


def make_log_import(**columns: Any) -> CallLogImport:
    """Make an import that has ended."""
    defaults: dict[str, Any] = {
        "organisation": default_organisation(),
        "source": "upload",
        "label": "calls.ndjson",
        "counts": {"created": 2, "wrong": 1},
        "problems": [{"file": "calls.ndjson", "line": 3, "why": "it is no JSON"}],
        "finished_at": timezone.now(),
    }
    return CallLogImport.objects.create(**{**defaults, **columns})


def make_log_piece(log_import: CallLogImport | None = None, **columns: Any) -> CallLogPiece:
    """Make a piece of an uploaded log."""
    defaults: dict[str, Any] = {"file_name": "calls.ndjson", "ordinal": 0, "data": b"{}\n"}
    return CallLogPiece.objects.create(
        log_import=log_import or make_log_import(), **{**defaults, **columns}
    )


def make_shim(**columns: Any) -> ToolShim:
    """Make a recording address that records for a week."""
    token = str(columns.pop("token", f"token-{next_number()}-{uuid.uuid4().hex}"))
    defaults: dict[str, Any] = {
        "organisation": default_organisation(),
        "name": f"Bookings {next_number()}",
        "target_url": "https://tools.example.com/book",
        "token": token,
        "token_hash": hashlib.sha256(token.encode()).hexdigest(),
        "records_until": timezone.now() + dt.timedelta(days=7),
    }
    return ToolShim.objects.create(**{**defaults, **columns})


def make_shim_record(shim: ToolShim | None = None, **columns: Any) -> ShimRecord:
    """Make a request that came through an address and waits."""
    defaults: dict[str, Any] = {"content": {"log_id": "x"}, "received_at": timezone.now()}
    return ShimRecord.objects.create(shim=shim or make_shim(), **{**defaults, **columns})
