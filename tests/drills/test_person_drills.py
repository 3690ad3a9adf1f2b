"""The model's socket is cut and the caller presses 0: everybody reaches the operator."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from calls.bridge.effects import CloseStream
from calls.bridge.person_plan import PersonPlan
from calls.models import Call
from calls.services.call_next import call_next
from calls.services.journal import next_step_store
from calls.standins.caller import CallerStep, hang_up, say
from calls.standins.realtime_profile import RealtimeProfile
from tests import factories
from tests.drills.conftest import Tell
from tests.virtual_call import VirtualCall, evenly, plan_of

pytestmark = [pytest.mark.integration, pytest.mark.django_db, pytest.mark.timeout(600)]

DESK = "+15550100042"
# What every further attempt to reach the model meets, until it is given up.
DEAD = (
    RealtimeProfile(upgrade_status=503),
    RealtimeProfile(upgrade_status=401),
    RealtimeProfile(never_created=True),
    RealtimeProfile(lose_at="ms", lose_after=50),
)


def _cut_and_pressed(chance: Random) -> tuple[VirtualCall, int]:
    """Run a call whose model dies at a random moment; return it and when 0 was pressed."""
    lost_ms = chance.randrange(200, 9_000)
    pressed_ms = lost_ms + chance.randrange(0, 4_000)
    person = PersonPlan(reachable=True, operator_key="0")
    call = VirtualCall(
        plan_of(person=person, apology=chance.choice([None, plan_of().apology])),
        (
            say("Hello, is anybody there?", wait="ms", wait_ms=pressed_ms // 3),
            CallerStep("dtmf", "0", wait="ms", wait_ms=pressed_ms * 2 // 3),
            hang_up(wait="ms", wait_ms=60_000),
        ),
        realtime=RealtimeProfile(
            lose_at="ms", lose_after=lost_ms, lose_code=chance.choice([1006, 1001, 1011])
        ),
        sessions=[chance.choice(DEAD)],
        latency=evenly(chance.choice([0, 20, 90])),
    ).run()
    return call, pressed_ms


def test_with_the_model_cut_everybody_who_presses_0_reaches_the_operator(
    count: Callable[[int, int], int], tell: Tell
) -> None:
    number = factories.make_number(operator_desk=factories.make_desk(destination=DESK))
    total, by_key = count(100, 6), 0
    waits_ms: list[int] = []
    for seed in range(total):
        call, pressed_ms = _cut_and_pressed(Random(seed))
        assert call.faults == [], (seed, call.faults)
        assert call.end.call_over is False, seed
        (close,) = [each for each in call.effects if isinstance(each, CloseStream)]
        if close.next_step == "operator":
            by_key += 1
            waits_ms.append(call.ended_at_ms - pressed_ms)
        row = factories.make_call(
            number=number, status=Call.Status.IN_PROGRESS, stream_count=1, next_step={}
        )
        next_step_store(call_id=str(row.pk), step=close.next_step, dial_to=close.dial_to)
        outcome = call_next(call_id=str(row.pk), call_sid=row.call_sid, call_status="in-progress")
        assert outcome is not None
        assert (outcome.step, outcome.call.next_step["to"]) == ("dial", DESK), seed
    assert by_key >= total // 2, "the model was given up before most of them pressed"
    waits_ms.sort()
    tell(
        "model socket cut and key 0 pressed (virtual time)",
        f"{total} of {total} reached the operator, {by_key} of them by the key and the rest "
        f"because the model was given up first; the stream ended {waits_ms[-1]} ms after the key "
        "at worst",
    )
