"""The caller's turns, the assistant's audio, and interruption (5.1, 5.2)."""

from __future__ import annotations

import pytest

from calls.bridge.effects import RecordTurn
from calls.bridge.plan import Greeting
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import clip, plan_of

pytestmark = pytest.mark.unit


@pytest.fixture
def line() -> Line:
    """A quiet call that is up."""
    return Line().ready()


def turns(line: Line) -> list[tuple[int, str, str, str]]:
    """Return (ordinal, role, text, unheard) of the last records."""
    last = {e.ordinal: e for e in line.effects(RecordTurn) if isinstance(e, RecordTurn)}
    return [(e.ordinal, e.role, e.text, e.text_unheard) for e in last.values()]


def test_t19_audio_passes_at_once_with_a_mark_behind_it(line: Line) -> None:
    line.created().audio(120)
    assert_sent(line, twilio=["media 120", "mark g1:1"], realtime=[])


@pytest.mark.parametrize("payload", ["", "x", 'a"b=', "####", None, 7, "AAA"])
def test_t20_unsafe_payloads_are_never_spliced(line: Line, payload: object) -> None:
    line.created().audio(20, delta=payload)
    assert_sent(line, twilio=[])
    assert line.bridge.counters["realtime_malformed"] == 1


def test_t12_o13_barge_in_after_generation_clears_and_truncates_without_cancel(line: Line) -> None:
    line.says(1000).mark("g1:1")
    line.look()
    line = line.after(0)
    line.created("r2").audio(800, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.after(300).speech("started")
    assert_sent(line, twilio=["media 800", "mark g1:2", "clear"], realtime=["truncate a2 300"])


def test_t11_o10_barge_in_while_generating_drops_late_deltas(line: Line) -> None:
    line.created().audio(200).audio(200)
    line.after(100).speech("started")
    assert_sent(line, realtime=["truncate a1 100"])
    line.audio(200).audio(100, "a2")
    assert_sent(line, twilio=[])
    line.done(status="cancelled").speech("stopped").speech("committed").created("r2")
    line.audio(100, "a3", "r2").audio(100, "a1", "r1")
    assert_sent(line, twilio=["media 100", "mark g2:1"])
    assert line.bridge.counters["late_bytes"] == 8 * 400


def test_an_item_that_nobody_was_given_to_hear_is_deleted_when_its_response_is_done(
    line: Line,
) -> None:
    line.created().audio(200).after(100).speech("started")
    line.text("Never played", "a2").audio(100, "a2")
    line.look()
    line.done(
        status="cancelled",
        output=[{"type": "message", "id": "a1"}, {"type": "message", "id": "a2"}],
    )
    assert_sent(line, realtime=["delete a2"])


def test_o11_a_cut_at_0_ms_deletes(line: Line) -> None:
    line.created().audio(200).speech("started")
    assert_sent(line, twilio=["media 200", "mark g1:1", "clear"], realtime=["delete a1"])


def test_o12_sent_is_not_heard(line: Line) -> None:
    line.created()
    for _ in range(10):
        line.audio(100)
    line.after(100).mark("g1:1").after(2000).speech("started")
    assert_sent(line, realtime=["truncate a1 200"])


def test_several_items_the_audible_is_cut_the_unheard_are_deleted(line: Line) -> None:
    line.created()
    for item_id, ms in (("a1", 100), ("a2", 400), ("a3", 400), ("a4", 60)):
        line.audio(ms, item_id).audio_done(item_id)
    line.done()
    line.mark("g1:1").after(40).speech("started")
    assert_sent(line, realtime=["truncate a2 40", "delete a3", "delete a4"])


def test_nothing_is_truncated_when_the_item_was_heard(line: Line) -> None:
    line.says(500).after(500).mark("g1:1").speech("started")
    assert_sent(line, twilio=["media 500", "mark g1:1"], realtime=[])


def test_heard_to_within_100_ms_of_its_end_counts_as_heard(line: Line) -> None:
    line.says(500).text("All of it.").after(410).speech("started")
    assert_sent(line, twilio=["media 500", "mark g1:1", "clear"], realtime=[])


def test_o14_a_tool_only_response_does_not_truncate_the_item_before(line: Line) -> None:
    line.says(500).mark("g1:1").created("r2").calls("look", "c1", "r2").speech("started")
    line.look()
    line.done("r2", "cancelled").turn()
    assert_sent(line, twilio=[], realtime=[])


def test_an_underrun_is_no_end_the_rest_that_comes_late_is_cut(line: Line) -> None:
    line.created().audio(200).after(200).mark("g1:1").after(50).speech("started")
    assert_sent(line, twilio=["media 200", "mark g1:1"], realtime=["truncate a1 200"])


def test_t10_marks_that_clear_gives_back_do_not_count(line: Line) -> None:
    line.created().audio(400).audio(400).text("one two three four").after(100).speech("started")
    line.mark("g1:1").mark("g1:2").done(status="cancelled")
    assert (0, "assistant", "", "one two three four") in turns(line)
    assert line.bridge.playback is not None
    assert line.bridge.playback.stale_marks == 2


def test_the_transcript_keeps_what_was_heard(line: Line) -> None:
    line.created().text("one two three four").audio(400)
    line.after(200).speech("started").done(status="cancelled")
    line.realtime(
        "response.output_audio_transcript.done",
        response_id="r1", item_id="a1", transcript="one two three four",
    )  # fmt: skip
    assert (0, "assistant", "one two", "three four") in turns(line)


def test_text_that_ran_ahead_of_audio_that_never_came_was_not_said(line: Line) -> None:
    line.created().text("Never heard").speech("started")
    line.done(status="cancelled", output=[{"type": "message", "id": "a1"}])
    assert turns(line)[0][:3] == (0, "assistant", "")


def test_the_callers_words_come_late_and_stay_in_their_place(line: Line) -> None:
    line.turn().created().text("Fine.").audio(100)
    line.realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id="u1", content_index=0, transcript=" How are you? ",
    )  # fmt: skip
    line.twilio({"event": "stop", "stop": {}})
    assert sorted(turns(line))[0] == (0, "user", "How are you?", "")


