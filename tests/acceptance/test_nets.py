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
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from calls.numbers.switch.net import NET_MS, overrides_for, with_overrides
from calls.services.seed import STANDIN_NUMBER
from calls.standins.old_stack import VOICE_PATH, OldAnswer
from calls.standins.scenario import parse_scenario
from calls.standins.server import RunningStandins, running_standins
from calls.standins.twilio_call import CallReport, LiveCall
from calls.standins.twilio_numbers import VoiceConfig
from tests.acceptance.calls_rig import LONG
from tests.platform import Platform, alive, descendants, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

CALLER = "+15550107777"
PERSON = "+15550108888"
ADDRESS_PATH = "/old/bin"  # on the stand-in of another stack: static TwiML of the operator's
DIALS = f"<Response><Dial>{PERSON}</Dial></Response>"


@contextlib.asynccontextmanager
async def outside(platform: Platform) -> AsyncIterator[RunningStandins]:
    """Run what is not ours: Twilio, the old stack, the operator's address."""
    async with running_standins(platform_url=platform.base_url) as standins:
        standins.app.old.answers[ADDRESS_PATH] = OldAnswer(DIALS)
        yield standins


def voice(platform: Platform, standins: RunningStandins, path: str, scale: float) -> VoiceConfig:
    """Return a number's configuration as a move writes it; less patient in small rehearsals."""
    overrides = overrides_for()
    if scale < 1:
        overrides = replace(overrides, read_ms=500)
    return VoiceConfig(
        voice_url=with_overrides(f"{platform.base_url}/twilio/voice", overrides),
        voice_fallback_url=standins.base_url + path,
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


async def until_heard(call: LiveCall, text: str) -> None:
    async with asyncio.timeout(40):
        while text not in str(call.events):  # noqa: ASYNC110 - a peer without an event to wait for
            await asyncio.sleep(0.05)


async def test_the_whole_site_killed_callers_reach_the_old_stack_or_the_person(
    start_platform: Callable[..., Platform], drill_scale: float
) -> None:
    platform = await asyncio.to_thread(start_platform, standins=True)
    pids = {platform.process.pid, *descendants(platform.process.pid)}
    async with outside(platform) as standins:
        to_old = voice(platform, standins, VOICE_PATH, drill_scale)
        to_person = voice(platform, standins, ADDRESS_PATH, drill_scale)
        talking = [
            standins.carrier.start_call(STANDIN_NUMBER, CALLER, config, parse_scenario(LONG))
            for config in (to_old, to_person)
        ]
        for call, _ in talking:
            await until_heard(call, "first answer")

        platform.process.kill()
        await asyncio.to_thread(platform.process.wait)
        wait_until(lambda: not any(map(alive, pids)), what="the site to be dead")

        # New callers, in both kinds of number.
        callers = max(1, round(20 * drill_scale))
        for config, path in ((to_old, VOICE_PATH), (to_person, ADDRESS_PATH)):
            reports = await asyncio.gather(*(ring(standins, config) for _ in range(callers)))
            times = [reached_ms(report, standins.base_url + path) for report in reports]
            asked = standins.app.old.asked(path)
            assert {request.form["ErrorCode"] for request in asked} == {"11205"}
            assert all(request.is_signed for request in asked)
            if drill_scale >= 1:
                assert max(times) < NET_MS, times
        person = [report.dialled for report in reports]
        assert person == [[PERSON]] * callers

        # Those who were talking: twilio.md 2.3 and 5.5. The stream is lost, nobody says what comes
        # next, and Twilio asks the fallback, whose stack of Vapi's takes no call that was answered.
        old, own = [await asyncio.wait_for(task, 30) for _, task in talking]
        assert own.dialled == [PERSON], own
        asked = [each for each in standins.app.old.ledger if each.form["CallSid"] == old.call_sid]
        assert [each.form["CallStatus"] for each in asked] == ["in-progress"]
        assert "/twilio/after-stream/" in asked[0].form["ErrorUrl"]


async def test_a_site_that_hangs_is_given_up_in_time(
    start_platform: Callable[..., Platform], drill_scale: float
) -> None:
    """Every process stopped: connections are taken by the kernel, and nobody ever answers."""
    platform = await asyncio.to_thread(start_platform, standins=True)
    pids = [platform.process.pid, *descendants(platform.process.pid)]
    async with outside(platform) as standins:
        config = voice(platform, standins, ADDRESS_PATH, drill_scale)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            reports = await asyncio.gather(
                *(ring(standins, config) for _ in range(max(1, round(20 * drill_scale))))
            )
            took_ms = (time.monotonic() - began) * 1000
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert [report.dialled for report in reports] == [[PERSON]] * len(reports)
        times = [reached_ms(report, standins.base_url + ADDRESS_PATH) for report in reports]
        # Once asked, and no more: what hangs would hang again (net.Overrides).
        webhooks = [url for _, url, _ in standins.carrier.webhooks.requests if "/voice" in url]
        assert len(webhooks) == len(reports)
        if drill_scale >= 1:
            assert max(times) < NET_MS, (times, took_ms)
