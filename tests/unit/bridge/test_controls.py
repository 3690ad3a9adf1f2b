"""What a person does to a call that goes on: each command's way through the machine."""

from __future__ import annotations

import json

import pytest

from calls.bridge.effects import CloseStream, HangUp, RecordTurn
from calls.bridge.plan import Greeting, Idle
from calls.bridge.reasons import EndCause
from calls.wire.vapi_control import Control
from tests.unit.bridge.line import Line, assert_sent, mulaw, quiet_plan

pytestmark = pytest.mark.unit


def ready(**fields: object) -> Line:
    """Return a line on which nobody has said anything."""
    return Line(quiet_plan(**fields)).ready()


def give(line: Line, kind: str, text: str = "", **fields: object) -> str:
    """Give the bridge a command."""
    control = Control(kind, text, **fields)  # type: ignore[arg-type]
    return line.bridge.receive_control(control, line.now_ms)


def requests(line: Line) -> list[str]:
    """Return the instructions of the responses that were asked for."""
    events = [json.loads(text) for text in line.bridge.to_realtime]
    return [
        event["response"].get("instructions", "")
        for event in events
        if event["type"] == "response.create"
    ]


def test_say_is_asked_for_word_for_word_and_in_its_turn() -> None:
    line = ready()
    assert give(line, "say", "We close at five.") == ""
    (words,) = requests(line)
    assert '"We close at five."' in words
    line.look()
    line.created().audio(500)
    assert give(line, "say", "And open at nine.") == ""
    assert_sent(line, realtime=[])
    line.audio_done().done()
    assert "open at nine" in requests(line)[0]


def test_say_instead_of_what_is_being_said_cuts_that() -> None:
    line = ready()
    line.created().audio(800)
    line.look()
    line.after(300)
    assert give(line, "say", "Listen.", interrupts=True) == ""
    twilio, realtime, _ = line.look()
    assert twilio == ["clear"]
    assert realtime[:2] == ["cancel r1", "truncate a1 300"]
    line.done(status="cancelled")
    assert "Listen." in requests(line)[0]


@pytest.mark.parametrize("interruptible", [True, False])
def test_the_caller_cuts_what_is_said_only_where_that_is_allowed(interruptible: bool) -> None:
    line = ready()
    give(line, "say", "Important.", interruptible=interruptible)
    line.created().audio(800)
    line.look()
    line.after(200).speech("started")
    assert line.look()[0] == (["clear"] if interruptible else [])


def test_say_and_end_hangs_up_when_it_has_been_heard() -> None:
    line = ready()
    give(line, "say", "Goodbye then.", ends_call=True)
    line.created().audio(300).audio_done().done()
    assert line.effects(HangUp) == []
    line.after(300).mark("g1:1")
    assert line.effects(HangUp) == [HangUp(EndCause.ASSISTANT_SAID_GOODBYE.ended_reason)]


def test_end_call_hangs_up_at_once_and_everything_later_is_refused() -> None:
    line = ready()
    line.created().audio(800)
    assert give(line, "end-call") == ""
    assert line.effects(HangUp) == [HangUp(EndCause.OPERATOR_ENDED.ended_reason)]
    assert give(line, "say", "Too late.") == "The call is ending."
    assert line.bridge.counters["controls_refused"] == 1


def test_a_transfer_is_announced_heard_and_dialled() -> None:
    line = ready()
    assert give(line, "transfer", "Hold the line.", dial_to="+14155550123") == ""
    assert "Hold the line." in requests(line)[0]
    line.created().audio(300).audio_done().done()
    assert line.effects(CloseStream) == []
    line.after(300).mark("g1:1")
    assert line.effects(CloseStream) == [CloseStream("dial", 1000, "+14155550123")]
    again = ready()
    give(again, "transfer", "Hold the line.", dial_to="+14155550123")
    assert "handed to somebody" in give(again, "say", "Hello?")


