"""What the route's decision needs to know of a number, read from its rows.

Owns the way from rows to ``calls.numbers.route.NumberFacts``; it decides nothing and stores
nothing. The webhook waits for this, so a complete number that answers by itself is asked nothing
that its decision does not turn on: the old stack's health and the hours of its desk are looked up
where they may matter.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

from calls.models import OldStack, PhoneNumber, ProviderConnection
from calls.numbers.old_stack import standing
from calls.numbers.route import CallFacts, NumberFacts, Old
from calls.numbers.schedule import schedule_stored
from calls.previous.target import PreviousTarget
from calls.services.call_plan import connection_for, line_of
from calls.services.contract import contract_problem
from calls.services.old_stacks import health_of, stack_for
from calls.services.operators import desk_of, reached
from calls.services.previous_targets import previous_of
from calls.services.server_messages.targets import number_asks
from calls.wire.twilio_voice import VoiceRequest

IsLost = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a number for one call, and the rows behind them.

    ``stack`` is None where the old stack was not looked up, or nothing was noted of it yet.
    """

    number: NumberFacts
    call: CallFacts
    target: PreviousTarget
    connection: ProviderConnection | None
    stack: OldStack | None = None


def call_facts(request: VoiceRequest, now: dt.datetime) -> CallFacts:
    """Return what the decision needs to know of a call."""
    return CallFacts(
        caller=request.caller,
        call_sid=request.call_sid,
        # Vapi takes calls that ring, and no others (twilio.md 5.5).
        is_ringing=request.call_status == "ringing",
        now=now,
    )


def facts_for(
    number: PhoneNumber,
    request: VoiceRequest,
    *,
    now: dt.datetime,
    is_lost: IsLost,
    is_full: bool,
) -> Facts:
    """Read what the decision needs to know.

    Args:
        is_lost: tells of a model's URL or line (``Endpoint``) whether it was out of reach lately.
        is_full: no line of ours is free.
    """
    policy, connection, target = number.policy, connection_for(number), previous_of(number)
    revision = number.assistant.current_revision if number.assistant is not None else None
    lost = connection is not None and (
        is_lost(connection.realtime_url)
        or (revision is not None and is_lost(line_of(connection, revision)))
    )
    facts = NumberFacts(
        route=number.route,
        has_revision=revision is not None,
        has_connection=connection is not None,
        policy_reviewed=policy is not None and policy.reviewed_at is not None,
        model_lost=lost,
        contract_problem=contract_problem(number, connection) if connection is not None else "",
        asks=revision is None and number_asks(number),
        canary_percent=number.canary_percent,
        canary_salt=str(number.pk),
        sticky=number.canary_sticky,  # type: ignore[arg-type]  # the column's choices
        schedule=schedule_stored(number.schedule),
        old_stack="up" if target.voice else "none",
        old_trunk=target.kind == "trunk",
        old_fixed=not number.previous_asks,
        patience_ms=number.patience_ms,
        qualified=number.qualified_at is not None,
        has_person=False,
    )
    found = Facts(facts, call_facts(request, now), target, connection)
    if not (_others_may_answer(facts) or is_full):
        return found
    return _with_others(found, number, now)


def _others_may_answer(facts: NumberFacts) -> bool:
    """Tell whether the decision may turn on the old stack or on a person."""
    able = facts.has_revision and facts.has_connection and facts.policy_reviewed
    able = able and not (facts.contract_problem or facts.model_lost)
    return facts.route != "paused" and not (
        able and facts.route == "direct" and facts.schedule is None
    )


def _with_others(found: Facts, number: PhoneNumber, now: dt.datetime) -> Facts:
    stack = stack_for(number) if found.target.voice else None
    old: Old = "none"
    if found.target.voice:
        old = standing(
            health_of(stack), call_sid=found.call.call_sid, now_ms=int(now.timestamp() * 1000)
        )
    facts = found.number
    has_person = False
    if facts.model_lost or old == "none" or not found.call.is_ringing:
        has_person = reached(desk_of(number), now).reach == "dial"
    facts = replace(facts, old_stack=old, has_person=has_person)
    return replace(found, number=facts, stack=stack)
