"""Calls that the old stack answers are heard along: the fork, the muted session, the pair (5e)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone
from requests import ReadTimeout
from twilio.http.http_client import TwilioHttpClient
from websockets.exceptions import InvalidStatus

from calls.media import shadowing
from calls.media.database import in_database
from calls.models import (
    CallPolicy,
    ImportedCall,
    ParityCall,
    ParityRun,
    ShadowCall,
    ShadowSwitch,
    ShimRecord,
    ToolExchange,
)
from calls.numbers.switch.voice import Target
from calls.parity.logs.reading import read_log
from calls.parity.logs.shim import exchange_kept
from calls.parity.sequence import sequence_load
from calls.parity.shadow_delay import Pace
from calls.services.call_log_store import Store
from calls.services.number_routes import previous_set
from calls.services.parity_runs import run_cancel
from calls.services.shadow_offers import shadow_token
from calls.services.shadow_runs import shadow_begin, shadows_tend
from calls.services.shadow_switches import shadow_set
from calls.standins.caller import CallerStep, hang_up, say
from calls.standins.old_stack import VOICE_PATH, OldAnswer
from calls.standins.old_voice import OldRule
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario
from calls.standins.twilio_call import Callee
from tests import factories
from tests.integration.calls.rig import CALLER, Rig, silent_server, stream_path, until
from tests.integration.parity.stand import connections

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

ASKS = "A table for two."
START = re.compile(r"<Start><Stream [^>]*/></Start>")
BOOKS = Rule(
    Step(tools=(CallTool("book", '{"guests": 2}'),), then=Step(say="Ten.")), re.compile("table")
)
CALL = Scenario(
    "a call of the old stack",
    caller=(say(ASKS), say("Fine."), hang_up()),
    rules=(BOOKS,),
    default_say="I see.",
)


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold back what the fork brings for a moment only; the stand-in's list is never behind."""
    quick = Pace(hold_ms=500, lag_ms=0, margin_ms=1_500, ask_ms=100, patience_ms=2_500)
    monkeypatch.setattr(shadowing, "PACE", quick)


@pytest.fixture
def old_twiml(rig: Rig) -> Iterator[str]:
    """Have the old stack answer with a voice, and our side know a tool; yields its TwiML."""
    text = (
        '<?xml version="1.0"?>\n<Response> <Connect><Stream url="'
        + rig.standin_origin.replace("http", "ws")
        + '/old/media"/></Connect></Response>'
    )
    rig.old.answers[VOICE_PATH] = OldAnswer(text)
    rig.old_voice.greeting = "Hi."
    booked = (("book", {"guests": 2}, "done"),)
    rig.old_voice.rules = [
        OldRule(re.compile("table"), "Ten is free.", booked),
        OldRule(re.compile("Fine"), "Bye."),
    ]
    yield text


def _moved(rig: Rig, **policy: Any) -> None:
    tool = factories.make_tool(
        name="book",
        parameters={"type": "object", "properties": {"guests": {"type": "integer"}}},
    )
    number = rig.number
    number.assistant = factories.make_assistant(tools=[tool])
    number.route = "vapi"
    number.policy = factories.make_policy(second_processor="OpenAI", **policy)
    number.save()
    previous_set(number, Target(kind="url", url=rig.standin_origin + VOICE_PATH))


def _hears(rig: Rig, *, wanted: int = 1, notice: str = "", **columns: Any) -> ParityRun:
    """Turn the switch of the rig's number on and begin a run."""
    shadow_set(
        **{
            "number": rig.number,
            "is_on": True,
            "percent": 100,
            "most_at_once": 2,
            "notice": notice,
            "confirms": True,
            "actor": "test",
            **columns,
        }
    )
    assert rig.number.assistant is not None
    return shadow_begin(
        assistant=rig.number.assistant, number=rig.number, actor="test", pairs=wanted
    )


