"""Who answers a tool: its own server, else its assistant's, its number's, its organisation's.

Owns that order (vapi.md 2.5) and what goes to such a server besides the body: its own secret,
headers and credential, which never travel to another one. Reads rows, sends nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from assistants.models import AssistantRevision, StoredResource
from assistants.resource_services import resource_document
from assistants.selectors import NUMBER_KIND, resource_list
from assistants.services import revision_document
from calls.models import PhoneNumber
from tools.defaults import Render, render_values
from tools.encryption import read_encryption
from tools.models import DefaultServer, ServerCredential, Tool
from tools.servers import Credential, Passage, ToolServer
from tools.services import tool_document
from tools.wire import vapi_tool
from tools.wire.vapi_credential import read_credential
from voiceplatform.base.selectors import uuids_in


def _as_written(text: str) -> str:
    return text


def server_for(
    tool: Tool,
    revision: AssistantRevision | None,
    *,
    number: PhoneNumber | None = None,
    render: Render = _as_written,
) -> ToolServer | None:
    """Return who answers a tool; None when nobody does.

    Args:
        number: the number of the call.
        render: fills in the Liquid in header values (vapi.md 2.10).
    """
    candidates: tuple[Callable[[], ToolServer | None], ...] = (
        lambda: _of_tool(tool),
        lambda: _of_revision(tool, revision),
        lambda: _of_number(tool, number),
        lambda: _of_organisation(tool),
    )
    for candidate in candidates:
        server = candidate()
        if server is not None:
            headers = render_values(dict(server.headers), render)
            return replace(server, headers=headers, owner=str(_owner(tool)))
    return None


def own_server(tool: Tool) -> ToolServer | None:
    """Return the address that a tool itself names, with its credential; templates as written."""
    server = _of_tool(tool)
    return None if server is None else replace(server, owner=str(_owner(tool)))


def _owner(tool: Tool) -> uuid.UUID:
    owner = tool.organisation_id
    assert owner is not None, "a column that is never null"
    return owner


def _of_tool(tool: Tool) -> ToolServer | None:
    if not tool.server_url:
        return None
    reading = vapi_tool.read_tool(tool_document(tool))
    credential, passage = credential_of(_owner(tool), reading.credential_id)
    return ToolServer(
        url=tool.server_url,
        secret=tool.server_secret,
        headers=tool.server_headers or {},
        timeout_seconds=tool.timeout_seconds,
        credential=credential,
        passage=passage,
        backoff=reading.backoff,
    )


def _of_revision(tool: Tool, revision: AssistantRevision | None) -> ToolServer | None:
    if revision is None or not revision.server_url:
        return None
    return _of_document(
        tool, revision_document(revision), url=revision.server_url, secret=revision.server_secret
    )


def _of_number(tool: Tool, number: PhoneNumber | None) -> ToolServer | None:
    if number is None:
        return None
    companion: StoredResource | None = (
        resource_list(tool.organisation, NUMBER_KIND).filter(pk=number.pk).first()
    )
    return None if companion is None else _of_document(tool, resource_document(companion))


def _of_document(
    tool: Tool, document: Mapping[str, Any], *, url: str = "", secret: str = ""
) -> ToolServer | None:
    """Read the ``server`` of an assistant or number, or the old ``serverUrl`` of one."""
    reading = vapi_tool.read_server(document.get("server"))
    old_url, old_secret = document.get("serverUrl"), document.get("serverUrlSecret")
    url = url or reading.url or (old_url if isinstance(old_url, str) else "")
    if not url:
        return None
    credential, passage = credential_of(_owner(tool), reading.credential_id)
    return ToolServer(
        url=url,
        secret=secret or reading.secret or (old_secret if isinstance(old_secret, str) else ""),
        headers=reading.headers or {},
        timeout_seconds=reading.timeout_seconds,
        credential=credential,
        passage=passage,
        backoff=reading.backoff,
    )


def _of_organisation(tool: Tool) -> ToolServer | None:
    rows = DefaultServer.objects.for_organisation(_owner(tool))
    row: DefaultServer | None = rows.select_related("credential").first()
    if row is None or not row.url:
        return None
    credential, passage = _of_row(row.credential) if row.credential else (None, None)
    return ToolServer(
        url=row.url,
        secret=row.secret,
        headers=row.headers or {},
        timeout_seconds=row.timeout_seconds,
        credential=credential,
        passage=passage,
    )


def credential_of(
    organisation_id: uuid.UUID, credential_id: str
) -> tuple[Credential | None, Passage | None]:
    """Return how a server that names ``credential_id`` is asked; exactly that one (vapi.md 4.2).

    One that was entered here comes before one that a script stored at ``/credential``.
    """
    ids = uuids_in([credential_id]) if credential_id else []
    if not ids:
        return None, None
    own = ServerCredential.objects.for_organisation(organisation_id)
    row: ServerCredential | None = own.filter(credential_id__in=ids).first()
    if row is not None:
        return _of_row(row)
    stored = _stored_credential(organisation_id, ids)
    return (read_credential(resource_document(stored)) if stored else None), None


def encryption_key(organisation_id: uuid.UUID, credential_id: str) -> str | None:
    """Return the public key (PEM) of a credential, '' if it has none, None if it is not known here.

    Raises:
        KeyUnusable: its plan asks for something that we cannot do.
    """
    ids = uuids_in([credential_id])
    own = ServerCredential.objects.for_organisation(organisation_id)
    row: ServerCredential | None = own.filter(credential_id__in=ids).first()
    if row is not None:
        return read_encryption(row.plan)
    stored = _stored_credential(organisation_id, ids)
    return None if stored is None else read_encryption(resource_document(stored))


def _stored_credential(organisation_id: uuid.UUID, ids: list[uuid.UUID]) -> StoredResource | None:
    """Return the credential that a script stored at ``/credential``."""
    rows = StoredResource.objects.for_organisation(organisation_id)
    kind = StoredResource.Kind.CREDENTIAL
    found: StoredResource | None = rows.filter(
        kind=kind, deleted_at__isnull=True, pk__in=ids
    ).first()
    return found


def _of_row(row: ServerCredential) -> tuple[Credential | None, Passage | None]:
    passage = Passage(row.certificate_pem, row.key_pem, row.proxy_url)
    has_way = row.certificate_pem or row.proxy_url
    return read_credential(row.plan), passage if has_way else None
