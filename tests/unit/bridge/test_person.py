"""A person, always: the operator's key, a refused policy line, emergency words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import CloseStream, EmergencyHeard, HangUp, PolicyRefused, StreamEnded
from calls.bridge.person import ALONE_AFTER_MS, ALONE_BEFORE_MS, REFUSAL_MS, LoneKey
from calls.bridge.person_plan import PersonPlan
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from tests.unit.bridge.line import Line, quiet_plan
from tests.virtual_call import STREAM_SID, clip

pytestmark = pytest.mark.unit

OPERATOR = CloseStream("operator")
NOTICE = "Dial the emergency number now."


def plan(**person: Any) -> CallPlan:
    """Return a quiet plan with a person behind key 0."""
    return replace(
        quiet_plan(), person=PersonPlan(**{"reachable": True, "operator_key": "0", **person})
    )


def press(line: Line, *digits: str, gap_ms: int = 0) -> Line:
    """Press keys, so many ms apart."""
    for digit in digits:
        body = {"track": "inbound_track", "digit": digit}
        line.twilio({"event": "dtmf", "streamSid": STREAM_SID, "dtmf": body}).after(gap_ms)
    return line


def says(line: Line, text: str, item_id: str = "u1") -> Line:
    """The caller's final transcript."""
    line.turn(item_id)
    return line.realtime(
        "conversation.item.input_audio_transcription.completed", item_id=item_id, transcript=text
    )


# ---- the key ---------------------------------------------------------------------------------


