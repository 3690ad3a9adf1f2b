"""What the route's decision needs to know of a number, read from its rows.

Owns the way from rows to ``calls.numbers.route.NumberFacts``; it decides nothing and stores
nothing. The webhook waits for this, so a complete number that answers by itself is asked nothing
that its decision does not turn on: the old stack's health and the hours of its desk are looked up
where they may matter. What no key opens is a fact like others, and never an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import structlog
from django.db.models import Exists, Model, OuterRef
from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import OldStack, PhoneNumber, ProviderConnection, RunDial, TwilioAccount
from calls.numbers.old_stack import standing
from calls.numbers.route import CallFacts, NumberFacts, Old
from calls.numbers.schedule import schedule_stored
from calls.previous.target import PreviousTarget
from calls.services.call_plan import connection_for, line_of
from calls.services.contract import contract_problem
from calls.services.live_dials import dials_expected
from calls.services.number_moves import moves_watched
from calls.services.old_stacks import health_of, stack_at
from calls.services.operators import desk_of, reached
from calls.services.previous_targets import previous_of
from calls.services.server_messages.targets import number_asks
from calls.wire.twilio_voice import VoiceRequest
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.phones import normalised

IsLost = Callable[[str], bool]

# What our own answer needs of the sealed columns; the number's own are opened where they are read.
_SEALED: Final = (
    "connection__api_key",
    *("assistant__current_revision__document", "squad__document"),
    *("assistant__current_revision__server_url", "assistant__current_revision__server_secret"),
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a number for one call, and the rows behind them.

    ``target`` is none where the decision cannot turn on it, ``stack`` where nothing was noted yet.
    """

    number: NumberFacts
    call: CallFacts
    connection: ProviderConnection | None
    target: PreviousTarget = PreviousTarget("none")
    stack: OldStack | None = None


def number_called(callee: str, account: TwilioAccount) -> PhoneNumber | None:
    """Return the number that a call came for, with the rows that an answer needs; None: not ours.

    One query, unless something of it cannot be opened: that is read without, and ``facts_for``
    tells of it. ``is_watched`` is for ``webhook_seen``, ``is_dialled`` for ``dial_taken``.
    """
    now = timezone.now()
    rows = (
        PhoneNumber.objects.filter(number_e164=normalised(callee), twilio_account=account)
        .select_related("assistant__current_revision", "policy", "connection", "operator_desk")
        .select_related("squad", "net")
        .defer("net__address")
        .annotate(
            is_watched=Exists(moves_watched(now).filter(number=OuterRef("pk"))),
            is_dialled=Exists(RunDial.objects.filter(dials_expected(now), number=OuterRef("pk"))),
        )
    )
    number: PhoneNumber | None
    try:
        number = rows.first()
    except DecryptionError:
        number = rows.defer("net__address", *_SEALED).first()
    return number


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
    placed_for: Literal["", "direct", "vapi"] = "",
) -> Facts:
    """Read what the decision needs to know.

    Args:
        is_lost: tells of a model's URL or line (``Endpoint``) whether it was out of reach lately.
        is_full: no line of ours is free.
        placed_for: the stack that a run's own call names.
    """
    policy, revision = number.policy, _revision_of(number)
    connection, asks, unreadable = _ours(number)
    lost = connection is not None and (
        is_lost(connection.realtime_url)
        or (revision is not None and not unreadable and is_lost(line_of(connection, revision)))
    )
    facts = NumberFacts(
        route=number.route,
        has_revision=revision is not None,
        has_connection=connection is not None,
        policy_reviewed=policy is not None and policy.reviewed_at is not None,
        model_lost=lost,
        contract_problem=contract_problem(number, connection) if connection is not None else "",
        asks=asks,
        unreadable=unreadable,
        canary_percent=number.canary_percent,
        canary_salt=str(number.pk),
        sticky=number.canary_sticky,  # type: ignore[arg-type]  # the column's choices
        schedule=schedule_stored(number.schedule),
        old_fixed=not number.previous_asks,
        patience_ms=number.patience_ms,
        qualified=number.qualified_at is not None,
        has_person=False,
    )
    found = Facts(facts, replace(call_facts(request, now), placed_for=placed_for), connection)
    if not (_others_may_answer(facts) or is_full or placed_for == "vapi"):
        return found
    return _with_others(found, number, now)


def _revision_of(number: PhoneNumber) -> AssistantRevision | None:
    return number.assistant.current_revision if number.assistant is not None else None


def _ours(number: PhoneNumber) -> tuple[ProviderConnection | None, bool, str]:
    """Return the connection, whether a server is asked who answers, and what no key opens."""
    revision, connection, asks = _revision_of(number), None, False
    what = "the connection to the model"
    try:
        connection = connection_for(number)
        _open(connection)
        what = "the assistant"
        _open(revision)
        what = "the squad"
        _open(number.squad)
        what = "the number's server"
        asks = revision is None and number_asks(number)
    except DecryptionError:
        log.error("number_unreadable", number_id=str(number.pk), what=what)
        return connection, False, f"no key opens what is stored of {what}"
    return connection, asks, ""


def _open(row: Model | None) -> None:
    """Read what was left out of a row when it was loaded."""
    for name in row.get_deferred_fields() if row is not None else ():
        getattr(row, name)


def _others_may_answer(facts: NumberFacts) -> bool:
    """Tell whether the decision may turn on the old stack or on a person."""
    able = facts.has_revision and facts.has_connection and facts.policy_reviewed
    able = able and not (facts.contract_problem or facts.model_lost or facts.unreadable)
    return facts.route != "paused" and not (
        able and facts.route == "direct" and facts.schedule is None
    )


def _with_others(found: Facts, number: PhoneNumber, now: dt.datetime) -> Facts:
    target = previous_of(number)
    stack = stack_at(number, target)
    old: Old = "none"
    if target.voice:
        old = standing(
            health_of(stack), call_sid=found.call.call_sid, now_ms=int(now.timestamp() * 1000)
        )
    facts = found.number
    has_person = False
    if facts.model_lost or old == "none" or not found.call.is_ringing:
        has_person = reached(desk_of(number), now).reach == "dial"
    facts = replace(
        facts,
        old_stack=old,
        old_trunk=target.kind == "trunk",
        old_unreadable=target.is_unreadable,
        has_person=has_person,
    )
    return replace(found, number=facts, target=target, stack=stack)
