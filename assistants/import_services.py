"""Writes of an import: drafts become tools, assistants and numbers, and a run with its findings.

Owns the outcome of each object (created, updated, unchanged, refused, ignored). Publishing itself
stays in ``assistants.services`` and ``tools.services``; each object is a transaction of its own, so
one that fails takes no other with it. It must not know HTTP or files on disk.
"""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from assistants import ports
from assistants.findings import Finding as FindingValue
from assistants.findings import account
from assistants.importing import (
    Draft,
    drafts_of,
    linked_tool_ids,
    wanted_tool_ids,
    with_missing_tools,
    without_stored_secrets,
)
from assistants.models import Assistant, Finding, ImportRun
from assistants.services import assistant_is_current, assistant_publish, document_to_store
from assistants.wire.files import read_file
from assistants.yaml12 import parse_yaml
from tools.exceptions import ToolTypeIsFixed
from tools.models import Tool
from tools.selectors import tools_by_id
from tools.services import tool_document, tool_is_current, tool_store
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import keep_secrets
from voiceplatform.base.services import audit_write

CREATED: Final = "created"
UPDATED: Final = "updated"
UNCHANGED: Final = "unchanged"
REFUSED: Final = "refused"
IGNORED: Final = "ignored"
OUTCOMES: Final = (CREATED, UPDATED, UNCHANGED, REFUSED, IGNORED)

_BATCH: Final = 200  # rows in one write transaction (design.md 9)
_PREVIEW_LIVES: Final = dt.timedelta(days=1)
_ORDER: Final = {"tool": 0, "assistant": 1, "phone-number": 2}
_FOREIGN: Final = (
    "this id cannot be used in this organisation. Fix: remove `id` from the file to import a copy"
)
_BROUGHT_BACK: Final = FindingValue("$", "mapped", "It had been deleted here and is back.")


