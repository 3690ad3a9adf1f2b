"""Live runs over the telephone network of the stand-ins: real calls, both stacks, no script in them
but that of the run's caller.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from websockets.asyncio.client import ClientConnection

from calls.media import caller_consumer
from calls.media.database import in_database
from calls.models import Call, ImportedCall, ParityCall, ParityRun, PhoneNumber, RunDial
from calls.numbers.switch.voice import Target
from calls.parity import live_caller
from calls.parity.logs.reading import read_log
from calls.parity.played import CallResult
from calls.parity.sequence import sequence_load
from calls.services import live_runs
from calls.services.call_log_store import Store
from calls.services.live_tools import confirmation
from calls.services.number_routes import previous_set
from calls.services.parity_playing import run_play
from calls.services.parity_runners import CallHalted
from calls.services.parity_runs import run_begin, run_cancel, run_resume
from calls.standins.old_stack import VOICE_PATH, OldAnswer
from calls.standins.old_voice import API as OLD_API
from calls.standins.old_voice import PATH as OLD_MEDIA
from calls.standins.old_voice import OldRule
from calls.standins.realtime_brain import Brain, CallTool, Rule, RuleBrain, Step
from calls.standins.tool_server import ToolReply
from tests import factories
from tests.integration.calls.rig import PUBLIC, Rig, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

FROM = "+15550108888"
BOOKS: dict[str, Any] = {
    "name": "books",
    "caller": [
        {"say": "A cleaning?", "expect": [{"tool": "check", "arguments": {"date": "2026-11-27"}}]},
        {"say": "Ten. Bye.", "after": {"heard": "which time"}},
        {"hang_up": True, "after": {"heard": "friday"}},
    ],
}
ASKS: dict[str, Any] = {"name": "asks", "caller": [{"say": "Open?"}, {"hang_up": True}]}


def brain() -> Brain:
    """Return our model: it looks before it offers a time."""
    look = CallTool("check", '{"date": "2026-11-27"}')
    return RuleBrain(
        [
            Rule(Step(None, (look,), Step(say="Ten, which time?")), re.compile("cleaning")),
            Rule(Step(say="On Friday."), re.compile("Ten")),
        ],
        default_say="Till five.",
    )


def _line(rig: Rig) -> None:
    """Give the number an assistant with a tool, a way to the old stack, and the route vapi."""
    tool = factories.make_tool(
        name="check",
        parameters={"type": "object", "properties": {"date": {"type": "string"}}},
        server_url=f"{rig.standin_origin}/tools/check",
        server_url_host="127.0.0.1",
    )
    rig.number.assistant = factories.make_assistant(
        first_message="Hello.", document={"firstMessage": "Hello."}, tools=[tool]
    )
    rig.number.route = "vapi"
    rig.number.save()
    previous_set(rig.number, Target("url", url=rig.standin_origin + VOICE_PATH))


@pytest.fixture
async def line(rig: Rig, settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    # A rehearsed line is quick; how long a real one is waited for is the unit tests' matter.
    for name, ms in (("GAP_MS", 300), ("TOOL_GAP_MS", 600), ("UTTERANCE_GAP_MS", 200)):
        monkeypatch.setattr(live_caller, name, ms)
    monkeypatch.setattr(live_runs, "LOOK_SECONDS", 0.05)
    await in_database(_line, rig)
    carrier = rig.carrier
    carrier.joins_legs = True
    status = f"{PUBLIC}/twilio/status"
    for number in (rig.number.number_e164, FROM):
        carrier.numbers.add(number, voice_url=f"{PUBLIC}/twilio/voice", status_callback=status)
    carrier.book.brain_for = lambda heard: brain()  # type: ignore[method-assign]
    rig.tools.replies["*"] = ToolReply("10:00 is free")
    media = rig.standin_origin.replace("http", "ws") + OLD_MEDIA
    rig.old.answers[VOICE_PATH] = OldAnswer(
        f'<Response><Connect><Stream url="{media}"/></Connect></Response>'
    )
    look = ("check", {"date": "2026-11-27"}, "10:00 is free")
    rig.old_voice.rules = [
        OldRule(re.compile("cleaning"), "Ten, which time?", (look,)),
        OldRule(re.compile("Ten"), "On Friday."),
        OldRule(re.compile("Open"), "Till five."),
    ]
    yield rig


def begin(rig: Rig, **given: Any) -> ParityRun:
    assistant = rig.number.assistant
    assert assistant is not None and assistant.current_revision is not None
    options = {"caller": FROM, **confirmation(assistant.current_revision, rig.number, "Jo Ops")}
    documents = given.pop("documents", {"books": BOOKS, "asks": ASKS})
    return run_begin(
        kind="live",
        assistant=assistant,
        number=rig.number,
        documents=documents,
        seed=7,
        options=options,
        actor="system",
        tells_workers=False,
        **{"pairs": len(documents), "parallel": 4, **given},
    )


def _worker(job_id: Any) -> None:
    try:
        run_play(job_id)
    finally:
        connections.close_all()  # of a thread that nobody else would close them for


async def play(run: ParityRun) -> ParityRun:
    await in_database(run.refresh_from_db)
    await asyncio.to_thread(_worker, run.job_id)
    return await in_database(ParityRun.objects.get, pk=run.pk)


def _import(logs: dict[str, dict[str, Any]], done: set[str]) -> None:
    for sid, log in list(logs.items()):
        if log["status"] == "ended" and sid not in done:
            store = Store(factories.default_organisation())
            assert store.put(read_log(log)) in ("created", "updated")
            done.add(sid)


@asynccontextmanager
async def logs_come(rig: Rig) -> AsyncIterator[None]:
    """Import the old stack's log of each call as soon as that has ended."""
    done: set[str] = set()

    async def watch() -> None:
        while True:
            await in_database(_import, rig.old_voice.logs, done)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def placed(rig: Rig) -> int:
    return sum(
        (method, path.rpartition("/")[2]) == ("POST", "Calls.json")
        for method, path, _ in rig.twilio_log
    )


