"""Repetitions in one process: lost streams, repeated webhooks, forged handshakes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from calls.media import live
from calls.media.database import in_database
from calls.models import Call
from calls.services.replay import call_replay
from calls.standins.scenario import parse_scenario
from calls.standins.tones import encode
from tests import factories
from tests.drills.conftest import Tell
from tests.integration.calls.rig import CALLER, PUBLIC, Rig, sign, stream_path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(3600),
]
Count = Callable[[int, int], int]
LINE = "This is an assistant."
AT_ONCE = 8


def _conversation(number: int) -> tuple[Any, list[tuple[str, str]]]:
    pairs = [(f"Question {number} {part}?", f"Answer {number} {part}.") for part in "abc"]
    caller: list[dict[str, Any]] = []
    for question, _ in pairs:
        # After whatever the agent says: a model that resumes may take up an old answer.
        caller.append({"say": question, "after": "greeting"})
    caller.append({"hang_up": {"heard": pairs[-1][1]}})
    rules = [{"when": question.rstrip("?"), "say": answer} for question, answer in pairs]
    document = {"name": f"drill-{number}", "caller": caller, "brain": {"rules": rules}}
    told = [turn for pair in pairs for turn in zip(("user", "assistant"), pair, strict=True)]
    return parse_scenario(document), told


def _cut(call_sid: str) -> None:
    """End the stream of one call as a process that shuts down would."""
    for entry in tuple(live._process._calls):
        driver = entry._end_now.__self__  # type: ignore[union-attr]
        if driver._bridge.plan.call_sid == call_sid:
            entry.end_now()


async def _cut_call(rig: Rig, number: int) -> int:
    """Place a call whose stream is cut once, behind each sentence in turn; return its streams."""
    scenario, told = _conversation(number)
    moment = ("front desk", f"Answer {number} a", f"Answer {number} b")[number % 3]
    left: list[bool] = []

    def listen(event: dict[str, Any]) -> None:
        if event["kind"] == "heard" and moment in event["text"] and not left:
            left.append(True)
            _cut(call.call_sid)

    call, task = rig.carrier.start_call(
        rig.number.number_e164, CALLER, scenario=scenario, listener=listen
    )
    report = await task
    stored = await in_database(_ended, call.call_sid)
    assert (report.failures, report.ended_by, report.streams) == ([], "caller", 2), report
    assert (stored.status, stored.ended_reason) == ("ended", "customer-ended-call")
    assert report.heard.count(LINE) <= 1
    spoken = await rig.spoken(stored)
    # The model may take up its last answer again; order and completeness are what counts.
    places = [spoken.index(turn) for turn in told]
    assert places == sorted(places), spoken
    for stream in await in_database(call_replay, stored):
        assert stream.same, stream.difference
    return report.streams


def _ended(call_sid: str) -> Call:
    """Wait in this thread until both streams are stored."""
    deadline = time.monotonic() + 20
    while True:
        call = Call.objects.get(call_sid=call_sid)
        if call.status == "ended" and len(call.metrics.get("streams", [])) == call.stream_count:
            return call
        assert time.monotonic() < deadline, call.metrics
        time.sleep(0.05)


async def test_streams_that_are_lost_in_the_middle(rig: Rig, count: Count, tell: Tell) -> None:
    await in_database(
        lambda: factories.make_wording(rig.number.policy, text=LINE, audio_mulaw=encode(LINE))
    )
    total, streams = count(400, 4), 0
    for start in range(0, total, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, total))
        streams += sum(await asyncio.gather(*(_cut_call(rig, n) for n in numbers)))
    tell(
        "streams cut in the middle of a call",
        f"{total} calls, {streams} streams: all resumed by the action URL and reached their "
        f"scripted end, every exchange in order, the policy line at most once; {streams} of "
        f"{streams} records replayed equal",
    )


async def test_webhooks_and_callbacks_repeated_in_any_order(
    rig: Rig, count: Count, tell: Tell
) -> None:
    chance = random.Random(5)
    total, requests = count(3000, 20), 0

    async def one() -> None:
        nonlocal requests
        form = rig.form()
        times = chance.randint(1, 4)
        answers = await asyncio.gather(*(rig.post("/twilio/voice", form) for _ in range(times)))
        assert len({(answer.status, answer.body) for answer in answers}) == 1
        reports = [("in-progress", 1), ("completed", 2), ("completed", 2), ("ringing", 0)]
        chance.shuffle(reports)
        for status, sequence in reports:
            extra = {"CallStatus": status, "SequenceNumber": str(sequence)}
            assert (await rig.post("/twilio/status", form | extra)).status == 204
        requests += times + len(reports)

    for start in range(0, total, AT_ONCE):
        await asyncio.gather(*(one() for _ in range(min(AT_ONCE, total - start))))
    rows = await in_database(lambda: list(Call.objects.values_list("status", "ended_reason")))
    assert rows == [("ended", "customer-ended-call")] * total
    assert len(rig.model_frames) <= total
    tell(
        "webhooks and callbacks repeated and reordered",
        f"{requests} requests for {total} calls: {total} rows, all ended once, no more model "
        "sockets than calls, every repeat answered to the letter",
    )


async def test_forged_handshakes(rig: Rig, count: Count, tell: Tell) -> None:
    chance = random.Random(3)
    total = count(3000, 30)
    answer = await rig.voice()
    path = stream_path(answer.body)
    right = sign(PUBLIC.replace("https", "wss") + path, {})
    for _ in range(total):
        forged, signature = path, right
        kind = chance.choice(["path", "signature", "both"])
        if kind != "signature":
            place = chance.randrange(len("/twilio/media/"), len(path))
            letter = chance.choice("0123456789abcdef")
            forged = path[:place] + letter + path[place + 1 :]
        if kind != "path" or forged == path:
            signature = sign(PUBLIC + forged, {}, token=f"guess {chance.random()}")
        with pytest.raises(InvalidStatus) as refused:
            await rig.media(forged, signature=signature)
        assert refused.value.response.status_code == 403
    await (await rig.media(path)).close()
    tell("forged media handshakes", f"{total} tried, 0 let in; the right one still opened")
