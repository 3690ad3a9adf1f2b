"""What a fork brings is held back: nothing that came once somebody had been dialled goes on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls.parity.shadow_delay import MOST_HELD_BYTES, DelayLine, Legs, Pace

pytestmark = pytest.mark.unit

PACE = Pace()
HOLD = PACE.hold_ms
NOBODY = Legs()


def line_with(*sounds: int) -> DelayLine[int]:
    line: DelayLine[int] = DelayLine(PACE)
    for at_ms in sounds:
        line.put(at_ms, at_ms, "sound")
    return line


def test_sound_goes_on_a_constant_time_later_once_nobody_had_been_dialled() -> None:
    line = line_with(1_000, 1_020)
    line.put(-1, 1_030, "word")
    line.told(NOBODY, 3_000, 3_200)
    assert line.take(HOLD + 999) == []
    assert line.due_ms() == HOLD + 1_000
    assert line.take(HOLD + 1_000) == [1_000]
    assert line.take(HOLD + 5_000) == [1_020, -1]
    assert (line.end, line.due_ms(), line.asks) == ("", None, True)


def test_an_answer_says_nothing_of_what_came_after_the_question_or_just_before() -> None:
    asked = 1_000 + PACE.lag_ms
    late = line_with(1_000)
    late.told(NOBODY, asked, asked + 5_000)
    assert (late.take(HOLD + 1_000), late.end) == ([], "silent")
    just = line_with(1_000)
    just.told(NOBODY, asked + 1, asked + 5_000)
    assert just.take(HOLD + 1_000) == [1_000]


def test_where_twilio_is_silent_nothing_goes_on_and_what_is_held_is_thrown_away() -> None:
    line = line_with(1_000, 1_020)
    line.told(NOBODY, 2_010, 2_100)
    line.told(None, 4_000, 6_500)
    assert line.take(HOLD + 1_010) == [1_000]
    assert line.take(HOLD + 1_020) == []
    assert (line.end, line.due_ms(), line.asks) == ("silent", None, False)
    line.put(9, 10_000, "sound")
    line.told(NOBODY, 60_000, 60_001)
    assert line.take(99_999) == []


def test_one_question_without_an_answer_is_made_good_by_the_next() -> None:
    # Sound that just missed a question, the next one unanswered, the one after it slow.
    line = line_with(0)
    asked = PACE.lag_ms + PACE.ask_ms
    line.told(None, asked, asked + PACE.patience_ms)
    asked += PACE.patience_ms
    assert asked + PACE.patience_ms <= HOLD
    line.told(NOBODY, asked, asked + PACE.patience_ms)
    assert line.take(HOLD) == [0]


def test_what_came_before_the_dial_is_heard_and_nothing_after() -> None:
    line = line_with(*range(0, 12_000, 500))
    line.told(NOBODY, 4_000, 4_100)
    assert line.take(HOLD + 1_000) == [0, 500, 1_000]
    # The first leg was dialled three seconds before Twilio wrote this, by its own clock.
    line.told(Legs(are_some=True, ago_ms=3_000), 12_000, 12_200)
    assert (line.person_ms, line.dialled_by_ms) == (7_500, 10_700)
    assert not line.asks
    line.put(12_500, 12_500, "sound")
    line.put(-1, 12_500, "word")
    assert not line.is_person_due(HOLD + 7_499)
    assert line.take(HOLD + 7_500) == list(range(1_500, 7_500, 500))
    assert line.is_person_due(HOLD + 7_500)
    assert not line.is_person_due(HOLD + 7_501), "it is told once"
    # A tool of the old stack that was asked before may answer still.
    assert line.due_ms() == HOLD + 12_500
    assert line.take(HOLD + 30_000) == [-1]
    assert (line.end, line.due_ms()) == ("", None)


def test_without_a_time_only_what_was_clear_before_is_heard() -> None:
    line = line_with(0, 2_900, 3_000, 3_100)
    line.told(NOBODY, 4_000, 4_100)
    line.told(Legs(are_some=True), 8_000, 8_100)
    assert line.take(HOLD * 2) == [0, 2_900]
    at_once = line_with(0, 100)
    at_once.told(Legs(are_some=True), 200, 300)
    assert (at_once.take(HOLD * 2), at_once.is_person_due(HOLD)) == ([], True)


def test_a_dial_that_twilio_told_after_its_sound_went_on_is_owned_up_to() -> None:
    line = line_with(0, 5_000)
    line.told(NOBODY, 7_000, 7_100)
    assert line.take(HOLD + 5_000) == [0, 5_000]
    line.told(Legs(are_some=True, ago_ms=12_000), 14_000, 14_100)
    assert line.end == "late"


def test_the_end_of_the_call_is_asked_about_until_the_tail_is_clear() -> None:
    line = line_with(1_000)
    line.closed()
    line.put(-1, 1_010, "fork")
    assert line.asks
    line.told(NOBODY, 1_500, 1_600)
    assert line.asks
    line.told(NOBODY, 2_100, 2_200)
    assert not line.asks
    assert line.take(HOLD + 1_010) == [1_000, -1]
    empty: DelayLine[int] = DelayLine(PACE)
    empty.closed()
    assert not empty.asks


def test_memory_is_bounded() -> None:
    line = line_with()
    for at_ms in range(MOST_HELD_BYTES // 65_536 + 2):
        line.put(at_ms, at_ms, "sound", 65_536)
    assert (line.end, line.due_ms()) == ("flood", None)
    line = line_with()
    for at_ms in range(0, HOLD * 20, 10):
        line.put(at_ms, at_ms, "sound", 400)
        line.told(NOBODY, at_ms, at_ms)
        line.take(at_ms)
    assert line.end == ""


# ---- whatever happens -------------------------------------------------------------------------


@dataclass
class Question:
    """One question to Twilio: when it is sent, read there, and answered; or never."""

    sent_ms: int
    read_ms: int
    back_ms: int
    is_lost: bool


@st.composite
def questions(draw: st.DrawFn) -> Question:
    sent = draw(st.integers(0, 20_000))
    there, back = draw(st.integers(0, 2_500)), draw(st.integers(0, 2_500))
    return Question(sent, sent + there, sent + there + back, draw(st.booleans()))


@settings(max_examples=150, deadline=None)
@given(
    frames=st.lists(st.integers(0, 20_000), max_size=40),
    asked=st.lists(questions(), max_size=10),
    dial_ms=st.integers(0, 20_000),
    looks=st.lists(st.integers(0, 40_000), max_size=20),
    lag_ms=st.integers(0, PACE.lag_ms),
    clock_ms=st.integers(-5_000_000, 5_000_000),
    skew_ms=st.integers(-500, 500),
    tells_times=st.booleans(),
)
def test_no_frame_that_came_at_or_after_the_dial_ever_goes_on(
    *,
    frames: list[int],
    asked: list[Question],
    dial_ms: int,
    looks: list[int],
    lag_ms: int,
    clock_ms: int,
    skew_ms: int,
    tells_times: bool,
) -> None:
    """Twilio's clock is any, its times whole seconds, its list behind by up to what is allowed."""
    line: DelayLine[int] = DelayLine(PACE)
    released: list[tuple[int, int]] = []
    events: list[tuple[int, str, Question | None]] = [
        *((at, "frame", None) for at in frames),
        *((at, "look", None) for at in [*looks, *(each + HOLD for each in frames), 60_000]),
        *((each.back_ms, "answer", each) for each in asked if not each.is_lost),
    ]
    for now, kind, question in sorted(events, key=lambda each: each[:2]):
        if kind == "frame":
            line.put(now, now, "sound")
        elif kind == "look":
            released += [(at, now) for at in line.take(now)]
        elif question is not None:
            is_seen = dial_ms + lag_ms <= question.read_ms
            date_s = (question.read_ms + clock_ms) // 1000
            created_s = (dial_ms + clock_ms + skew_ms) // 1000
            ago_ms = (date_s - created_s) * 1000 if tells_times else None
            legs = Legs(are_some=True, ago_ms=ago_ms) if is_seen else NOBODY
            line.told(legs, question.sent_ms, now)
            if line.person_ms is not None:
                assert line.person_ms <= dial_ms
                assert line.dialled_by_ms is not None and line.dialled_by_ms >= dial_ms
    assert line.end != "late"
    assert all(at < dial_ms for at, _ in released)
    assert all(now >= at + HOLD for at, now in released)
