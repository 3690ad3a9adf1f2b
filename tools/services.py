"""Writes of tools: one document in, the sealed document and its columns out.

Owns how a tool document becomes a row and how its secrets survive a change (design decision 13). It
must not know assistants, HTTP or calls.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from tools.exceptions import ToolInUse, ToolTypeIsFixed
from tools.models import Tool
from tools.selectors import tool_users
from tools.wire import vapi_tool
from voiceplatform.base.fields import seal_ahead
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import ChangedMeanwhile, RowGone, lock_live, write_prepared
from voiceplatform.base.redaction import keep_secrets, redact
from voiceplatform.base.redaction_moves import moves_refuse
from voiceplatform.base.services import audit_write

# Computed by the server; a client that sends an object back includes them (vapi.md 2.2).
_COMPUTED = frozenset(
    {
        *("id", "orgId", "createdAt", "updatedAt", "latestVersion"),
        "exportedFrom",  # what our own exports say of themselves
    }
)


def tool_store(
    *,
    organisation: Organisation,
    document: Mapping[str, Any],
    actor: Any,
    tool: Tool | None = None,
    tool_id: uuid.UUID | None = None,
    is_inline: bool = False,
    created_at: dt.datetime | None = None,
    restore: bool = False,
    as_read: bool = False,
) -> Tool:
    """Make a tool from ``document``, or replace the document of ``tool``.

    Args:
        tool_id: the id of a new tool; Vapi's when it is imported.
        is_inline: a new one stands inside an assistant's document.
        created_at: when a new tool was made, if it was made elsewhere.
        restore: one that had been deleted is back.
        as_read: only over ``tool`` as it was read.

    Raises:
        ToolTypeIsFixed: ``document`` gives ``tool`` another type.
        ChangedMeanwhile: with ``as_read``, somebody else wrote to the tool.
    """
    if tool is not None:
        return _changed(
            tool,
            lambda now: dict(document),
            organisation=organisation,
            actor=actor,
            restore=restore,
            as_read=as_read,
        )
    new = tool_of(organisation, document, is_inline=is_inline)
    if tool_id is not None:
        new.id = tool_id
    with transaction.atomic():
        new.save(force_insert=True)
        if created_at is not None:  # the column fills itself in
            Tool.objects.filter(pk=new.pk).update(created_at=created_at)
            new.created_at = created_at
        if not is_inline:
            audit_write(actor=actor, action="tool.create", organisation=organisation, target=new)
    return new


def tool_of(
    organisation: Organisation, document: Mapping[str, Any], *, is_inline: bool = False
) -> Tool:
    """Return a new tool, filled and sealed but not stored.

    Args:
        is_inline: the document stands inside an assistant's.
    """
    tool = Tool(organisation=organisation, is_inline=is_inline)
    _fill(tool, {name: value for name, value in document.items() if name not in _COMPUTED})
    seal_ahead(tool)
    return tool


def inline_tools_store(tools: Iterable[Tool]) -> None:
    """Store what ``tool_of`` made, for a revision that is stored in the same transaction."""
    Tool.objects.bulk_create(tools)


def _changed(
    tool: Tool,
    change: Callable[[Tool], dict[str, Any]],
    *,
    organisation: Organisation,
    actor: Any,
    restore: bool = False,
    as_read: bool = False,
    only_live: bool = False,
) -> Tool:
    """Replace the document of ``tool`` by what ``change`` makes of it as it is now."""
    rows = Tool.objects.filter(pk=tool.pk)

    def prepare() -> tuple[Tool, tuple[Any, ...]]:
        now = rows.select_related("organisation").get()
        seen = _stamp(now)
        if as_read and seen != _stamp(tool):
            raise ChangedMeanwhile
        if only_live and now.deleted_at is not None:
            raise RowGone(f"Tool {now.pk} was not found.")
        document = {"type": now.type} | keep_secrets(change(now), tool_document(now))
        if document["type"] != now.type:
            raise ToolTypeIsFixed(f"type is {now.type} and cannot be changed")
        _fill(now, {name: value for name, value in document.items() if name not in _COMPUTED})
        if restore:
            now.deleted_at = None
        seal_ahead(now)
        return now, seen

    def write(prepared: tuple[Tool, tuple[Any, ...]]) -> Tool:
        now, seen = prepared
        if rows.select_for_update().values_list("updated_at", "deleted_at").get() != seen:
            raise ChangedMeanwhile
        now.save(force_update=True)
        if not now.is_inline:
            audit_write(actor=actor, action="tool.update", organisation=organisation, target=now)
        return now

    return write_prepared(prepare, write, lock=rows.select_for_update().get)


def _stamp(tool: Tool) -> tuple[Any, ...]:
    return tool.updated_at, tool.deleted_at


def _fill(tool: Tool, document: dict[str, Any]) -> None:
    reading = vapi_tool.read_tool(document)
    tool.type = reading.type[:60]
    tool.name = reading.name[:200]
    tool.description = reading.description
    # Columns that are not sealed hold no secret; the sealed document has them all.
    tool.parameters = redact(dict(reading.parameters))
    tool.server_url = reading.server_url
    tool.server_url_host = url_host(reading.server_url)
    tool.server_secret = reading.server_secret
    tool.server_headers = reading.server_headers and dict(reading.server_headers)
    tool.timeout_seconds = reading.timeout_seconds
    tool.is_async = reading.is_async
    tool.messages = redact(list(reading.messages))
    tool.destinations = redact(list(reading.destinations))
    tool.document = document
    tool.document_redacted = redact(document)


def url_host(url: str) -> str:
    """Return the host of ``url`` for lists, or '' when it has none."""
    try:
        return (urlsplit(url).hostname or "")[:255]
    except ValueError:
        return ""


def tool_document(tool: Tool) -> dict[str, Any]:
    """Return the whole document with its secrets; made from the columns when none was stored."""
    if tool.document is not None:
        return dict(tool.document)
    changes: dict[str, Any] = {
        name: getattr(tool, name)
        for name in ("type", "name", "description", "parameters", "is_async", "timeout_seconds")
    }
    return vapi_tool.write_tool(
        {}, changes | {"server_url": tool.server_url, "server_secret": tool.server_secret}
    )


def tool_is_current(tool: Tool, document: Mapping[str, Any]) -> bool:
    """Tell whether storing ``document`` over ``tool`` would change nothing."""
    stored = tool_document(tool)
    new = {"type": tool.type} | keep_secrets(dict(document), stored)
    return {name: value for name, value in new.items() if name not in _COMPUTED} == stored


def tool_patch(*, tool: Tool, patch: Mapping[str, Any], actor: Any) -> Tool:
    """Replace each top-level field that ``patch`` names (vapi.md 0, rule 10).

    Raises:
        ToolTypeIsFixed: ``patch`` gives another type.
        SecretMoved: a stored secret would go to another server.
        RowGone: it was deleted meanwhile.
    """

    def change(now: Tool) -> dict[str, Any]:
        stored = tool_document(now)
        moves_refuse(patch, stored)
        return {**stored, **patch}

    return _changed(
        tool,
        change,
        organisation=tool.organisation,
        actor=actor,
        only_live=True,
    )


def tool_edit(
    *,
    tool: Tool,
    changes: Mapping[str, Any],
    actor: Any,
    mend: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Tool:
    """Write columns that a person changed (fields of ``ToolReading``) into the document.

    ``idempotent`` is no column: the mark is in the document alone, or absent.

    Args:
        mend: changes the document further, e.g. the marks of its server.

    Raises:
        RowGone: it was deleted meanwhile.
    """

    def change(now: Tool) -> dict[str, Any]:
        columns = {name: value for name, value in changes.items() if name != "idempotent"}
        document = vapi_tool.write_tool(tool_document(now), columns)
        if "idempotent" in changes:
            document.pop("idempotent", None)
            document |= {"idempotent": True} if changes["idempotent"] else {}
        for name in ("server_url", "server_secret"):
            if changes.get(name) == "":
                document = _cleared(document, name)
        return mend(document)

    return _changed(tool, change, organisation=tool.organisation, actor=actor, only_live=True)


def _cleared(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Say null, because a secret that is merely absent would be kept."""
    key = {"server_url": "url", "server_secret": "secret"}[name]
    return document | {"server": {**(document.get("server") or {}), key: None}}


@transaction.atomic
def tool_delete(*, tool: Tool, actor: Any) -> None:
    """Delete ``tool`` from every list; past calls keep pointing at the row.

    Raises:
        ToolInUse: a live assistant's current revision uses it.
        RowGone: it was deleted meanwhile.
    """
    lock_live(tool)
    users = tool_users(tool)
    if users:
        names = ", ".join(repr(name) for name in users)
        raise ToolInUse(f"tool {tool.name} is used by {names}. Fix: take it out there first.")
    Tool.objects.filter(pk=tool.pk).update(deleted_at=timezone.now())
    audit_write(actor=actor, action="tool.delete", organisation=tool.organisation, target=tool)
