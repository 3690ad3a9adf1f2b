"""Stored copies without secrets, made again when the rules of what is secret have changed.

Owns which columns are such copies and the walk over them: in small steps, each of them remembered,
so that whoever is interrupted goes on where it stopped. What is secret is ``base.redaction``'s. It
changes no document, no revision's content and no time of change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import transaction
from django.db.models import Model, QuerySet

from assistants.models import AssistantRevision, Squad, StoredResource
from tools.models import Tool
from voiceplatform.base.models import RedactedTable
from voiceplatform.base.redaction import REDACTION_VERSION, redact

_STEP: Final = 50

Copies = Callable[[Any], dict[str, Any]]


def _of_document(row: Any) -> dict[str, Any]:
    return {} if row.document is None else {"document_redacted": redact(row.document)}


def _of_tool(row: Any) -> dict[str, Any]:
    # What is redacted already has nothing more to lose, but for what the new rules hide.
    columns = {name: redact(getattr(row, name)) for name in ("messages", "destinations")}
    if row.document is None:
        return columns | {"parameters": redact(row.parameters)}
    function = row.document.get("function")
    schema = function.get("parameters") if isinstance(function, dict) else None
    parameters = redact(schema) if isinstance(schema, dict) else redact(row.parameters)
    return _of_document(row) | columns | {"parameters": parameters}


_TABLES: Final[Mapping[type[Model], Copies]] = {
    AssistantRevision: _of_document,
    Tool: _of_tool,
    Squad: _of_document,
    StoredResource: _of_document,
}


def redacted_copies_lag() -> list[str]:
    """Return the tables whose copies are not all made by the newest rules."""
    done = RedactedTable.objects.filter(version=REDACTION_VERSION, is_complete=True)
    labels = set(done.values_list("label", flat=True))
    return [each._meta.label_lower for each in _TABLES if each._meta.label_lower not in labels]


def redacted_copies_refresh() -> int:
    """Make every copy again that older rules made; return how many differed.

    Harmless when repeated, and cheap when nothing is to be done: one query.
    """
    lagging = set(redacted_copies_lag())
    return sum(
        _refresh(model, copies)
        for model, copies in _TABLES.items()
        if model._meta.label_lower in lagging
    )


def _refresh(model: type[Model], copies: Copies) -> int:
    label = model._meta.label_lower
    table, _ = RedactedTable.objects.get_or_create(
        label=label, defaults={"version": REDACTION_VERSION}
    )
    if table.version != REDACTION_VERSION:
        table.version, table.last_key, table.is_complete = REDACTION_VERSION, "", False
    changed = 0
    # Not through a revision's own manager, which refuses updates: what it says stays as it is.
    rows: QuerySet[Any] = QuerySet(model).order_by("pk")
    if any(field.name == "content" for field in model._meta.get_fields()):
        rows = rows.defer("content")
    while not table.is_complete:
        step = list((rows.filter(pk__gt=table.last_key) if table.last_key else rows)[:_STEP])
        with transaction.atomic():
            changed += sum(_store(rows, row, copies(row)) for row in step)
            table.is_complete = len(step) < _STEP
            table.last_key = "" if table.is_complete else str(step[-1].pk)
            table.save()
    return changed


def _store(rows: QuerySet[Any], row: Any, new: dict[str, Any]) -> bool:
    differing = {name: value for name, value in new.items() if getattr(row, name) != value}
    if not differing:
        return False
    same = rows.filter(pk=row.pk)
    if hasattr(row, "updated_at"):
        same = same.filter(updated_at=row.updated_at)  # whoever wrote since knew the new rules
    return bool(same.order_by().update(**differing))
