"""Writes of stored resources: what config-as-code tools keep in a Vapi account besides assistants.

Owns how a credential, structured output, evaluation, simulation part or file is stored, changed and
deleted, and the companions: what Vapi's object of a phone number or call says beyond the columns of
its row. Nothing here acts upon a document. It must not know HTTP, calls or numbers.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction

from assistants import file_queue
from assistants import stored_documents as documents
from assistants.exceptions import ResourceInUse
from assistants.models import StoredResource
from assistants.selectors import COMPANIONS, NUMBER_KIND, resource_users
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import lock_live

# What the server says about an object and a client merely sends back, beyond id and times.
_COMPUTED_BY_KIND: Final[Mapping[str, frozenset[str]]] = {
    StoredResource.Kind.FILE: frozenset({"url", "status", "statusReason", "object"}),
    NUMBER_KIND: frozenset({"status"}),
}


def computed_fields(kind: str) -> frozenset[str]:
    """Return the fields of this kind that are computed, so never stored."""
    return documents.COMPUTED | _COMPUTED_BY_KIND.get(kind, frozenset())


def resource_store(
    *,
    organisation: Organisation,
    kind: str,
    document: Mapping[str, Any],
    actor: Any,
    resource: StoredResource | None = None,
    resource_id: uuid.UUID | None = None,
    created_at: dt.datetime | None = None,
    content: bytes | None = None,
    as_read: bool = False,
) -> StoredResource:
    """Make a resource from ``document``, or replace the document of ``resource``.

    Secrets that ``document`` does not mention stay as they were; null clears them. A resource that
    had been deleted is back.

    Args:
        kind: one of ``StoredResource.Kind`` or ``COMPANIONS``; that of ``resource`` stays.
        resource_id: the id of a new resource; Vapi's when it is imported.
        created_at: when a new resource was made, if it was made elsewhere.
        content: the bytes of an uploaded file; None leaves them as they are.
        as_read: only over ``resource`` as it was read.

    Raises:
        ChangedMeanwhile: with ``as_read``, somebody else wrote to it.
    """
    verb = "create" if resource is None else "update"

    def after(stored: StoredResource) -> None:
        if content is not None:
            file_queue.reading_want(stored)
        _audit(stored, verb, actor)

    row = resource or StoredResource(
        id=documents.new_id(resource_id), organisation=organisation, kind=kind
    )
    return documents.store(
        row,
        lambda now: document,
        computed=computed_fields(row.kind),
        created_at=created_at,
        extra={} if content is None else {"content": content},
        as_read=as_read,
        after=after,
    )


def resource_document(resource: StoredResource) -> dict[str, Any]:
    """Return the whole document with its secrets."""
    return documents.document_of(resource)


def resource_is_current(resource: StoredResource, document: Mapping[str, Any]) -> bool:
    """Tell whether storing ``document`` over ``resource`` would change nothing."""
    stored = resource_document(resource)
    kept = documents.document_to_store(document, stored, computed_fields(resource.kind))
    return resource.deleted_at is None and kept == stored


def resource_patch(
    *, resource: StoredResource, patch: Mapping[str, Any], actor: Any
) -> StoredResource:
    """Replace each top-level field that ``patch`` names (vapi.md 0, rule 10).

    Raises:
        SecretMoved: a stored secret would go to another server.
        RowGone: it was deleted meanwhile.
    """
    return documents.store(
        resource,
        lambda now: documents.patched(resource_document(now), patch),
        computed=computed_fields(resource.kind),
        only_live=True,
        after=lambda stored: _audit(stored, "update", actor),
    )


@transaction.atomic
def resource_delete(*, resource: StoredResource, actor: Any) -> None:
    """Delete ``resource`` from every list; the bytes of a file are gone for good.

    Raises:
        ResourceInUse: a simulation plays it, or a suite runs it.
        RowGone: it was deleted meanwhile.
    """
    lock_live(resource)
    users = resource_users(resource)
    if users:
        raise ResourceInUse(
            f"{_noun(resource)} {resource.name or resource.pk} is used by {', '.join(users)}. "
            "Fix: take it out there first."
        )
    documents.retire(resource)
    StoredResource.objects.filter(pk=resource.pk).update(content=None)
    _audit(resource, "delete", actor)


def _audit(resource: StoredResource, verb: str, actor: Any) -> None:
    # Whoever writes a companion records what happened to the number or call.
    if resource.kind not in COMPANIONS:
        documents.audit(resource, _noun(resource), verb, actor)


def _noun(resource: StoredResource) -> str:
    return resource.kind.rsplit("/", 1)[-1].replace("-", "_")
