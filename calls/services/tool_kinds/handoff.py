"""Answers ``handoff`` tools: the assistant that takes over, as a plan for the bridge.

Owns what is read when, and what is said where nobody can take over. The change itself is the
bridge's (``calls.bridge.handover``); never raises into the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError

from calls.bridge.effects import DispatchTool
from calls.bridge.plan import CallPlan
from calls.media.database import in_database
from calls.models import Call
from calls.services.call_plan import plan_for
from calls.services.contract import ContractForbids
from calls.services.handoffs import (
    NOBODY,
    Target,
    destination_of,
    not_here,
    successor_result,
    taken_over_by,
    target_of,
)
from calls.services.server_messages.asking import Question, ask, question_of
from calls.services.server_messages.targets import destination_of as server_destination
from calls.services.server_messages.targets import news_of
from calls.services.server_messages.targets import target_of as told_of
from calls.services.tool_posts import UNAVAILABLE, note_running
from calls.services.vapi_objects import PendingCall, envelope_for
from tools.handoffs import Destination
from tools.handoffs import destination as named_destination
from tools.loose_json import as_text
from tools.messages import arguments_of
from tools.models import Tool
from tools.services import tool_document
from tools.spec import ToolResult, ToolSpec
from tools.wire import vapi_server
from tools.wire.vapi_requests import HandoffAnswer, read_handoff_answer
from voiceplatform.base.fields import DecryptionError

log = structlog.get_logger(__name__)


async def handoff_run(
    call_id: str, spec: ToolSpec, effect: DispatchTool, finished: Callable[[str, ToolResult], None]
) -> None:
    """Tell who takes a call over, or why nobody does; never raises."""
    finished(effect.tool_call_id, await handoff_result(call_id, spec, effect, _stored(call_id)))


async def handoff_result(
    call_id: str, spec: ToolSpec, effect: DispatchTool, load: Callable[[], Call]
) -> ToolResult:
    """Return the answer of a handoff.

    Args:
        load: reads the call as it is now; run off the loop.
    """
    try:
        found = await in_database(_result, load, spec, effect)
        if isinstance(found, Question):
            text = await ask(found)
            answer = read_handoff_answer(text) if text is not None else HandoffAnswer()
            found = await in_database(_result, load, spec, effect, answer)
    except (
        AnyDatabaseError,
        ObjectDoesNotExist,
        ValidationError,
        DecryptionError,
        ContractForbids,
    ) as error:
        log.error("handoff_not_prepared", call_id=call_id, error=type(error).__name__)
        return ToolResult(UNAVAILABLE, outcome="error")
    return found if isinstance(found, ToolResult) else ToolResult(NOBODY, outcome="error")


def _stored(call_id: str) -> Callable[[], Call]:
    return lambda: call_to_hand(call_id)


def call_to_hand(call_id: str) -> Call:
    """Return a call with all that its next plan is made of.

    Raises:
        Call.DoesNotExist: it has been erased.
    """
    call: Call = Call.objects.select_related(
        *("organisation", "number", "connection", "twilio_account", "revision__assistant"),
        *("activation__squad", "policy_wording__policy"),
    ).get(pk=call_id)
    return call


def _result(
    load: Callable[[], Call],
    spec: ToolSpec,
    effect: DispatchTool,
    answer: HandoffAnswer | None = None,
) -> ToolResult | Question:
    """Return who takes over, or what has to be asked first.

    Args:
        answer: what the server of a dynamic destination has said.
    """
    call = load()
    is_stored = not call._state.adding
    if is_stored:
        note_running(call, spec, effect)
    tool: Any = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    destination = destination_of(tool, effect.arguments_json)
    if destination is not None and destination.server:
        if answer is None:
            return _question(call, destination, effect) if is_stored else _rehearsed()
        if answer.error:
            said = " ".join(answer.error.split())
            return ToolResult(f"The call was not handed over: {said}", outcome="error")
        destination = named_destination(answer.destination)
    if destination is None:
        return ToolResult(NOBODY, outcome="error")
    squad = call.activation.squad if call.activation is not None else None
    target = target_of(call.organisation, destination, squad=squad, owner=tool.pk)
    if target is None:
        return not_here(destination)
    handed = taken_over_by(call, target, effect.arguments_json)
    plan = plan_of_handed(handed, target)
    default = answer.result if answer is not None else ""
    default = default or as_text(tool_document(tool).get("defaultResult"))
    return successor_result(handed, plan, destination.context, default)


def plan_of_handed(handed: Call, target: Target) -> CallPlan:
    """Return the plan of a call that ``target`` takes over; nobody is told of a rehearsal."""
    is_stored = not handed._state.adding
    return replace(
        plan_for(handed, anew=True),
        assistant_name=target.name,
        tells=news_of(handed, told_of(handed)) if is_stored else (),
    )


def _rehearsed() -> ToolResult:
    """Return the answer where there is no call that a server could be asked about."""
    words = "Rehearsal: the server that says who takes over was not asked. The call stays."
    return ToolResult(words, outcome="error")


def _question(call: Call, destination: Destination, effect: DispatchTool) -> Question:
    """Return the request to the server of a dynamic destination (vapi.md 5.2)."""
    place = server_destination(call, {"server": dict(destination.server)})
    assert place is not None, "only a destination with a server is asked for"
    pending = PendingCall(effect.tool_call_id, effect.name, effect.arguments_json)
    envelope = envelope_for(call, timestamp_ms=time.time_ns() // 1_000_000, pending=[pending])
    own = {"parameters": dict(arguments_of(effect.arguments_json))}
    body = vapi_server.server_message(envelope, "handoff-destination-request", own)
    return question_of(place, organisation_id=call.organisation_id, body=body, call_id=str(call.pk))
