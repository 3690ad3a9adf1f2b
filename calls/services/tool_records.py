"""What is kept of the traffic with tool servers: bodies without secrets, sealed, a row a request.

Owns the redaction of both bodies and which function calls a request carried. A body repeats what
was said, so it is stored only while the caller has not refused the policy line, without what the
call's rules mask, and who may read it is decided by the pages. Sends nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from assistants.models import AssistantRevision
from calls.models import Call, PhoneNumber, ToolExchange, ToolInvocation
from calls.services.privacy import keeping_for, keeping_of
from calls.services.tool_servers import server_for
from tools.masking import masked
from tools.models import Tool
from tools.own_secrets import header_secrets, server_secrets, static_secrets
from tools.services import tool_document
from tools.spec import Exchange
from tools.wire.api_request import read_api_request
from voiceplatform.base.redaction import redact, redact_url

_MOST_STORED_CHARACTERS: Final = 1024 * 1024
_COMPRESSION: Final = 3


@dataclass(frozen=True, slots=True)
class Bodies:
    """What was sent and what came back, without secrets; '' where it is not kept."""

    request: str = ""
    response: str = ""


def store_exchange(call_id: str, exchange: Exchange, tool_call_ids: Sequence[str]) -> None:
    """Store one request to a tool server and tie the function calls it carried to it.

    Their rows must exist: ``calls.services.tool_run`` notes each before it is posted. What was sent
    twice is one row; a call that has an exchange already keeps the first.
    """
    call = (
        Call.objects.filter(pk=call_id)
        .select_related("revision__assistant", "number", "organisation")
        .first()
    )
    if call is None:
        return
    rows = _invocations(call_id, tool_call_ids)
    tools = [row.tool for row in rows.select_related("tool") if row.tool is not None]
    secrets = secrets_of(tools, call.revision, call.number)
    if call.activation_id is not None:
        # The assistant that sent it may have handed the call over meanwhile.
        for row in call.activations.select_related("revision__assistant").defer("variables"):
            secrets |= secrets_of(tools, row.revision, call.number)
    keeping = keeping_for(call)
    stored = ToolExchange(
        call_id=call.pk,
        host=exchange.host[:255],
        url_shown=keeping.line(masked(redact_url(exchange.url), secrets))[:500],
        status=min(max(exchange.status, 0), 999),
        attempts=min(max(exchange.attempts, 0), 999),
        duration_ms=max(exchange.duration_ms, 0),
        error=keeping.line(masked(exchange.error, secrets))[:200],
        request_bytes=len(exchange.request_body),
        response_bytes=len(exchange.response_text.encode("utf-8", "replace")),
    )
    if call.policy_refused_at is None and keeping.words:
        request = redacted_body(exchange.request_body.decode("utf-8", "replace"), secrets)
        response = redacted_body(exchange.response_text, secrets)
        stored.content = _packed(keeping.body(request), keeping.body(response))
    with transaction.atomic():
        stored.save()
        rows.filter(exchange__isnull=True).update(exchange=stored)


def exchange_begin(call_id: str, tool_call_id: str, exchange: Exchange) -> int | None:
    """Store that a request is about to leave and return its row; None where one has left before.

    For requests that may be sent once only. Their answer is entered by ``exchange_settle``.
    """
    keeping = keeping_of(call_id)
    was_refused = Call.objects.filter(pk=call_id, policy_refused_at__isnull=False).exists()
    request = keeping.body(exchange.request_body.decode("utf-8", "replace"))
    with transaction.atomic():
        stored = ToolExchange.objects.create(
            call_id=call_id,
            host=exchange.host[:255],
            url_shown=keeping.line(redact_url(exchange.url))[:500],
            error="no answer yet",
            request_bytes=len(exchange.request_body),
            content=_packed(request, "") if keeping.words and not was_refused else None,
        )
        free = _invocations(call_id, [tool_call_id]).filter(exchange__isnull=True)
        if not free.update(exchange=stored):
            stored.delete()
            return None
    return stored.pk


def exchange_settle(pk: int, exchange: Exchange) -> None:
    """Enter what came back for a request that ``exchange_begin`` stored."""
    stored = ToolExchange.objects.filter(pk=pk).first()
    if stored is None:
        return
    stored.status = min(max(exchange.status, 0), 999)
    keeping = keeping_of(str(stored.call_id))
    stored.error = keeping.line(exchange.error)[:200]
    stored.duration_ms = max(exchange.duration_ms, 0)
    stored.response_bytes = len(exchange.response_text.encode("utf-8", "replace"))
    if stored.content is not None:
        response = keeping.body(exchange.response_text)
        stored.content = _packed(exchange_bodies(stored).request, response)
    stored.save()


def invocations_adopt(most: int = 200) -> int:
    """Enter the organisation of tool calls that lack it; return how many did.

    A process of an older version, which goes on until its calls have ended, writes none.
    """
    rows = ToolInvocation.objects.filter(organisation__isnull=True).order_by("id")
    owners: dict[Any, list[int]] = {}
    for pk, owner in rows.values_list("pk", "call__organisation")[:most]:
        owners.setdefault(owner, []).append(pk)
    for owner, ids in owners.items():
        ToolInvocation.objects.filter(pk__in=ids).update(organisation=owner)
    return sum(map(len, owners.values()))


def _invocations(call_id: str, tool_call_ids: Sequence[str]) -> QuerySet[ToolInvocation]:
    return ToolInvocation.objects.filter(
        call_id=call_id, tool_call_id__in=[each[:64] for each in tool_call_ids]
    )


def exchange_bodies(exchange: ToolExchange) -> Bodies:
    """Return both bodies of a stored request."""
    if exchange.content is None:
        return Bodies()
    stored = json.loads(zlib.decompress(exchange.content))
    return Bodies(stored["request"], stored["response"])


def _packed(request: str, response: str) -> bytes:
    content = {
        "request": request[:_MOST_STORED_CHARACTERS],
        "response": response[:_MOST_STORED_CHARACTERS],
    }
    return zlib.compress(json.dumps(content).encode("ascii"), _COMPRESSION)


def redacted_body(text: str, secrets: Iterable[str]) -> str:
    """Return a body without secrets: JSON by the rules of documents, any text without ``secrets``.

    Arguments stand in messages as JSON text; what is inside is redacted as well.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return masked(text, secrets)
    try:
        clean = _inside(redact(value))
        return masked(json.dumps(clean, ensure_ascii=False), secrets)
    except RecursionError:
        return ""


def _inside(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _inside(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_inside(value) for value in node]
    if not isinstance(node, str) or node.lstrip()[:1] not in ("{", "["):
        return node
    try:
        value = json.loads(node)
    except (ValueError, RecursionError):
        return node
    clean = redact(value)
    return node if clean == value else json.dumps(clean, ensure_ascii=False)


def secrets_of(
    tools: Iterable[Tool], revision: AssistantRevision | None, number: PhoneNumber | None = None
) -> frozenset[str]:
    """Return the texts that may stand in no record of requests to these tools."""
    found: set[str] = set()
    for tool in tools:
        document = tool_document(tool)
        found |= static_secrets(document)
        if tool.type == "apiRequest":
            found |= header_secrets(read_api_request(document).headers)
        server = server_for(tool, revision, number=number)
        if server is not None:
            found |= server_secrets(server)
    return frozenset(found)
