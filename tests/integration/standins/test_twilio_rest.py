"""The official Twilio SDK against the stand-in's REST API (twilio.md 4, 5, 6.2), and rehearsals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from calls.standins.caller import hang_up, say
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario
from calls.standins.server import (
    DEFAULT_ACCOUNT_SID,
    DEFAULT_AUTH_TOKEN,
    RunningStandins,
    running_standins,
)
from calls.standins.twilio_call import Callee
from calls.standins.twilio_numbers import VoiceConfig

from .platform import Platform, connect_twiml, running_platform

pytestmark = pytest.mark.integration

OWN = "+15550100002"
WAITING = Scenario("waiting", caller=(hang_up(wait="ms", wait_ms=8000),))


def client_for(standins: RunningStandins, token: str = DEFAULT_AUTH_TOKEN) -> Client:
    http = TwilioHttpClient(timeout=5, pool_connections=False)
    client = Client(DEFAULT_ACCOUNT_SID, token, http_client=http)
    client.api.base_url = standins.base_url
    return client


async def failing(call: Callable[[], Any]) -> TwilioRestException:
    """Run an SDK call in a thread and return the error it must raise."""
    with pytest.raises(TwilioRestException) as caught:
        await asyncio.to_thread(call)
    return caught.value


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for a condition, within a deadline."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the peers under test have no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[RunningStandins, Platform, Client]]:
    profile = RealtimeProfile(think_ms=10, burst_factor=50)
    async with (
        running_platform(DEFAULT_AUTH_TOKEN) as platform,
        running_standins(profile=profile, platform_url=platform.base_url) as standins,
    ):
        platform.realtime_url = standins.realtime_url
        twiml = connect_twiml(platform.ws_url + "/media/1")
        platform.answers["/twilio/voice"] = lambda form: (200, twiml)
        yield standins, platform, client_for(standins)


async def test_numbers_are_listed_over_three_pages_and_filtered() -> None:
    async with running_standins() as standins:
        for index in range(5):
            standins.carrier.numbers.add(f"+1555010000{index}")
        client = client_for(standins)
        found = await asyncio.to_thread(lambda: client.incoming_phone_numbers.list(page_size=2))
        assert [n.phone_number for n in found] == [f"+1555010000{i}" for i in range(5)]
        assert len(standins.app.twilio.requests) == 3
        one = await asyncio.to_thread(
            lambda: client.incoming_phone_numbers.list(phone_number="+15550100003")
        )
        assert [n.phone_number for n in one] == ["+15550100003"]


async def test_t25_none_is_not_sent_and_empty_text_clears() -> None:
    async with running_standins() as standins:
        numbers = standins.carrier.numbers
        sid = numbers.add(OWN, trunk_sid="TK" + "1" * 32, voice_url="https://old/")["sid"]
        client = client_for(standins)
        number = client.incoming_phone_numbers(sid)
        kept = await asyncio.to_thread(
            lambda: number.update(voice_url="https://new/", trunk_sid=None)
        )
        assert (kept.voice_url, kept.trunk_sid) == ("https://new/", "TK" + "1" * 32)
        assert numbers.updates[-1][1] == {"VoiceUrl": "https://new/"}
        assert numbers.effective(OWN) == VoiceConfig(source="trunk")  # T26: a silent no-op
        cleared = await asyncio.to_thread(lambda: number.update(trunk_sid=""))
        assert cleared.trunk_sid is None
        assert numbers.effective(OWN) == VoiceConfig("https://new/")


async def test_trunk_and_application_delete_each_other() -> None:
    async with running_standins() as standins:
        numbers = standins.carrier.numbers
        sid = numbers.add(OWN, voice_url="https://own/")["sid"]
        number = client_for(standins).incoming_phone_numbers(sid)
        app = "AP" + "2" * 32
        await asyncio.to_thread(lambda: number.update(voice_application_sid=app))
        assert numbers.effective(OWN) == VoiceConfig(source="none")
        numbers.applications[app] = VoiceConfig("https://app/", source="application")
        assert numbers.effective(OWN) == numbers.applications[app]
        trunked = await asyncio.to_thread(lambda: number.update(trunk_sid="TK" + "1" * 32))
        assert trunked.voice_application_sid is None
        back = await asyncio.to_thread(lambda: number.update(voice_application_sid=app))
        assert back.trunk_sid is None


async def test_a_number_is_never_released() -> None:
    async with running_standins() as standins:
        sid = standins.carrier.numbers.add(OWN)["sid"]
        error = await failing(client_for(standins).incoming_phone_numbers(sid).delete)
        assert error.status == 405
        assert standins.carrier.numbers.alarms == [f"DELETE {OWN}"]
        assert sid in standins.carrier.numbers.resources


async def test_wrong_token_unknown_resource_and_too_many_requests() -> None:
    async with running_standins() as standins:
        # A failed list raises the SDK's plain exception, without a code; a fetch has one.
        error = await failing(client_for(standins, "wrong").calls("CA" + "0" * 32).fetch)
        assert (error.status, error.code) == (401, 20003)
        client = client_for(standins)
        error = await failing(client.calls("CA" + "0" * 32).fetch)
        assert (error.status, error.code) == (404, 20404)
        error = await failing(client.incoming_phone_numbers("PN" + "0" * 32).fetch)
        assert error.code == 20404
        standins.app.twilio.busy_requests = 1
        error = await failing(client.api.accounts(DEFAULT_ACCOUNT_SID).fetch)
        assert (error.status, error.code) == (429, 20429)
        account = await asyncio.to_thread(client.api.accounts(DEFAULT_ACCOUNT_SID).fetch)
        assert account.status == "active"


async def test_a_live_call_is_fetched_completed_and_then_gone() -> None:
    async with connected() as (standins, _, client):
        call, task = standins.carrier.start_call(OWN, "+15550100001", scenario=WAITING)
        await eventually(lambda: bool(call.streams and call.streams[0].running))
        live = await asyncio.to_thread(client.calls(call.call_sid).fetch)
        assert (live.status, live.direction, live.to) == ("in-progress", "inbound", OWN)
        await asyncio.to_thread(lambda: client.calls(call.call_sid).update(status="completed"))
        report = await task
        assert (report.ended_by, report.status, report.errors) == ("rest", "completed", [])
        ended = await asyncio.to_thread(client.calls(call.call_sid).fetch)
        assert (ended.status, ended.duration is not None) == ("completed", True)
        update = client.calls(call.call_sid).update
        codes = {(await failing(lambda: update(status="completed"))).code for _ in range(2)}
        assert codes == {21220, 20404}  # T16
        listed = await asyncio.to_thread(lambda: client.calls.list(to=OWN))
        assert [each.sid for each in listed] == [call.call_sid]


async def test_new_twiml_stops_the_stream_and_runs() -> None:
    async with connected() as (standins, platform, client):
        call, task = standins.carrier.start_call(OWN, "+15550100001", scenario=WAITING)
        await eventually(lambda: bool(call.streams and call.streams[0].running))
        dial = f'<Dial action="{platform.base_url}/dialled">+15550100099</Dial>'
        twiml = f"<Response>{dial}</Response>"
        platform.answers["/dialled"] = lambda form: (200, "<Response><Hangup/></Response>")
        await asyncio.to_thread(lambda: client.calls(call.call_sid).update(twiml=twiml))
        report = await task
        assert report.dialled == ["+15550100099"]
        kinds = [event["kind"] for event in report.events]
        assert kinds.index("stop") < kinds.index("dial")
        assert "/dialled" in platform.paths()
        error = await failing(
            lambda: client.calls(call.call_sid).update(twiml=twiml, url="http://x/")
        )
        assert error.status in (400, 404)


async def test_new_url_is_asked_with_the_call_in_progress() -> None:
    async with connected() as (standins, platform, client):
        call, task = standins.carrier.start_call(OWN, "+15550100001", scenario=WAITING)
        await eventually(lambda: bool(call.streams and call.streams[0].running))
        url = platform.base_url + "/next"
        platform.answers["/next"] = lambda form: (200, "<Response/>")
        await asyncio.to_thread(lambda: client.calls(call.call_sid).update(url=url))
        assert (await task).status == "completed"
        form = next(form for path, form in platform.asked if path == "/next")
        assert form["CallStatus"] == "in-progress"


async def test_outbound_call_rings_talks_and_reports_progress() -> None:
    async with connected() as (standins, platform, client):
        standins.carrier.numbers.add(OWN)
        standins.carrier.outbound_scenario = Scenario(
            "callee", caller=(say("Who is this?"), hang_up())
        )
        created = await asyncio.to_thread(
            lambda: client.calls.create(
                to="+15550100044",
                from_=OWN,
                url=platform.base_url + "/twilio/voice",
                status_callback=platform.base_url + "/twilio/status",
                status_callback_event=["ringing", "answered", "completed"],
            )
        )
        assert created.direction == "outbound-api"
        call = standins.carrier.calls[str(created.sid)]
        async with asyncio.timeout(15):
            await call.finished.wait()
        assert call.report().heard[-1] == "You said: Who is this?"
        progress = [form for path, form in platform.asked if path == "/twilio/status"]
        progress.sort(key=lambda form: int(form["SequenceNumber"]))
        assert [form["CallStatus"] for form in progress] == ["ringing", "in-progress", "completed"]


async def test_outbound_refusals_and_busy_callees() -> None:
    async with connected() as (standins, platform, client):
        standins.carrier.numbers.add(OWN)
        create = client.calls.create
        for to, from_, code in (
            ("+15550100044", "+15550109999", 21210),
            ("+15005550003", OWN, 21215),
        ):
            error = await failing(
                lambda to=to, from_=from_: create(to=to, from_=from_, url="http://x/")  # type: ignore[misc]
            )
            assert error.code == code
        standins.carrier.callees["+15550100044"] = Callee("busy")
        created = await asyncio.to_thread(
            lambda: create(to="+15550100044", from_=OWN, twiml="<Response/>")
        )
        call = standins.carrier.calls[str(created.sid)]
        await eventually(lambda: call.ended)
        assert call.status == "busy"


async def test_rehearsal_streams_events_and_the_report() -> None:
    sid, token = "AC" + "7" * 32, "another-token"
    async with (
        running_platform(token) as platform,
        running_standins(profile=RealtimeProfile(think_ms=10, burst_factor=50)) as standins,
        httpx.AsyncClient(base_url=standins.base_url, timeout=20) as http,
    ):
        platform.realtime_url = standins.realtime_url
        twiml = connect_twiml(platform.ws_url + "/media/1")
        platform.answers["/twilio/voice"] = lambda form: (200, twiml)
        body = {
            "to": OWN,
            "from": "+15550100001",
            "voice_url": platform.base_url + "/twilio/voice",
            "account_sid": sid,
            "auth_token": token,
            "scenario": {
                "name": "inline",
                "caller": [{"say": "Knock knock"}, {"hang_up": True}],
                "brain": {"rules": [{"when": "knock", "say": "Who is there?"}]},
                "expect": {"agent_says": ["who is there"]},
            },
        }
        answer = await http.post("/standin/calls", json=body)
        lines = [json.loads(line) for line in answer.text.splitlines()]
        kinds = [line["kind"] for line in lines]
        assert kinds[0] == "call"
        assert {"status", "twiml", "stream", "said", "heard", "mark", "ended"} <= set(kinds)
        assert kinds[-1] == "report"
        assert lines[-1]["ok"], lines[-1]
        assert platform.bad_signatures == 0
        stored = await http.get(f"/standin/calls/{lines[0]['call_sid']}")
        assert stored.json()["heard"][-1] == "Who is there?"
        assert (await http.get("/standin/calls/CAx")).status_code == 404
        bad = await http.post("/standin/calls", json={**body, "scenario": {"caler": []}})
        assert (bad.status_code, "caler" in bad.json()["error"]) == (400, True)
        assert (await http.post("/standin/calls", json=[])).status_code == 400
        rest = Client(sid, token, http_client=TwilioHttpClient(timeout=5, pool_connections=False))
        rest.api.base_url = standins.base_url
        fetched = await asyncio.to_thread(rest.calls(lines[0]["call_sid"]).fetch)
        assert fetched.status == "completed"


@pytest.mark.parametrize("inherited", [False, True])
def test_the_process_serves_and_stops_on_sigterm(inherited: bool) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(8)
    where = ["--fd", str(sock.fileno())] if inherited else ["--port", "0"]
    command = [sys.executable, "-m", "calls.standins", *where, "--die-with-parent"]
    process = subprocess.Popen(
        [*command, "--number", OWN],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[sock.fileno()],
        env={**os.environ},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        if inherited:
            assert url.endswith(f":{sock.getsockname()[1]}")
        with httpx.Client(base_url=url, timeout=10) as http:
            assert http.get("/healthz").status_code == 200
            numbers = http.get(
                f"/2010-04-01/Accounts/{DEFAULT_ACCOUNT_SID}/IncomingPhoneNumbers.json",
                auth=(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN),
            )
            assert numbers.json()["incoming_phone_numbers"][0]["phone_number"] == OWN
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()
        sock.close()


def test_the_process_dies_with_its_parent() -> None:
    parent_code = (
        "import subprocess, sys, time\n"
        "child = [sys.executable, '-m', 'calls.standins', '--port', '0', '--die-with-parent']\n"
        "subprocess.Popen(child)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        with httpx.Client(base_url=url, timeout=10) as http:
            assert http.get("/healthz").status_code == 200
        parent.kill()
        # The child holds the other end of the pipe: it closes when the child is gone.
        assert parent.stdout.read() == ""
        with httpx.Client(base_url=url, timeout=1) as http, pytest.raises(httpx.ConnectError):
            http.get("/healthz")
    finally:
        parent.kill()
        parent.communicate()