def test_a_transfer_without_words_goes_at_once() -> None:
    line = ready()
    give(line, "transfer", dial_to="sip:desk@pbx.example.com")
    assert line.effects(CloseStream) == [CloseStream("dial", 1000, "sip:desk@pbx.example.com")]


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_message_is_told_kept_and_told_again_to_the_next_session(role: str) -> None:
    line = ready()
    assert give(line, "add-message", "The order is late.", role=role, answers=False) == ""
    told = [json.loads(text) for text in line.bridge.to_realtime]
    assert [(each["type"], each["item"]["role"]) for each in told] == [
        ("conversation.item.create", role)
    ]
    turns = [each for each in line.effects(RecordTurn) if isinstance(each, RecordTurn)]
    assert [(each.role, each.text) for each in turns][-1] == (role, "The order is late.")
    assert turns[-1].ended_ms is not None
    line.lost().back()
    texts = [text for text in line.bridge.to_realtime if "The order is late." in text]
    assert len(texts) == 1


def test_a_message_is_answered_where_that_is_asked_for() -> None:
    line = ready()
    give(line, "add-message", "Tell the caller the price.")
    assert_sent(line, realtime=["seed system", "create turn"])


def test_a_message_waits_for_the_model() -> None:
    line = Line(quiet_plan()).streaming()
    assert give(line, "add-message", "Be quick.", answers=False) == ""
    assert not any("Be quick." in text for text in line.bridge.to_realtime)
    line.dialled().updated()
    assert any("Be quick." in text for text in line.bridge.to_realtime)


def test_a_muted_caller_is_heard_as_silence_of_the_same_length() -> None:
    line = ready()
    line.frame()
    heard = json.loads(line.bridge.to_realtime[-1])["audio"]
    assert heard == mulaw(20)
    give(line, "mute-customer")
    line.frame(40)
    silent = json.loads(line.bridge.to_realtime[-1])["audio"]
    assert len(silent) == len(mulaw(40)) and set(silent.rstrip("=")) <= {"/", "8", "w", "g"}
    give(line, "unmute-customer")
    line.frame()
    assert json.loads(line.bridge.to_realtime[-1])["audio"] == mulaw(20)


def test_a_muted_assistant_is_cut_says_nothing_and_answers_when_it_may() -> None:
    line = ready(idle=Idle(messages=("Still there?",), wait_ms=5_000, silence_ms=10_000))
    line.created().audio(800)
    line.look()
    line.after(100)
    assert give(line, "mute-assistant") == ""
    twilio, realtime, _ = line.look()
    assert twilio == ["clear"] and realtime == ["cancel r1", "truncate a1 100"]
    line.done(status="cancelled").turn().created("r2")
    assert_sent(line, realtime=["cancel r2"])
    line.audio(400, "a2", "r2").done("r2", status="cancelled")
    assert_sent(line, twilio=[], realtime=[])
    # Nobody waits for it: no filler, no idle message, no end.
    line.tick(5_000).tick(15_000)
    assert_sent(line, twilio=[], realtime=[])
    give(line, "unmute-assistant")
    assert_sent(line, realtime=["create turn"])


def test_a_person_speaks_through_a_muted_assistant() -> None:
    line = ready()
    give(line, "mute-assistant")
    give(line, "add-message", "Think about it.")
    line.look()
    assert give(line, "say", "This is Kim, I take over.") == ""
    assert "This is Kim" in requests(line)[0]
    line.look()
    line.says(300)
    assert line.look()[0][0] == "media 300"
    assert requests(line) == []  # the answer to the message still waits
    give(line, "unmute-assistant")
    assert len(requests(line)) == 1


def test_an_assistant_muted_before_its_first_word_does_not_keep_the_caller_unheard() -> None:
    line = Line(quiet_plan(greeting=Greeting("generated", interruptible=True)))
    line.streaming()
    give(line, "mute-assistant")
    line.dialled().updated()
    assert line.look()[1][-1] == "create greeting"
    line.created()
    assert_sent(line, realtime=["cancel r1"])
    line.done(status="cancelled")
    line.look()
    line.frame()
    assert json.loads(line.bridge.to_realtime[-1])["audio"] == mulaw(20)


def test_the_first_message_is_said_again_where_it_has_fixed_words() -> None:
    assert "no first message" in give(ready(), "say-first-message")
    line = ready(greeting=Greeting("exact", "Good morning.", interruptible=True))
    line.created().audio(100).audio_done().done()
    line.look()
    assert give(line, "say-first-message") == ""
    assert "Good morning." in requests(line)[0]


def test_a_call_that_cannot_go_on_takes_no_command_but_the_end() -> None:
    line = ready()
    line.realtime("error", error={"type": "x", "code": "invalid_api_key", "event_id": None})
    assert "is ending" in give(line, "say", "Hello?")
    assert give(line, "end-call") == ""
