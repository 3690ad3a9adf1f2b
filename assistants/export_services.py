"""Reads everything of an organisation that config as code holds, and writes it into a folder.

Owns which rows are exported and which files of a folder belong to us: a list of what was written is
kept beside the files, so that an object that is gone loses its file and nobody else's file is
touched. The files' text is ``assistants.export``. It must not know HTTP or commands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from assistants import ports
from assistants.export import FOLDERS, Export, Item, closure, export
from assistants.models import Assistant, ImportedObject, StoredResource, VoiceChoice
from assistants.resource_services import resource_document
from assistants.secret_references import SECRETS_FILE
from assistants.selectors import assistant_list, squad_list
from assistants.services import revision_document
from assistants.squad_services import squad_document
from tools.selectors import tool_list
from tools.services import tool_document
from voiceplatform.base.models import Organisation
from voiceplatform.base.rest import iso

LIST_FILE: Final = ".voiceplatform-export.json"
_IGNORE_FILE: Final = ".gitignore"
_CHUNK: Final = 200


class ExportRefused(Exception):
    """Nothing was written; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an export did to a folder; paths below it."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]
    left: tuple[str, ...]


def export_of(
    organisation: Organisation, *, only: Collection[str] = (), portable: bool = False
) -> Export:
    """Return the files of an organisation.

    Args:
        only: ids or names of assistants; with any, only these and what they point at.
        portable: as for ``assistants.export.export``.

    Raises:
        ExportRefused: no assistant has one of these ids or names.
    """
    items = list(_items(organisation))
    if only:
        chosen: list[Item] = []
        for word in only:
            found = [
                item
                for item in items
                if item.kind == "assistant" and word in (item.object_id, item.name)
            ]
            if not found:
                raise ExportRefused(
                    f"no assistant {word!r} that answers calls. Fix: give its id or its exact name."
                )
            chosen += found
        items = closure(chosen, items)
    return export(items, portable=portable)


def without_live_revision(organisation: Organisation) -> list[str]:
    """Return the assistants that are not exported, because only a draft of them exists."""
    rows = assistant_list(organisation).filter(current_revision__isnull=True)
    return [str(row) for row in rows]


def left_out(organisation: Organisation) -> list[str]:
    """Return what is stored and no export carries, in sentences; nothing is said of nothing."""
    drafts = assistant_list(organisation).filter(
        draft_revision__isnull=False, current_revision__isnull=False
    )
    resources = StoredResource.objects.for_organisation(organisation).filter(
        deleted_at__isnull=True
    )
    decided = VoiceChoice.objects.for_organisation(organisation).filter(decided_at__isnull=False)
    waiting = ImportedObject.objects.for_organisation(organisation).filter(waits=True)
    counted = (
        (drafts.count(), "draft", "publish it, then export again"),
        (
            resources.filter(kind=StoredResource.Kind.CREDENTIAL).count(),
            "credential",
            "nothing remains of it without its secret; references to its id are carried",
        ),
        (
            resources.filter(kind=StoredResource.Kind.FILE).count(),
            "uploaded file",
            "only documents are exported; send it to /file again",
        ),
        (decided.count(), "voice decision", "it is not Vapi's; decide again under Voices"),
        (waiting.count(), "imported version", "it waits for a choice under Imported versions"),
    )
    return [f"{n} {noun}{'s' if n > 1 else ''}: {why}" for n, noun, why in counted if n]


def _items(organisation: Organisation) -> Iterator[Item]:
    for assistant in assistant_list(organisation).iterator(_CHUNK):
        if assistant.current_revision is not None:
            yield _item("assistant", assistant, revision_document(assistant.current_revision))
    for tool in tool_list(organisation).iterator(_CHUNK):
        yield _item("tool", tool, {"type": tool.type, **tool_document(tool)})
    for squad in squad_list(organisation).iterator(_CHUNK):
        yield _item("squad", squad, squad_document(squad))
    kinds = [kind for kind in FOLDERS if kind in StoredResource.Kind.values]
    rows = StoredResource.objects.for_organisation(organisation).filter(
        kind__in=kinds, deleted_at__isnull=True
    )
    for resource in rows.defer("content").iterator(_CHUNK):
        yield _item(resource.kind, resource, resource_document(resource))
    exporter = ports.number_exporter()
    if exporter is not None:
        for number_id, name, created_at, document in exporter(organisation=organisation):
            yield Item("phone-number", str(number_id), name, iso(created_at) or "", document)


