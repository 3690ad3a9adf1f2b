"""Conditions in Liquid against a function call: judged here, because a template needs the variables
of its call.

Everything else of a rejection plan is the bridge's own (``tools.rejection``). Never raises into the
call; a condition that cannot be judged lets nothing through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error as AnyDatabaseError
from django.utils import timezone

from assistants.prompt import render
from calls.bridge.effects import DispatchTool
from calls.bridge.plan import CallPlan
from calls.media.database import in_database
from calls.models import Call
from calls.services.call_variables import variables_for
from tools.rejection import REJECTED, Said, rejects
from tools.spec import ToolResult, ToolSpec

UNJUDGED = "The tool was not called: whether it may be cannot be told at the moment."

log = structlog.get_logger(__name__)


async def judged(
    *,
    plan: CallPlan,
    calls: Sequence[DispatchTool],
    finished: Callable[[str, ToolResult], None],
    load: Callable[[], Call],
) -> list[DispatchTool]:
    """Return the calls that are to be run, and tell of those that are only judged what they got.

    Leave is an answer without words (``ok``); the call itself comes when it is to be run.

    Args:
        load: reads the call with what its variables are made of; run off the loop.
    """
    specs = {spec.name: spec for spec in plan.tools}
    asked = [(specs[each.name], each) for each in calls if each.judge and each.name in specs]
    if not asked:
        return [each for each in calls if not each.judge]
    answers: dict[str, ToolResult] = {}
    try:
        refused = await in_database(_refused, load, asked)
    except (AnyDatabaseError, ObjectDoesNotExist) as error:
        log.error("tools_not_judged", call_id=plan.call_id, error=type(error).__name__)
        answers = {each.tool_call_id: ToolResult(UNJUDGED, "refused") for _, each in asked}
    else:
        for _, each in asked:
            is_refused = each.tool_call_id in refused
            answers[each.tool_call_id] = (
                ToolResult(REJECTED, "refused") if is_refused else ToolResult("")
            )
    for tool_call_id, result in answers.items():
        finished(tool_call_id, result)
    return [each for each in calls if not each.judge]


def _refused(
    load: Callable[[], Call], asked: Sequence[tuple[ToolSpec, DispatchTool]]
) -> frozenset[str]:
    now = timezone.now()
    variables = variables_for(load(), now)
    return frozenset(
        each.tool_call_id
        for spec, each in asked
        if rejects(
            spec.rejection,
            each.said,
            lambda text, said: render(text, _scope(variables, said), now),
        )
    )


def _scope(variables: Mapping[str, Any], said: Sequence[Said]) -> dict[str, Any]:
    messages = [{"role": each.role, "content": each.text, "message": each.text} for each in said]
    return {**variables, "messages": messages}