async def _collecting(rig: Rig, **options: Any) -> ParityRun:
    await in_database(_moved, rig)
    return await in_database(lambda: _hears(rig, **options))


async def _over() -> ShadowCall:
    """Wait until the one shadow has left the line, and return it."""
    async with asyncio.timeout(15):
        while True:
            row: ShadowCall | None = await in_database(ShadowCall.objects.first)
            if row is not None and row.ended_at is not None:
                return row
            await asyncio.sleep(0.05)


def _import(rig: Rig, **more: Any) -> None:
    for log in rig.old_voice.logs.values():
        Store(rig.number.organisation).put(read_log({**log, **more}))


def _pair(run: ParityRun) -> tuple[ParityCall, ParityCall]:
    theirs, ours = run.calls.order_by("-stack")
    assert (theirs.stack, ours.stack) == ("vapi", "direct")
    return theirs, ours


async def test_the_call_goes_on_as_before_and_what_was_heard_becomes_a_pair(
    rig: Rig, old_twiml: str
) -> None:
    run = await _collecting(rig)
    with connections() as reached:
        report = await rig.call(CALL)
        row = await _over()
    # The caller, the old stack and Twilio saw what they would have seen, but for one verb.
    assert report.ok, (report.failures, report.errors, report.warnings)
    assert report.heard == ["Hi.", "Ten is free.", "Bye."]
    (twiml,) = [event["body"] for event in report.events if event["kind"] == "twiml"]
    (start,) = START.findall(twiml)
    assert twiml == old_twiml.replace("<Connect>", f"{start}<Connect>")
    assert 'track="both_tracks"' in start
    made = rig.carrier.calls[report.call_sid]
    assert [fork.state for fork in made.forks] == ["stopped"]
    # Nobody was asked but the stand-ins and ourselves: no tool server, no receiver.
    assert {port for _, port in reached} <= {rig.port, int(rig.standin_origin.rpartition(":")[2])}
    assert not await in_database(ToolExchange.objects.exists)

    assert (row.state, row.problem) == ("done", "")
    theirs, ours = await in_database(_pair, run)
    assert (theirs.state, ours.state) == ("waiting", "done")
    sequence = sequence_load(ours.sequence)
    assert [(tool.name, dict(tool.arguments)) for tool in sequence.tools] == [
        ("book", {"guests": 2})
    ]
    assert ours.extras["cut"] == "unknown-result" and ours.cost_usd > 0
    assert ours.audio_seconds > 0.5
    assert [line["text"] for line in ours.transcript] == ["Hi.", ASKS]

    # The old stack's log comes, and the pair is whole.
    assert await in_database(shadows_tend) == 0
    await in_database(_import, rig)
    assert await in_database(shadows_tend) == 1
    await in_database(run.refresh_from_db)
    assert (run.state, run.done, run.figures["audio_pairs"]) == ("done", 1, 1)
    assert run.figures["gates"]["order"]["k"] == 0
    theirs, ours = await in_database(_pair, run)
    assert [tool.name for tool in sequence_load(theirs.sequence).tools] == ["book"]
    assert theirs.transcript[1]["text"] == ASKS


async def test_with_the_tools_recorded_a_call_is_heard_to_its_end(rig: Rig, old_twiml: str) -> None:
    run = await _collecting(rig)
    shim = await in_database(factories.make_shim)

    def recorded() -> None:
        (sid,) = rig.old_voice.logs
        made = {"id": "t1", "type": "function", "function": {"name": "book", "arguments": {}}}
        made["function"] = {"name": "book", "arguments": json.dumps({"guests": 2})}
        message = {
            "type": "tool-calls",
            "call": {"id": rig.old_voice.logs[sid]["id"], "phoneCallProviderId": sid},
            "toolCallList": [made],
        }
        kept = exchange_kept(
            json.dumps({"message": message}).encode(),
            200,
            json.dumps({"results": [{"toolCallId": "t1", "result": "done"}]}),
            received_at=timezone.now(),
            duration_ms=5,
        )
        ShimRecord.objects.create(shim=shim, content=kept, received_at=timezone.now())

    calling = asyncio.create_task(rig.call(CALL))
    await until(lambda: _called(rig), what="the old stack calls its tool")
    await in_database(recorded)
    report = await calling
    assert report.ok
    await _over()
    await in_database(_import, rig)
    assert await in_database(shadows_tend) == 1
    theirs, ours = await in_database(_pair, run)
    found = sequence_load(ours.sequence)
    assert (found.cut, ours.extras["problem"]) == (False, "")
    assert [tool.result for tool in found.tools] == ["done"]
    assert [tool.name for tool in sequence_load(theirs.sequence).tools] == ["book"]
    said = [line["text"] for line in ours.transcript]
    assert said[:3] == ["Hi.", ASKS, "Ten."] and "Fine." in said


