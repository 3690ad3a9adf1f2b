"""Imports of files: read, drafted, resolved against what is stored, stored one by one, recorded.

Owns the order (tools before what uses them) and the lookups that many drafts share; storing one
draft is ``import_store``, the record ``import_runs``, an import from Vapi's API ``import_api``. It
must not know HTTP or files on disk.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.db.models import Model
from django.utils import timezone

from assistants.import_results import (
    CREATED,
    IGNORED,
    OUTCOMES,
    REFUSED,
    UNCHANGED,
    UPDATED,
    ImportFile,
    ImportReport,
    ObjectResult,
)
from assistants.import_runs import BATCH, run_delete, run_leaves, run_store, run_uploads
from assistants.import_secrets import with_secrets
from assistants.import_store import FOREIGN, ImportContext, store_draft
from assistants.importing import (
    Draft,
    assistant_names_wanted,
    drafts_of,
    ids_wanted,
    refused,
    with_assistants_by_name,
    with_links,
)
from assistants.kinds import RESOURCE_KINDS
from assistants.models import Assistant, ImportRun, Squad, StoredResource
from assistants.selectors import circumstances_of
from assistants.vapi_api import VapiApi, VapiApiError, VapiCancelled
from assistants.wire.files import MAX_NODES, FileReading, read_file, read_object
from assistants.yaml12 import parse_yaml
from tools.models import Tool
from voiceplatform.base.models import Organisation

__all__ = [
    "CREATED",
    "IGNORED",
    "OUTCOMES",
    "REFUSED",
    "UNCHANGED",
    "UPDATED",
    "ImportFile",
    "ImportReport",
    "ObjectResult",
    "import_files",
    "preview_confirm",
    "preview_create",
    "run_leaves",
]

Progress = Callable[[int, int, str], None]  # done, total, label

MOST_VALUES: Final = 10 * MAX_NODES  # JSON values in one import, about half a gigabyte of them
_MOST_FETCHED: Final = 1000
_PREVIEW_LIVES: Final = dt.timedelta(days=1)
_ORDER: Final = {
    "tool": 0,
    **dict.fromkeys(RESOURCE_KINDS, 1),
    "assistant": 2,
    "squad": 3,
    "phone-number": 4,
}


def import_files(
    *,
    organisation: Organisation,
    files: Iterable[ImportFile],
    actor: Any,
    source: str,
    dry_run: bool = False,
    is_folder: bool = True,
    secrets: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    client: VapiApi | None = None,
) -> ImportReport:
    """Import every object in ``files``; a dry run reads everything and writes nothing.

    Args:
        files: read one by one; only what they say is kept in memory.
        actor: a user, or None for the system.
        source: ``command`` or ``upload``, shown with the run.
        is_folder: the files were found in a folder, so one that is no export is ignored.
        secrets: values of the ``${SECRET:NAME}`` that files of our own exports refer to.
        progress: told after each object.
        cancelled: asked before each object; what was stored until then stays.
        client: fetches saved tools that assistants use and that are neither here nor in the files.
    """
    if client is not None and cancelled is not None:
        client.cancelled = cancelled
    drafts = _drafts(organisation, files, is_folder=is_folder, client=client)
    drafts = with_secrets(drafts, secrets or {})
    results, is_cancelled = store_drafts(
        drafts,
        context_for(drafts, organisation, actor, dry_run=dry_run),
        progress=progress,
        cancelled=cancelled,
    )
    run = None
    if not dry_run:
        run = run_store(organisation=organisation, results=results, actor=actor, source=source)
    return ImportReport(tuple(results), run, is_cancelled=is_cancelled)


def _drafts(
    organisation: Organisation,
    files: Iterable[ImportFile],
    *,
    is_folder: bool,
    client: VapiApi | None,
) -> tuple[Draft, ...]:
    readings = list(_readings(files))
    readings.sort(key=lambda reading: reading.file)
    around = circumstances_of(organisation)

    def read() -> tuple[Draft, ...]:
        return drafts_of(
            readings, organisation_id=organisation.pk, is_folder=is_folder, around=around
        )

    drafts = read()
    fetched = _fetched_tools(organisation, drafts, client) if client is not None else []
    if fetched:
        readings += fetched
        drafts = read()
    return drafts_resolved(organisation, drafts)


def _fetched_tools(
    organisation: Organisation, drafts: Sequence[Draft], client: VapiApi
) -> list[FileReading]:
    """Fetch saved tools that are not here: an assistant's export alone lacks its tools (corpus)."""
    wanted = ids_wanted(drafts).get("tool", set())
    here = {d.object_id for d in drafts if d.kind == "tool"}
    here |= _stored_ids(organisation, {"tool": wanted})["tool"]
    fetched: list[FileReading] = []
    try:
        for tool_id in sorted(wanted - here)[:_MOST_FETCHED]:
            tool = client.get("tool", tool_id)
            if tool is not None:
                fetched.append(read_object(f"tool/{tool_id}", "tool", tool))
    except (VapiApiError, VapiCancelled):
        # The files are what was asked for; each tool that is missing is a finding of its own.
        return fetched
    return fetched


