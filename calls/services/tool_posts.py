"""What tool servers are sent: function calls and rows in, requests with Vapi's envelope out.

Owns which calls of a response share a request (vapi.md 4.1) and which form of message each tool
wants. Reads rows, and notes which calls are about to leave; sends nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.utils import timezone

from assistants.extraction import has_plan
from assistants.models import AssistantRevision
from calls.bridge.effects import DispatchTool
from calls.models import Call, ToolInvocation
from calls.services.call_variables import renderer_for, variables_for
from calls.services.privacy import keeping_for
from calls.services.tool_encryption import sealed_arguments
from calls.services.tool_kinds.api_request import api_post
from calls.services.tool_servers import server_for
from calls.services.vapi_objects import PendingCall, envelope_for, preceded_by_text, tool_object
from tools.api_answers import api_answers
from tools.dispatch import NO_SERVER, ArgumentsRefused, ReadAnswers, checked_arguments
from tools.models import Tool
from tools.offered import judging_schema
from tools.own_secrets import static_secrets
from tools.servers import ToolServer
from tools.services import tool_document
from tools.spec import ToolResult, ToolSpec
from tools.switches import Switches, read_switches
from tools.wire import vapi_server, vapi_tool
from voiceplatform.base.fields import DecryptionError

_PLAN: Final = "variableExtractionPlan"
UNAVAILABLE = "This tool cannot be reached at the moment."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToolPost:
    """One request, made from rows in one go; ``calls`` by tool_call_id. No server: none is sent.

    ``secrets`` are values in the body that nobody may be shown; ``extraction`` says by tool_call_id
    what is taken out of a result.
    """

    server: ToolServer | None
    body: bytes
    calls: Mapping[str, ToolSpec] = field(default_factory=dict)
    read: ReadAnswers = vapi_server.tool_results
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    extraction: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A function call that can be posted, and how its tool wants it."""

    spec: ToolSpec
    server: ToolServer
    switches: Switches
    posted: vapi_server.PostedCall
    pending: PendingCall
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    extraction: Any = None

    def shares_request(self, other: _Prepared) -> bool:
        """Tell whether both go into one request: same address, same proof, same form.

        Timeouts may differ; the longest holds. The old message carries one call only.
        """
        ours = replace(self.server, timeout_seconds=0)
        theirs = replace(other.server, timeout_seconds=0)
        return (
            ours == theirs and self.switches == other.switches and not self.switches.legacy_message
        )


def tool_posts(
    call_id: str, calls: Sequence[tuple[ToolSpec, DispatchTool]], *, revision_id: str = ""
) -> tuple[list[ToolPost], dict[str, ToolResult]]:
    """Return the requests for the calls of one response, and the answers known without any.

    One request for each address, its calls in the model's order (vapi.md 4.1).

    Args:
        revision_id: the assistant that has made the calls, where the row may not say so yet.

    Raises:
        Call.DoesNotExist: there is no such call.
    """
    call = Call.objects.select_related(
        "organisation",
        "twilio_account",
        "number__twilio_account",
        "revision__assistant",
        "connection",
        "activation",
    ).get(pk=call_id)
    if revision_id and revision_id != str(call.revision_id):
        # The journal has not stored the handoff yet, or the assistant has just handed over.
        call.revision = AssistantRevision.objects.select_related("assistant").get(pk=revision_id)
    prepared: list[_Prepared] = []
    posts: list[ToolPost] = []
    known: dict[str, ToolResult] = {}
    for spec, effect in calls:
        try:
            note_running(call, spec, effect)
            own = _own_post(call, spec, effect)
            one = None if own else _prepared(call, spec, effect)
        except ArgumentsRefused as error:
            known[effect.tool_call_id] = ToolResult(str(error), outcome="error", sent=False)
        except (ObjectDoesNotExist, ValidationError, DecryptionError) as error:
            log.error("tool_not_prepared", call_id=call_id, error=type(error).__name__)
            known[effect.tool_call_id] = ToolResult(UNAVAILABLE, outcome="error")
        else:
            if own is not None and own.server is not None:
                posts.append(own)
            elif one is None:
                log.warning("tool_without_server", call_id=call_id, tools=[spec.name])
                known[effect.tool_call_id] = ToolResult(NO_SERVER, outcome="error")
            else:
                prepared.append(one)
    pending = [each.pending for each in prepared]
    posts += [_request(call, group, pending) for group in _groups(prepared)]
    return posts, known


