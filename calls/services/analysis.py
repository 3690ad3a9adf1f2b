"""Whether a call that is over is analysed, and how long its report waits for that.

Owns which calls a text model reads: what keeps them from it, and the moment at which the report
goes out without an answer. What it is asked is ``calls.analysis``; asking is ``analysis_run``. The
call's row is the queue and the truth: a poke may be lost, and so may a worker.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import transaction

from assistants.services import revision_document
from assistants.wire.vapi_analysis import AnalysisPlan, read_analysis
from calls.models import Call, ProviderConnection, Turn
from calls.services.contract import contract_problem
from calls.services.privacy import keeping_for, lacks_consent
from voiceplatform.base.job_bell import Doorbell, task_tell

TASK: Final = "calls.tasks.analyse_calls"
# On top of what the plan's own questions may take: until a worker is free, and to write it down.
MARGIN: Final = dt.timedelta(seconds=10)
WAITING, DONE, MISSED = "waiting", "done", "missed"
TOO_LATE: Final = "no worker answered in time, so the report went out without an analysis"

_SPOKEN: Final = (Turn.Role.CALLER, Turn.Role.ASSISTANT)
# Whoever closes a call waits for no broker.
_bell = Doorbell("analysis-poke")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is asked about a call; ``plan`` None: nothing, and ``reason`` says why."""

    plan: AnalysisPlan | None = None
    reason: str = ""


def text_model(connection: ProviderConnection) -> str:
    """Return which text model a connection asks, '' where only its owner could name one."""
    if connection.text_model:
        return connection.text_model
    # There a name is a deployment's, or means what the gateway makes of it.
    is_own = connection.names_deployment or connection.dialect == ProviderConnection.Dialect.BETA
    return "" if is_own else settings.OPENAI_TEXT_MODEL


def analysis_verdict(call: Call) -> Verdict:
    """Return what is asked about a call that is over, or why nothing is."""
    reason = _forbidden(call)
    if reason:
        return Verdict(reason=reason)
    assert call.revision is not None, "a call without one is forbidden"
    plan = read_analysis(revision_document(call.revision))
    if not plan.asks:
        return Verdict(reason="the assistant's analysis plan asks for nothing")
    said = Turn.objects.filter(call=call, role__in=_SPOKEN).exclude(text="")
    if said.count() < plan.min_messages:
        return Verdict(
            reason=f"fewer than {plan.min_messages} messages were exchanged, which is what the "
            "assistant's analysis plan wants at least"
        )
    return Verdict(plan)


def _forbidden(call: Call) -> str:
    """Return why no model may, or can, read this call; '' where one may."""
    connection = call.connection
    if not settings.CALL_ANALYSIS:
        return "this instance does not analyse calls. Fix: set CALL_ANALYSIS=1"
    if call.organisation is None or not call.organisation.analyses_calls:
        return "the organisation does not have its calls analysed. Fix: switch it on there"
    if call.revision is None or call.stack == Call.Stack.VAPI:
        return "no assistant answered it here"
    if call.policy_refused_at is not None or lacks_consent(call):
        return "the caller has not agreed to be recorded"
    if not keeping_for(call).words:
        return "of calls with this assistant nothing that was said is kept"
    if connection is None:
        return "the call had no model connection"
    if not text_model(connection):
        return (
            f"the connection {connection.name} names no text model. Fix: enter one there, at Azure "
            "the name of a deployment"
        )
    if call.number is not None and (problem := contract_problem(call.number, connection)):
        return problem
    return ""


def analysis_awaited(call: Call, now: dt.datetime) -> dt.datetime | None:
    """Return until when the report of a call waits for its analysis; None: it waits no longer.

    The first time it decides, and queues the call. In the transaction of the caller, who saves
    ``metrics`` and ``analysis_due_at``.
    """
    state = analysis_state(call)
    if not state:
        plan = analysis_verdict(call).plan
        if plan is None:
            return None
        until = now + dt.timedelta(seconds=plan.timeout_seconds) + MARGIN
        state_set(call, state=WAITING, until=until.isoformat())
        call.analysis_due_at = now
        transaction.on_commit(poke)
        return until
    if state.get("state") != WAITING:
        return None
    until = waits_until(call)
    if now < until:
        return until
    call.analysis_due_at = None
    state_set(call, state=MISSED, problems=[TOO_LATE])
    log.warning("analysis_missed", call_sid=call.call_sid)
    return None


def analysis_state(call: Call) -> dict[str, Any]:
    """Return how far the analysis of a call is, {} where none was wanted.

    ``state`` and ``until``; then ``model``, ``parts`` (tokens and cost of each question) and
    ``problems``. It holds no word that was said: those are in ``Call.analysis``.
    """
    found = call.metrics.get("analysis")
    return found if isinstance(found, dict) else {}


def state_set(call: Call, **changes: Any) -> None:
    """Change what is kept of the analysis beside its words."""
    call.metrics = {**call.metrics, "analysis": {**analysis_state(call), **changes}}


def waits_until(call: Call) -> dt.datetime:
    """Return until when the report of a waiting call waits."""
    return dt.datetime.fromisoformat(str(analysis_state(call)["until"]))


def poke() -> None:
    """Tell a worker that a call waits, from a thread; a lost poke costs seconds."""
    _bell.press(lambda: task_tell(TASK))
