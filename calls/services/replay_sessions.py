"""Which session a past call is replayed in: the plan of a revision, on the day of that call.

Owns the way from a run and a past call to what the replay's machine needs, and the questions that
come before a socket: where the data may go, and whether the caller refused. Nothing here can call
a tool, and a replayed session asks no server of tools itself. Reads only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist

from assistants.models import AssistantRevision
from calls.media.realtime_client import Endpoint
from calls.models import Call, ImportedCall, ParityRun, PhoneNumber, ProviderConnection
from calls.models.connections import TwilioAccount
from calls.money.rates import ModelPrice, price_for
from calls.numbers.contract import Marks as ContractMarks
from calls.parity.logs.sequencing import tool_name
from calls.parity.past import Script, script_of
from calls.services.call_plan import connection_for, plan_for
from calls.services.contract import contract_problem, marks_of, talk_problem
from calls.services.parity_runners import CallRefused
from calls.services.past_consent import has_refused
from calls.services.sequences import entries_of, imported_of
from calls.services.sessions import answering_model
from calls.wire.realtime import Dialect, SessionConfig
from tools.spec import ToolSpec

# Kinds of tools after which the assistant no longer has the call.
_ENDS: Final = frozenset({"endCall", "transferCall", "handoff", "voicemail"})
_REFUSED: Final = (
    "its caller refused or has not agreed, so nothing of it is played again. "
    "Fix: choose another call."
)


@dataclass(frozen=True, slots=True)
class ReplaySession:
    """What a replay is configured with. ``ends``: names of tools that end or pass on a call."""

    config: SessionConfig
    dialect: Dialect
    model: str
    price: ModelPrice
    endpoint: Endpoint
    tools: tuple[ToolSpec, ...]
    script: Script

    @property
    def shown(self) -> dict[str, str]:
        """Return the names under which tools are compared, by those of the session."""
        return {tool.name: tool_name(tool.posted_name or tool.name) for tool in self.tools}

    @property
    def ends(self) -> frozenset[str]:
        """Return the names of tools after which the assistant no longer has the call."""
        return frozenset(tool.name for tool in self.tools if tool.kind in _ENDS)


def connection_of(run: ParityRun) -> ProviderConnection:
    """Return the connection over which a run's calls go, if the data of none of them forbids it.

    Raises:
        CallRefused: there is none, or a number of the assistant may not use it.
    """
    connection = (
        connection_for(run.number)
        if run.number is not None
        else ProviderConnection.objects.filter(
            organisation=run.organisation_id, is_default=True
        ).first()
    )
    if connection is None:
        raise CallRefused("there is no model connection. Fix: make one and mark it as the default.")
    forbidden = contract_problem(run.number, connection) if run.number is not None else ""
    forbidden = forbidden or talk_problem(marks_of(run.assistant), connection)
    if forbidden:
        raise CallRefused(f"{forbidden}. Fix: a connection whose contract allows it.")
    if run.model and connection.names_deployment and run.model != connection.model:
        raise CallRefused(
            f"the connection names deployments, so it has {connection.model} only. "
            "Fix: leave the run's model empty, or choose another connection."
        )
    return connection


def refusal_check(call: Call) -> ImportedCall | None:
    """Return what a log says of a past call, if its caller did not refuse.

    Raises:
        CallRefused: the caller refused, or was asked and has not answered.
    """
    if has_refused(call):
        raise CallRefused(_REFUSED)
    return imported_of(call)


def past_call_check(call: Call, connection: ProviderConnection) -> ImportedCall | None:
    """Return what a log says of a past call, if the call may be replayed over a connection.

    Raises:
        CallRefused: the caller refused, or the number that was called carries data that may not go
            there; this is asked again before every socket, since contracts end and minds change.
    """
    imported = refusal_check(call)
    numbers = [call.number, imported.number if imported is not None else None]
    for number in numbers:
        if number is None:
            continue
        marks = ContractMarks(health_data=number.health_data, eu_data=number.eu_data)
        forbidden = talk_problem(marks, connection)
        if forbidden:
            raise CallRefused(f"{forbidden}. Fix: a connection whose contract allows it.")
    return imported


def replay_session(run: ParityRun, past: Call) -> ReplaySession:
    """Return what a replay of ``past`` with the run's revision is made of.

    Raises:
        CallRefused: it may not be replayed, or there is nothing to replay.
    """
    if past.organisation_id != run.organisation_id:
        raise CallRefused("the past call is not this organisation's. Fix: choose another call.")
    connection = connection_of(run)
    imported = past_call_check(past, connection)
    call = call_like(run, past, connection, imported)
    try:
        plan = plan_for(call, now=past.started_at or past.created_at)
    except ObjectDoesNotExist as error:
        raise CallRefused(f"the revision cannot be read ({error}). Fix: publish it again.") from (
            error
        )
    model = run.model or plan.model
    entries = entries_of(past)
    logged = {tool.name for entry in entries for tool in entry.tools}
    script = script_of(entries, session_names(logged, plan.tools))
    if not script.exchanges:
        raise CallRefused("nobody said a word in it that is stored. Fix: choose another call.")
    return ReplaySession(
        config=plan.session,
        dialect=plan.dialect,
        model=model,
        price=price_for(model),
        endpoint=Endpoint(
            url=connection.realtime_url,
            dialect=plan.dialect,
            model=model,
            api_key=connection.api_key,
            safety_identifier=_safety_identifier(past),
        ),
        tools=plan.tools,
        script=script,
    )


def session_names(logged: Iterable[str], tools: Iterable[ToolSpec]) -> dict[str, str]:
    """Return what a session calls the tools of a log, by their names there, where they differ."""
    offered = list(tools)
    known: dict[str, str] = {}
    for tool in offered:
        known.setdefault(tool_name(tool.kind if tool.kind in _ENDS else tool.name), tool.name)
    for tool in offered:
        known[tool.posted_name or tool.name] = tool.name
        known[tool.name] = tool.name
    return {
        name: known.get(name) or known[tool_name(name)]
        for name in logged
        if name in known or tool_name(name) in known
    }


def answering_name(run: ParityRun, connection: ProviderConnection) -> str:
    """Return the model that answers a run's calls on our stack."""
    revision: AssistantRevision = run.revision
    return run.model or answering_model(connection, revision.model)


def call_day(past: Call) -> dt.date:
    """Return the day of a past call, in UTC."""
    return (past.started_at or past.created_at).astimezone(dt.UTC).date()


def call_like(
    run: ParityRun, past: Call, connection: ProviderConnection, imported: ImportedCall | None
) -> Call:
    """Return the old stack's call as one that ours answers with the run's revision. Never save it.

    The prompt is filled in as it was then: with the caller's number and the day.
    """
    number = run.number or past.number or (imported.number if imported is not None else None)
    if number is None:
        account = TwilioAccount(organisation=run.organisation, name="replay", account_sid="replay")
        number = PhoneNumber(organisation=run.organisation, name="replay", twilio_account=account)
    return Call(
        id=run.pk,
        organisation=run.organisation,
        call_sid=past.call_sid,
        twilio_account=number.twilio_account,
        number=number,
        revision=run.revision,
        connection=connection,
        direction=past.direction,
        status=Call.Status.IN_PROGRESS,
        caller=past.caller,
        callee=past.callee,
        created_at=past.created_at,
        started_at=past.started_at,
        stream_count=1,
    )


def _safety_identifier(past: Call) -> str:
    salted = f"{past.organisation_id}:{past.caller}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), salted, hashlib.sha256).hexdigest()[:32]