async def sides(run: ParityRun) -> list[ParityCall]:
    return await in_database(lambda: list(run.calls.order_by("scenario", "stack")))


async def test_each_place_is_called_once_through_each_stack_and_both_are_compared(
    line: Rig,
) -> None:
    run = await in_database(begin, line)
    async with logs_come(line):
        run = await play(run)
    rows = await sides(run)
    assert [(row.scenario, row.stack, row.state, row.problem) for row in rows] == [
        (name, stack, "done", "") for name in ("asks", "books") for stack in ("direct", "vapi")
    ]
    tools = [[tool.name for tool in sequence_load(row.sequence).tools] for row in rows]
    assert tools == [[], [], ["check"], ["check"]]
    for row in rows:
        said = [each["text"] for each in row.transcript or [] if each["role"] == "user"]
        assert said == (["Open?"] if row.scenario == "asks" else ["A cleaning?", "Ten. Bye."])
        assert row.extras is not None
        assert (row.extras["ended_by"], row.extras["attempts"]) == ("script", 1)
        assert row.cost_usd > 0 and row.audio_seconds > 0
    assert run.state == "done" and run.figures["pairs"] == 2
    assert run.figures["audio_pairs"] == 2
    # One request of ours to the tool's real server; the old stack keeps its own.
    assert len([each for each in line.tools.ledger if "tool" in str(each)]) >= 1
    calls = await line.rows()
    assert Counter(call.stack for call in calls) == {"direct": 2, "vapi": 2}
    assert all(call.is_test and call.caller == FROM for call in calls)
    assert {call.route_code for call in calls} == {"test-ours", "test-old"}
    asked = line.old.asked(VOICE_PATH)
    assert [each.is_signed for each in asked] == [True, True]
    await in_database(line.number.refresh_from_db)
    assert line.number.route == "vapi"
    assert placed(line) == 4