def test_latency_is_counted_from_the_end_of_speech(line: Line) -> None:
    line.speech("started").after(1000).speech("stopped").speech("committed")
    line.after(180).created().audio(100)
    assert line.bridge.latencies_ms == [180 + 320]


def test_cancel_is_ours_when_the_server_does_not_interrupt() -> None:
    line = Line(quiet_plan(policy_line=clip("x", 16_000))).ready()
    line.mark("g1:1").turn()
    assert_sent(line, realtime=["update cfg-2", "create turn"])
    line.created().audio(500).after(200).speech("started", "u2")
    assert_sent(line, realtime=["cancel r1", "truncate a1 200"])


def test_a_response_made_after_the_caller_began_is_cancelled_by_us() -> None:
    """The server's own interruption came before that response existed."""
    line = Line(quiet_plan("look")).ready().created().calls("look").done()
    line.tool()
    assert_sent(line, realtime=["output c1", "create tool"])
    line.speech("started").created("r2")
    assert_sent(line, realtime=["cancel r2"])
    line.audio(100, "a2", "r2")
    assert_sent(line, twilio=[])


def test_no_clear_and_no_cut_during_the_opening() -> None:
    line = Line(plan_of(policy_line=clip("Recorded."), greeting=Greeting("exact", "Hi"))).ready()
    line.created().audio(300).after(100).speech("started").turn()
    assert_sent(line, twilio=["media 300", "mark g1:4"], realtime=[])


def test_an_interruptible_greeting_is_cut() -> None:
    line = Line(plan_of()).ready().created().audio(600).after(250).speech("started")
    assert_sent(line, twilio=["media 600", "mark g1:1", "clear"], realtime=["truncate a1 250"])


def test_audio_of_a_reserved_name_is_dropped(line: Line) -> None:
    line.created().audio(100, "clip-policy")
    assert_sent(line, twilio=[])
    assert line.bridge.counters["late_bytes"] == 800
