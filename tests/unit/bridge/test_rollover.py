"""A session of the model is replaced before its hour is over, in a moment in which nobody speaks
(openai_realtime.md 1.4, 7.4 item 6; trap O18).
"""

from __future__ import annotations

import json

import pytest

from calls.bridge.effects import CloseModel, CloseStream, DialModel, Effect, HangUp, RecordTurn
from calls.bridge.plan import Limits, Watchdog
from tests.unit.bridge.line import Line, quiet_plan

pytestmark = pytest.mark.unit

MINUTE_MS = 60_000
PLAN = quiet_plan(
    "look",
    limits=Limits(max_duration_ms=10 * 60 * MINUTE_MS),
    watchdog=Watchdog(caller_audio_ms=10 * 60 * MINUTE_MS),
)


def answer(line: Line, number: int) -> None:
    """The caller says something, the model answers, the caller hears it."""
    line.turn(f"u{number}").realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id=f"u{number}",
        transcript=f"Question {number}.",
    )
    line.created(f"r{number}").text(f"Answer {number}.", f"a{number}", f"r{number}")
    line.audio(200, f"a{number}", f"r{number}").audio_done(f"a{number}", f"r{number}")
    line.done(f"r{number}").after(300)
    for mark in [json.loads(t) for t in line.bridge.to_twilio if '"mark"' in t]:
        line.mark(mark["mark"]["name"])


def due() -> Line:
    """Return a line whose session is 55 minutes old and whose next one has been dialled."""
    line = Line(PLAN).ready()
    answer(line, 1)
    line.look()
    line.now_ms = 55 * MINUTE_MS - 1
    assert line.tick().effects(DialModel) == []
    line.tick(1)
    (dial,) = line.effects(DialModel)
    assert isinstance(dial, DialModel)
    assert dial.session == 2
    return line


def ready(line: Line, session: int = 2) -> Line:
    """The next session is open and configured."""
    line.bridge.realtime_opened(line.now_ms, config_sent=True, session=session)
    shape = {"format": {"type": "audio/pcmu"}}
    for event in (
        {"type": "session.created", "session": {}},
        {"type": "session.updated", "session": {"audio": {"input": shape, "output": shape}}},
    ):
        line.bridge.receive_realtime(json.dumps(event), line.now_ms, session=session)
    return line


def test_a_quiet_moment_lets_the_next_session_take_over_at_once() -> None:
    line = ready(due().frame())
    _, realtime, effects = line.look()
    # Nothing is said, nobody is greeted; the last second of the caller may begin a turn.
    assert realtime == ["seed user", "seed assistant", "append 20"]
    assert effects == [CloseModel(1)]
    assert line.bridge.session == 2
    line.frame()
    assert line.look()[1] == ["append 20"]


def test_the_old_session_goes_on_until_then_and_loses_no_turn() -> None:
    line = due()
    line.bridge.receive_realtime(
        '{"type":"input_audio_buffer.speech_started","item_id":"u2"}', line.now_ms, session=1
    )
    ready(line)
    assert line.effects(CloseModel) == []
    line.frame()
    assert line.look()[1] == ["append 20"]  # to the old one: it hears the whole turn
    assert line.bridge.session == 1
    for kind in ("speech_stopped", "committed"):
        line.bridge.receive_realtime(
            json.dumps({"type": f"input_audio_buffer.{kind}", "item_id": "u2"}),
            line.now_ms,
            session=1,
        )
    assert line.effects(CloseModel) == []  # its words are not known yet, and it owes an answer


@pytest.mark.parametrize("what", ["response", "tool", "playing", "unread"])
def test_what_is_under_way_keeps_the_old_session(what: str) -> None:
    line = due()
    if what == "unread":
        line.turn("u2").created("r2").done("r2")
    else:
        line.created("r2")
    if what == "tool":
        line.calls("look", "c1", "r2").done("r2")
    elif what == "playing":
        line.audio(500, "a2", "r2").audio_done("a2", "r2").done("r2")
    ready(line)
    assert line.effects(CloseModel) == []
    assert line.bridge.session == 1


def test_the_hour_is_never_reached_and_what_was_cut_is_gone_on_with() -> None:
    line = due()
    line.created("r2").text("A very long story.", "a2", "r2").audio(2_000, "a2", "r2")
    ready(line)
    line.look()
    line.now_ms = 59 * MINUTE_MS - 1
    for _ in range(300):  # it speaks and speaks
        line.audio(1_000, "a2", "r2")
    line.look()
    line.tick(1)
    _, realtime, effects = line.look()
    assert CloseModel(1) in effects
    assert realtime[-1] == "create turn"
    assert line.bridge.counters["rollovers"] == 1


