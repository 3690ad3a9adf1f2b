"""The vendors' sequences of tests/fixtures/wire, fed to a bridge line by line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from calls.bridge.effects import DispatchTools, HangUp, StreamEnded
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.states import Realtime
from tests.contract import check_realtime_client, check_twilio_outbound
from tests.unit.bridge.line import FIXTURES, Line, quiet_plan, script

pytestmark = pytest.mark.unit

NAMES = sorted(
    path.relative_to(FIXTURES).with_suffix("").as_posix() for path in FIXTURES.rglob("*.jsonl")
)


def play(name: str, plan: CallPlan) -> tuple[CallBridge, list[dict[str, Any]], list[Any]]:
    """Feed one file to a bridge whose other side is up; return it, what it sent, its effects."""
    line = Line(plan)
    bridge, lines = line.bridge, script(name)
    started = any(each["message"].get("event") == "start" for each in lines)
    kinds = {each["message"].get("type") for each in lines}
    if not started:
        line.streaming()
    if "session.created" not in kinds:
        line.dialled()
    else:
        bridge.realtime_opened(0)
    if "session.updated" not in kinds and name.startswith(("twilio", "realtime")):
        ready = "configuration_refused" not in name and "session_expired" not in name
        if ready and "session.created" not in kinds:
            line.updated()
    for each in lines:
        text = json.dumps(each["message"])
        if each["from"] == "twilio":
            bridge.receive_twilio(text, each["at_ms"])
        elif each["from"] == "realtime":
            bridge.receive_realtime(text, each["at_ms"])
    sent = [json.loads(text) for text in bridge.to_twilio]
    for message in sent:
        check_twilio_outbound(message)
    events = [json.loads(text) for text in bridge.to_realtime]
    for event in events:
        check_realtime_client(event)
    return bridge, [*sent, *events], list(bridge.effects)


def plan_for(name: str) -> CallPlan:
    """Return a plan for the call of a file, with the tools it names."""
    starts = [each["message"]["start"] for each in script(name) if "start" in each["message"]]
    tools = {
        each["message"]["item"]["name"]
        for each in script(name)
        if each["message"].get("item", {}).get("type") == "function_call"
    }
    sids = (
        {"call_sid": starts[0]["callSid"], "account_sid": starts[0]["accountSid"]} if starts else {}
    )
    return quiet_plan(*sorted(tools), **sids)


@pytest.mark.parametrize("name", NAMES)
def test_no_recorded_sequence_is_a_protocol_error(name: str) -> None:
    bridge, _, _ = play(name, plan_for(name))
    assert "twilio_malformed" not in bridge.counters
    assert "realtime_malformed" not in bridge.counters


def kinds_of(sent: list[dict[str, Any]], *kinds: str) -> list[str]:
    """Return the kinds sent, among those named, in order."""
    found = [each.get("type") or each["event"] for each in sent]
    return [kind for kind in found if kind in kinds]


def test_barge_in_while_generating_truncates_and_leaves_the_cancel_to_the_server() -> None:
    name = "realtime/barge_in_while_generating"
    _, sent, _ = play(name, plan_for(name))
    assert kinds_of(sent, "clear", "conversation.item.truncate", "response.cancel") == [
        "clear", "conversation.item.truncate",
    ]  # fmt: skip


def test_barge_in_after_done_truncates_without_a_cancel() -> None:
    name = "realtime/barge_in_after_done"
    _, sent, _ = play(name, plan_for(name))
    assert kinds_of(sent, "clear", "conversation.item.truncate", "response.cancel") == [
        "clear", "conversation.item.truncate",
    ]  # fmt: skip


def test_o29_one_dispatch_for_one_call() -> None:
    _, _, effects = play("realtime/tool_call", plan_for("realtime/tool_call"))
    assert sum(len(e.calls) for e in effects if isinstance(e, DispatchTools)) == 1


def test_two_calls_are_dispatched_once_each() -> None:
    name = "realtime/two_tool_calls_one_create"
    _, _, effects = play(name, plan_for(name))
    assert sum(len(e.calls) for e in effects if isinstance(e, DispatchTools)) == 2


def test_a_cancelled_tool_call_is_never_dispatched() -> None:
    name = "realtime/cancelled_tool_call"
    _, _, effects = play(name, plan_for(name))
    assert not [e for e in effects if isinstance(e, DispatchTools)]


def test_a_refused_configuration_ends_the_call() -> None:
    name = "realtime/configuration_refused"
    bridge, _, _ = play(name, plan_for(name))
    assert bridge._ending is None or bridge._ending.cause is EndCause.CONFIG_REJECTED
    assert bridge._failed


def test_harmless_errors_harm_nothing() -> None:
    name = "realtime/harmless_errors"
    bridge, _, effects = play(name, plan_for(name))
    assert bridge.realtime.now is Realtime.READY
    assert not [e for e in effects if isinstance(e, HangUp)]


def test_t10_recorded_echoes_after_clear_are_stale() -> None:
    """The recorded marks belong to another ledger: none of them may count here."""
    name = "twilio/clear_echoes_marks"
    bridge, _, _ = play(name, plan_for(name))
    assert bridge.playback is not None
    marks = [each for each in script(name) if each["message"].get("event") == "mark"]
    echoes = [each for each in marks if each["from"] == "twilio"]
    assert bridge.playback.stale_marks == len(echoes)


@pytest.mark.parametrize(
    ("name", "lost_ms"), [("twilio/chunk_sizes", 0), ("twilio/caller_turn_with_gap", 120)]
)
def test_t21_any_chunk_size_is_forwarded_whole_with_silence_for_what_was_lost(
    name: str, lost_ms: int
) -> None:
    bridge, sent, _ = play(name, plan_for(name))
    appended = [e["audio"] for e in sent if e.get("type") == "input_audio_buffer.append"]
    frames = [e for e in script(name) if e["from"] == "twilio" and e["message"]["event"] == "media"]
    came = [each["message"]["media"]["payload"] for each in frames]
    padding = [each for each in appended if each not in came]
    assert b"".join(map(base64.b64decode, padding)) == b"\xff" * (8 * lost_ms)
    assert [each for each in appended if each not in padding] == came
    assert bridge.counters.get("padded_bytes", 0) == 8 * lost_ms


def test_t36_keys_are_counted_and_their_tones_pass() -> None:
    bridge, _, _ = play("twilio/dtmf", plan_for("twilio/dtmf"))
    assert bridge.counters["dtmf"] == 2


def test_hang_up_while_playing_ends_once() -> None:
    name = "twilio/hang_up_while_playing"
    _, _, effects = play(name, plan_for(name))
    ends = [effect for effect in effects if isinstance(effect, StreamEnded)]
    assert [(end.ended_reason, end.call_over) for end in ends] == [("customer-ended-call", True)]
