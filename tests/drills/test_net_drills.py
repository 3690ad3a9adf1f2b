"""The whole site killed, or hanging, with real processes: who answers the callers then, and within
which time.

Twilio's stand-in, the old stack and an operator's address run here, because everything that belongs
to the instance dies with its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from calls.numbers.switch.net import NET_MS, Overrides, overrides_for, with_overrides
from calls.services.seed import STANDIN_NUMBER
from calls.standins.caller import hang_up
from calls.standins.old_stack import VOICE_PATH, OldAnswer
from calls.standins.scenario import Scenario
from calls.standins.server import RunningStandins, running_standins
from calls.standins.twilio_call import CallReport, LiveCall
from calls.standins.twilio_numbers import VoiceConfig
from tests.drills.conftest import Tell
from tests.platform import Platform, alive, descendants, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

CALLER = "+15550107777"
PERSON = "+15550108888"
ADDRESS_PATH = "/old/bin"  # on the stand-in of another stack: static TwiML of the operator's
# The model is the instance's own, so the caller listens and stays.
STAYS = Scenario("stays", caller=(hang_up(wait="ms", wait_ms=60_000),))
DIALS = f"<Response><Dial>{PERSON}</Dial></Response>"


@contextlib.asynccontextmanager
async def outside(platform: Platform) -> AsyncIterator[RunningStandins]:
    """Run what is not ours: Twilio, the old stack, the operator's address."""
    async with running_standins(platform_url=platform.base_url) as standins:
        standins.app.old.answers[ADDRESS_PATH] = OldAnswer(DIALS)
        yield standins


def voice(platform: Platform, net_url: str, overrides: Overrides) -> VoiceConfig:
    """Return a number's configuration as a move writes it."""
    return VoiceConfig(
        voice_url=with_overrides(f"{platform.base_url}/twilio/voice", overrides),
        voice_fallback_url=net_url,
        status_callback=f"{platform.base_url}/twilio/status",
    )


async def ring(standins: RunningStandins, config: VoiceConfig) -> CallReport:
    return await standins.carrier.place_call(STANDIN_NUMBER, CALLER, config)


def reached_ms(report: CallReport, url: str) -> int:
    """Return when the caller had TwiML of the net: what is heard follows at once."""
    assert not [event for event in report.events if event["kind"] == "application_error"], report
    (event,) = (each for each in report.events if each["kind"] == "twiml")
    assert event["url"] == url
    return int(event["at_ms"])


async def until_heard(call: LiveCall) -> None:
    async with asyncio.timeout(40):
        while "heard" not in {event["kind"] for event in call.events}:  # noqa: ASYNC110 - a peer without an event to wait for
            await asyncio.sleep(0.05)


async def test_a_site_that_hangs_and_then_is_killed_leaves_no_caller_alone(
    start_platform: Callable[..., Platform],
    drill_scale: float,
    count: Callable[[int, int], int],
    tell: Tell,
) -> None:
    """One life of an instance for both: stopped, let go on, with callers talking, killed."""
    platform = await asyncio.to_thread(start_platform, standins=True)
    pids = [platform.process.pid, *descendants(platform.process.pid)]
    async with outside(platform) as standins:
        callers = count(20, 1)
        slow = await hanging(platform, pids, standins, callers, drill_scale)
        wait_until(lambda: platform.get("/readyz")[0] == 200, what="readiness", seconds=40)
        standins.app.old.ledger.clear()
        fast = await killed(platform, standins, callers)
    times = {"stopped": slow, "killed": fast}
    if drill_scale >= 1:
        assert max(*slow, *fast) < NET_MS, times
    tell(
        "the whole site stopped, then killed",
        f"{len(slow) + len(fast)} callers, each with somebody else: stopped after at most "
        f"{max(slow) / 1000:.1f} s, killed after at most {max(fast) / 1000:.1f} s (limit "
        f"{NET_MS / 1000:.0f} s); of 2 who were talking the one whose net is an address of the "
        "operator's reached the person, the other's stack was asked for a call in progress",
    )


async def hanging(
    platform: Platform, pids: list[int], standins: RunningStandins, callers: int, scale: float
) -> list[int]:
    """Every process stopped: connections are taken by the kernel, and nobody ever answers.

    Returns after how many ms each caller had the net's answer.
    """
    overrides = overrides_for()
    # Less patient in a small rehearsal: what follows what is the same.
    config = voice(
        platform,
        standins.base_url + ADDRESS_PATH,
        overrides if scale >= 1 else replace(overrides, read_ms=500),
    )
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        reports = await asyncio.gather(*(ring(standins, config) for _ in range(callers)))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert [report.dialled for report in reports] == [[PERSON]] * callers
    times = [reached_ms(report, config.voice_fallback_url) for report in reports]
    # Asked once and no more: what hangs would hang again (net.Overrides).
    webhooks = [url for _, url, _ in standins.carrier.webhooks.requests if "/voice" in url]
    assert len(webhooks) == callers
    return times


async def killed(platform: Platform, standins: RunningStandins, callers: int) -> list[int]:
    """The supervisor and all below it killed, with callers talking in both kinds of number.

    Returns after how many ms each new caller had the net's answer.
    """
    to_old, to_person = (
        voice(platform, standins.base_url + path, overrides_for())
        for path in (VOICE_PATH, ADDRESS_PATH)
    )
    talking = [
        standins.carrier.start_call(STANDIN_NUMBER, CALLER, config, STAYS)
        for config in (to_old, to_person)
    ]
    for call, _ in talking:
        await until_heard(call)
    pids = {platform.process.pid, *descendants(platform.process.pid)}
    platform.process.kill()
    await asyncio.to_thread(platform.process.wait)
    wait_until(lambda: not any(map(alive, pids)), what="the site to be dead")

    times: list[int] = []
    for config in (to_old, to_person):
        reports = await asyncio.gather(*(ring(standins, config) for _ in range(callers)))
        times += [reached_ms(report, config.voice_fallback_url) for report in reports]
    assert [report.dialled for report in reports] == [[PERSON]] * callers
    ledger = standins.app.old.ledger
    assert all(request.is_signed for request in ledger)
    assert {request.form["ErrorCode"] for request in ledger} == {"11205"}

    # Those who were talking: twilio.md 2.3 and 5.5. The stream is lost, nobody says what comes
    # next, and Twilio asks the fallback, whose stack of Vapi's takes no call that was answered.
    old, own = [await asyncio.wait_for(task, 30) for _, task in talking]
    assert own.dialled == [PERSON], own
    asked = [request for request in ledger if request.form["CallSid"] == old.call_sid]
    assert [request.form["CallStatus"] for request in asked] == ["in-progress"]
    assert "/twilio/after-stream/" in asked[0].form["ErrorUrl"]
    return times