def test_a_next_session_that_is_refused_is_tried_again_while_the_old_one_serves() -> None:
    line = due()
    line.bridge.realtime_closed(401, line.now_ms, session=2)  # even this: the call is well
    assert line.effects(CloseStream, HangUp, CloseModel) == []
    line.frame()
    assert line.look()[1] == ["append 20"]
    line.tick(30_000)
    assert [each.session for each in line.effects(DialModel) if isinstance(each, DialModel)] == [3]
    ready(line, 3)
    assert line.effects(CloseModel) == [CloseModel(1)]


def test_an_old_session_that_dies_meanwhile_is_followed_by_the_one_that_is_ready() -> None:
    line = due()
    line.bridge.receive_realtime(
        '{"type":"input_audio_buffer.speech_started","item_id":"u2"}', line.now_ms, session=1
    )
    ready(line)
    line.bridge.realtime_closed(1001, line.now_ms, session=1)
    assert line.bridge.session == 2
    assert line.effects(DialModel) == []


YOUNG = Watchdog(session_ms=1_000, session_hard_ms=4_000)


def test_a_session_that_is_not_ready_yet_is_not_replaced_for_its_age() -> None:
    line = Line(quiet_plan(watchdog=YOUNG)).streaming().dialled()
    line.tick(1_000)
    assert line.effects(DialModel) == []
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None and due_ms > line.now_ms
    line.updated().tick()  # now it is, and old enough
    assert len(line.effects(DialModel)) == 1


def test_a_call_that_ends_without_its_model_gets_no_other_one() -> None:
    line = Line(quiet_plan("endCall", watchdog=YOUNG)).ready().created()
    line.audio(2_500).audio_done().calls("endCall").done()
    line.bridge.realtime_closed(1006, line.now_ms)
    line.tick(1_000)
    assert line.effects(DialModel) == []
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None and due_ms > line.now_ms


def test_a_next_session_is_given_up_when_a_call_that_ends_has_lost_its_model() -> None:
    line = Line(quiet_plan("endCall", watchdog=YOUNG)).ready().tick(1_000).created()
    line.audio(2_500).audio_done().calls("endCall").done()
    line.look()
    line.bridge.realtime_closed(1006, line.now_ms)
    assert line.effects(CloseModel) == [CloseModel(2)]


def test_a_session_that_waited_until_it_was_old_is_replaced_at_once() -> None:
    line = Line(quiet_plan(watchdog=YOUNG)).ready().tick(1_000).created().audio(9_000)
    ready(line).tick(3_000)
    assert line.bridge.session == 2
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None and due_ms > line.now_ms
    assert [each.session for each in line.effects(DialModel) if isinstance(each, DialModel)] == [
        2,
        3,
    ]


def test_a_gap_in_which_the_call_begins_to_end_leaves_no_deadline_behind() -> None:
    plan = quiet_plan(watchdog=YOUNG, end_call_phrases=("so long",))
    line = Line(plan).ready().created().text("So long.").audio(200).audio_done()
    line.audio(900, "a2").lost().after(900).mark("g1:1").after(100)
    line.bridge.realtime_closed(401, line.now_ms)
    line.tick()
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None and due_ms > line.now_ms


def test_two_hours_roll_over_twice_and_lose_no_turn() -> None:
    line = Line(PLAN)
    effects: list[Effect] = []
    opened = {1: 0}
    line.ready()
    for number in range(240):
        answer(line, number)
        until_ms = (number + 1) * MINUTE_MS // 2
        while (due_ms := line.bridge.next_deadline_ms()) is not None and due_ms < until_ms:
            line.now_ms = max(line.now_ms, due_ms)
            line.tick()
            fresh = line.look()[2]
            effects += fresh
            for effect in fresh:
                if isinstance(effect, DialModel):
                    opened[effect.session] = line.now_ms
                    ready(line, effect.session)
                    seeds = [json.loads(t) for t in line.bridge.to_realtime]
                    told = [each["item"]["content"][0]["text"] for each in seeds]
                    assert told[:2] == ["Question 0.", "Answer 0."]
                    assert told[-1] == f"Answer {number}."
        effects += line.look()[2]
        assert line.now_ms - opened[line.bridge.session] < 60 * MINUTE_MS
        line.now_ms = max(line.now_ms, until_ms)
    assert line.bridge.counters["rollovers"] == 2
    assert line.bridge.session == 3
    assert line.bridge.counters.get("barge_ins") is None
    said = {each.ordinal: each.text for each in effects if isinstance(each, RecordTurn)}
    expected = [text for n in range(240) for text in (f"Question {n}.", f"Answer {n}.")]
    assert [said[ordinal] for ordinal in sorted(said)] == expected