def _readings(files: Iterable[ImportFile]) -> Iterator[FileReading]:
    """Read files until they hold more than one import may."""
    values = 0
    for file in files:
        if values > MOST_VALUES:
            problem = f"over {MOST_VALUES} values in one import. Fix: import this file by itself"
            yield FileReading(file.name, problem=problem)
            continue
        reading = read_file(file.name, file.raw, parse_yaml)
        values += reading.values
        yield reading


def drafts_resolved(
    organisation: Organisation,
    drafts: Sequence[Draft],
    *,
    coming: Mapping[str, Collection[str]] | None = None,
) -> tuple[Draft, ...]:
    """Return ``drafts`` with references to stored objects resolved, and the findings on all.

    Args:
        coming: by kind, ids that come later in the same import.
    """
    foreign = _foreign(organisation, drafts)
    drafts = tuple(
        refused(draft, FOREIGN) if not draft.verdict and draft.object_id in foreign else draft
        for draft in drafts
    )
    names = _assistants_by_name(organisation, assistant_names_wanted(drafts))
    drafts = with_assistants_by_name(drafts, names) if names else drafts
    here = _stored_ids(organisation, ids_wanted(drafts))
    for kind, ids in (coming or {}).items():
        here[kind] = here.get(kind, set()) | set(ids)
    return with_links(drafts, here)


def context_for(
    drafts: Iterable[Draft], organisation: Organisation, actor: Any, *, dry_run: bool
) -> ImportContext:
    """Return what storing these drafts needs to know about them all."""
    drafts = [draft for draft in drafts if not draft.verdict]
    wanted = ids_wanted(drafts).get("tool", set())
    stored = _stored_ids(organisation, {"tool": wanted})["tool"]
    return ImportContext(
        organisation=organisation,
        actor=actor,
        dry_run=dry_run,
        tool_ids=frozenset(stored | {d.object_id for d in drafts if d.kind == "tool"}),
        arriving=frozenset(d.object_id for d in drafts if d.kind in ("assistant", "squad")),
        existing=frozenset(_existing_ids(drafts)),
    )


