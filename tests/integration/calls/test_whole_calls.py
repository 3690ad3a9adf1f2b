"""Whole calls in one process: words through the audio both ways, rows as spoken, replay equal."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calls.bridge.reasons import EndCause
from calls.media import live
from calls.media.database import in_database
from calls.models import Call, CallInputChunk, CallPolicy
from calls.numbers.phrases import sentence
from calls.services.journal import batch_store, record_text
from calls.services.replay import call_replay
from calls.standins.scenario import load_scenario, parse_scenario
from calls.standins.tones import encode
from tests import factories
from tests.integration.calls.rig import Rig, running_rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

GREETING = "Hello, this is the front desk."
LINE = "This is an assistant."
HELLO = [
    ("assistant", GREETING),
    ("user", "Hello, are you open today?"),
    ("assistant", "Yes, we are open until six."),
    ("user", "Thank you, that is all."),
    ("assistant", "You are welcome. Have a good day."),
]


def _short(name: str, question: str, answer: str, **media: Any) -> Any:
    return parse_scenario(
        {
            "name": name,
            "caller": [{"say": question, "after": "greeting"}, {"hang_up": {"heard": answer}}],
            "brain": {"rules": [{"when": question, "say": answer}]},
            "profile": {"media": media},
            "expect": {"agent_says": [answer]},
        }
    )


async def _replay_command(call: Call, *options: str) -> tuple[int, str]:
    def run() -> tuple[int, str]:
        out = io.StringIO()
        try:
            call_command("replay_call", str(call.pk), *options, stdout=out)
        except SystemExit as end:
            return int(str(end.code)), out.getvalue()
        return 0, out.getvalue()

    return await in_database(run)


async def _assert_replays(call: Call) -> None:
    for stream in await in_database(call_replay, call):
        assert stream.same, stream.difference


async def test_hello_is_heard_on_both_sides_and_stored_as_spoken(rig: Rig) -> None:
    report = await rig.call("hello")
    assert report.ok, report
    call = await rig.only_call()
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert await rig.spoken(call) == HELLO
    assert [heard.text for heard in rig.model_sessions[0].heard] == report.said
    assert all(heard.complete for heard in rig.model_sessions[0].heard)
    # Nothing but the plan's own session at the model, and no error that we caused.
    assert rig.model_sessions[0].errors == []
    assert rig.model_sessions[0].closed
    code, out = await _replay_command(call, "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    # design.md 2.2, policy without permission: no payload in the record, the words are.
    record = await in_database(record_text, str(call.pk), 1)
    for text in (HELLO[0][1], HELLO[1][1]):
        voice = encode(text)
        assert base64.b64encode(voice[:480]).decode() not in record
    assert "until six" in record


async def test_t32_calls_at_once_never_hear_each_other(rig: Rig) -> None:
    words = [(f"Question number {n}.", f"Answer number {n}.") for n in range(4)]
    scenarios = [_short(f"c{n}", *pair) for n, pair in enumerate(words)]
    reports = await asyncio.gather(*(rig.call(scenario) for scenario in scenarios))
    calls = {call.call_sid: call for call in await rig.rows()}
    for report, (question, answer) in zip(reports, words, strict=True):
        assert report.ok, report
        spoken = await rig.spoken(calls[report.call_sid])
        assert spoken == [("assistant", GREETING), ("user", question), ("assistant", answer)]


async def test_audio_is_recorded_only_with_permission_and_a_mutant_shows(rig: Rig) -> None:
    await in_database(lambda: CallPolicy.objects.update(record_replay_audio=True))
    await in_database(lambda: factories.make_wording(rig.number.policy, text=LINE,
                                                     audio_mulaw=encode(LINE)))  # fmt: skip
    report = await rig.call(_short("one", "Do you hear me?", "Yes, I do."))
    assert report.ok, report
    assert report.heard[0] == LINE
    call = await rig.only_call()
    assert call.policy_played_at is not None
    await _assert_replays(call)
    record = await in_database(record_text, str(call.pk), 1)
    frame = encode("Do you hear me?")[160 * 5 : 160 * 6]
    position = record.find('"event":"media"')
    assert position > 0
    start = record.index('"payload":"', position) + len('"payload":"')
    changed = record[:start] + ("A" if record[start] != "A" else "B") + record[start + 1 :]
    assert frame
    await in_database(_store_record, call, changed)
    code, out = await _replay_command(call)
    assert code == 1
    assert "DIFFERENT" in out
    assert "---" in out


def _store_record(call: Call, record: str) -> None:
    CallInputChunk.objects.filter(call=call).delete()
    batch_store(call_id=str(call.pk), stream_number=1, turns=[], tools=[], policy=None,
                pieces=[(0, record)])  # fmt: skip


async def test_the_policy_line_is_never_said_twice_over_streams(rig: Rig) -> None:
    wording = await in_database(
        lambda: factories.make_wording(rig.number.policy, text=LINE, audio_mulaw=encode(LINE))
    )
    scenario = _short("two", "Are you there?", "Yes, still here.")

    def leave_once(event: dict[str, Any]) -> None:
        if event["kind"] == "heard" and event["text"] == GREETING and not left:
            left.append(True)
            live.end_all_now()

    left: list[bool] = []
    report = await rig.call(scenario, listener=leave_once)
    live._process._ending = False
    assert left
    assert report.streams == 2
    assert report.heard.count(LINE) == 1
    assert report.heard.count(GREETING) == 1
    call = await rig.only_call()
    assert call.policy_wording_id == wording.pk
    assert call.stream_count == 2
    assert call.ended_reason == "customer-ended-call"
    assert [turn for turn in await rig.spoken(call) if turn[1] != LINE][0] == HELLO[0]
    await _assert_replays(call)


async def test_o19_with_a_wrong_key_the_caller_hears_an_apology_and_not_a_dead_line(
    rig: Rig,
) -> None:
    connection = rig.number.connection
    assert connection is not None
    connection.api_key = "sk-invalid"
    await in_database(connection.save)
    report = await rig.call()
    spoken = [event["text"] for event in report.events if event["kind"] == "say"]
    assert spoken == [sentence("unreachable", "en")[0]]
    assert report.streams == 1
    call = await rig.only_call()
    assert (call.status, call.ended_reason) == ("ended", EndCause.MODEL_KEY.ended_reason)
    await _assert_replays(call)


@pytest.mark.parametrize(
    ("media", "open_after"),
    [({"close_without_stop": True}, True), ({"stop_twice": True}, False),
     ({"duplicate_start": True}, False), ({"reordered_keys": True}, False)],
    ids=["t22-no-stop", "stop-twice", "start-twice", "other-json"],
)  # fmt: skip
async def test_t22_what_the_carrier_does_to_a_stream_ends_the_call_once(
    rig: Rig, media: dict[str, Any], open_after: bool
) -> None:
    report = await rig.call(_short("odd", "Are you there?", "Yes, I am.", **media))
    assert report.failures == []
    call = await rig.only_call()
    # Without a stop only the status callback knows that the caller is gone.
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    reasons = [each["ended"] for each in call.metrics["streams"]]
    lost = "phone-call-provider-closed-websocket"
    assert reasons == ([lost] if open_after else ["customer-ended-call"])
    await _assert_replays(call)


async def test_t18a_the_first_words_are_not_lost_while_the_model_connects(
    transactional_db: None,
) -> None:
    from calls.standins.realtime_profile import RealtimeProfile

    async with running_rig(RealtimeProfile(created_delay_ms=900)) as rig:
        await in_database(
            lambda: factories.make_revision(
                rig.number.assistant,
                first_message="",
                first_message_mode="assistant-waits-for-user",
            )
        )
        scenario = parse_scenario(
            {
                "name": "early",
                "caller": [{"say": "Good day", "after": {"ms": 0}}, {"hang_up": {"heard": "Hi"}}],
                "brain": {"rules": [{"when": "Good day", "say": "Hi there."}]},
            }
        )
        report = await rig.call(scenario)
        assert report.heard == ["Hi there."]
        assert [heard.text for heard in rig.model_sessions[0].heard] == ["Good day"]
        assert all(heard.complete for heard in rig.model_sessions[0].heard)


async def test_t16_the_agent_ends_the_call_by_rest_after_its_goodbye(rig: Rig) -> None:
    tool = await in_database(
        lambda: factories.make_tool(type="endCall", name="endCall", parameters={})
    )
    await in_database(
        lambda: factories.make_revision(rig.number.assistant, tools=[tool], first_message=GREETING)
    )
    scenario = parse_scenario(
        {
            "name": "bye",
            "caller": [{"say": "Goodbye now", "after": "greeting"},
                       {"hang_up": {"silence_ms": 8000}}],
            "brain": {"rules": [{"when": "Goodbye now", "say": "Goodbye, take care.",
                                 "tool": {"name": "endCall", "arguments": {}}}]},
        }
    )  # fmt: skip
    report = await rig.call(scenario)
    assert report.ended_by == "rest", report
    assert report.heard[-1] == "Goodbye, take care."
    call = await rig.only_call()
    assert call.ended_reason.startswith("assistant-ended-call")
    assert call.next_step == {"kind": "hangup"}
    await _assert_replays(call)


async def test_barge_in_is_stored_as_heard_and_replays(rig: Rig) -> None:
    report = await rig.call(load_scenario("barge_in"))
    assert report.ok, report
    call = await rig.only_call()
    await _assert_replays(call)
    assert ("assistant", "A cleaning costs eighty dollars.") in await rig.spoken(call)


def test_replay_call_names_what_is_wrong(transactional_db: None) -> None:
    call = factories.make_call()
    with pytest.raises(CommandError, match="no recorded inputs") as error:
        call_command("replay_call", str(call.pk))
    assert error.value.returncode == 1
    with pytest.raises(CommandError, match="there is no call") as error:
        call_command("replay_call", "00000000-0000-4000-8000-000000000000")
    assert error.value.returncode == 1
    for damaged in ("nonsense", 'P 0 9\n{"x": 1}}\n', "T 0 2\n{}\n", ""):
        _store_record(call, damaged + " ")
        with pytest.raises(CommandError) as error:
            call_command("replay_call", str(call.pk))
        assert error.value.returncode == 1
    with pytest.raises(CommandError) as error:
        call_command("replay_call", "not-a-uuid")
