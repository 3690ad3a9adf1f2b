"""Calls of the carrier against a small platform over real sockets (twilio.md 1 to 4, 6.4)."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from twilio.request_validator import RequestValidator

from calls.standins.caller import CallerStep, hang_up, say
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Expectations, Scenario, load_scenario
from calls.standins.server import (
    DEFAULT_AUTH_TOKEN,
    RunningStandins,
    running_standins,
)
from calls.standins.twilio_call import Callee
from calls.standins.twilio_media import MediaProfile
from calls.standins.twilio_numbers import VoiceConfig
from calls.standins.twilio_webhook import signature_of
from calls.wire import twilio_voice

from .platform import Platform, connect_twiml, running_platform

pytestmark = pytest.mark.integration

FAST = RealtimeProfile(think_ms=10, burst_factor=50)
TO, FROM = "+15550100002", "+15550100001"
SHORT = Scenario(
    "short",
    caller=(say("Hello you."), hang_up()),
    expect=Expectations((re.compile("You said: Hello you"),), ended_by="caller"),
)
SILENT = Scenario("silent", caller=(hang_up(wait="ms", wait_ms=150),))


def _always(text: str, form: dict[str, str]) -> tuple[int, str]:
    return 200, text


@asynccontextmanager
async def both() -> AsyncIterator[tuple[RunningStandins, Platform]]:
    async with (
        running_platform(DEFAULT_AUTH_TOKEN) as platform,
        running_standins(profile=FAST, platform_url=platform.base_url) as standins,
    ):
        platform.realtime_url = standins.realtime_url
        base = platform.base_url
        callback = base + "/twilio/stream-status"
        twiml = connect_twiml(
            platform.ws_url + "/media/1", action=base + "/after", callback=callback
        )
        platform.answers["/twilio/voice"] = lambda form: (200, twiml)
        platform.answers["/after"] = lambda form: (200, "<Response><Hangup/></Response>")
        yield standins, platform


async def test_a_whole_call_with_words_both_ways_and_signed_webhooks() -> None:
    async with both() as (standins, platform):
        report = await standins.carrier.place_call(TO, FROM, scenario=SHORT)
        assert report.ok, report
        assert report.said == ["Hello you."]
        assert report.heard == ["Good morning, clinic.", "You said: Hello you."]
        assert platform.bad_signatures == 0
        [handshake] = platform.handshakes
        assert "origin" not in handshake
        assert "sec-websocket-extensions" not in handshake
        voice = platform.asked[0][1]
        assert (voice["CallStatus"], voice["To"], voice["CallerName"]) == ("ringing", TO, "")
        assert "/after" not in platform.paths()  # the caller hung up
        stream_events = [
            form["StreamEvent"] for path, form in platform.asked if path.endswith("stream-status")
        ]
        assert sorted(stream_events) == ["stream-started", "stream-stopped"]
        [status] = [form for path, form in platform.asked if path == "/twilio/status"]
        assert (status["CallStatus"], status["SequenceNumber"]) == ("completed", "0")
        assert {"CallDuration", "Timestamp"} <= set(status)


async def test_a_lost_stream_asks_the_action_url_and_can_reconnect() -> None:
    async with both() as (standins, platform):
        platform.close_media_after_ms = 200
        again = connect_twiml(platform.ws_url + "/media/2")
        platform.answers["/after"] = lambda form: (200, again)
        report = await standins.carrier.place_call(TO, FROM, scenario=SHORT)
        assert [error["code"] for error in report.errors] == [31921]
        assert (report.streams, report.ended_by) == (2, "caller")
        assert "You said: Hello you." in report.heard
        action = next(form for path, form in platform.asked if path == "/after")
        assert action["CallStatus"] == "in-progress"


async def test_failed_voice_url_is_retried_once_then_the_fallback_gets_the_code() -> None:
    async with both() as (standins, platform):
        platform.answers["/broken"] = lambda form: (500, "")
        platform.answers["/fallback"] = lambda form: (200, "<Response><Say>Sorry</Say></Response>")
        base = platform.base_url
        voice = VoiceConfig(base + "/broken#rt=1000", voice_fallback_url=base + "/fallback")
        report = await standins.carrier.place_call(TO, FROM, voice, SILENT)
        assert platform.paths() == ["/broken", "/broken", "/fallback"]
        fallback = platform.asked[-1][1]
        assert (fallback["ErrorCode"], fallback["ErrorUrl"]) == ("11200", voice.voice_url)
        assert (report.status, report.ended_by) == ("completed", "twiml")


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        ("not xml", "text/xml", 12100),
        ("<Answer/>", "text/xml", 12100),
        ("<Response/>", "application/json", 12300),
        ("<Response>" + " " * 65_000 + "</Response>", "text/xml", 11750),
    ],
)
async def test_unusable_twiml_ends_in_an_application_error(
    body: str, content_type: str, code: int
) -> None:
    async with both() as (standins, platform):
        platform.content_type = content_type
        platform.answers["/twilio/voice"] = lambda form: (200, body)
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert [error["code"] for error in report.errors] == [code]
        assert (report.status, report.ended_by) == ("failed", "application_error")


async def test_nobody_listening_is_11205() -> None:
    async with running_standins(platform_url="http://127.0.0.1:9") as standins:
        voice = VoiceConfig("http://127.0.0.1:9/voice")
        report = await standins.carrier.place_call(TO, FROM, voice, SILENT)
        assert [error["code"] for error in report.errors] == [11205]


@pytest.mark.parametrize(
    ("twiml", "status", "kinds"),
    [
        ("<Response/>", "completed", []),
        ('<Response><Reject reason="busy"/></Response>', "busy", ["reject"]),
        (
            '<Response><Start><Recording channels="dual"/></Start><Say voice="x">Hi</Say>'
            '<Pause length="1"/><Play>http://x/a.wav</Play><Hangup/></Response>',
            "completed",
            ["start", "say", "pause", "play"],
        ),
    ],
)
async def test_simple_verbs(twiml: str, status: str, kinds: list[str]) -> None:
    async with both() as (standins, platform):
        platform.answers["/twilio/voice"] = lambda form: (200, twiml)
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert report.status == status
        plain = {"status", "twiml", "ended"}
        assert [e["kind"] for e in report.events if e["kind"] not in plain] == kinds
        assert report.errors == []


async def test_unknown_verbs_and_attributes_are_12200_and_ignored() -> None:
    twiml = '<Response><Sing/><Say pitch="high">Hi</Say><Connect><Relay/></Connect></Response>'
    async with both() as (standins, platform):
        platform.answers["/twilio/voice"] = lambda form: (200, twiml)
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert [error["code"] for error in report.errors] == [12200, 12200, 12200]
        assert report.status == "completed"


@pytest.mark.parametrize("outcome", ["completed", "busy", "no-answer"])
async def test_dial_rings_a_callee_and_reports_to_the_action(outcome: str) -> None:
    async with both() as (standins, platform):
        base = platform.base_url
        number = f'<Number statusCallback="{base}/leg">+15550100099</Number>'
        dial = f'<Dial action="{base}/dialled">{number}</Dial>'
        platform.answers["/twilio/voice"] = lambda form: (200, f"<Response>{dial}</Response>")
        platform.answers["/dialled"] = lambda form: (200, "<Response/>")
        standins.carrier.callees["+15550100099"] = Callee(outcome)  # type: ignore[arg-type]
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert report.dialled == ["+15550100099"]
        form = next(form for path, form in platform.asked if path == "/dialled")
        assert form["DialCallStatus"] == outcome
        assert ("DialCallDuration" in form) is (outcome == "completed")
        leg = next(form for path, form in platform.asked if path == "/leg")
        assert (leg["CallStatus"], leg["ParentCallSid"]) == (outcome, report.call_sid)
        assert leg["CallSid"] == form["DialCallSid"]


async def test_dial_obeys_what_the_sdk_writes_and_rings_no_longer_than_told() -> None:
    """Every attribute that we send is one of the SDK's, and each has its effect."""
    desk, pbx = "+15550100099", "sip:desk@pbx.example.com"
    async with both() as (standins, platform):

        def dial(place: str, caller_id: str = TO) -> str:
            return twilio_voice.dial(
                to=place,
                caller_id=caller_id,
                action_url=f"{platform.base_url}/dialled",
                ring_seconds=7,
            )

        platform.answers["/dialled"] = lambda form: (200, "<Response/>")
        callees = standins.carrier.callees
        for place, caller_id, callee, outcome, answered in (
            (desk, TO, Callee("completed"), "completed", True),
            (pbx, "anonymous", Callee("completed"), "completed", True),
            (desk, TO, Callee("completed", ring_seconds=8), "no-answer", False),
            (desk, TO, Callee("busy"), "busy", False),
            (desk, "anonymous", Callee("completed"), "failed", False),
        ):
            callees[place] = callee
            platform.asked.clear()
            text = dial(place, caller_id)
            platform.answers["/twilio/voice"] = functools.partial(_always, text)
            report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
            form = next(form for path, form in platform.asked if path == "/dialled")
            assert (report.dialled, form["DialCallStatus"]) == ([place], outcome)
            # With answerOnBridge the call rings until somebody is there.
            assert form["CallStatus"] == ("in-progress" if answered else "ringing")
            codes = [error["code"] for error in report.errors]
            assert codes == ([13214] if outcome == "failed" else [])


