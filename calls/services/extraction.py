"""What tools' results set in a call: taken out, kept with the call, and said from then on.

Owns the bag of a call's variables (``Call.variable_values``), which every template that is filled
in later sees through ``call_variables``, and so does a stream that resumes the call. The session's
prompt was given to the model and stays as it is; what tools say is handed to the bridge anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from assistants.extraction import extracted, gathered
from assistants.prompt import render
from calls.bridge.plan import CallPlan
from calls.models import AssistantActivation, Call
from calls.privacy.keeping import EVERYTHING, Keeping
from calls.services.call_plan import offered_tools
from calls.services.call_variables import keep_unmasked, unmasked_variables, variables_for
from calls.services.privacy import keeping_for
from calls.services.sessions import tool_specs
from tools.defaults import has_template
from tools.messages import ToolMessage

Retold = Mapping[str, tuple[ToolMessage, ...]]

log = structlog.get_logger(__name__)


def variables_take(plan: CallPlan, results: Sequence[tuple[Any, str]]) -> Retold:
    """Store what extraction plans take out of results, and return what tools say from now on.

    Args:
        results: pairs of a plan and the result that it is for, in the order of the calls.

    Raises:
        Call.DoesNotExist: there is no such call.
    """
    call: Call = Call.objects.select_related(
        "organisation", "number", "revision", "twilio_account", "activation"
    ).get(pk=plan.call_id)
    new = variables_in(call, results)
    if not new:
        return {}
    keeping = keeping_for(call)
    with transaction.atomic():
        # Another result of the same call may be stored meanwhile.
        row = Call.objects.select_for_update().only("variable_values").get(pk=call.pk)
        known = {**(row.variable_values or {}), **unmasked_variables(call)}
        values = gathered(known, new)
        if keeping != EVERYTHING:
            # What is masked is never written (ADR 0029); this process knows it while it carries
            # the call, a stream that resumes it elsewhere has what was kept.
            keep_unmasked(call, values)
        row.variable_values = call.variable_values = _kept(keeping, values)
        row.save(update_fields=["variable_values"])
        _change_handed(call.activation, call.variable_values, new)
    dropped = [name for name in new if name not in values]
    log.info("variables_set", call_id=plan.call_id, count=len(new), dropped=len(dropped))
    return messages_now(call, plan)


def _kept(keeping: Keeping, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables as they may be stored."""
    if not keeping.words:
        return {}
    return dict(values) if keeping.redactor is None else dict(keeping.redactor.value(dict(values)))


def _change_handed(
    activation: AssistantActivation | None, values: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Set what was handed over anew where a result has set it since: the later value wins."""
    handed = (activation.variables if activation is not None else None) or {}
    changed = {name: values[name] for name in new if name in handed and name in values}
    if activation is not None and changed:
        activation.variables = {**handed, **changed}
        activation.save(update_fields=["variables"])


def variables_in(call: Call, results: Sequence[tuple[Any, str]]) -> dict[str, Any]:
    """Return what plans take out of results; a later one sees what those before it gave."""
    now = timezone.now()
    known = variables_for(call, now)
    found: dict[str, Any] = {}
    for plan, result in results:
        found |= extracted(plan, result, {**known, **found}, now)
    return found


def messages_now(call: Call, plan: CallPlan) -> dict[str, tuple[ToolMessage, ...]]:
    """Return what tools say around their calls where it is not what the plan says."""
    if call.revision is None:
        return {}
    tools = list(offered_tools(call.revision))
    if not any(has_template(list(tool.messages)) for tool in tools):
        return {}
    now = timezone.now()
    variables = variables_for(call, now)
    specs = tool_specs(
        tools, lambda text: render(text, variables, now), language=plan.session.language
    )
    before = {spec.name: spec.messages for spec in plan.tools}
    return {
        spec.name: spec.messages
        for spec in specs
        if spec.name in before and before[spec.name] != spec.messages
    }
