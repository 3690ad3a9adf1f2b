"""Rehearsals: both stacks of a run played on stand-ins in virtual time, in this process.

Owns the plan of a call that nobody placed, made of the run's revision as a call's is, and the
runner of the kind ``rehearsal``. No socket is opened and no tool is asked: the scenario answers.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.prompt import clock_variables, render
from assistants.services import revision_document
from assistants.translate import session_plan
from assistants.voice_table import realtime_voice
from calls.bridge.plan import CallPlan, Limits
from calls.models import ParityCall, ParityRun, ProviderConnection
from calls.money.rates import price_for
from calls.parity.dealing import chance
from calls.parity.old_stack_model import play_old_stack
from calls.parity.rehearsal import RehearsalStuck, rehearse
from calls.parity.scenario_reading import ScenarioWrong, scenario_read
from calls.services.call_plan import offered_tools
from calls.services.call_variables import own_variables
from calls.services.handoffs import destination_names
from calls.services.parity_runners import CallRefused, CallResult
from calls.services.sessions import (
    answering_model,
    assistant_parts,
    session_config,
    tool_specs,
)
from tools.models import Tool

# Nobody's number: what a prompt that speaks of the caller is filled with.
CALLER: Final = "+15550100002"
_SID: Final = "0" * 32
# A handful of runs at once; the oldest is forgotten and made anew when it is asked for.
_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class _Material:
    """What the plans of a run's calls are made of, read once."""

    document: Mapping[str, Any]
    tools: tuple[Tool, ...]
    voice: str
    model: str
    transcription_model: str
    names: Mapping[str, str]
    revision_id: str
    now: dt.datetime = field(default_factory=timezone.now)


_MATERIAL: dict[uuid.UUID, _Material] = {}


def rehearsal_prepare(run: ParityRun) -> None:
    """Read what the plans of the run's calls need."""
    while len(_MATERIAL) >= _KEPT:
        _MATERIAL.pop(next(iter(_MATERIAL)), None)
    _MATERIAL[run.pk] = _material(run.revision, run.model, run.created_at)


def rehearsal_play(call: ParityCall) -> CallResult:
    """Play one call of a rehearsal on its stack; asks the database for nothing once prepared.

    Raises:
        CallRefused: the scenario cannot be read, or its conversation has no end.
    """
    try:
        scenario = scenario_read(call.document, call.scenario)
    except ScenarioWrong as wrong:
        raise CallRefused(str(wrong)[:300]) from wrong
    # A repetition of a scenario has its own name and noise; the two stacks share neither.
    scenario = replace(scenario, name=call.scenario)
    run = call.run
    rng = chance(run.seed, call.scenario, call.index, call.stack)
    if call.stack != ParityCall.Stack.DIRECT:
        return play_old_stack(scenario, key=str(call.pk), rng=rng)
    if run.pk not in _MATERIAL:
        rehearsal_prepare(run)
    plan = _plan(_MATERIAL[run.pk], scenario.variables)
    try:
        return rehearse(plan, scenario, key=str(call.pk), rng=rng)
    except RehearsalStuck as stuck:
        raise CallRefused(
            f"{stuck} within a quarter of an hour. Fix: end the scenario with hang_up: true"
        ) from stuck


def rehearsal_plan(
    revision: AssistantRevision, *, model: str = "", variables: Mapping[str, Any] | None = None
) -> CallPlan:
    """Return the plan of a call that ``revision`` answers, in a rehearsal."""
    return _plan(_material(revision, model, timezone.now()), variables or {})


def _material(revision: AssistantRevision, model: str, now: dt.datetime) -> _Material:
    document = revision_document(revision)
    organisation = revision.assistant.organisation
    connection = ProviderConnection.objects.filter(
        organisation=organisation, is_default=True
    ).first()
    tools = tuple(offered_tools(revision))
    default_transcriber = ProviderConnection._meta.get_field("transcription_model").default
    return _Material(
        # A copy, so that no thread shares what a lazy field might still read.
        document=json.loads(json.dumps(document)),
        tools=tools,
        voice=realtime_voice(organisation, document.get("voice")),
        model=model
        or (answering_model(connection, revision.model) if connection else "")
        or revision.model
        or settings.OPENAI_REALTIME_MODEL,
        transcription_model=(connection.transcription_model if connection else default_transcriber),
        names=destination_names(organisation.pk, tools),
        revision_id=str(revision.pk),
        now=now,
    )


def _plan(material: _Material, variables: Mapping[str, Any]) -> CallPlan:
    document, now = material.document, material.now
    scope = {
        **clock_variables(now),
        "customer": {"number": CALLER},
        **own_variables(document),
        **variables,
    }
    plan = session_plan(document, voice=material.voice, variables=scope, now=now)

    def fill(text: str) -> str:
        return render(text, scope, now)

    specs = tool_specs(material.tools, fill, language=plan.language, names=material.names)
    return CallPlan(
        call_id=str(uuid.UUID(int=0)),
        call_sid=f"CA{_SID}",
        account_sid=f"AC{_SID}",
        model=material.model,
        # The model's own server would ask MCP servers for good.
        session=session_config(
            plan,
            model=material.model,
            transcription_model=material.transcription_model,
            tools=specs,
        ),
        tools=specs,
        limits=Limits(max_duration_ms=plan.max_duration_seconds * 1_000),
        price=price_for(material.model),
        revision_id=material.revision_id,
        **assistant_parts(plan),
    )