def tool_post(*, call: Call, spec: ToolSpec, effect: DispatchTool) -> ToolPost:
    """Read the tool of ``call`` and build what its server is sent; writes nothing.

    Raises:
        ArgumentsRefused: the model's arguments cannot be posted.
        Tool.DoesNotExist: the tool is gone.
    """
    own = _own_post(call, spec, effect)
    if own is not None:
        return own
    prepared = _prepared(call, spec, effect)
    if prepared is None:
        return ToolPost(None, b"", {effect.tool_call_id: spec})
    return _request(call, [prepared], [prepared.pending])


def _own_post(call: Call, spec: ToolSpec, effect: DispatchTool) -> ToolPost | None:
    """Return the request of a tool that is asked in its own form, None for one in Vapi's."""
    if spec.kind != "apiRequest":
        return None
    tool = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    now = timezone.now()
    found = api_post(tool, effect.arguments_json, lambda: variables_for(call, now), now)
    server, body = found or (None, b"")
    document = tool_document(tool)
    return ToolPost(
        server,
        body,
        {effect.tool_call_id: spec},
        api_answers,
        static_secrets(document),
        _extraction({effect.tool_call_id: document.get(_PLAN)}),
    )


def _prepared(call: Call, spec: ToolSpec, effect: DispatchTool) -> _Prepared | None:
    tool = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    document = tool_document(tool)
    rendered = renderer_for(call)
    arguments = checked_arguments(
        # The schema as its author wrote it; a session may have been given a simpler one.
        ToolSpec(
            name=spec.name, parameters=judging_schema(vapi_tool.read_tool(document).parameters)
        ),
        effect.arguments_json,
        static=vapi_server.static_parameters(document),
        render=rendered,
    )
    server = server_for(tool, call.revision, number=call.number, render=rendered)
    if server is None:
        return None
    arguments = sealed_arguments(tool, document, arguments)
    shown = spec.shown(effect.arguments_json)
    name = spec.posted_name or tool.name
    return _Prepared(
        spec=spec,
        server=server,
        switches=read_switches(document),
        posted=vapi_server.PostedCall(
            tool_call_id=effect.tool_call_id,
            name=name,
            arguments=arguments,
            tool=tool_object(
                tool,
                url=server.url,
                timeout_seconds=server.timeout_seconds,
                call_id=str(call.pk),
            ),
            preceded_by_text=preceded_by_text(call),
        ),
        pending=PendingCall(effect.tool_call_id, name, shown),
        secrets=static_secrets(document),
        extraction=document.get(_PLAN),
    )


def _groups(prepared: Iterable[_Prepared]) -> list[list[_Prepared]]:
    groups: list[list[_Prepared]] = []
    for each in prepared:
        found = next((group for group in groups if each.shares_request(group[0])), None)
        if found is None:
            groups.append([each])
        else:
            found.append(each)
    return groups


def _request(call: Call, group: Sequence[_Prepared], pending: Sequence[PendingCall]) -> ToolPost:
    envelope = envelope_for(call, timestamp_ms=time.time_ns() // 1_000_000, pending=pending)
    switches = group[0].switches
    if switches.legacy_message:
        message = vapi_server.function_call_message(
            envelope, group[0].posted, arguments_as_text=switches.text_arguments
        )
    else:
        message = vapi_server.tool_calls_message(
            envelope,
            [each.posted for each in group],
            aliases=switches.aliases,
            arguments_as_text=switches.text_arguments,
        )
    longest = max(each.server.timeout_seconds for each in group)
    return ToolPost(
        replace(group[0].server, timeout_seconds=longest),
        vapi_server.encode(message),
        {each.posted.tool_call_id: each.spec for each in group},
        reader_of(switches),
        secrets=frozenset().union(*(each.secrets for each in group)),
        extraction=_extraction({each.posted.tool_call_id: each.extraction for each in group}),
    )


def _extraction(plans: Mapping[str, Any]) -> dict[str, Any]:
    return {tool_call_id: plan for tool_call_id, plan in plans.items() if has_plan(plan)}


def reader_of(switches: Switches) -> ReadAnswers:
    """Return what reads the answers of a server that is asked with these switches."""
    if switches.object_answers:
        return partial(vapi_server.tool_results, objects_are_results=True)
    return vapi_server.tool_results


def note_running(call: Call, spec: ToolSpec, effect: DispatchTool) -> None:
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
            "organisation_id": call.organisation_id,
            "name": effect.name[:200],
            "tool_id": tool_id,
            "arguments_json": keeping_for(call).body(
                spec.shown(effect.arguments_json).replace("\x00", "")
            ),
            "started_ms": max(0, round((timezone.now() - begun).total_seconds() * 1000)),
        },
    )
    if tool_id is not None and not is_new and row.tool_id is None:
        ToolInvocation.objects.filter(pk=row.pk).update(tool_id=tool_id)