def _called(rig: Rig) -> bool:
    logs = list(rig.old_voice.logs.values())
    return any(line["role"] == "tool_calls" for log in logs for line in log["messages"])


async def test_the_callers_call_goes_on_when_the_model_hangs_or_refuses(
    rig: Rig, old_twiml: str
) -> None:
    run = await _collecting(rig, wanted=2)
    async with silent_server() as hanging:
        await in_database(lambda: _point(rig, hanging))
        report = await rig.call(CALL)
        assert report.ok and report.heard[:2] == ["Hi.", "Ten is free."]
        row = await _over()
    # Nothing was heard, so nothing is compared; and the next call finds the place free.
    assert (row.state, "not ready" in row.problem) == ("failed", True)
    await in_database(
        lambda: _point(rig, rig.standin_origin.replace("http", "ws") + "/v1/realtime")
    )
    rig.carrier.book.next_profiles += [RealtimeProfile(lose_at="committed")] * 2
    report = await rig.call(CALL)
    assert report.ok and report.heard[:2] == ["Hi.", "Ten is free."]
    rows = await in_database(lambda: list(ShadowCall.objects.order_by("position")))
    async with asyncio.timeout(10):
        while rows[-1].ended_at is None:
            await asyncio.sleep(0.05)
            await in_database(rows[-1].refresh_from_db)
    assert (len(rows), rows[-1].state) == (2, "failed")
    assert "socket closed" in rows[-1].problem
    lost = await in_database(lambda: list(run.calls.values_list("position", "state")))
    assert set(lost) == {(0, "failed"), (1, "failed")}


def _point(rig: Rig, url: str) -> None:
    connection = rig.number.connection
    assert connection is not None
    connection.realtime_url = url
    connection.save()


async def test_a_cancelled_run_lets_the_call_go_on_unheard(
    rig: Rig, old_twiml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadowing, "WATCH_SECONDS", 0.1)
    run = await _collecting(rig)
    slow = replace(CALL, caller=(say(ASKS), say("Fine.", wait="ms", wait_ms=1_500), hang_up()))
    calling = asyncio.create_task(rig.call(replace(slow, rules=())))
    async with asyncio.timeout(10):
        while not await in_database(ShadowCall.objects.filter(state="hearing").exists):  # noqa: ASYNC110 - a row
            await asyncio.sleep(0.05)
    assert await in_database(lambda: run_cancel(run=run, actor="test"))
    report = await calling
    assert report.ok and report.heard[:2] == ["Hi.", "Ten is free."]
    row = await _over()
    call = rig.carrier.calls[report.call_sid]
    assert call.forks[0].state == "stopped" and call.forks[0].sent_frames < 2 * 50 * 2
    assert row.state in {"done", "failed"}
    await in_database(run.refresh_from_db)
    assert run.state == "cancelled"
    assert await in_database(run_cancel_again, run) is False


def run_cancel_again(run: ParityRun) -> bool:
    return run_cancel(run=run, actor="test")


