"""Routes at work, again and again: the share of a canary, an old stack that dies, one that is slow.

Repetitions are counted and order is asserted; seconds are asserted at full scale alone.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from calls.media.database import in_database
from calls.models import Call, CallHandover, OldStack
from calls.numbers.switch.voice import Target
from calls.services import old_stacks
from calls.services.call_start import call_start
from calls.services.number_routes import RouteOrder, previous_set, route_set
from calls.standins.old_stack import TWIML, VOICE_PATH
from calls.wire.twilio_voice import voice_request
from tests import factories
from tests.drills.conftest import Tell
from tests.integration.calls.direct import direct_call, model_server
from tests.integration.calls.rig import Rig, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(900),
]

PERCENT = 10
# The draw is salted with the number's id: with this one the drill is the same in every run.
NUMBER_ID = uuid.UUID("5f0e7a52-6f3b-4c6e-9d57-3f7c1b6f2a10")
Z_99 = 2.576
PROMISED_SECONDS = 5.0


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]


def test_a_canary_takes_its_share_and_every_caller_stays_where_they_are(
    count: Callable[[int, int], int], tell: Tell
) -> None:
    callers = count(2_000, 40)
    number = factories.make_number(id=NUMBER_ID, route="vapi")
    previous_set(number, Target("url", url="https://old.example.com/voice"))
    order = RouteOrder("canary", PERCENT)
    route_set(number_id=number.pk, order=order, actor=None, why="a drill")

    def call(caller: int) -> str:
        form = {
            "CallSid": "CA" + uuid.uuid4().hex,
            "AccountSid": number.twilio_account.account_sid,
            "From": f"+1415555{caller:04d}",
            "To": number.number_e164,
            "CallStatus": "ringing",
        }
        account, request = number.twilio_account, voice_request(form)
        start = call_start(request=request, account=account, live_calls=0)
        assert start.call is not None
        return str(start.call.stack)

    first = [call(caller) for caller in range(callers)]
    again = [call(caller) for caller in range(0, callers, 10)]
    assert again == first[::10]
    ours = Counter(first)["direct"]
    share, wanted = ours / callers, PERCENT / 100
    half_width = Z_99 * math.sqrt(wanted * (1 - wanted) / callers)
    assert abs(share - wanted) <= half_width, (share, half_width)
    rows = Call.objects.filter(number=number)
    assert rows.count() == len(first) + len(again)
    assert not rows.filter(route_reason="").exists()
    codes = dict.fromkeys(rows.values_list("stack", "route_code").distinct())
    assert set(codes) == {("direct", "canary-in"), ("vapi", "canary-out")}
    assert CallHandover.objects.count() == rows.filter(stack="vapi").count()
    tell(
        "canary of 10%",
        f"{callers} callers: {ours} ({share:.1%}) came here, within the 99% interval of "
        f"±{half_width:.1%}; whoever called again reached the same stack; every call has a row "
        "with its reason",
    )


async def _on_vapi(rig: Rig, **columns: Any) -> None:
    for name, value in {"route": "vapi", "qualified_at": timezone.now(), **columns}.items():
        setattr(rig.number, name, value)

    def store() -> None:
        rig.number.save()
        previous_set(rig.number, Target("url", url=rig.standin_origin + VOICE_PATH))

    await in_database(store)


@pytest.mark.parametrize("how", ["killed", "hanging"])
async def test_an_old_stack_that_dies_while_callers_ring_leaves_nobody_waiting(
    rig: Rig, how: str, count: Callable[[int, int], int], drill_scale: float, tell: Tell
) -> None:
    callers, is_full = count(20, 3), drill_scale >= 1
    # At full scale as long as it is in production; else the same order in a fraction of the time.
    await _on_vapi(rig, patience_ms=10_000 if is_full else 400)
    rig.old.mode = "hanging"
    if how == "killed":
        nobody = Target("url", url="http://127.0.0.1:9" + VOICE_PATH)
        await in_database(previous_set, rig.number, nobody)
    seconds: list[float] = []

    async def ring() -> str:
        began = time.monotonic()
        body = (await rig.voice()).body
        seconds.append(time.monotonic() - began)
        return body

    answers = await asyncio.gather(*(ring() for _ in range(callers)))
    assert all("<Connect" in body for body in answers)
    if is_full:
        assert max(seconds) < PROMISED_SECONDS
    rows = await rig.rows()
    assert Counter(call.stack for call in rows) == {"direct": callers}
    # Whoever calls now is not kept waiting at all: the stack is known to be down.
    assert "<Connect" in (await rig.voice()).body
    assert (await rig.rows())[-1].route_code == "old-down"
    await in_database(_outage_is_over)
    if how == "killed":
        await _on_vapi(rig, patience_ms=10_000)
    rig.old.mode = "up"
    codes = []
    for _ in range(4):
        body = (await rig.voice()).body
        codes.append((await rig.rows())[-1].route_code)
        await in_database(_gap_is_over)
    # A stack at another address is another stack, of which nothing bad is known.
    assert codes == ["route-vapi"] * 4 if how == "killed" else ["old-probe"] * 3 + ["route-vapi"]
    assert body == TWIML
    tell(
        f"old stack {how} while callers ring",
        f"{callers} of {callers} answered by the assistant, the last after {max(seconds):.1f} s; "
        "callers who came while it was down were not kept waiting; afterwards calls went back",
    )


async def test_a_slow_old_stack_delays_no_other_callers_audio(
    rig: Rig, count: Callable[[int, int], int], tell: Tell
) -> None:
    frames, slow = count(3_000, 200), count(40, 4)
    await _on_vapi(rig, qualified_at=None)
    rig.old.mode = "hanging"
    ringing = [asyncio.ensure_future(rig.voice()) for _ in range(slow)]
    await until(lambda: len(rig.old.asked(VOICE_PATH)) == slow, what="the callers who wait")
    is_waiting = [False]
    async with (
        model_server(lambda: is_waiting[0]) as model,
        direct_call(model) as socket,
    ):
        for number in range(1, frames + 1):
            socket.frame(number)
        await until(lambda: len(model.arrived) == frames, what="every frame", seconds=8)
        assert not any(each.done() for each in ringing), "they wait for the old stack still"
    rig.old.mode = "up"
    assert {answer.body for answer in await asyncio.gather(*ringing)} == {TWIML}
    tell(
        "slow old stack beside a call",
        f"{frames} frames of a call arrived while {slow} other callers waited for the old stack",
    )


def _outage_is_over() -> None:
    for row in OldStack.objects.exclude(health={}):
        health = old_stacks.health_of(row)
        past = old_stacks.now_ms() - health.rest_ms - 60_000
        row.health = replace(health, since_ms=past, last_ms=past).as_json()
        row.save()


def _gap_is_over() -> None:
    for row in OldStack.objects.exclude(health={}):
        health = old_stacks.health_of(row)
        row.health = replace(health, last_ms=health.last_ms - 10_000).as_json()
        row.save()