def test_t36_the_key_pressed_alone_ends_the_stream_for_a_person() -> None:
    line = press(Line(plan()).ready(), "0")
    assert line.bridge.next_deadline_ms() == ALONE_AFTER_MS
    assert line.tick(ALONE_AFTER_MS - 1).effects(CloseStream) == []
    assert line.tick(1).effects(CloseStream, HangUp) == [OPERATOR]
    line.bridge.twilio_closed(line.now_ms)
    (ended,) = line.effects(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert (ended.call_over, ended.ended_reason) == (False, EndCause.TRANSFERRED.ended_reason)
    assert ended.metrics["notes"]["person"] == "key"


def test_a_key_inside_a_number_is_part_of_the_number() -> None:
    for digits in ("1002", "0171", "5550", "00492"):
        line = press(Line(plan()).ready(), *digits, gap_ms=400)
        assert line.tick(ALONE_AFTER_MS).effects(CloseStream) == [], digits
    later = press(Line(plan()).ready(), "7").after(ALONE_BEFORE_MS)
    assert press(later, "0").tick(ALONE_AFTER_MS).effects(CloseStream) == [OPERATOR]


def test_whoever_presses_it_again_and_again_does_not_wait() -> None:
    line = press(Line(plan()).ready(), "0", "0", "0", gap_ms=100)
    assert line.effects(CloseStream) == [OPERATOR]


def test_another_key_is_the_key_when_the_desk_says_so() -> None:
    line = press(Line(plan(operator_key="#")).ready(), "0").tick(ALONE_BEFORE_MS)
    assert line.effects(CloseStream) == []
    assert press(line, "#").tick(ALONE_AFTER_MS).effects(CloseStream) == [OPERATOR]


def test_without_a_desk_no_key_does_anything() -> None:
    line = press(Line(quiet_plan()).ready(), "0", "0", "0").tick(ALONE_AFTER_MS)
    assert line.effects(CloseStream) == []


def test_the_key_works_before_the_model_is_there_and_while_it_is_dialled() -> None:
    line = press(Line(plan()).streaming(), "0").tick(ALONE_AFTER_MS)
    assert line.effects(CloseStream) == [OPERATOR]


@pytest.mark.parametrize("code", [1006, 1011, 401, 503])
def test_the_key_works_when_the_models_socket_has_been_cut(code: int) -> None:
    line = Line(plan()).ready()
    line.bridge.realtime_closed(code, line.now_ms)
    line.look()
    press(line, "0").tick(ALONE_AFTER_MS)
    assert line.effects(CloseStream) == [OPERATOR]


def test_the_key_cuts_an_apology_short() -> None:
    line = Line(replace(plan(), apology=clip("Sorry."))).ready()
    line.error("insufficient_quota")
    line.look()
    assert press(line, "0", "0", "0").effects(CloseStream) == [OPERATOR]


def test_the_key_works_under_the_policy_line_which_it_does_not_interrupt_for_the_model() -> None:
    line = Line(replace(plan(), policy_line=clip("This is an assistant."))).streaming()
    assert press(line, "0").tick(ALONE_AFTER_MS).effects(CloseStream) == [OPERATOR]


@pytest.mark.parametrize("body", [None, {}, {"digit": ""}, {"digit": 0}, {"digit": "00"}])
def test_a_key_that_is_none_is_counted_and_harms_nobody(body: Any) -> None:
    line = Line(plan()).ready()
    line.twilio(json.dumps({"event": "dtmf", "streamSid": STREAM_SID, "dtmf": body}))
    assert line.bridge.counters["twilio_malformed"] == 1
    assert line.tick(ALONE_AFTER_MS).effects(CloseStream) == []


def test_nothing_happens_twice() -> None:
    line = press(Line(plan()).ready(), "0", "0", "0", "0", "0", "0")
    assert line.tick(ALONE_AFTER_MS).effects(CloseStream) == [OPERATOR]


def test_a_lone_key_forgets_a_number_after_a_while() -> None:
    key = LoneKey("0")
    assert key.press("5", 0) == ""
    assert key.press("0", ALONE_BEFORE_MS - 1) == ""
    assert key.deadline_ms() is None
    assert key.press("0", 2 * ALONE_BEFORE_MS) == ""
    assert key.due(2 * ALONE_BEFORE_MS + ALONE_AFTER_MS) == "0"
    assert key.due(9 * ALONE_BEFORE_MS) == ""


# ---- giving the model up ---------------------------------------------------------------------


def test_with_a_person_the_model_that_is_given_up_is_no_end() -> None:
    line = Line(replace(plan(), apology=clip("Sorry."))).ready()
    line.error("insufficient_quota")
    for _ in range(3):
        line.tick(10_000)
    closes = line.effects(CloseStream, HangUp)
    assert closes == [CloseStream("apologise")]


# ---- a refused policy line -------------------------------------------------------------------

REFUSAL: dict[str, Any] = {"refusal_key": "9", "refusal_words": ("don't record", "no recording")}


@pytest.mark.parametrize(
    ("on_refusal", "closes"),
    [("human", [OPERATOR]), ("end", [CloseStream("message")]), ("unrecorded", [])],
)
def test_a_refusal_does_what_the_policy_says(on_refusal: str, closes: list[CloseStream]) -> None:
    line = Line(plan(on_refusal=on_refusal, **REFUSAL)).ready()
    says(line, "Please DON\u2019T record this, okay?")
    effects = line.effects(CloseStream, PolicyRefused)
    assert effects == [PolicyRefused(at_ms=0), *closes]
    says(line, "I said no recording!", "u2")
    assert line.effects(CloseStream, PolicyRefused) == []


def test_the_key_of_refusal_counts_at_the_beginning_only() -> None:
    fields = {"on_refusal": "end", **REFUSAL}
    line = press(Line(plan(**fields)).ready(), "9").tick(ALONE_AFTER_MS)
    assert line.effects(CloseStream) == [CloseStream("message")]
    late = Line(plan(**fields)).ready().tick().tick(REFUSAL_MS)
    assert press(late, "9").tick(ALONE_AFTER_MS).effects(CloseStream, PolicyRefused) == []


def test_other_words_are_no_refusal() -> None:
    line = says(Line(plan(on_refusal="end", **REFUSAL)).ready(), "Do you record classical music?")
    assert line.effects(CloseStream, PolicyRefused) == []


# ---- emergency -------------------------------------------------------------------------------

EMERGENCY: dict[str, Any] = {"emergency_words": ("chest pain", "ambulance")}


def test_an_emergency_word_transfers_where_the_policy_says_so() -> None:
    line = Line(plan(on_emergency="transfer", **EMERGENCY)).ready()
    says(line, "I have chest pain.")
    assert line.effects(CloseStream, EmergencyHeard) == [EmergencyHeard(at_ms=0), OPERATOR]


def test_an_emergency_word_says_the_notice_once_and_the_call_goes_on() -> None:
    fields = {"on_emergency": "notice", "emergency_notice": NOTICE}
    line = Line(plan(**fields, **EMERGENCY)).ready()
    line.created().audio(2_000)
    line.after(300).look()
    line.realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id="u1",
        transcript="Call an ambulance!",
    )
    sent = [json.loads(text) for text in line.bridge.to_realtime]
    kinds = [each["type"] for each in sent]
    assert kinds[0] == "response.cancel"
    assert '"event":"clear"' in "".join(line.bridge.to_twilio)
    assert line.effects(EmergencyHeard, CloseStream) == [EmergencyHeard(at_ms=300)]
    line.done(status="cancelled")
    (asked,) = [json.loads(t) for t in line.bridge.to_realtime if "response.create" in t]
    assert NOTICE in asked["response"]["instructions"]
    assert asked["response"]["metadata"]["purpose"] == "notice"
    line.says(500, "a2", "r2")
    line.look()
    says(line, "An ambulance, I said.", "u2")
    assert line.effects(EmergencyHeard, CloseStream) == []


def test_nothing_is_done_where_the_policy_says_nothing() -> None:
    line = says(Line(plan(on_emergency="nothing", **EMERGENCY)).ready(), "ambulance")
    assert line.effects(EmergencyHeard, CloseStream) == []


def test_the_plan_survives_its_record() -> None:
    before = plan(on_emergency="transfer", **EMERGENCY, **REFUSAL)
    assert CallPlan.from_json(json.loads(json.dumps(before.to_json()))) == before
    old = before.to_json()
    del old["person"]
    assert CallPlan.from_json(json.loads(json.dumps(old))).person == PersonPlan()