async def test_nobody_hears_the_person_whom_the_old_stack_puts_through(
    rig: Rig, old_twiml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadowing, "WATCH_SECONDS", 0.1)
    await in_database(_moved, rig)

    def can_pass_on() -> None:
        tool = factories.make_tool(
            name="transferCall",
            type="transferCall",
            destinations=[{"type": "number", "number": "+15550100099"}],
            server_url="",
        )
        assert rig.number.assistant is not None
        factories.make_revision(rig.number.assistant, tools=[tool])
        rig.number.assistant.refresh_from_db()

    await in_database(can_pass_on)
    run = await in_database(lambda: _hears(rig))
    dials = "<Response><Dial>+15550100099</Dial></Response>"
    passed_on = replace(CALL, caller=(say(ASKS), CallerStep("rest_twiml", dials)), rules=())
    live_call, task = rig.carrier.start_call(rig.number.number_e164, CALLER, scenario=passed_on)
    live_call.pause_cap_seconds = 6.0
    rig.carrier.callees["+15550100099"] = Callee(talk_seconds=6.0)
    row = await _over()
    assert live_call.dialled == ["+15550100099"] and not live_call.ended
    assert row.state == "done"
    before = (live_call.dialled_at[0] - live_call.started_at).total_seconds()
    ours = await in_database(run.calls.get, stack="direct")
    assert ours.extras["cut_words"] == "a person was put through, whom nothing of ours hears"
    assert 0.5 < ours.audio_seconds < before  # nothing that came after the dial went anywhere
    assert [line["text"] for line in ours.transcript if line["role"] == "user"] == [ASKS]
    (fork,) = live_call.forks
    await until(lambda: fork.state == "stopped", what="the fork is stopped at Twilio")
    assert not live_call.ended  # the caller goes on talking to that person
    live_call.hang_up()
    assert (await task).errors == []


