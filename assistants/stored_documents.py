"""Rows that are one Vapi document and its columns: squads and stored resources.

Owns how such a document is stored: computed fields left out, secrets kept that a new version does
not mention (design decision 13), one audit entry per write. The public services are
``squad_services`` and ``resource_services``; this module must not know what a document means.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from django.utils import timezone

from assistants.models import Squad, StoredResource
from voiceplatform.base.fields import seal_ahead
from voiceplatform.base.prepared import ChangedMeanwhile, RowGone, write_prepared
from voiceplatform.base.redaction import keep_secrets, redact
from voiceplatform.base.redaction_moves import moves_refuse
from voiceplatform.base.services import audit_write

# Computed by the server; a client that sends an object back includes them (vapi.md 2.2).
COMPUTED: Final = frozenset(
    {
        *("id", "orgId", "createdAt", "updatedAt", "latestVersion"),
        "exportedFrom",  # what our own exports say of themselves
    }
)

_HEAVY: Final[Mapping[Any, tuple[str, ...]]] = {StoredResource: ("content",)}

Row = TypeVar("Row", Squad, StoredResource)


def document_of(row: Squad | StoredResource) -> dict[str, Any]:
    """Return the whole document with its secrets."""
    return dict(row.document or {})


def patched(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``stored`` with each top-level field that ``patch`` names (vapi.md 0, rule 10).

    Raises:
        SecretMoved: a stored secret would go to another server.
    """
    moves_refuse(patch, stored)
    return {**stored, **patch}


def document_to_store(
    document: Mapping[str, Any], stored: Mapping[str, Any] | None, computed: frozenset[str]
) -> dict[str, Any]:
    """Return what storing ``document`` over ``stored`` would keep."""
    kept = {name: value for name, value in document.items() if name not in computed}
    merged: dict[str, Any] = keep_secrets(kept, dict(stored)) if stored else kept
    return merged


def store(
    row: Row,
    change: Callable[[Row], Mapping[str, Any]],
    *,
    computed: frozenset[str] = COMPUTED,
    created_at: dt.datetime | None = None,
    extra: Mapping[str, Any] | None = None,
    as_read: bool = False,
    only_live: bool = False,
    after: Callable[[Row], None],
) -> Row:
    """Give ``row`` the document that ``change`` makes of it as it is now, and save it.

    Args:
        created_at: when a new row was made, if it was made elsewhere.
        extra: columns to be filled besides.
        as_read: only over ``row`` as it was read.
        only_live: not over one that was deleted; otherwise it is back.
        after: runs in the same transaction.

    Raises:
        ChangedMeanwhile: with ``as_read``, somebody else wrote to it.
        RowGone: with ``only_live``, it was deleted meanwhile.
    """
    is_new = row._state.adding
    model: Any = type(row)
    rows = model.objects.filter(pk=row.pk)

    def prepare() -> tuple[Row, tuple[Any, ...]]:
        now, seen = row, ()
        if not is_new:
            # The bytes of a file are not read for a change that does not touch them.
            now = rows.select_related("organisation").defer(*_HEAVY.get(model, ())).get()
            seen = _stamp(now)
            if as_read and seen != _stamp(row):
                raise ChangedMeanwhile
            if only_live and now.deleted_at is not None:
                raise RowGone(f"{model._meta.verbose_name.capitalize()} {now.pk} was not found.")
        stored = None if is_new else document_of(now)
        _fill(now, document_to_store(change(now), stored, computed), created_at)
        for name, value in (extra or {}).items():
            setattr(now, name, value)
        seal_ahead(now)
        return now, seen

    def write(prepared: tuple[Row, tuple[Any, ...]]) -> Row:
        now, seen = prepared
        if not is_new:
            locked = rows.select_for_update()
            if locked.values_list("updated_at", "deleted_at").first() != seen:
                raise ChangedMeanwhile
        now.save(force_insert=is_new)
        after(now)
        return now

    return write_prepared(prepare, write, lock=lambda: rows.select_for_update().first())


def _stamp(row: Squad | StoredResource) -> tuple[Any, ...]:
    return row.updated_at, row.deleted_at


def _fill(
    row: Squad | StoredResource, document: dict[str, Any], created_at: dt.datetime | None
) -> None:
    now = timezone.now()
    if row._state.adding:
        row.created_at = created_at or now
    name = document.get("name")
    row.name = name[:200] if isinstance(name, str) else ""
    row.document = document
    row.document_redacted = redact(document)
    row.updated_at = now
    row.deleted_at = None


def retire(row: Squad | StoredResource) -> None:
    """Take ``row`` out of every list."""
    type(row).objects.filter(pk=row.pk).update(deleted_at=timezone.now())


def audit(row: Squad | StoredResource, noun: str, verb: str, actor: Any) -> None:
    """Record a write."""
    audit_write(actor=actor, action=f"{noun}.{verb}", organisation=row.organisation, target=row)


def new_id(wanted: uuid.UUID | None) -> uuid.UUID:
    """Return Vapi's id of an imported object, else a fresh one."""
    return wanted or uuid.uuid4()
