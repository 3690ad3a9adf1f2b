"""The MCP servers that an assistant's sessions are given: what the model is shown, and what proves
who asks.

The model's own server asks them (openai_realtime.md 4.5), so nothing of ``tools.dispatch`` applies.
Owns which servers can be handed over at all: https, the tool's own address, a proof that is the
same for every request. Secrets are in ``McpAccess`` alone, which no plan and no record holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error as AnyDatabaseError

from calls.bridge.plan import CallPlan
from calls.media.database import in_database
from calls.models import Call
from calls.services.call_variables import renderer_for
from calls.services.tool_servers import own_server
from calls.wire.realtime import McpAccess, McpServer
from tools.defaults import Render, has_template
from tools.models import Tool
from tools.names import legal_name
from tools.own_secrets import server_secrets
from tools.servers import Bearer, ToolServer
from tools.services import tool_document
from tools.wire.mcp import allowed_tools
from tools.wire.vapi_tool import ToolReading
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction import redact_url

MOST_SERVERS: Final = 10
_MOST_DESCRIPTION: Final = 1_000
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_AUTHORIZATION: Final = "authorization"

log = structlog.get_logger(__name__)


def mcp_servers(tools: Iterable[Tool | ToolReading], fill: Render) -> tuple[McpServer, ...]:
    """Return the servers that a session announces, in the order of ``tools``, with no secret.

    Args:
        tools: rows, or tools of a document that is not stored.
        fill: fills in the variables of a text.
    """
    made = []
    for label, tool, url in _usable(tools):
        document = tool_document(tool) if isinstance(tool, Tool) else {}
        made.append(
            McpServer(
                label=label,
                url=redact_url(url),
                description=fill(tool.description)[:_MOST_DESCRIPTION],
                allowed_tools=allowed_tools(document),
                handle=str(tool.pk) if isinstance(tool, Tool) else "",
            )
        )
    return tuple(made)


def mcp_access(call: Call, plan: CallPlan, fill: Render) -> tuple[McpAccess, ...]:
    """Return what the model's server is told beside what ``plan`` has, by the same labels.

    As to Vapi's MCP servers the call's id goes along as ``X-Call-Id`` (vapi.md 4.2). A tool that is
    gone meanwhile, or leads elsewhere, is told nothing.
    """
    servers = plan.session.mcp_servers
    rows = Tool.objects.for_organisation(call.organisation)
    known = {str(row.pk): row for row in rows.filter(pk__in=[s.handle for s in servers])}
    found = []
    for each in servers:
        tool = known.get(each.handle)
        server = own_server(tool) if tool is not None else None
        if server is not None and redact_url(server.url) == each.url:
            found.append(_access(each.label, server, fill, str(call.pk)))
    return tuple(found)


async def mcp_told(plan: CallPlan, load: Callable[[], Call] | None = None) -> tuple[McpAccess, ...]:
    """Return what a session of ``plan`` that is dialled during a call is told; never raises.

    Args:
        load: makes the call as it is now where it is not stored; run off the loop.
    """
    if not plan.session.mcp_servers:
        return ()

    def told() -> tuple[McpAccess, ...]:
        call = load() if load is not None else _stored(plan.call_id)
        return mcp_access(call, plan, renderer_for(call))

    try:
        return await in_database(told)
    except (AnyDatabaseError, ObjectDoesNotExist, DecryptionError) as error:
        # Its lists of tools fail then, which is noted with the call.
        log.error("mcp_servers_not_told", call_id=plan.call_id, error=type(error).__name__)
        return ()


def _stored(call_id: str) -> Call:
    call: Call = Call.objects.select_related(
        "organisation", "number", "revision", "twilio_account", "activation"
    ).get(pk=call_id)
    return call


def _usable(tools: Iterable[Tool | ToolReading]) -> Iterator[tuple[str, Tool | ToolReading, str]]:
    taken: set[str] = set()
    for tool in tools:
        if tool.type != "mcp":
            continue
        server = own_server(tool) if isinstance(tool, Tool) else None
        url = server.url if server is not None else tool.server_url
        reason = _unusable(url, server)
        if reason or len(taken) >= MOST_SERVERS:
            name = str(tool.pk) if isinstance(tool, Tool) else ""
            log.warning("mcp_server_left_out", tool=name, reason=reason or "too many of them")
            continue
        label = legal_name(tool.name, taken)
        taken.add(label)
        yield label, tool, url


def _unusable(url: str, server: ToolServer | None) -> str:
    """Return why a server cannot be handed over, '' if it can."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme == "https" and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address or has_template(url):
        return "its address is not https"
    if server is not None and not isinstance(server.credential, Bearer | None):
        return "its credential is made anew for every request"
    if server is not None and server.passage is not None:
        return "it wants a certificate or a proxy"
    return ""


def _access(label: str, server: ToolServer, fill: Render, call_id: str) -> McpAccess:
    given = {"X-Call-Id": call_id, "X-Vapi-Secret": server.secret}
    if isinstance(server.credential, Bearer):
        prefix = "Bearer " if server.credential.has_prefix else ""
        given[server.credential.header_name] = prefix + server.credential.token
    # An explicit header wins over the others (vapi.md traps 15 and 16).
    headers = {name.lower(): (name, value) for name, value in given.items() if value}
    for name, value in server.headers.items():
        headers[name.lower()] = (name, _CONTROLS.sub(" ", fill(value)).strip())
    authorization = headers.get(_AUTHORIZATION, ("", ""))[1]
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" and token:
        del headers[_AUTHORIZATION]
    else:
        token = ""
    return McpAccess(
        label=label,
        url=server.url,
        headers=tuple(pair for pair in headers.values() if pair[1]),
        authorization=token.strip(),
        secrets=tuple(sorted({*server_secrets(server), *filter(None, (token.strip(),))})),
    )
