"""Answers ``handoff`` tools: the assistant that takes over, as a plan for the bridge.

Owns what is read when, and what is said where nobody can take over. The change itself is the
bridge's (``calls.bridge.handover``); never raises into the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call
from calls.services.call_plan import plan_for
from calls.services.contract import ContractForbids
from calls.services.handoffs import (
    NOBODY,
    destination_of,
    not_here,
    successor_result,
    taken_over_by,
    target_of,
)
from calls.services.tool_posts import UNAVAILABLE, note_running
from tools.loose_json import as_text
from tools.models import Tool
from tools.services import tool_document
from tools.spec import ToolResult, ToolSpec
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
        return await in_database(_result, load, spec, effect)
    except (
        AnyDatabaseError,
        ObjectDoesNotExist,
        ValidationError,
        DecryptionError,
        ContractForbids,
    ) as error:
        log.error("handoff_not_prepared", call_id=call_id, error=type(error).__name__)
        return ToolResult(UNAVAILABLE, outcome="error")


def _stored(call_id: str) -> Callable[[], Call]:
    def load() -> Call:
        call: Call = Call.objects.select_related(
            *("organisation", "number", "connection", "twilio_account", "revision__assistant"),
            *("activation__squad", "policy_wording__policy"),
        ).get(pk=call_id)
        return call

    return load


def _result(load: Callable[[], Call], spec: ToolSpec, effect: DispatchTool) -> ToolResult:
    call = load()
    is_stored = not call._state.adding
    if is_stored:
        note_running(call, spec, effect)
    tool: Any = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    destination = destination_of(tool, effect.arguments_json)
    if destination is None:
        return ToolResult(NOBODY, outcome="error")
    squad = call.activation.squad if call.activation is not None else None
    target = target_of(call.organisation, destination, squad=squad, owner=tool.pk)
    if target is None:
        return not_here(destination)
    handed = taken_over_by(call, target, effect.arguments_json)
    plan = replace(plan_for(handed, anew=True), assistant_name=target.name)
    default = as_text(tool_document(tool).get("defaultResult"))
    return successor_result(handed, plan, destination.context, default)
