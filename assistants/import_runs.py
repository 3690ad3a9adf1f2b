"""The record of an import: one run with its objects, every finding, and the state of every leaf.

Owns how a run is kept within bounds and in small transactions (design.md 9), and what of it is
sealed: uploaded files of a preview, and leaves, whose list no page needs that only counts runs.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from django.contrib.auth import get_user_model

from assistants.findings import unpack_leaves
from assistants.import_results import ImportFile, ObjectResult
from assistants.models import Finding, ImportRun
from assistants.voice_table import voices_seed
from voiceplatform.base.models import Organisation
from voiceplatform.base.services import audit_write

BATCH: Final = 200  # rows in one write transaction (design.md 9)
MOST_LEAF_BYTES: Final = 4 * 2**20  # packed; about a hundred thousand leaves
_UPLOADS: Final = "uploads"
_LEAVES: Final = "leaves"


def run_store(
    *,
    organisation: Organisation,
    results: Sequence[ObjectResult],
    actor: Any,
    source: str,
    state: ImportRun.State = ImportRun.State.DONE,
    uploads: Sequence[ImportFile] | None = None,
) -> ImportRun:
    """Store a run with its findings and leaves; when it is done, an audit entry and the voices.

    Args:
        uploads: the files of a preview, sealed until it is confirmed.
    """
    sealed: dict[str, Any] = {_LEAVES: _bounded(results)}
    if uploads is not None:
        sealed[_UPLOADS] = {
            file.name: base64.b64encode(file.raw).decode("ascii") for file in uploads
        }
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
        files=sealed,
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
    for start in range(0, len(rows), BATCH):
        Finding.objects.bulk_create(rows[start : start + BATCH])
    if state == ImportRun.State.DONE:
        counts = Counter(result.outcome for result in results)
        audit_write(
            actor=actor,
            action="import.run",
            organisation=organisation,
            target=run,
            details={"source": source, **counts},
        )
        voices_seed([organisation])
    return run


def _bounded(results: Sequence[ObjectResult]) -> list[str | None]:
    """Return the packed leaves of each object, None where the run would grow too large."""
    room = MOST_LEAF_BYTES
    kept: list[str | None] = []
    for result in results:
        room -= len(result.packed_leaves)
        kept.append(result.packed_leaves if room >= 0 else None)
    return kept


def run_leaves(run: ImportRun, object_number: int) -> list[tuple[str, str]] | None:
    """Return (JSON path, state) of every leaf of one object in document order.

    None when the run does not have them: it is older than they are, or it was too large.
    """
    packed = (run.files or {}).get(_LEAVES)
    if not isinstance(packed, list) or not 0 <= object_number < len(packed):
        return None
    return None if packed[object_number] is None else unpack_leaves(packed[object_number])


def run_uploads(run: ImportRun) -> list[ImportFile]:
    """Return the files of a preview."""
    stored = (run.files or {}).get(_UPLOADS) or {}
    return [ImportFile(name, base64.b64decode(data)) for name, data in stored.items()]


def run_delete(run: ImportRun) -> None:
    """Delete a run, its findings first and in small transactions."""
    while True:
        found = list(run.findings.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not found:
            break
        Finding.objects.filter(pk__in=found).delete()
    run.delete()