def _item(kind: str, row: Any, document: Mapping[str, Any]) -> Item:
    name = row.name or ("" if isinstance(row, Assistant) else kind.rpartition("/")[2])
    return Item(kind, str(row.pk), name, iso(row.created_at) or "", document)


def export_write(folder: Path, exported: Export, *, is_whole: bool) -> Written:
    """Write ``exported`` below ``folder``, which is made if it does not exist.

    A file that an earlier export wrote is replaced, or deleted when its object is gone; one that
    was edited since is not deleted. Nothing else in the folder is touched.

    Args:
        is_whole: everything was exported, so what is not in it is gone.

    Raises:
        ExportRefused: another file stands where one would be written, or the folder cannot be
            written.
    """
    try:
        return _write(folder, exported, is_whole=is_whole)
    except OSError as error:
        place = error.filename or folder
        raise ExportRefused(f"{place} cannot be written: {error.strerror}.") from error


def _write(folder: Path, exported: Export, *, is_whole: bool) -> Written:
    known = _known(folder)
    files = {path: text.encode() for path, text in exported.files.items()}
    if not (folder / _IGNORE_FILE).exists() or _IGNORE_FILE in known:
        files[_IGNORE_FILE] = f"{SECRETS_FILE}\n".encode()
    now = {path: _digest_of(folder / path) for path in {*files, *known}}
    foreign = [
        path
        for path, raw in files.items()
        if path not in known and now[path] not in ("", _digest(raw))
    ]
    if foreign:
        raise ExportRefused(
            f"{foreign[0]} is there and no export wrote it{_more(foreign)}. "
            "Fix: move it away, or choose another folder."
        )
    written, unchanged, deleted, left = [], [], [], []
    for path, raw in files.items():
        if now[path] == _digest(raw):
            unchanged.append(path)
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_bytes(raw)
        os.replace(partial, target)
        written.append(path)
    gone = {path: digest for path, digest in known.items() if path not in files}
    for path in sorted(gone) if is_whole else ():
        if now[path] == gone[path]:
            (folder / path).unlink()
            with contextlib.suppress(OSError):
                (folder / path).parent.rmdir()  # only when it is empty now
            deleted.append(path)
        elif now[path]:
            left.append(path)
    listed = {path: _digest(raw) for path, raw in files.items()}
    listed |= {} if is_whole else gone
    text = json.dumps({"files": dict(sorted(listed.items()))}, indent=2) + "\n"
    (folder / LIST_FILE).write_text(text, encoding="utf-8")
    return Written(tuple(written), tuple(unchanged), tuple(deleted), tuple(left))


def _known(folder: Path) -> dict[str, str]:
    """Return what earlier exports wrote here, by path, with its digest.

    Raises:
        ExportRefused: the list is damaged.
    """
    try:
        listed = json.loads((folder / LIST_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        listed = None
    files = listed.get("files") if isinstance(listed, dict) else None
    if not isinstance(files, dict) or not all(map(_is_ours, files, files.values())):
        raise ExportRefused(f"{folder / LIST_FILE} is damaged. Fix: delete it, or restore it.")
    return files


def _is_ours(path: Any, digest: Any) -> bool:
    """Tell whether a listed path is one that an export can have written: never outside."""
    parts = PurePosixPath(path).parts
    inside = len(parts) in (1, 2) and ".." not in parts and not PurePosixPath(path).is_absolute()
    return inside and isinstance(digest, str)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _digest_of(path: Path) -> str:
    """Return the digest of a file, '' when there is none."""
    try:
        return _digest(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _more(paths: list[str]) -> str:
    return f", and {len(paths) - 1} more" if len(paths) > 1 else ""