@dataclass(frozen=True, slots=True)
class ImportFile:
    """One file to import; ``name`` is its path below the imported folder."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """What became of one object."""

    kind: str
    object_id: str
    name: str
    file: str
    where: str
    outcome: str
    reason: str = ""
    findings: tuple[FindingValue, ...] = ()
    leaves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of every object, in the order of the files."""

    results: tuple[ObjectResult, ...]
    run: ImportRun | None = None

    def counts(self) -> dict[str, int]:
        """Return how many objects had each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in OUTCOMES}


def import_files(
    *,
    organisation: Organisation,
    files: Iterable[ImportFile],
    actor: Any,
    source: str,
    dry_run: bool = False,
    is_folder: bool = True,
) -> ImportReport:
    """Import every object in ``files``; a dry run reads everything and writes nothing.

    Args:
        actor: a user, or None for the system.
        source: ``command`` or ``upload``, shown with the run.
        is_folder: the files were found in a folder, so one that is no export is ignored.
    """
    drafts = _drafts(organisation, files, is_folder=is_folder)
    results: dict[int, ObjectResult] = {}
    arriving = frozenset(d.object_id for d in drafts if d.kind == "assistant" and not d.verdict)
    here = {d.object_id for d in drafts if d.kind == "tool" and not d.verdict}
    here |= tools_by_id(organisation, wanted_tool_ids(drafts)).keys()
    for index in sorted(range(len(drafts)), key=lambda i: (_ORDER.get(drafts[i].kind, 3), i)):
        draft = drafts[index]
        if draft.verdict:
            results[index] = _result(draft, draft.verdict, draft.reason)
            continue
        try:
            with transaction.atomic():
                results[index] = _import_one(
                    draft, organisation, actor, dry_run=dry_run, here=here, arriving=arriving
                )
        except (ToolTypeIsFixed, IntegrityError) as error:
            reason = (
                f"{error}. Fix: delete the tool here first, or give this one another id"
                if isinstance(error, ToolTypeIsFixed)
                else "it was changed at the same moment. Fix: import it again"
            )
            results[index] = _result(draft, REFUSED, reason)
    ordered = tuple(results[index] for index in range(len(drafts)))
    run = None
    if not dry_run:
        run = _run_store(organisation, ordered, actor, source, ImportRun.State.DONE, None)
    return ImportReport(ordered, run)


def _drafts(
    organisation: Organisation, files: Iterable[ImportFile], *, is_folder: bool
) -> tuple[Draft, ...]:
    by_name = sorted(files, key=lambda file: file.name)
    readings = [read_file(file.name, file.raw, parse_yaml) for file in by_name]
    drafts = drafts_of(readings, organisation_id=organisation.pk, is_folder=is_folder)
    ids = [draft.object_id for draft in drafts if draft.kind == "tool" and not draft.verdict]
    foreign = _foreign_tools(organisation, ids)
    drafts = tuple(
        replace(draft, verdict=REFUSED, reason=_FOREIGN)
        if draft.kind == "tool" and draft.object_id in foreign
        else draft
        for draft in drafts
    )
    known = tools_by_id(organisation, wanted_tool_ids(drafts))
    return with_missing_tools(drafts, known.keys())


def _foreign_tools(organisation: Organisation, ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), _BATCH):
        rows = Tool.objects.filter(pk__in=ids[start : start + _BATCH])
        others = rows.exclude(organisation=organisation) | rows.filter(is_inline=True)
        found |= {str(pk) for pk in others.values_list("pk", flat=True)}
    return found


def _import_one(
    draft: Draft,
    organisation: Organisation,
    actor: Any,
    *,
    dry_run: bool,
    here: Iterable[str],
    arriving: frozenset[str],
) -> ObjectResult:
    if draft.kind == "tool":
        return _import_tool(draft, organisation, actor, dry_run=dry_run)
    if draft.kind == "assistant":
        return _import_assistant(draft, organisation, actor, dry_run=dry_run, here=set(here))
    importer = ports.number_importer()
    if importer is None:
        return _result(draft, REFUSED, "this installation has no phone numbers")
    outcome, reason = importer(
        organisation=organisation,
        document=draft.document or {},
        number_id=uuid.UUID(draft.object_id),
        created_at=_moment(draft.created_at),
        actor=actor,
        dry_run=dry_run,
        arriving=arriving,
    )
    return _result(draft, outcome, reason)


def _import_tool(
    draft: Draft, organisation: Organisation, actor: Any, *, dry_run: bool
) -> ObjectResult:
    document = draft.document or {}
    tool = Tool.objects.filter(pk=draft.object_id).first()
    if tool is not None:
        draft = without_stored_secrets(draft, keep_secrets(dict(document), tool_document(tool)))
        if tool.deleted_at is None and tool_is_current(tool, document):
            return _result(draft, UNCHANGED)
        if document.get("type") != tool.type:
            raise ToolTypeIsFixed(f"type is {tool.type} and cannot be changed")
    if dry_run:
        return _result(draft, UPDATED if tool else CREATED)
    if tool is not None and tool.deleted_at is not None:
        Tool.objects.filter(pk=tool.pk).update(deleted_at=None)
        draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
    tool_store(
        organisation=organisation,
        document=document,
        actor=actor,
        tool=tool,
        tool_id=uuid.UUID(draft.object_id),
    )
    created_at = _moment(draft.created_at)
    if tool is None and created_at is not None:
        Tool.objects.filter(pk=draft.object_id).update(created_at=created_at)
    return _result(draft, UPDATED if tool else CREATED)


def _import_assistant(
    draft: Draft, organisation: Organisation, actor: Any, *, dry_run: bool, here: set[str]
) -> ObjectResult:
    document = draft.document or {}
    rows = Assistant.objects.select_related("current_revision", "organisation")
    assistant = rows.filter(pk=draft.object_id).first()
    if assistant is not None:
        if assistant.organisation_id != organisation.pk:
            return _result(draft, REFUSED, _FOREIGN)
        draft = without_stored_secrets(draft, document_to_store(document, assistant))
        if assistant_is_current(assistant, document, linked_tool_ids(draft, here)):
            return _result(draft, UNCHANGED)
    outcome = UPDATED if assistant else CREATED
    if dry_run:
        return _result(draft, outcome)
    if assistant is not None and assistant.deleted_at is not None:
        Assistant.objects.filter(pk=assistant.pk).update(deleted_at=None)
        draft = replace(draft, findings=(_BROUGHT_BACK, *draft.findings))
    assistant_publish(
        organisation=organisation,
        document=document,
        source="import",
        actor=actor,
        assistant=assistant,
        assistant_id=uuid.UUID(draft.object_id),
        created_at=_moment(draft.created_at),
    )
    return _result(draft, outcome)


def _result(draft: Draft, outcome: str, reason: str = "") -> ObjectResult:
    leaves = account(draft.original or {}, draft.findings, draft.marks)
    return ObjectResult(
        kind=draft.kind,
        object_id=draft.object_id,
        name=draft.name,
        file=draft.file,
        where=draft.where,
        outcome=outcome,
        reason=reason,
        findings=draft.findings,
        leaves=tuple(leaves) if draft.document is not None else (),
    )


def _moment(text: str) -> dt.datetime | None:
    """Return an aware time of this century, None for anything else."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    if moment is None or not 2001 <= moment.year < 2100:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _run_store(
    organisation: Organisation,
    results: Sequence[ObjectResult],
    actor: Any,
    source: str,
    state: ImportRun.State,
    files: Mapping[str, str] | None,
) -> ImportRun:
    run = ImportRun.objects.create(
        organisation=organisation,
        state=state,
        source=source,
        created_by=actor if isinstance(actor, get_user_model()) else None,
        objects_json=[
            {
                "kind": result.kind,
                "id": result.object_id,
                "name": result.name,
                "file": result.file,
                "where": result.where,
                "outcome": result.outcome,
                "reason": result.reason,
            }
            for result in results
        ],
        files=files,
    )
    rows = [
        Finding(
            run=run,
            object_number=number,
            path=finding.path[:500],
            state=finding.state,
            message=finding.message,
        )
        for number, result in enumerate(results)
        for finding in result.findings
    ]
    for start in range(0, len(rows), _BATCH):
        Finding.objects.bulk_create(rows[start : start + _BATCH])
    if state == ImportRun.State.DONE:
        counts = Counter(result.outcome for result in results)
        audit_write(
            actor=actor,
            action="import.run",
            organisation=organisation,
            target=run,
            details={"source": source, **counts},
        )
    return run