async def test_where_twilio_does_not_say_who_is_on_the_line_not_a_frame_goes_on(
    rig: Rig, old_twiml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await _collecting(rig)
    asked = TwilioHttpClient.request

    def request(self: TwilioHttpClient, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "GET":
            raise ReadTimeout
        return asked(self, method, *args, **kwargs)

    monkeypatch.setattr(TwilioHttpClient, "request", request)
    report = await rig.call(CALL)
    assert report.ok and report.heard == ["Hi.", "Ten is free.", "Bye."]
    row = await _over()
    assert row.state == "failed" and "Twilio did not say" in row.problem
    for call in await in_database(lambda: list(run.calls.all())):
        assert (call.state, call.audio_seconds, call.cost_usd) == ("failed", 0, 0)
    (fork,) = rig.carrier.calls[report.call_sid].forks
    assert fork.state == "stopped"


async def test_without_a_reason_to_hear_the_old_stacks_answer_is_given_byte_for_byte(
    rig: Rig, old_twiml: str
) -> None:
    await in_database(_moved, rig)
    assert (await rig.voice()).body == old_twiml  # no switch
    run = await in_database(lambda: _hears(rig, wanted=5, most_at_once=1))
    asks = await in_database(lambda: factories.make_policy(recording_consent="ask"))

    def change(**columns: Any) -> None:
        ShadowSwitch.objects.update(**columns)

    def policy(**columns: Any) -> None:
        CallPolicy.objects.filter(numbers=rig.number).update(**columns)

    for doing, undoing in (
        (lambda: change(is_on=False), lambda: change(is_on=True)),
        (lambda: policy(reviewed_at=None), lambda: policy(reviewed_at=timezone.now())),
        (lambda: policy(second_processor=""), lambda: policy(second_processor="OpenAI")),
        (
            lambda: policy(recording_consent=asks.recording_consent),
            lambda: policy(recording_consent="none"),
        ),
        (
            lambda: ParityRun.objects.update(state="cancelled"),
            lambda: ParityRun.objects.update(state="running"),
        ),
        (
            lambda: ParityRun.objects.update(cost_limit_usd=0),
            lambda: ParityRun.objects.update(cost_limit_usd=5),
        ),
        (lambda: change(percent=1, is_on=False), lambda: change(percent=100, is_on=True)),
    ):
        await in_database(doing)
        assert (await rig.voice()).body == old_twiml
        await in_database(undoing)
    rig.old.answers[VOICE_PATH] = OldAnswer(
        "<Response><Redirect>https://a.example</Redirect></Response>"
    )
    assert "Start" not in (await rig.voice()).body
    rig.old.answers[VOICE_PATH] = OldAnswer(old_twiml)
    assert not await in_database(ShadowCall.objects.exists)

    # Now it is forked, once for a webhook that comes again, and no more than one at a time.
    form = rig.form()
    first, again = [await rig.post("/twilio/voice", form) for _ in range(2)]
    assert START.search(first.body) and first.body == again.body
    assert (await rig.voice()).body == old_twiml
    row = await in_database(ShadowCall.objects.get)
    path = stream_path(first.body)
    assert path == f"/twilio/shadow/{row.pk}/{shadow_token(row.pk)}"
    for wrong in (path[:-3] + "abc", path.replace(str(row.pk), str(run.pk))):
        with pytest.raises(InvalidStatus, match="403"):
            await rig.media(wrong)
    with pytest.raises(InvalidStatus, match="403"):
        await rig.media(path, signature="none")
    report = {"CallSid": form["CallSid"], "AccountSid": rig.account_sid}
    report |= {"StreamEvent": "stream-error", "StreamError": "31920", "StreamSid": "MZ1"}
    told = await rig.post(f"/twilio/shadow-status/{row.pk}", report)
    assert told.status == 204
    other = await rig.post(f"/twilio/shadow-status/{run.pk}", report)
    assert other.status == 404
    await in_database(row.refresh_from_db)
    assert (row.state, row.problem) == ("nothing", "the fork did not begin: 31920")
    assert (await rig.post("/twilio/voice", form)).body == old_twiml


async def test_a_caller_who_refused_leaves_no_word_behind(rig: Rig, old_twiml: str) -> None:
    run = await _collecting(rig)
    await rig.call(replace(CALL, rules=()))
    await _over()
    await in_database(_import, rig)
    await in_database(lambda: ImportedCall.objects.update(consent="refused"))
    assert await in_database(shadows_tend) == 0
    for row in await in_database(_pair, run):
        assert (row.state, row.sequence, row.transcript, row.extras) == ("failed", None, None, None)


async def test_what_died_frees_its_place(rig: Rig, old_twiml: str) -> None:
    run = await _collecting(rig, wanted=3)

    def dead(state: str, position: int) -> None:
        long_ago = timezone.now() - dt.timedelta(minutes=10)
        ShadowCall.objects.create(
            run=run,
            organisation=run.organisation,
            call=factories.make_call(number=rig.number, stack="vapi"),
            position=position,
            state=state,
            token_expires_at=long_ago,
            alive_at=long_ago,
        )

    await in_database(dead, "offered", 0)
    await in_database(dead, "hearing", 1)
    await in_database(shadows_tend)
    rows = await in_database(lambda: list(ShadowCall.objects.values_list("state", flat=True)))
    assert rows == ["nothing", "failed"]
    assert set(await in_database(lambda: list(run.calls.values_list("position", "state")))) == {
        (1, "failed")
    }


async def test_a_call_that_a_live_run_placed_is_not_heard_along(rig: Rig, old_twiml: str) -> None:
    await _collecting(rig, wanted=5)
    ours: dict[str, Any] = {"number": rig.number, "caller_e164": "+15550108888", "stack": "vapi"}
    until = timezone.now() + dt.timedelta(minutes=1)
    await in_database(lambda: factories.make_run_dial(**ours, state="placed", expected_until=until))
    assert (await rig.voice(From="+15550108888")).body == old_twiml
    assert START.search((await rig.voice(From="+15550108888")).body)  # the next one is a caller's
