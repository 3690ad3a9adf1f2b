"""Storing one draft of an import: the outcome of a tool, assistant, squad, number or resource.

Owns what an import may change: it publishes only when something changed, never over what somebody
changed here since the last import (that becomes a draft revision, or waits beside the row), and
never in another organisation. What costs time is done before a transaction is opened; each object
is one of its own.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from assistants import ports
from assistants.export import EXPORTED_FROM
from assistants.findings import LOSSY, MAPPED
from assistants.findings import Finding as FindingValue
from assistants.import_results import (
    CREATED,
    REFUSED,
    UNCHANGED,
    UPDATED,
    ObjectResult,
    result_of,
)
from assistants.import_secrets import without_stored_secrets
from assistants.import_sides import (
    changed_sides,
    imported_object,
    imported_remember,
    row_document,
    sides_of,
)
from assistants.importing import Draft, linked_tool_ids
from assistants.kinds import RESOURCE_KINDS
from assistants.models import (
    Assistant,
    AssistantRevision,
    ImportedObject,
    Squad,
    StoredResource,
)
from assistants.resource_services import resource_is_current, resource_store
from assistants.services import (
    assistant_is_current,
    assistant_publish,
    document_to_store,
    revision_document,
)
from assistants.squad_services import squad_is_current, squad_store
from tools.exceptions import ToolTypeIsFixed
from tools.models import Tool
from tools.services import tool_is_current, tool_store
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import ChangedMeanwhile
from voiceplatform.base.redaction import keep_secrets

FOREIGN: Final = (
    "this id cannot be used in this organisation. Fix: remove `id` from the file to import a copy"
)
_BROUGHT_BACK: Final = FindingValue("$", MAPPED, "It had been deleted here and is back.")
_ONLY_OURS: Final = FindingValue(
    "$",
    MAPPED,
    "It was changed here since the last import and not at Vapi, so it stays as it is here.",
)
_BOTH: Final = FindingValue(
    "$",
    LOSSY,
    "Both sides changed it since the last import, so what answers calls was not overwritten: what "
    "Vapi has now is a draft revision. Fix: compare the two in the admin, then publish the draft "
    "or discard it.",
)
_BOTH_HERE: Final = FindingValue(
    "$",
    LOSSY,
    "Both sides changed it since the last import, so it was not overwritten: what Vapi has now "
    "waits beside it. Fix: open Imported versions in the admin, compare the two, and take the one "
    "from Vapi or keep ours.",
)
_ONE_DOCUMENT: Final = frozenset({"tool", "squad", *RESOURCE_KINDS})


@dataclass(frozen=True, slots=True)
class ImportContext:
    """Who imports, for whom, and what else the same import brings.

    ``tool_ids`` are saved tools that assistants may link; ``arriving`` the assistants and squads
    that come in the same import; ``existing`` the ids among its objects that have a row already,
    in whatever organisation: the others are not looked for one by one.
    """

    organisation: Organisation
    actor: Any
    dry_run: bool
    tool_ids: Collection[str] = frozenset()
    arriving: frozenset[str] = frozenset()
    existing: frozenset[str] = frozenset()

    def row_of(self, draft: Draft, rows: QuerySet[Any]) -> Any:
        """Return the row that ``draft`` would change, None when it is new."""
        return rows.filter(pk=draft.object_id).first() if draft.object_id in self.existing else None


def store_draft(draft: Draft, context: ImportContext) -> ObjectResult:
    """Store one draft, or say what storing it would do; never raises for what a file says."""
    if draft.verdict:
        return result_of(draft, draft.verdict, draft.reason)
    try:
        if draft.kind == "assistant":
            return _store_assistant(draft, context)
        if draft.kind in _ONE_DOCUMENT:
            return _store_document(draft, context)
        return _store_number(draft, context)
    except ToolTypeIsFixed as error:
        reason = f"{error}. Fix: delete the tool here first, or give this one another id"
        return result_of(draft, REFUSED, reason)
    except (IntegrityError, ChangedMeanwhile):
        reason = "it was changed at the same moment. Fix: import it again"
        return result_of(draft, REFUSED, reason)


def _store_assistant(draft: Draft, context: ImportContext) -> ObjectResult:
    document = draft.document or {}
    rows = Assistant.objects.select_related("current_revision", "imported_revision", "organisation")
    assistant: Assistant | None = context.row_of(draft, rows)
    is_draft = False
    if assistant is not None:
        if assistant.organisation_id != context.organisation.pk:
            return result_of(draft, REFUSED, FOREIGN)
        draft = without_stored_secrets(draft, document_to_store(document, assistant))
        if assistant_is_current(assistant, document, linked_tool_ids(draft, context.tool_ids)):
            if not context.dry_run and assistant.imported_revision_id != (
                current := assistant.current_revision_id
            ):
                same = Assistant.objects.filter(pk=assistant.pk, current_revision=current)
                same.update(imported_revision=current)
            return result_of(draft, UNCHANGED)
        if assistant.deleted_at is not None:
            draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
        else:
            ours, theirs = _changed_sides(assistant, draft)
            if ours and not theirs:
                return result_of(replace(draft, findings=(_ONLY_OURS, *draft.findings)), UNCHANGED)
            is_draft = ours and theirs
            if is_draft:
                draft = replace(draft, findings=(_BOTH, *draft.findings))
    if not context.dry_run:
        assistant_publish(
            organisation=context.organisation,
            document=document,
            source="import",
            actor=context.actor,
            assistant=assistant,
            assistant_id=uuid.UUID(draft.object_id),
            created_at=moment(draft.created_at),
            as_draft=is_draft,
            note="From Vapi; both sides had changed" if is_draft else "",
            restore=True,
            as_read=True,
        )
    return result_of(draft, UPDATED if assistant else CREATED)


def _changed_sides(assistant: Assistant, draft: Draft) -> tuple[bool, bool]:
    """Tell whether we, and whether the file, changed it since the last import."""
    imported = assistant.imported_revision or _last_import(assistant)
    current = assistant.current_revision
    if imported is None or current is None:
        return False, True
    ours, theirs = changed_sides(
        brought=revision_document(imported),
        now=revision_document(current),
        new=document_to_store(draft.document or {}, None),
        exported_from=(draft.original or {}).get(EXPORTED_FROM),
    )
    return ours and current.pk != imported.pk, theirs


def _last_import(assistant: Assistant) -> AssistantRevision | None:
    """Return what the last import brought to a row older than ``imported_revision``."""
    return assistant.revisions.filter(source="import").order_by("-number").first()


@dataclass(frozen=True, slots=True)
class _Shelf:
    """How rows of one kind are found, compared and stored."""

    rows: Callable[[], QuerySet[Any]]
    is_other: Callable[[Any, str], bool]  # a row of this id that an import may not touch
    is_current: Callable[[Any, Mapping[str, Any]], bool]
    store: Callable[..., Any]
    check: Callable[[Any, Mapping[str, Any]], None] = lambda row, document: None


def _tool_check(tool: Tool, document: Mapping[str, Any]) -> None:
    if document.get("type") != tool.type:
        raise ToolTypeIsFixed(f"type is {tool.type} and cannot be changed")


_TOOLS: Final = _Shelf(
    rows=Tool.objects.all,
    is_other=lambda tool, kind: tool.is_inline,
    is_current=lambda tool, document: tool.deleted_at is None and tool_is_current(tool, document),
    store=lambda *, row, row_id, kind, **common: tool_store(
        tool=row, tool_id=row_id, restore=True, as_read=True, **common
    ),
    check=_tool_check,
)
_SQUADS: Final = _Shelf(
    rows=lambda: Squad.objects.select_related("organisation"),
    is_other=lambda squad, kind: False,
    is_current=squad_is_current,
    store=lambda *, row, row_id, kind, **common: squad_store(
        squad=row, squad_id=row_id, as_read=True, **common
    ),
)
_RESOURCES: Final = _Shelf(
    rows=lambda: StoredResource.objects.defer("content").select_related("organisation"),
    is_other=lambda resource, kind: resource.kind != kind,
    is_current=resource_is_current,
    store=lambda *, row, row_id, **common: resource_store(
        resource=row, resource_id=row_id, as_read=True, **common
    ),
)


def _store_document(draft: Draft, context: ImportContext) -> ObjectResult:
    """Store a tool, squad or resource: rows that are one document."""
    shelf = {"tool": _TOOLS, "squad": _SQUADS}.get(draft.kind, _RESOURCES)
    document = draft.document or {}
    row = context.row_of(draft, shelf.rows())
    known: ImportedObject | None = None
    if row is not None:
        if row.organisation_id != context.organisation.pk or shelf.is_other(row, draft.kind):
            return result_of(draft, REFUSED, FOREIGN)
        now = row_document(row)
        draft = without_stored_secrets(draft, keep_secrets(dict(document), now))
        known = imported_object(draft.kind, row.pk)
        if shelf.is_current(row, document):
            _remember(draft, context, known)
            return result_of(draft, UNCHANGED)
        shelf.check(row, document)
        if row.deleted_at is not None:
            draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
        else:
            ours, theirs = sides_of(
                known,
                kind=draft.kind,
                now=now,
                document=document,
                original=draft.original or {},
            )
            if ours:
                return _kept_ours(draft, context, known, is_news=theirs)
    if not context.dry_run:
        shelf.store(
            organisation=context.organisation,
            kind=draft.kind,
            document=document,
            actor=context.actor,
            row=row,
            row_id=uuid.UUID(draft.object_id),
            created_at=moment(draft.created_at),
        )
    _remember(draft, context, known)
    return result_of(draft, UPDATED if row else CREATED)


def _kept_ours(
    draft: Draft, context: ImportContext, known: ImportedObject | None, *, is_news: bool
) -> ObjectResult:
    """Leave what was changed here as it is; what both sides changed waits for a person."""
    waits = is_news or (known is not None and known.waits)
    _remember(draft, context, known, waits=waits)
    finding = _BOTH_HERE if waits else _ONLY_OURS
    draft = replace(draft, findings=(finding, *draft.findings))
    return result_of(draft, UPDATED if is_news else UNCHANGED)


def _remember(
    draft: Draft, context: ImportContext, known: ImportedObject | None, *, waits: bool = False
) -> None:
    # After the row and in a transaction of its own: if this is lost, the next import asks a
    # person where it need not, and overwrites nothing.
    if not context.dry_run:
        imported_remember(
            known,
            organisation=context.organisation,
            kind=draft.kind,
            object_id=uuid.UUID(draft.object_id),
            document=draft.document or {},
            name=draft.name,
            waits=waits,
        )


def _store_number(draft: Draft, context: ImportContext) -> ObjectResult:
    importer = ports.number_importer()
    if importer is None:
        return result_of(draft, REFUSED, "this installation has no phone numbers")
    with transaction.atomic():
        outcome, reason = importer(
            organisation=context.organisation,
            document=draft.document or {},
            number_id=uuid.UUID(draft.object_id),
            created_at=moment(draft.created_at),
            actor=context.actor,
            dry_run=context.dry_run,
            arriving=context.arriving,
        )
    if isinstance(reason, FindingValue):
        return result_of(replace(draft, findings=(reason, *draft.findings)), outcome)
    return result_of(draft, outcome, reason)


def moment(text: str) -> dt.datetime | None:
    """Return an aware time of this century, None for anything else."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    if found is None or not 2001 <= found.year < 2100:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
