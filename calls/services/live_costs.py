"""What calls of live runs cost: both legs, the model or the old stack, and the caller's words.

Owns the estimate of a call that is about to begin, and that a place's cost is set right once a log
tells the true one. Prices are lists'; no bill is read.
"""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.db.models import Avg

from calls.models import Call, ParityCall, RunDial
from calls.money.carrier import US_LIST, carrier_microusd, started_minutes
from calls.parity.scenario_reading import ScenarioWrong, scenario_read
from calls.parity.scripted_caller import call_seconds
from calls.services.sequences import facts_of, imported_of
from voiceplatform.base.fields import DecryptionError

# OpenAI's price list, read 2026-11-23: transcription of a minute.
_HEARING_USD: Final = Decimal("0.006")
# A minute of either stack with its model and voices, until rows or logs tell: rather too much, so
# that no run outspends its limit because logs come late.
_MINUTE_USD: Final = Decimal("0.15")


def place_estimate(call: ParityCall) -> Decimal:
    """Return in USD what a call that begins now will cost, rather too much.

    The mean of what the stack's calls of this run have cost; of the first ones, what they would
    if they lasted to their limit.
    """
    done = ParityCall.objects.filter(
        run=call.run_id, stack=call.stack, state=ParityCall.State.DONE, cost_usd__gt=0
    )
    mean = done.aggregate(mean=Avg("cost_usd"))["mean"]
    if mean is not None:
        return Decimal(mean)
    try:
        seconds = call_seconds(scenario_read(call.document, call.scenario))
    except (ScenarioWrong, DecryptionError):
        return Decimal(0)  # it is refused before it costs anything
    minutes = started_minutes(seconds)
    legs = US_LIST.outbound + US_LIST.inbound + 2 * US_LIST.stream
    return _rounded(minutes * (Decimal(str(legs)) + _HEARING_USD + _MINUTE_USD))


def dial_charge(dial: RunDial) -> None:
    """Store what a call has cost, with what is known of it now."""
    RunDial.objects.filter(pk=dial.pk).update(cost_usd=_cost(dial))


def place_untold(place: ParityCall) -> Decimal:
    """Return what all calls for a place have cost and its row does not tell yet.

    Under 0 where the row tells too much: an estimate, until the log told the true cost. Calls that
    were given up are charged anew too, since their logs come as late.
    """
    cost = Decimal(0)
    for pk, known in place.dials.values_list("pk", "cost_usd"):
        cost += _charged_anew(pk, known) if known else known
    told: Decimal = ParityCall.objects.values_list("cost_usd", flat=True).get(pk=place.pk)
    return cost - told


def _charged_anew(dial_id: uuid.UUID, known: Decimal) -> Decimal:
    try:
        dial = RunDial.objects.select_related("call").defer("heard").get(pk=dial_id)
        dial_charge(dial)
    except DecryptionError:
        return known
    dial.refresh_from_db(fields=["cost_usd"])
    cost: Decimal = dial.cost_usd
    return cost


def _cost(dial: RunDial) -> Decimal:
    """Return what both legs, the model or the old stack, and the words of the caller cost."""
    leg = started_minutes(dial.caller_seconds) * US_LIST.outbound
    streams = started_minutes(dial.stream_seconds) * US_LIST.stream
    cost = Decimal(str(leg + streams)) + _HEARING_USD * Decimal(str(dial.heard_seconds)) / 60
    call = dial.call
    if call is None:
        return _rounded(cost)
    if call.stack != Call.Stack.VAPI:
        return _rounded(cost + call.cost_usd)
    inbound = carrier_microusd(call_seconds=dial.caller_seconds, stream_seconds=[])
    return _rounded(cost + Decimal(inbound) / 1_000_000 + _old_cost(call, dial.caller_seconds))


def _old_cost(call: Call, seconds: int) -> Decimal:
    """Return what the old stack's log says of its cost, an estimate while it says nothing."""
    told: Any = facts_of(imported_of(call)).get("cost_usd")
    try:
        if told is not None:
            return Decimal(str(told))
    except InvalidOperation:
        pass
    return started_minutes(seconds) * _MINUTE_USD


def _rounded(cost: Decimal) -> Decimal:
    return min(cost, Decimal(9_999)).quantize(Decimal("0.000001"))
