"""Example turns of an assistant's document: in the conversation before the greeting, heard by none;
and the session settings that a plan carries, in every dialect and in records of earlier versions.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from calls.bridge.plan import CallPlan, Greeting, HistoryItem
from calls.standins.caller import hang_up, say
from calls.wire.realtime import SessionConfig, TurnDetection
from tests.sound_call import assert_sound
from tests.virtual_call import VirtualCall, clip, plan_of

pytestmark = pytest.mark.unit

EXAMPLES = (HistoryItem("user", "Do you open on Sunday?"), HistoryItem("assistant", "We do not."))
# Keys that recordings from before these settings do not have.
NEW = {
    *("speed", "transcription_prompt", "keywords", "languages", "max_output_tokens"),
    *("reasoning_effort", "temperature"),
}


def items(call: VirtualCall) -> list[tuple[str, str]]:
    found = [event["item"] for event in call.sent("conversation.item.create")]
    return [(item["role"], item["content"][0]["text"]) for item in found]


def order(call: VirtualCall) -> list[str]:
    kinds = ("session.update", "conversation.item.create", "response.create")
    return [event["type"] for event in call.part.sent_realtime if event["type"] in kinds]


def test_examples_come_after_the_configuration_and_before_the_greeting() -> None:
    plan = plan_of(greeting=Greeting("exact", "Good morning."), examples=EXAMPLES)
    call = VirtualCall(plan, [say("Hello?"), hang_up()]).run()
    assert items(call)[:2] == [(item.role, item.text) for item in EXAMPLES]
    assert order(call)[:4] == [
        "session.update",
        *["conversation.item.create"] * 2,
        "response.create",
    ]
    assert call.caller.heard_texts[0] == "Good morning."
    assert "We do not." not in [*call.caller.heard_texts, *(turn.text for turn in call.turns)]


def test_a_resumed_conversation_begins_with_them_too() -> None:
    plan = plan_of(
        examples=EXAMPLES,
        resumed=True,
        history=(HistoryItem("user", "I am Ada."),),
        policy_line=clip("Recorded."),
    )
    call = VirtualCall(plan, [say("Are you there?"), hang_up()]).run()
    assert [text for _, text in items(call)] == [
        *(item.text for item in EXAMPLES),
        *("Recorded.", "I am Ada."),
    ]


def test_a_call_with_semantic_turns_answers_the_caller() -> None:
    base = plan_of(greeting=Greeting("exact", "Good morning."))
    turns = TurnDetection(kind="semantic_vad")
    plan = replace(base, session=replace(base.session, turn_detection=turns))
    script = [say("Hello there."), hang_up(wait="heard", pattern=re.compile("said"))]
    call = VirtualCall(plan, script).run()
    assert_sound(call)
    assert len(call.caller.heard_texts) == 2
    assert call.part.bridge.latencies_ms


def test_a_record_of_an_earlier_version_is_still_read() -> None:
    session = SessionConfig(keywords=("a",), languages=("de",), speed=1.2, temperature=0.5)
    plan = replace(plan_of(examples=EXAMPLES), session=session)
    value = json.loads(json.dumps(plan.to_json()))
    assert CallPlan.from_json(value) == plan
    del value["examples"]
    value["session"] = {key: child for key, child in value["session"].items() if key not in NEW}
    for key in ("kind", "eagerness"):
        del value["session"]["turn_detection"][key]
    assert CallPlan.from_json(value) == replace(plan, session=SessionConfig(), examples=())
