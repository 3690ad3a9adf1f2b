"""Uploads of files, and which tools look things up in them.

Owns what is kept beside the bytes and under which id: a tool that came from Vapi names files by
Vapi's ids, so an upload may be given one. Reading is done later, by a worker.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.db import IntegrityError

from assistants.models import StoredResource
from assistants.resource_services import resource_store
from tools.knowledge import knowledge_file_ids
from tools.models import Tool
from voiceplatform.base.models import Organisation

# Bytes live in the database, beside what names them; a bigger file belongs into object storage.
MAX_FILE_BYTES: Final = 10 * 1024 * 1024


class FileIdTaken(Exception):
    """The id that an upload was given belongs to something else; take another, or none."""


def said_type(said: str | None) -> str:
    """Return what a form says of its file; that header may hold any byte, NUL included."""
    if said and said.isascii() and said.isprintable():
        return said[:100]
    return "application/octet-stream"


def file_upload(
    *,
    organisation: Organisation,
    name: str,
    mimetype: str,
    content: bytes,
    actor: Any,
    about: Mapping[str, Any] | None = None,
    file_id: uuid.UUID | None = None,
) -> StoredResource:
    """Store an uploaded file; it can be searched when a worker has read it.

    Args:
        about: what else is said of it: another name, purpose, metadata.
        file_id: the id that tools from Vapi know it by; one that was deleted here is back.

    Raises:
        FileIdTaken: there is something with that id already.
    """
    short = name[:200] or "file"
    document = {
        "name": short,
        "originalName": short,
        "mimetype": mimetype,
        "bytes": len(content),
        **(about or {}),
    }
    old = StoredResource.objects.defer("content").filter(pk=file_id).first() if file_id else None
    if old is not None and (
        old.organisation_id != organisation.pk
        or old.kind != StoredResource.Kind.FILE
        or old.deleted_at is None
    ):
        raise FileIdTaken(f"The id {file_id} is taken.")
    try:
        return resource_store(
            organisation=organisation,
            kind=StoredResource.Kind.FILE,
            document=document,
            actor=actor,
            resource=old,
            resource_id=file_id,
            content=content,
        )
    except IntegrityError as error:
        raise FileIdTaken(f"The id {file_id} is taken.") from error


def tools_using(file: StoredResource) -> list[str]:
    """Return the names of live tools that look things up in ``file``, at most 5."""
    own = str(file.pk)
    rows = Tool.objects.for_organisation(file.organisation).filter(
        type="query", deleted_at__isnull=True
    )
    found = (
        tool.name
        for tool in rows.only("name", "document_redacted")
        if own in knowledge_file_ids(tool.document_redacted)
    )
    return list(dict.fromkeys(found))[:5]