async def test_redirects_are_followed_and_loops_end() -> None:
    async with both() as (standins, platform):
        loop = "<Response><Redirect>/twilio/voice</Redirect></Response>"
        platform.answers["/twilio/voice"] = lambda form: (200, loop)
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert [error["code"] for error in report.errors] == [11215]
        statuses = {form["CallStatus"] for path, form in platform.asked[1:] if "voice" in path}
        assert statuses == {"in-progress"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://127.0.0.1:1/x?a=1", 31920),
        ("http://127.0.0.1/x", 31922),
        ("/relative", 31923),
        ("ws://127.0.0.1:1/x", 31902),
    ],
)
async def test_t9_streams_that_never_begin_fall_through(url: str, code: int) -> None:
    async with both() as (standins, platform):
        base = platform.base_url
        twiml = connect_twiml(url, action=base + "/after", callback=base + "/twilio/stream-status")
        platform.answers["/twilio/voice"] = lambda form: (200, twiml)
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert [error["code"] for error in report.errors] == [code]
        assert "/after" in platform.paths()
        error = next(form for path, form in platform.asked if path.endswith("stream-status"))
        assert error["StreamEvent"] == "stream-error"
        assert str(code) in error["StreamError"]


async def test_stale_signature_is_refused_and_second_use_of_a_token_too() -> None:
    async with both() as (standins, platform):
        stale = dataclasses.replace(SILENT, media=MediaProfile(stale_signature=True))
        report = await standins.carrier.place_call(TO, FROM, scenario=stale)
        assert [error["code"] for error in report.errors] == [31920]
        twice = dataclasses.replace(SHORT, media=MediaProfile(second_connection=True))
        call, task = standins.carrier.start_call(TO, FROM, scenario=twice)
        assert (await task).ok
        assert call.streams[0].second_status == 403