def preview_create(
    *, organisation: Organisation, files: Sequence[ImportFile], actor: Any
) -> ImportRun:
    """Store what importing ``files`` would do, with the files sealed until it is confirmed.

    Previews that nobody confirmed within a day are deleted, files included.
    """
    stale = ImportRun.objects.filter(
        state=ImportRun.State.PREVIEW, created_at__lt=timezone.now() - _PREVIEW_LIVES
    )
    stale.delete()
    report = import_files(
        organisation=organisation, files=files, actor=actor, source="upload", dry_run=True
    )
    sealed = {file.name: base64.b64encode(file.raw).decode("ascii") for file in files}
    return _run_store(
        organisation, report.results, actor, "upload", ImportRun.State.PREVIEW, sealed
    )


def preview_confirm(*, run: ImportRun, actor: Any) -> ImportReport | None:
    """Import the files of a preview and drop the preview; None when somebody already has.

    What the files would do is computed again: the preview may be older than the rows.
    """
    with transaction.atomic():
        row = (
            ImportRun.objects.select_for_update()
            .select_related("organisation")
            .filter(pk=run.pk, state=ImportRun.State.PREVIEW)
            .first()
        )
        if row is None:
            return None
        organisation, stored = row.organisation, row.files or {}
        row.delete()
    files = [ImportFile(name, base64.b64decode(data)) for name, data in stored.items()]
    return import_files(organisation=organisation, files=files, actor=actor, source="upload")
