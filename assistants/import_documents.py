"""Reads the document that an import speaks of, without its secrets, for people to look at.

A preview still has its files; after the import it is what the rows hold. Writes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from assistants.import_runs import run_uploads
from assistants.models import Assistant, ImportRun, Squad, StoredResource
from assistants.wire.files import read_file
from assistants.yaml12 import parse_yaml
from tools.models import Tool
from voiceplatform.base.redaction import redact


def document_shown(run: ImportRun, entry: Mapping[str, Any]) -> Any:
    """Return the redacted document of one object of ``run``, None when it is not here any more.

    Args:
        entry: the object, as ``run.objects_json`` has it.
    """
    if run.state == ImportRun.State.PREVIEW:
        return _uploaded(run, entry)
    try:
        key = uuid.UUID(str(entry.get("id")))
    except ValueError:
        return None
    if entry.get("kind") == "assistant":
        return _revision(run, key)
    model: Any = {"tool": Tool, "squad": Squad}.get(str(entry.get("kind")), StoredResource)
    row = model.objects.filter(pk=key, organisation=run.organisation_id).only("document_redacted")
    found = row.first()
    return found.document_redacted if found else None


def _uploaded(run: ImportRun, entry: Mapping[str, Any]) -> Any:
    name = entry.get("file")
    for file in run_uploads(run):
        # Objects of an account are recorded below folders of their own; the id is in the name.
        is_recorded = bool(entry.get("id")) and file.name.endswith(f"/{entry['id']}.json")
        if file.name == name or is_recorded:
            for found in read_file(file.name, file.raw, parse_yaml).found:
                if found.where == entry.get("where"):
                    return redact(found.value)
    return None


def _revision(run: ImportRun, key: uuid.UUID) -> Any:
    rows = Assistant.objects.filter(pk=key, organisation=run.organisation_id)
    assistant = rows.select_related("imported_revision", "current_revision").first()
    if assistant is None:
        return None
    revision = assistant.imported_revision or assistant.current_revision
    return revision.document_redacted if revision else None
