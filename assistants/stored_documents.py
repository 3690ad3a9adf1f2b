"""Rows that are one Vapi document and its columns: squads and stored resources.

Owns how such a document is stored: computed fields left out, secrets kept that a new version does
not mention (design decision 13), one audit entry per write. The public services are
``squad_services`` and ``resource_services``; this module must not know what a document means.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from django.utils import timezone

from assistants.models import Squad, StoredResource
from voiceplatform.base.redaction import keep_secrets, redact
from voiceplatform.base.services import audit_write

# Computed by the server; a client that sends an object back includes them (vapi.md 2.2).
COMPUTED: Final = frozenset(
    {
        *("id", "orgId", "createdAt", "updatedAt", "latestVersion"),
        "exportedFrom",  # what our own exports say of themselves
    }
)

Row = TypeVar("Row", Squad, StoredResource)


def document_of(row: Squad | StoredResource) -> dict[str, Any]:
    """Return the whole document with its secrets."""
    return dict(row.document or {})


def document_to_store(
    document: Mapping[str, Any], stored: Mapping[str, Any] | None, computed: frozenset[str]
) -> dict[str, Any]:
    """Return what storing ``document`` over ``stored`` would keep."""
    kept = {name: value for name, value in document.items() if name not in computed}
    merged: dict[str, Any] = keep_secrets(kept, dict(stored)) if stored else kept
    return merged


def store(
    row: Row,
    *,
    document: Mapping[str, Any],
    computed: frozenset[str] = COMPUTED,
    created_at: dt.datetime | None = None,
) -> Row:
    """Fill ``row`` from ``document`` and save it; one that had been deleted is back."""
    is_new = row._state.adding
    now = timezone.now()
    if is_new:
        row.created_at = created_at or now
    kept = document_to_store(document, None if is_new else document_of(row), computed)
    name = kept.get("name")
    row.name = name[:200] if isinstance(name, str) else ""
    row.document = kept
    row.document_redacted = redact(kept)
    row.updated_at = now
    row.deleted_at = None
    row.save()
    return row


def retire(row: Squad | StoredResource) -> None:
    """Take ``row`` out of every list."""
    type(row).objects.filter(pk=row.pk).update(deleted_at=timezone.now())


def audit(row: Squad | StoredResource, noun: str, verb: str, actor: Any) -> None:
    """Record a write."""
    audit_write(actor=actor, action=f"{noun}.{verb}", organisation=row.organisation, target=row)


def new_id(wanted: uuid.UUID | None) -> uuid.UUID:
    """Return Vapi's id of an imported object, else a fresh one."""
    return wanted or uuid.uuid4()