def store_drafts(
    drafts: Sequence[Draft],
    context: ImportContext,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[list[ObjectResult], bool]:
    """Store drafts in the order that links need; return results in their own, and if cancelled."""
    results: dict[int, ObjectResult] = {}
    order = sorted(range(len(drafts)), key=lambda i: (_ORDER.get(drafts[i].kind, 9), i))
    is_cancelled = False
    for done, index in enumerate(order, 1):
        if cancelled is not None and cancelled():
            is_cancelled = True
            break
        results[index] = store_draft(drafts[index], context)
        if progress is not None:
            progress(done, len(drafts), drafts[index].name or drafts[index].file)
    return [results[index] for index in sorted(results)], is_cancelled


def _model_of(kind: str) -> type[Model]:
    models: dict[str, type[Model]] = {"tool": Tool, "assistant": Assistant, "squad": Squad}
    return models.get(kind, StoredResource)


def _existing_ids(drafts: Iterable[Draft]) -> set[str]:
    """Return the ids of drafts that have a row already, deleted or another organisation's too."""
    by_model: dict[type[Model], list[str]] = {}
    for draft in drafts:
        by_model.setdefault(_model_of(draft.kind), []).append(draft.object_id)
    found: set[str] = set()
    for model, ids in by_model.items():
        for some in _batches(ids):
            rows = model._default_manager.filter(pk__in=some)
            found |= {str(pk) for pk in rows.values_list("pk", flat=True)}
    return found


def _foreign(organisation: Organisation, drafts: Iterable[Draft]) -> set[str]:
    """Return the ids of tools that this import may not touch; nothing may link to them either."""
    found: set[str] = set()
    for ids in _batches(d.object_id for d in drafts if d.kind == "tool" and not d.verdict):
        rows = Tool.objects.filter(pk__in=ids)
        others = rows.exclude(organisation=organisation) | rows.filter(is_inline=True)
        found |= {str(pk) for pk in others.values_list("pk", flat=True)}
    return found


def _stored_ids(
    organisation: Organisation, wanted: Mapping[str, Collection[str]]
) -> dict[str, set[str]]:
    """Return, by kind, those of the wanted ids that this organisation has."""
    here: dict[str, set[str]] = {}
    for kind, ids in wanted.items():
        model = _model_of(kind)
        limits: dict[str, Any] = {"is_inline": False} if model is Tool else {}
        limits |= {"kind": kind} if model is StoredResource else {}
        here[kind] = set()
        for some in _batches(ids):
            rows = model._default_manager.filter(
                pk__in=some, organisation=organisation, deleted_at__isnull=True, **limits
            )
            here[kind] |= {str(pk) for pk in rows.values_list("pk", flat=True)}
    return here


def _assistants_by_name(organisation: Organisation, names: Iterable[str]) -> dict[str, str]:
    """Return the ids of stored assistants whose names are asked for and have no namesake."""
    found: dict[str, list[str]] = {}
    for some in _batches(names):
        rows = Assistant.objects.filter(
            organisation=organisation, deleted_at__isnull=True, name__in=some
        )
        for pk, name in rows.values_list("pk", "name"):
            found.setdefault(name, []).append(str(pk))
    return {name: ids[0] for name, ids in found.items() if len(ids) == 1}


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    every = list(ids)
    for start in range(0, len(every), BATCH):
        yield every[start : start + BATCH]


def preview_create(
    *, organisation: Organisation, files: Sequence[ImportFile], actor: Any
) -> ImportRun:
    """Store what importing ``files`` would do, with the files sealed until it is confirmed.

    Previews that nobody confirmed within a day are deleted, files included.
    """
    previews_sweep()
    report = import_files(
        organisation=organisation, files=files, actor=actor, source="upload", dry_run=True
    )
    return run_store(
        organisation=organisation,
        results=report.results,
        actor=actor,
        source="upload",
        state=ImportRun.State.PREVIEW,
        uploads=files,
    )


def previews_sweep() -> None:
    """Delete previews that nobody confirmed within a day, files included."""
    stale = ImportRun.objects.filter(
        state=ImportRun.State.PREVIEW, created_at__lt=timezone.now() - _PREVIEW_LIVES
    )
    for run in stale.defer("files", "objects_json"):
        run_delete(run)


def preview_confirm(
    *,
    run: ImportRun,
    actor: Any,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ImportReport | None:
    """Import the files of a preview and drop the preview; None when somebody already has.

    What the files would do is computed again: the preview may be older than the rows.
    """
    rows = ImportRun.objects.filter(pk=run.pk, state=ImportRun.State.PREVIEW)
    row = rows.select_related("organisation").first()
    # One conditional update decides who imports; the row itself goes in small transactions, and
    # should the process die meanwhile, it does not claim anything.
    claimed: dict[str, Any] = {"state": ImportRun.State.DONE, "objects_json": [], "files": None}
    if row is None or not rows.update(**claimed):
        return None
    files = run_uploads(row)
    run_delete(row)
    return import_files(
        organisation=row.organisation,
        files=files,
        actor=actor,
        source="upload",
        progress=progress,
        cancelled=cancelled,
    )