async def test_a_missing_log_is_fetched_without_a_second_call_and_a_cancelled_one_is_hung_up(
    line: Rig, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(live_runs, "LOG_SECONDS", 0.0)
    endless = {**ASKS, "caller": [{"say": "Open?", "after": {"ms": 20_000}}]}
    run = await in_database(begin, line, documents={"asks": endless}, parallel=1)
    playing = asyncio.create_task(play(run))

    def is_on() -> bool:
        return RunDial.objects.filter(state="on", stream_used=1).exists()

    async with asyncio.timeout(30):
        while not await in_database(is_on):  # noqa: ASYNC110 - state without an event
            await asyncio.sleep(0.05)
    await in_database(run.refresh_from_db)
    assert await in_database(lambda: run_cancel(run=run, actor="system"))
    run = await playing
    assert run.state == "cancelled"
    carrier = line.carrier
    await until(lambda: all(call.ended for call in carrier.calls.values()), what="hung up")
    (dial,) = await in_database(lambda: list(RunDial.objects.all()))
    assert (dial.state, dial.ended_by, dial.expected_until) == ("void", "cancelled", None)

    await in_database(
        lambda: run.calls.update(document={**ASKS, "name": "asks"})
    )  # so that this test is over soon
    await in_database(lambda: run_resume(run=run, actor="system", tells_workers=False))
    run = await play(run)
    ours, old = await sides(run)
    assert (ours.state, old.state) == ("done", "failed")
    assert "its log is not here yet" in old.problem and old.cost_usd > 0
    taken_for = old.cost_usd
    made = placed(line)
    assert made == 3
    for log in line.old_voice.logs.values():
        log["cost"] = 0.02  # less than was taken for it
    # Resumed without a key that Vapi takes, then with the right one: nothing is imported by hand.
    settings.VAPI_API_KEY, settings.VAPI_BASE_URL = "wrong", line.standin_origin + OLD_API
    await in_database(lambda: run_resume(run=run, actor="system", tells_workers=False))
    run = await play(run)
    assert "Vapi refuses this key (status 401)" in (await sides(run))[1].problem
    settings.VAPI_API_KEY = line.old_voice.api_key
    (log,) = line.old_voice.logs.values()
    newer = {"id": "elsewhere", "createdAt": log["endedAt"]}
    strange = {**log, **newer, "phoneCallProviderId": factories.sid("CA")}
    line.old_voice.logs["strange"] = strange
    await in_database(lambda: run_resume(run=run, actor="system", tells_workers=False))
    run = await play(run)
    rows = await sides(run)
    assert [row.state for row in rows] == ["done", "done"]
    assert taken_for - rows[1].cost_usd == Decimal("0.13")
    assert await in_database(ImportedCall.objects.count) == 1  # a stranger's log is not kept
    assert placed(line) == made


async def test_a_run_looks_before_each_call_whether_it_may_and_stops_where_it_may_not(
    line: Rig,
) -> None:
    run = await in_database(begin, line, documents={"asks": ASKS})
    row = (await sides(run))[0]

    def work() -> CallResult:
        rows = ParityCall.objects.select_related("run__number__twilio_account", "run__number")
        return live_runs.live_play(rows.get(pk=row.pk))

    await in_database(live_runs.live_prepare, run)
    await in_database(lambda: PhoneNumber.objects.update(route="paused"))
    with pytest.raises(CallHalted, match="the number is paused"):
        await in_database(work)
    await in_database(lambda: PhoneNumber.objects.update(route="vapi"))
    line.carrier.numbers.add(line.number.number_e164, voice_url="https://elsewhere.example.com/v")
    with pytest.raises(CallHalted, match="do not come here"):
        await in_database(work)
    assert placed(line) == 0
    assert await in_database(lambda: [dial.state for dial in row.dials.all()]) == ["void", "void"]


async def test_nobody_but_twilio_moves_our_leg_and_a_strangers_call_is_no_runs(line: Rig) -> None:
    run = await in_database(begin, line, documents={"asks": ASKS})
    row = (await sides(run))[0]
    dial = await in_database(
        lambda: RunDial.objects.create(
            organisation=run.organisation,
            parity_call=row,
            number=line.number,
            caller_e164=FROM,
            stack="direct",
            expected_until=run.created_at.replace(year=2099),
        )
    )
    path, sid = f"/twilio/run-caller/{dial.pk}", factories.sid("CA")
    form = line.form(CallSid=sid, CallStatus="in-progress", Direction="outbound-api")
    assert (await line.post(path, form, signature="wrong")).status == 403
    answer = await line.post(path, form)
    assert answer.status == 200 and "<Stream" in answer.body
    other = await line.post(path, {**form, "CallSid": factories.sid("CA")})
    assert other.status == 404
    media = answer.body.partition('url="')[2].partition('"')[0].partition("voice.example.com")[2]
    with pytest.raises(Exception, match="403"):
        await line.media(media, signature="wrong")
    socket = await line.media(media)
    await socket.close()
    with pytest.raises(Exception, match="403"):
        await line.media(media)
    # Another caller, at the same moment: the number's own route decides.
    await line.voice(From="+15550101111")
    (call,) = await line.rows()
    assert (call.route_code, call.is_test) == ("route-vapi", None)
    await line.voice(From=FROM)
    await line.voice(From=FROM)
    calls: list[Call] = await line.rows()
    assert [each.route_code for each in calls[1:]] == ["test-ours", "route-vapi"]
    await in_database(dial.refresh_from_db)
    assert (dial.call_id, dial.expected_until) == (calls[1].pk, None)


async def leg_on_its_stream(
    rig: Rig, row: ParityCall
) -> tuple[RunDial, str, dict[str, str], ClientConnection]:
    """Answer our leg of a place: its row, its address with what Twilio posts there, its stream."""
    dial = await in_database(lambda: factories.make_run_dial(row, state="placed", caller_sid=""))
    path, sid = f"/twilio/run-caller/{dial.pk}", factories.sid("CA")
    form = rig.form(CallSid=sid, CallStatus="in-progress", Direction="outbound-api")
    answer = await rig.post(path, form)
    media = answer.body.partition('url="')[2].partition('"')[0].partition("voice.example.com")[2]
    return dial, path, form, await rig.media(media)


async def test_a_line_that_is_lost_while_the_call_goes_on_counts_for_nothing(line: Rig) -> None:
    run = await in_database(begin, line, documents={"asks": ASKS})
    row = (await sides(run))[0]
    dial, path, form, socket = await leg_on_its_stream(line, row)
    await socket.close()  # no stop: Twilio, or something between, lost the line

    async def left() -> bool:
        await in_database(dial.refresh_from_db)
        return bool(dial.next_step.get("kind") == "cut")

    async with asyncio.timeout(10):
        while not await left():  # noqa: ASYNC110 - state without an event
            await asyncio.sleep(0.02)
    assert dial.ended_by == "other side"  # if the call is over with it
    assert "<Hangup" in (await line.post(path, form)).body
    await in_database(dial.refresh_from_db)
    assert dial.ended_by == "lost"
    status = {**form, "CallStatus": "completed", "CallDuration": "61"}
    assert (await line.post(f"/twilio/run-caller-status/{dial.pk}", status)).status == 204
    await in_database(dial.refresh_from_db)
    assert (dial.state, dial.caller_seconds) == ("ended", 61)


async def test_a_cancelled_runs_leg_ends_its_stream_and_hangs_up_though_no_worker_is_alive(
    line: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_consumer, "LOOK_SECONDS", 0.05)
    run = await in_database(begin, line, documents={"asks": ASKS})
    row = (await sides(run))[0]
    dial, path, form, socket = await leg_on_its_stream(line, row)
    assert await in_database(lambda: run_cancel(run=run, actor="system"))
    async with asyncio.timeout(10):
        await socket.wait_closed()
    assert "<Hangup" in (await line.post(path, form)).body
    await in_database(dial.refresh_from_db)
    assert (dial.ended_by, dial.next_step) == ("cancelled", {"kind": "hangup"})


async def test_a_call_whose_worker_died_is_followed_by_the_next_and_not_placed_again(
    line: Rig,
) -> None:
    run = await in_database(begin, line, documents={"asks": ASKS})
    row = (await sides(run))[0]
    await in_database(live_runs.live_prepare, run)

    def die(seconds: float) -> None:
        raise RuntimeError("killed")

    def work(pace: live_runs.Pace | None = None) -> CallResult:
        rows = ParityCall.objects.select_related("run__number__twilio_account", "run__number")
        return live_runs.live_play(rows.get(pk=row.pk), pace)

    with pytest.raises(RuntimeError, match="killed"):
        await in_database(work, live_runs.Pace(look=0.05, ask=15, log=0, sleep=die))
    assert placed(line) == 1
    result = await in_database(work)
    assert (result.sequence.stack, [each.role for each in result.transcript][-2:]) == (
        "direct",
        ["user", "assistant"],
    )
    assert result.cost_usd > 0
    assert placed(line) == 1
    assert await in_database(lambda: row.dials.get().state) == "ended"
