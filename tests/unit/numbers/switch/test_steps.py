"""The steps of a move: what is left to do, given what is found at Twilio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from calls.numbers.switch.net import Net, overrides_for
from calls.numbers.switch.steps import (
    MOST_LOOKS,
    Abandoned,
    Accepted,
    Action,
    Ask,
    Confirmed,
    Event,
    Fetch,
    Finished,
    Found,
    Missing,
    Move,
    MoveError,
    NotConfirmed,
    PlaceTestCall,
    Post,
    Posted,
    PostRefused,
    PostUnclear,
    Resumed,
    Step,
    TestCallEnded,
    Wait,
    WebhookSeen,
    advance,
    way_back,
)
from calls.numbers.switch.voice import read
from calls.numbers.switch.writes import changes, here

pytestmark = pytest.mark.unit

NUMBER = "+15550001111"
BEFORE = read(
    {
        "sid": "PN1",
        "account_sid": "AC1",
        "phone_number": NUMBER,
        "voice_url": "https://vapi.example/in",
        "voice_application_sid": "AP1",
    }
)
WANTED = here(
    BEFORE,
    base_url="https://voice.example.com",
    net=Net("address", "https://bins.example/EH1"),
    overrides=overrides_for(),
)
OTHER = replace(BEFORE, voice_url="https://somebody.example/")
HALF = replace(WANTED, voice_fallback_url="")
MOVE = Move("here", BEFORE, WANTED)
BACK = way_back(MOVE)
STORED = Found(BEFORE)


def run(move: Move, *events: Event) -> tuple[Move, Action | None]:
    action: Action | None = None
    for event in events:
        move, action = advance(move, event)
    return move, action


def at(step: Step) -> Move:
    return replace(MOVE, step=step)


def test_the_whole_way_here() -> None:
    move, action = run(MOVE, Confirmed(NUMBER))
    assert (move.step, action) == (Step.STORED, Fetch())
    move, action = run(move, Found(BEFORE))
    assert (move.step, action) == (Step.STORED, Post(changes(WANTED, over=BEFORE)))
    move, action = run(move, Posted())
    assert (move.step, action) == (Step.POSTED, Fetch())
    move, action = run(move, Found(WANTED))
    assert (move.step, action) == (Step.COMPARED, PlaceTestCall())
    move, action = run(move, TestCallEnded(True))
    assert (move.step, action) == (Step.TESTED, Wait())
    move, action = run(move, WebhookSeen("CA1"))
    assert (move.step, action, move.first_call_sid) == (Step.DONE, Finished(), "CA1")


def test_the_way_back_ends_when_it_was_compared() -> None:
    move, action = run(BACK, Confirmed(), Found(WANTED))
    assert action == Post(changes(BEFORE, over=WANTED))
    move, action = run(move, Posted(), Found(BEFORE))
    assert (move.step, action) == (Step.DONE, Finished())


@pytest.mark.parametrize("typed", ["", "yes", "+15550001112", "15550001111"])
def test_a_number_is_moved_only_when_it_was_typed(typed: str) -> None:
    with pytest.raises(NotConfirmed, match="Type the number"):
        advance(MOVE, Confirmed(typed))


@pytest.mark.parametrize("step", [Step.STORED, Step.POSTED, Step.COMPARED, Step.TESTED])
def test_a_move_that_was_cut_off_looks_before_anything_else(step: Step) -> None:
    assert advance(at(step), Resumed()) == (at(step), Fetch())


def test_what_is_found_says_whether_the_write_was_made_before_the_cut() -> None:
    for cut in (at(Step.STORED), at(Step.POSTED)):
        move, action = run(cut, Resumed(), Found(WANTED))
        assert (move.step, action) == (Step.COMPARED, PlaceTestCall())
    _, action = run(at(Step.STORED), Resumed(), Found(BEFORE))
    assert isinstance(action, Post)
    assert run(at(Step.COMPARED), Resumed(), Found(WANTED))[1] == PlaceTestCall()
    assert run(at(Step.TESTED), Resumed(), Found(WANTED))[1] == Wait()


def test_a_way_back_of_a_move_that_wrote_nothing_writes_nothing() -> None:
    move, action = run(BACK, Confirmed(), Found(BEFORE))
    assert (move.step, action) == (Step.DONE, Finished())


def test_an_unclear_write_is_looked_for_before_it_is_repeated() -> None:
    move, action = run(at(Step.STORED), Found(BEFORE), PostUnclear())
    assert (move.step, action) == (Step.STORED, Fetch(again=True))
    assert run(move, Found(WANTED))[0].step is Step.COMPARED
    assert isinstance(run(move, Found(BEFORE))[1], Post)


def test_t26_a_write_that_twilio_took_and_did_not_make_stops_after_some_looks() -> None:
    move, action = run(at(Step.STORED), Posted())
    for _ in range(MOST_LOOKS - 1):
        move, action = run(move, Found(BEFORE))
        assert action == Fetch(again=True)
    move, action = run(move, Found(BEFORE))
    assert isinstance(action, Ask)
    assert (move.step, action.stop.code) == (Step.STOPPED, "not_taken")
    move, action = run(move, Accepted(BEFORE.fingerprint()), Found(BEFORE))
    assert isinstance(action, Post)


def test_a_late_reading_is_no_reason_to_stop() -> None:
    move, _ = run(at(Step.STORED), Posted(), Found(BEFORE), Found(WANTED))
    assert move.step is Step.COMPARED


@pytest.mark.parametrize("step", [Step.STORED, Step.POSTED, Step.COMPARED, Step.TESTED])
def test_somebody_elses_change_stops_and_is_shown(step: Step) -> None:
    move, action = run(at(step), Found(HALF))
    assert isinstance(action, Ask)
    assert (move.step, action.stop.code) == (Step.STOPPED, "changed")
    assert action.stop.fields == ("voice_fallback_url",)
    assert (action.stop.found, action.stop.fingerprint) == (HALF, HALF.fingerprint())
    assert ("another form" in action.stop.words) == (step is Step.POSTED)


def test_a_yes_counts_for_what_was_shown_and_for_nothing_else() -> None:
    stopped, _ = run(at(Step.COMPARED), Found(HALF))
    for other in ("", BEFORE.fingerprint(), OTHER.fingerprint()):
        with pytest.raises(NotConfirmed, match="not as it was shown"):
            advance(stopped, Accepted(other))
    move, action = run(stopped, Accepted(HALF.fingerprint()))
    assert action == Fetch()
    assert run(move, Found(HALF))[1] == Post(changes(WANTED, over=HALF))
    assert isinstance(run(move, Found(OTHER))[1], Ask)


def test_a_change_before_ours_is_not_written_over_because_the_snapshot_is_older() -> None:
    move, action = run(MOVE, Confirmed(NUMBER), Found(OTHER))
    assert isinstance(action, Ask)
    assert action.stop.goes_on_at is None
    assert action.stop.fields == ("voice_url",)
    with pytest.raises(NotConfirmed, match="anew"):
        advance(move, Accepted(OTHER.fingerprint()))


def test_a_change_over_a_write_that_was_not_stored_is_known_as_that() -> None:
    theirs = replace(WANTED, voice_url=OTHER.voice_url)
    move, action = run(at(Step.STORED), Resumed(), Found(theirs))
    assert isinstance(action, Ask)
    assert action.stop.fields == ("voice_url",)
    assert isinstance(run(move, Accepted(theirs.fingerprint()), Found(theirs))[1], Post)


def test_the_way_back_stops_too_and_can_be_told_to_go_on() -> None:
    move, action = run(BACK, Confirmed(), Found(OTHER))
    assert isinstance(action, Ask)
    assert "voice_url" in action.stop.words
    move, action = run(move, Accepted(OTHER.fingerprint()), Found(OTHER))
    assert action == Post(changes(BEFORE, over=OTHER))


def test_a_number_that_somebody_put_back_is_reported_as_that() -> None:
    for step in (Step.COMPARED, Step.TESTED):
        _, action = run(at(step), Resumed(), Found(BEFORE))
        assert isinstance(action, Ask)
        assert action.stop.code == "undone"


def test_a_refusal_is_told_in_twilios_words() -> None:
    move, action = run(at(Step.STORED), Found(BEFORE), PostRefused("21620 no such app"))
    assert isinstance(action, Ask)
    assert "21620 no such app" in action.stop.words
    assert isinstance(run(move, Accepted(), Found(BEFORE))[1], Post)


def test_a_number_that_is_gone_cannot_be_accepted() -> None:
    move, action = run(at(Step.POSTED), Missing())
    assert isinstance(action, Ask)
    assert action.stop.code == "gone"
    with pytest.raises(NotConfirmed):
        advance(move, Accepted())


def test_a_failed_test_call_can_be_made_again_or_taken_back() -> None:
    move, action = run(at(Step.COMPARED), TestCallEnded(False, "no answer within 5 s"))
    assert isinstance(action, Ask)
    assert "no answer within 5 s" in action.stop.words
    assert run(move, Accepted(), Found(WANTED))[1] == PlaceTestCall()
    assert run(way_back(move), Confirmed(), Found(WANTED))[1] == Post(changes(BEFORE, over=WANTED))


@pytest.mark.parametrize("early", [Step.STORED, Step.POSTED, Step.COMPARED, Step.STOPPED])
def test_a_caller_may_come_before_our_looks_do(early: Step) -> None:
    move, action = run(at(early), WebhookSeen("CA1"))
    assert (move.step, action, move.first_call_sid) == (early, None, "CA1")
    assert run(move, WebhookSeen("CA2"))[0].first_call_sid == "CA1"
    ready = replace(move, step=Step.COMPARED)
    assert run(ready, TestCallEnded(True)) == (replace(ready, step=Step.DONE), Finished())


def test_a_caller_says_nothing_of_a_way_back_or_a_preview() -> None:
    for move in (BACK, replace(BACK, step=Step.STORED), MOVE):
        assert advance(move, WebhookSeen("CA1")) == (move, None)


def test_a_stopped_move_shows_its_reason_again_and_an_ended_one_has_nothing_to_do() -> None:
    stopped, action = run(at(Step.POSTED), Found(OTHER))
    assert advance(stopped, Resumed()) == (stopped, action)
    left, action = run(stopped, Abandoned())
    assert (left.step, left.stop, action) == (Step.ABANDONED, None, Finished())
    assert advance(left, Resumed())[1] == Finished()
    assert advance(at(Step.DONE), Resumed())[1] == Finished()
    assert advance(MOVE, Resumed())[1] == Wait()


def _wrong() -> list[Callable[[], object]]:
    return [
        lambda: advance(at(Step.POSTED), Posted()),
        lambda: advance(at(Step.FETCHED), Found(BEFORE)),
        lambda: advance(at(Step.DONE), Found(BEFORE)),
        lambda: advance(at(Step.DONE), Abandoned()),
        lambda: advance(at(Step.POSTED), TestCallEnded(True)),
        lambda: advance(at(Step.STORED), Confirmed(NUMBER)),
        lambda: advance(at(Step.STORED), Accepted()),
        lambda: advance(at(Step.STORED), Found(replace(BEFORE, sid="PN2"))),
        lambda: way_back(BACK),
    ]


@pytest.mark.parametrize("wrong", _wrong())
def test_what_has_no_place_in_a_step_is_an_error_of_the_shell(wrong: Callable[[], object]) -> None:
    with pytest.raises(MoveError):
        wrong()


def test_no_repr_of_an_action_shows_an_address() -> None:
    assert "example" not in repr(run(at(Step.STORED), Found(BEFORE)))
