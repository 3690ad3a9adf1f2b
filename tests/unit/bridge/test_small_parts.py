"""The bridge's smaller parts: tables, ring, transcript, toolbox, reasons, summary, plan."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.bridge.caller_audio import RING_BYTES, CallerAudio
from calls.bridge.effects import Effect, RecordTool, RecordTurn
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan, Clip, Greeting, HistoryItem
from calls.bridge.reasons import (
    BENIGN_CODES,
    FATAL_CODES,
    TRANSIENT_CODES,
    EndCause,
    cause_of_error,
)
from calls.bridge.states import (
    PHASE,
    PLAYING,
    REALTIME,
    RESPONSE,
    STREAM,
    LocalBridgeError,
    Machine,
    Stream,
)
from calls.bridge.summary import percentile
from calls.bridge.toolbox import Toolbox
from calls.bridge.transcript import Transcript, heard_part
from tests.virtual_call import clip, plan_of, tools_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("table", [STREAM, REALTIME, RESPONSE, PLAYING, PHASE])
def test_tables_name_every_state_and_no_other(table: Any) -> None:
    states = set(type(next(iter(table))))
    assert set(table) == states
    assert all(targets <= states for targets in table.values())
    assert all(state not in targets for state, targets in table.items())


def test_a_transition_missing_from_the_table_is_ours_to_answer_for() -> None:
    machine: Machine[Stream] = Machine(Stream.EXPECT_CONNECTED, STREAM)
    assert not machine.may(Stream.STREAMING)
    with pytest.raises(LocalBridgeError, match="not in the table"):
        machine.to(Stream.STREAMING)
    machine.to(Stream.STOPPED)
    assert not any(machine.may(state) for state in Stream)


def test_the_ring_keeps_the_newest_ten_seconds_and_counts_the_rest() -> None:
    ring = CallerAudio()
    for number in range(502):
        ring.keep(f"p{number}", 160)
    assert ring.kept_bytes == RING_BYTES
    assert ring.dropped_bytes == 320
    assert next(iter(ring.release())) == "p2"


def test_released_audio_counts_as_forwarded_and_abandoned_as_dropped() -> None:
    ring = CallerAudio()
    ring.keep("a", 160)
    assert list(ring.release()) == ["a"]
    assert list(ring.release()) == []
    ring.keep("b", 80)
    ring.abandon()
    assert (ring.forwarded_bytes, ring.dropped_bytes, ring.kept_bytes) == (160, 80, 0)


@pytest.mark.parametrize(
    ("heard", "received", "parts"),
    [
        (0, 100, ("", "one two three")),
        (100, 100, ("one two three", "")),
        (200, 100, ("one two three", "")),
        (60, 100, ("one two", "three")),
        (50, 100, ("one", "two three")),
        (10, 100, ("", "one two three")),
        (10, 0, ("", "one two three")),
    ],
)
def test_the_heard_part_ends_with_a_word(heard: int, received: int, parts: tuple[str, str]) -> None:
    assert heard_part("one two three", heard, received) == parts


def records(emitted: list[Effect]) -> list[tuple[int, str, str, bool]]:
    """Return (ordinal, text, unheard, interrupted) of each record."""
    turns = [each for each in emitted if isinstance(each, RecordTurn)]
    return [(each.ordinal, each.text, each.text_unheard, each.interrupted) for each in turns]


def test_order_comes_from_the_beginning_of_a_turn_not_from_its_text() -> None:
    emitted: list[Effect] = []
    book = Transcript(3, emitted.append)
    caller, model = book.begin("u", "user", 0), book.begin("a", "assistant", 5)
    book.say(model, "Answer.")
    book.say(caller, "Question?")
    assert records(emitted) == [(4, "Answer.", "", False), (3, "Question?", "", False)]
    assert book.begin("u", "user", 99) is caller


def test_a_cut_turn_takes_no_more_text() -> None:
    emitted: list[Effect] = []
    book = Transcript(0, emitted.append)
    turn = book.begin("a", "assistant", 0)
    book.add(turn, "one two three")
    book.cut(turn, 60, 100, 700)
    book.add(turn, " four")
    book.say(turn, "one two three four")
    book.end(turn, 900)
    assert records(emitted) == [(0, "one two", "three", True)]
    assert turn.ended_ms == 700


def test_closing_keeps_apart_what_was_not_heard() -> None:
    emitted: list[Effect] = []
    book = Transcript(0, emitted.append)
    for item_id in ("heard", "half", "silent"):
        book.add(book.begin(item_id, "assistant", 0), "one two three")
    book.begin("u", "user", 0)
    shares = {"heard": (100, 100), "half": (60, 100), "silent": (0, 0)}
    book.close(50, lambda item_id: shares[item_id])
    book.close(60, lambda item_id: shares[item_id])
    assert records(emitted) == [
        (0, "one two three", "", False),
        (1, "one two", "three", True),
        (2, "", "one two three", True),
        (3, "", "", False),
    ]


def test_a_turn_never_ends_before_it_began() -> None:
    book = Transcript(0, lambda turn: None)
    turn = book.begin("a", "assistant", 500)
    book.end(turn, 20)
    assert turn.ended_ms == 500


def test_o29_a_call_is_begun_once_and_finished_once() -> None:
    emitted: list[Effect] = []
    box = Toolbox(tools_of("look"), 5, emitted.append)
    first = box.begin("c1", "look", "{}", "r1", 0, 0)
    assert first is not None
    assert box.begin("c1", "look", "{}", "r1", 0, 0) is None
    box.running(first)
    assert box.waits_for("r1")
    assert box.finish("c1", "ok", "x", 30) is first
    assert box.finish("c1", "ok", "y", 40) is None
    assert box.finish("c9", "ok", "y", 40) is None
    states = [(e.state, e.duration_ms) for e in emitted if isinstance(e, RecordTool)]
    assert states == [("running", None), ("ok", 30)]


def test_the_ceiling_counts_every_call() -> None:
    box = Toolbox((), 1, lambda effect: None)
    assert not box.over_ceiling
    box.begin("c1", "look", "{}", "r1", 0, 0)
    assert box.over_ceiling


def test_every_end_has_a_word_of_its_own() -> None:
    words = [cause.ended_reason for cause in EndCause]
    assert len(words) == len(set(words))


def test_error_codes_have_one_meaning_each() -> None:
    assert not FATAL_CODES & BENIGN_CODES
    assert not FATAL_CODES & TRANSIENT_CODES
    assert all(cause_of_error(code) is not EndCause.MODEL_FAILED for code in FATAL_CODES)
    assert cause_of_error("something new") is EndCause.MODEL_FAILED


@pytest.mark.parametrize(("share", "value"), [(0.5, 30), (0.95, 50), (0.0, 10), (1.0, 50)])
def test_percentile_is_the_nearest_rank(share: float, value: int) -> None:
    assert percentile([50, 10, 40, 20, 30], share) == value
    assert percentile([], share) is None


def test_a_plan_goes_to_json_and_back() -> None:
    plan = plan_of(
        "look",
        policy_line=clip("Recorded."),
        greeting=Greeting("generated", interruptible=True),
        resumed=True,
        history=(HistoryItem("user", "Hi"),),
        elapsed_ms=5,
    )
    assert CallPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    bare = CallPlan("id", "CA", "AC")
    assert CallPlan.from_json(json.loads(json.dumps(bare.to_json()))) == bare


def test_a_plan_of_another_version_is_refused() -> None:
    value = plan_of().to_json()
    del value["session"]
    with pytest.raises(KeyError):
        CallPlan.from_json(value)
    with pytest.raises(TypeError):
        CallPlan.from_json({**plan_of().to_json(), "colour": "red"})


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({"greeting": Greeting("wait")}, False),
        ({"greeting": Greeting("exact", "Hi", interruptible=True)}, False),
        ({"greeting": Greeting("exact", "Hi")}, True),
        ({"greeting": Greeting("wait"), "policy_line": clip("x")}, True),
        ({"greeting": Greeting("exact", "Hi"), "resumed": True}, False),
        ({"policy_line": clip("x"), "resumed": True}, True),
    ],
)
def test_who_holds_the_floor(fields: dict[str, Any], held: bool) -> None:
    assert plan_of(**fields).holds_the_floor is held


@pytest.mark.parametrize("payloads", [(), ("not base64!",), ("",)])
def test_a_clip_that_cannot_be_played_is_refused_at_once(payloads: tuple[str, ...]) -> None:
    with pytest.raises(LocalBridgeError, match="clip"):
        CallBridge(plan_of(policy_line=Clip(payloads, "x")), 0)
