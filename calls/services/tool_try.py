"""Sends one request to a tool server that is marked as a test, and tells what came of it.

Owns the marks and who may: the request is the very one of a phone call, of a call that nobody
placed and nothing stores. Arguments, secrets and answers are in no audit entry and no log.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import F
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.secret_probe import TEST_HEADER
from calls.bridge.effects import DispatchTool
from calls.models import Call, TwilioAccount
from calls.services.tool_records import redacted_body, secrets_of
from calls.services.tool_run import ToolPost, tool_post
from tools.dispatch import ArgumentsRefused, close_client, dispatch
from tools.masking import masked
from tools.models import Tool
from tools.servers import ToolServer
from tools.spec import ASKING_KINDS, POSTED_KINDS, ToolResult, ToolSpec
from tools.wire import vapi_server
from voiceplatform.base.egress import (
    EgressPolicy,
    EgressRefused,
    destination,
    egress_client,
    policy,
)
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.services import audit_write

PERMISSION: Final = "calls.try_tool"
# Vapi's own place for what a caller of its API adds to a call, so every typed server takes it.
MARK: Final[Mapping[str, Any]] = {"voiceplatformTest": True}
TEST_KIND: Final = "tool"
_ACCOUNT_SID: Final = "test"


class TryRefused(Exception):
    """Nothing was sent; the text says why and what to do, and holds no secret."""


@dataclass(frozen=True, slots=True)
class ToolTrial:
    """What one test request showed; ``request`` and ``response`` hold no secret.

    ``output`` is what the model would read. ``status`` 0: no answer came, ``error`` says why.
    """

    url_shown: str
    header_names: tuple[str, ...]
    request: str
    status: int
    response: str
    duration_ms: int
    output: str
    outcome: str
    method: str = "POST"
    error: str = ""
    warning: str = ""
    spoken: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Tell whether a caller would have been helped."""
        return self.outcome == "ok"


def tool_try(
    *, tool: Tool, arguments_json: str, actor: Any, to_url: str = "", through: str = "admin"
) -> ToolTrial:
    """Send a marked request for ``tool`` and wait for the answer, as long as the tool allows.

    Must not be called in a transaction or from an event loop.

    Args:
        to_url: another server that gets the request in place of the tool's own. No secret travels
            to it, and it may be on this machine: only who can run commands here gives one.

    Raises:
        TryRefused: nothing was sent.
    """
    revision = revision_using(tool)
    tool_call_id = f"call_test_{uuid.uuid4().hex[:20]}"
    post, server = _request(tool, revision, arguments_json, tool_call_id, to_url)
    result = asyncio.run(_sent(tool, tool_call_id, post, server, rules_for(to_url)))
    trial = _trial(server, post.body, result, secrets_of([tool], revision))
    audit_write(
        actor=actor,
        action="tool.try",
        organisation=tool.organisation,
        target=tool,
        details={
            "host": destination(server.url).host,
            "other_server": bool(to_url),
            "through": through,
            "status": trial.status,
            "outcome": trial.outcome,
        },
    )
    return trial


def revision_using(tool: Tool) -> AssistantRevision | None:
    """Return a current revision of a live assistant that has ``tool``, None where there is none."""
    found: AssistantRevision | None = (
        tool.revisions.filter(
            assistant__current_revision=F("pk"), assistant__deleted_at__isnull=True
        )
        .select_related("assistant__organisation")
        .order_by("pk")
        .first()
    )
    return found


def call_nobody_placed(tool: Tool, revision: AssistantRevision | None) -> Call:
    """Return a call for the envelope of a test. Never save it."""
    now = timezone.now()
    call = Call(
        id=uuid.uuid4(),
        organisation=tool.organisation,
        call_sid=f"test-{uuid.uuid4().hex[:28]}",
        twilio_account=TwilioAccount(
            organisation=tool.organisation, name="test", account_sid=_ACCOUNT_SID
        ),
        revision=revision,
        direction="web",
        status=Call.Status.IN_PROGRESS,
        created_at=now,
        started_at=now,
    )
    vars(call)["_prefetched_objects_cache"] = {"turns": [], "tool_invocations": []}
    return call


