"""Runs one function call of the model: rows to an envelope, the envelope to the tool's server.

Owns which server a tool is answered by and what is posted to it. Never raises into the call: what
goes wrong is a text the model can act on. Ending and transferring a call are the bridge's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.prompt import render
from assistants.services import revision_document
from calls.bridge.effects import DispatchTool
from calls.bridge.plan import CallPlan
from calls.media.database import in_database
from calls.models import Call, ToolInvocation
from calls.services.call_variables import variables_for
from calls.services.vapi_objects import PendingCall, envelope_for, preceded_by_text, tool_object
from calls.telephony.twilio_client import TwilioAccess
from tools.defaults import Render
from tools.dispatch import ArgumentsRefused, ToolServer, checked_arguments, dispatch
from tools.models import Tool
from tools.offered import judging_schema
from tools.services import tool_document
from tools.spec import POSTED_KINDS, ToolResult, ToolSpec
from tools.wire import vapi_server, vapi_tool
from voiceplatform.base.fields import DecryptionError

UNAVAILABLE = "This tool cannot be reached at the moment."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToolPost:
    """What is to be sent, made from rows in one go; no server: nothing can be."""

    server: ToolServer | None
    body: bytes


async def tool_run(
    *, plan: CallPlan, calls: Sequence[DispatchTool], finished: Callable[[str, ToolResult], None]
) -> None:
    """Answer the function calls of one response; never raises.

    Args:
        finished: told each call's ``tool_call_id`` and result once, as soon as it is known.
    """

    async def answer(effect: DispatchTool) -> None:
        finished(effect.tool_call_id, await _answered(plan, effect))

    await asyncio.gather(*(answer(each) for each in calls))


async def _answered(plan: CallPlan, effect: DispatchTool) -> ToolResult:
    spec = next((tool for tool in plan.tools if tool.name == effect.name), None)
    if spec is None:
        return ToolResult(f"There is no tool {effect.name!r}.", outcome="error")
    if spec.kind not in POSTED_KINDS:
        log.warning("tool_kind_not_supported", call_id=plan.call_id, kind=spec.kind)
        return ToolResult("This tool is not available on this line.", outcome="error")
    try:
        post = await in_database(_post_for, plan.call_id, spec, effect)
    except ArgumentsRefused as error:
        return ToolResult(str(error), outcome="error")
    except (AnyDatabaseError, ObjectDoesNotExist, ValidationError, DecryptionError) as error:
        log.error("tool_not_prepared", call_id=plan.call_id, error=type(error).__name__)
        return ToolResult(UNAVAILABLE, outcome="error")
    results = await dispatch(
        {effect.tool_call_id: spec}, post.server, post.body, call_id=plan.call_id
    )
    return results[effect.tool_call_id]


def _post_for(call_id: str, spec: ToolSpec, effect: DispatchTool) -> ToolPost:
    call = Call.objects.select_related(
        "organisation",
        "twilio_account",
        "number__twilio_account",
        "revision__assistant",
        "connection",
    ).get(pk=call_id)
    _note_running(call, spec, effect)
    return tool_post(call=call, spec=spec, effect=effect)


def tool_post(*, call: Call, spec: ToolSpec, effect: DispatchTool) -> ToolPost:
    """Read the tool of ``call`` and build what its server is sent; writes nothing.

    Raises:
        ArgumentsRefused: the model's arguments cannot be posted.
        Tool.DoesNotExist: the tool is gone.
    """
    tool = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    document = tool_document(tool)
    arguments = checked_arguments(
        # The schema as its author wrote it; a session may have been given a simpler one.
        ToolSpec(
            name=spec.name, parameters=judging_schema(vapi_tool.read_tool(document).parameters)
        ),
        effect.arguments_json,
        static=vapi_server.static_parameters(document),
        render=renderer_for(call),
    )
    server = server_for(tool, call.revision)
    if server is None:
        return ToolPost(None, b"")
    name = spec.posted_name or tool.name
    pending = PendingCall(effect.tool_call_id, name, effect.arguments_json)
    posted = vapi_server.PostedCall(
        tool_call_id=effect.tool_call_id,
        name=name,
        arguments=arguments,
        tool=tool_object(tool, url=server.url, timeout_seconds=server.timeout_seconds),
        preceded_by_text=preceded_by_text(call),
    )
    envelope = envelope_for(call, timestamp_ms=time.time_ns() // 1_000_000, pending=[pending])
    return ToolPost(server, vapi_server.encode(vapi_server.tool_calls_message(envelope, [posted])))


def _note_running(call: Call, spec: ToolSpec, effect: DispatchTool) -> None:
    """Store that a request is about to leave, before it does: the process may die with it.

    The journal writes the same row in its own time, with what became of it.
    """
    begun = call.started_at or call.created_at
    # A plan may outlive the row it was made of.
    own = Tool.objects.for_organisation(call.organisation)
    tool_id = spec.handle if spec.handle and own.filter(pk=spec.handle).exists() else None
    row, is_new = ToolInvocation.objects.get_or_create(
        call=call,
        tool_call_id=effect.tool_call_id[:64],
        defaults={
            "name": effect.name[:200],
            "tool_id": tool_id,
            "arguments_json": effect.arguments_json.replace("\x00", ""),
            "started_ms": max(0, round((timezone.now() - begun).total_seconds() * 1000)),
        },
    )
    if tool_id is not None and not is_new and row.tool_id is None:
        ToolInvocation.objects.filter(pk=row.pk).update(tool_id=tool_id)


def renderer_for(call: Call) -> Render:
    """Return what fills in Liquid with the variables of a call, read when the first one is met."""
    now = timezone.now()
    variables = cache(lambda: variables_for(call, now))

    def filled(text: str) -> str:
        return render(text, variables(), now)

    return filled


def server_for(tool: Tool, revision: AssistantRevision | None) -> ToolServer | None:
    """Return who answers a tool: its own server, else its assistant's (vapi.md 2.5).

    Each server has its own secret and headers; they never travel to another one.
    """
    if tool.server_url:
        return ToolServer(
            url=tool.server_url,
            secret=tool.server_secret,
            headers=tool.server_headers or {},
            timeout_seconds=tool.timeout_seconds,
        )
    if revision is None or not revision.server_url:
        return None
    reading = vapi_tool.read_tool({"server": revision_document(revision).get("server")})
    return ToolServer(
        url=revision.server_url,
        secret=revision.server_secret,
        headers=reading.server_headers or {},
        timeout_seconds=reading.timeout_seconds,
    )


def twilio_access_for(*, call_id: str) -> TwilioAccess:
    """Return what it takes to act on a call at Twilio."""
    account = Call.objects.select_related("twilio_account").get(pk=call_id).twilio_account
    return TwilioAccess(account.account_sid, account.auth_token, account.api_base_url)
