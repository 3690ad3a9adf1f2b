"""Storing one draft of an import: the outcome of a tool, assistant, squad, number or resource.

Owns what an import may change: it publishes only when something changed, never over what somebody
changed here since the last import (that becomes a draft revision), and never in another
organisation. What costs time is done before a transaction is opened; each object is one of its own.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from assistants import ports
from assistants.export import EXPORTED_FROM, fingerprint
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
from assistants.importing import Draft, linked_tool_ids
from assistants.kinds import RESOURCE_KINDS
from assistants.models import Assistant, AssistantRevision, Squad, StoredResource
from assistants.resource_services import resource_is_current, resource_store
from assistants.services import (
    assistant_is_current,
    assistant_publish,
    document_to_store,
    revision_document,
)
from assistants.squad_services import squad_document, squad_is_current, squad_store
from tools.exceptions import ToolTypeIsFixed
from tools.models import Tool
from tools.services import tool_document, tool_is_current, tool_store
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import keep_secrets, redact

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


class _ChangedMeanwhile(Exception):
    """Somebody wrote to the row between reading and writing."""


def store_draft(draft: Draft, context: ImportContext) -> ObjectResult:
    """Store one draft, or say what storing it would do; never raises for what a file says."""
    if draft.verdict:
        return result_of(draft, draft.verdict, draft.reason)
    try:
        if draft.kind == "tool":
            return _store_tool(draft, context)
        if draft.kind == "assistant":
            return _store_assistant(draft, context)
        if draft.kind == "squad":
            return _store_squad(draft, context)
        if draft.kind in RESOURCE_KINDS:
            return _store_resource(draft, context)
        return _store_number(draft, context)
    except ToolTypeIsFixed as error:
        reason = f"{error}. Fix: delete the tool here first, or give this one another id"
        return result_of(draft, REFUSED, reason)
    except (IntegrityError, _ChangedMeanwhile):
        reason = "it was changed at the same moment. Fix: import it again"
        return result_of(draft, REFUSED, reason)


def _store_tool(draft: Draft, context: ImportContext) -> ObjectResult:
    document = draft.document or {}
    tool: Tool | None = context.row_of(draft, Tool.objects.all())
    if tool is not None:
        if tool.organisation_id != context.organisation.pk or tool.is_inline:
            return result_of(draft, REFUSED, FOREIGN)
        draft = without_stored_secrets(draft, keep_secrets(dict(document), tool_document(tool)))
        if tool.deleted_at is None and tool_is_current(tool, document):
            return result_of(draft, UNCHANGED)
        if document.get("type") != tool.type:
            raise ToolTypeIsFixed(f"type is {tool.type} and cannot be changed")
        if tool.deleted_at is not None:
            draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
    if not context.dry_run:
        with transaction.atomic():
            if tool is not None and tool.deleted_at is not None:
                Tool.objects.filter(pk=tool.pk).update(deleted_at=None)
            tool_store(
                organisation=context.organisation,
                document=document,
                actor=context.actor,
                tool=tool,
                tool_id=uuid.UUID(draft.object_id),
            )
            created_at = moment(draft.created_at)
            if tool is None and created_at is not None:
                Tool.objects.filter(pk=draft.object_id).update(created_at=created_at)
    return result_of(draft, UPDATED if tool else CREATED)


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
        _publish(draft, assistant, context, is_draft=is_draft)
    return result_of(draft, UPDATED if assistant else CREATED)


def _changed_sides(assistant: Assistant, draft: Draft) -> tuple[bool, bool]:
    """Tell whether we, and whether the file, changed it since the last import.

    A secret that was entered here is no change: exports never contain any (vapi.md trap 16). A
    file of our own export says what it was made from.
    """
    document, original = draft.document or {}, draft.original or {}
    imported = assistant.imported_revision or _last_import(assistant)
    current = assistant.current_revision
    if imported is None or current is None:
        return False, True
    if original.get(EXPORTED_FROM) == fingerprint(revision_document(current)):
        return False, True
    brought = revision_document(imported)
    now = revision_document(current)
    ours = current.pk != imported.pk and redact(now) != redact(keep_secrets(brought, now))
    theirs = keep_secrets(document_to_store(document, None), brought) != brought
    return ours, theirs


def _last_import(assistant: Assistant) -> AssistantRevision | None:
    """Return what the last import brought to a row older than ``imported_revision``."""
    return assistant.revisions.filter(source="import").order_by("-number").first()


@transaction.atomic
def _publish(
    draft: Draft, assistant: Assistant | None, context: ImportContext, *, is_draft: bool
) -> None:
    if assistant is not None:
        locked = Assistant.objects.select_for_update().get(pk=assistant.pk)
        if locked.current_revision_id != assistant.current_revision_id:
            raise _ChangedMeanwhile
        if assistant.deleted_at is not None:
            Assistant.objects.filter(pk=assistant.pk).update(deleted_at=None)
    assistant_publish(
        organisation=context.organisation,
        document=draft.document or {},
        source="import",
        actor=context.actor,
        assistant=assistant,
        assistant_id=uuid.UUID(draft.object_id),
        created_at=moment(draft.created_at),
        as_draft=is_draft,
        note="From Vapi; both sides had changed" if is_draft else "",
    )


def _store_squad(draft: Draft, context: ImportContext) -> ObjectResult:
    document = draft.document or {}
    rows = Squad.objects.select_related("organisation")
    squad: Squad | None = context.row_of(draft, rows)
    if squad is not None:
        if squad.organisation_id != context.organisation.pk:
            return result_of(draft, REFUSED, FOREIGN)
        draft = without_stored_secrets(draft, keep_secrets(dict(document), squad_document(squad)))
        if squad_is_current(squad, document):
            return result_of(draft, UNCHANGED)
        if squad.deleted_at is not None:
            draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
    if not context.dry_run:
        squad_store(
            organisation=context.organisation,
            document=document,
            actor=context.actor,
            squad=squad,
            squad_id=uuid.UUID(draft.object_id),
            created_at=moment(draft.created_at),
        )
    return result_of(draft, UPDATED if squad else CREATED)


def _store_resource(draft: Draft, context: ImportContext) -> ObjectResult:
    document = draft.document or {}
    rows = StoredResource.objects.defer("content").select_related("organisation")
    resource: StoredResource | None = context.row_of(draft, rows)
    if resource is not None:
        if resource.organisation_id != context.organisation.pk or resource.kind != draft.kind:
            return result_of(draft, REFUSED, FOREIGN)
        if resource_is_current(resource, document):
            return result_of(draft, UNCHANGED)
        if resource.deleted_at is not None:
            draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
    if not context.dry_run:
        resource_store(
            organisation=context.organisation,
            kind=draft.kind,
            document=document,
            actor=context.actor,
            resource=resource,
            resource_id=uuid.UUID(draft.object_id),
            created_at=moment(draft.created_at),
        )
    return result_of(draft, UPDATED if resource else CREATED)


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