def _request(
    tool: Tool,
    revision: AssistantRevision | None,
    arguments_json: str,
    tool_call_id: str,
    to_url: str,
) -> tuple[ToolPost, ToolServer]:
    if tool.deleted_at is not None:
        raise TryRefused("This tool has been deleted.")
    if tool.type not in ASKING_KINDS:
        raise TryRefused(f"A tool of the kind {tool.type} asks no server of yours.")
    spec = ToolSpec(name=tool.name, kind=tool.type, handle=str(tool.pk), posted_name=tool.name)
    effect = DispatchTool(tool_call_id, tool.name, arguments_json)
    try:
        post = tool_post(call=call_nobody_placed(tool, revision), spec=spec, effect=effect)
    except ArgumentsRefused as error:
        raise TryRefused(str(error)) from error
    except (ObjectDoesNotExist, ValidationError, DecryptionError) as error:
        raise TryRefused(f"The request could not be made ({type(error).__name__}).") from error
    server = post.server
    if server is None:
        raise TryRefused(
            "No server is known for this tool. Fix: enter its address here or in its assistant."
        )
    if to_url:
        server = ToolServer(
            url=to_url, timeout_seconds=server.timeout_seconds, method=server.method
        )
    try:
        destination(server.url)
    except EgressRefused as error:
        raise TryRefused(str(error)) from error
    marked = replace(server, headers={**server.headers, TEST_HEADER: TEST_KIND})
    if tool.type in POSTED_KINDS:
        post = replace(post, body=_marked(post.body))
    return post, marked


def _marked(body: bytes) -> bytes:
    """Mark an envelope as a test; a web call has no carrier (vapi.md 6.3)."""
    whole = json.loads(body)
    call = whole["message"]["call"]
    for name in ("phoneCallProvider", "phoneCallTransport", "phoneCallProviderId", "transport"):
        call.pop(name, None)
    call["metadata"] = {**call.get("metadata", {}), **MARK}
    return vapi_server.encode(whole)


def rules_for(to_url: str) -> EgressPolicy | None:
    """Return the rules of the settings with the host that a person at the console named.

    None where nobody named one: then the tool's own way out is used.
    """
    if not to_url:
        return None
    rules, named = policy(), EgressPolicy.of([destination(to_url).host])
    return EgressPolicy(rules.hosts | named.hosts, rules.networks + named.networks)


async def _sent(
    tool: Tool, tool_call_id: str, post: ToolPost, server: ToolServer, rules: EgressPolicy | None
) -> ToolResult:
    # An asynchronous tool's answer is not waited for in a call; here it is what one wants to see.
    calls = {tool_call_id: ToolSpec(name=tool.name, posted_name=tool.name, is_async=False)}
    if rules is None:
        try:
            results = await dispatch(calls, server, post.body, read=post.read)
        finally:
            await close_client()
    else:
        async with egress_client(rules=rules) as client:
            results = await dispatch(calls, server, post.body, client=client, read=post.read)
    return results[tool_call_id]


def _trial(
    server: ToolServer, body: bytes, result: ToolResult, secrets: frozenset[str]
) -> ToolTrial:
    exchange = result.exchange
    names = {*server.headers, *(("X-Vapi-Secret",) if server.secret else ())}
    said = [str(each["content"]) for each in result.messages if each.get("content")]
    return ToolTrial(
        url_shown=masked(redact_url(server.url_shown or server.url), secrets),
        method=server.method,
        header_names=tuple(sorted(names)),
        request=redacted_body(body.decode("ascii"), secrets),
        status=exchange.status if exchange else 0,
        response=redacted_body(exchange.response_text, secrets) if exchange else "",
        duration_ms=result.duration_ms,
        output=masked(result.output, secrets),
        outcome=result.outcome,
        error=masked(exchange.error, secrets) if exchange else "",
        warning=result.warning,
        spoken=tuple(masked(each, secrets) for each in said),
    )