async def test_no_reading_for_a_while_and_abrupt_close() -> None:
    media = MediaProfile(pause_reading=(100, 400), close_without_stop=True)
    async with both() as (standins, _):
        plan = dataclasses.replace(SHORT, media=media)
        report = await standins.carrier.place_call(TO, FROM, scenario=plan)
        assert report.ok, report


async def test_t22_a_line_cut_by_the_scenario_asks_the_action_url_as_a_lost_one() -> None:
    async with both() as (standins, platform):
        again = connect_twiml(platform.ws_url + "/media/2")
        platform.answers["/after"] = lambda form: (200, again)
        media = MediaProfile(drop_after_ms=60)
        plan = dataclasses.replace(SILENT, media=media, streams=(MediaProfile(),))
        report = await standins.carrier.place_call(TO, FROM, scenario=plan)
        assert [error["code"] for error in report.errors] == [31903]
        assert (report.streams, report.ended_by) == (2, "caller")


@pytest.mark.parametrize(
    ("step", "ended_by", "dialled"),
    [
        (
            CallerStep("rest_twiml", "<Response><Dial>+15550100099</Dial></Response>"),
            "twiml",
            ["+15550100099"],
        ),
        (CallerStep("rest_completed"), "rest", []),
    ],
)
async def test_a_rest_update_in_a_scenario_takes_the_call_from_the_stream(
    step: CallerStep, ended_by: str, dialled: list[str]
) -> None:
    async with both() as (standins, platform):
        during = dataclasses.replace(step, wait="mark_pending")
        plan = Scenario("update", caller=(during,))
        report = await standins.carrier.place_call(TO, FROM, scenario=plan)
        assert (report.ended_by, report.dialled, report.status) == (ended_by, dialled, "completed")
        assert report.ok
        assert "/after" not in platform.paths()  # the old document is gone (2.3)


async def test_t37_to_let_a_stream_in_twice_fails_the_report() -> None:
    async with both() as (standins, platform):
        platform.tokens_used = Forgetful()
        twice = dataclasses.replace(SILENT, media=MediaProfile(second_connection=True))
        report = await standins.carrier.place_call(TO, FROM, scenario=twice)
        assert report.failures == ["the stream's URL was accepted a second time"]


class Forgetful(set[str]):
    """A platform's memory of used tokens that holds nothing."""

    def __contains__(self, token: object) -> bool:
        return False


async def test_failures_of_the_model_can_come_with_a_scenario() -> None:
    async with both() as (standins, _):
        plan = dataclasses.replace(
            SHORT,
            caller=(say("Anyone?", wait="ms", wait_ms=300), hang_up(wait="ms", wait_ms=600)),
            realtime=RealtimeProfile(fail_response="server_error"),
        )
        report = await standins.carrier.place_call(TO, FROM, scenario=plan)
        assert report.heard == []
        assert report.failures == ["the caller never heard /You said: Hello you/ in its turn"]
        assert not report.ok


async def test_public_origin_is_signed_but_reached_elsewhere() -> None:
    async with both() as (standins, platform):
        public = "https://voice.example.test"
        standins.carrier.webhooks.reach = {public: platform.base_url}
        platform.answers["/v"] = lambda form: (200, "<Response/>")
        voice = VoiceConfig(public + "/v")
        await standins.carrier.place_call(TO, FROM, voice, SILENT)
        assert platform.paths() == ["/v"]
        assert platform.bad_signatures == 1  # signed for the public URL, as Twilio would
        assert standins.carrier.webhooks.reachable("wss://voice.example.test/m").startswith("ws://")


async def test_number_without_answer_and_number_on_a_trunk() -> None:
    async with both() as (standins, platform):
        standins.carrier.numbers.add(TO)
        report = await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert report.ended_by == "application_error"
        standins.carrier.numbers.find(TO)["trunk_sid"] = "TK1"  # type: ignore[index]
        await standins.carrier.place_call(TO, FROM, scenario=SILENT)
        assert platform.paths() == []


async def test_simultaneous_callers_hear_their_own_words() -> None:
    async with both() as (standins, platform):
        base = platform.base_url
        platform.answers["/twilio/voice"] = lambda form: (
            200,
            connect_twiml(f"{platform.ws_url}/media/{form['CallSid']}", action=base + "/after"),
        )
        plans = [
            Scenario(f"caller {n}", caller=(say(f"This is caller number {n}."), hang_up()))
            for n in range(6)
        ]
        placed = [
            standins.carrier.place_call(TO, f"+1555010010{n}", scenario=plan)
            for n, plan in enumerate(plans)
        ]
        reports = await asyncio.gather(*placed)
        for n, report in enumerate(reports):
            assert report.heard[1:] == [f"You said: This is caller number {n}."]
            assert report.ok, report


async def test_shipped_barge_in_plays_over_sockets() -> None:
    async with both() as (standins, _):
        report = await standins.carrier.place_call(TO, FROM, scenario=load_scenario("barge_in"))
        assert report.ok, report
        assert report.cut
        assert any(event["kind"] == "clear" for event in report.events)


def test_signatures_equal_the_official_ones() -> None:
    form = {"B": "2", "A": "", "CallerName": "Ünal"}
    for url in ("https://h/p?x=1", "wss://h/p"):
        official = RequestValidator("tok").compute_signature(url, form)
        assert signature_of(url, form, "tok") == official
