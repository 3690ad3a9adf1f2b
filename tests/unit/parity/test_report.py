"""The sections of a report, and two runs beside each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from calls.parity.comparison import compare, compare_runs, fisher
from calls.parity.measures import Measures, Pair, measure, share
from calls.parity.played import CallLatency, CallResult, Utterance
from calls.parity.report import PlayedBoth, Report, bar, percentile, report
from calls.parity.sequence import Sequence
from tests.unit.parity.calls import call, tool

pytestmark = pytest.mark.unit

MARKS: Any = {"book": {"phone": "phone"}}


def _booked(phone: str = "2025550143") -> Sequence:
    return call("a", tool("book", phone=phone))


def _played(sequence: Sequence, *turns_ms: int, cost: str = "0.1") -> CallResult:
    return CallResult(
        sequence,
        transcript=(Utterance("user", "my number"),),
        latency=CallLatency(turns_ms[0] if turns_ms else None, turns_ms),
        cost_usd=Decimal(cost),
    )


def _both(*pairs: tuple[Sequence, Sequence], audio: bool = True) -> tuple[Measures, Report]:
    measures = measure([Pair("s", old, new, audio) for old, new in pairs], MARKS)
    played = [
        PlayedBoth(at, "s", _played(old, 900, 1100, cost="0.2"), _played(new, 600, 700, 800))
        for at, (old, new) in enumerate(pairs)
    ]
    return measures, report(measures, played, MARKS)


SAME = (_booked(), _booked())
WRONG = (_booked(), _booked("2025550134"))
MOVED = (call("abc"), call("acb"))


def test_the_verdict_comes_with_what_it_rests_on() -> None:
    assert _both()[1].sentence == "No pair was compared yet."
    _, some = _both(*[SAME] * 50)
    assert (some.title, some.sentence) == (
        "Undecided",
        "About 337 more pairs without a difference would pass every gate.",
    )
    _, good = _both(*[SAME] * 387)
    assert good.sentence == (
        "Every gate is under its limit after 387 pairs, 387 of them with a caller's sound."
    )
    _, silent = _both(*[SAME] * 387, audio=False)
    assert "which a number needs before it may move" in silent.sentence
    _, bad = _both(*[MOVED] * 3)
    assert bad.sentence.startswith("Order of the tools: over the limit of 5%: 3 of 3")


def test_gates_have_their_line_and_their_interval_on_a_scale() -> None:
    _, found = _both(*[SAME] * 50)
    order, arguments, outcome = found.gates
    assert (order.label, order.unit, order.more) == ("Order of the tools", "pairs", 26)
    assert (arguments.unit, arguments.limit, arguments.bar.limit) == ("fields", 0.01, 25.0)
    assert (order.bar.lower, order.bar.point, order.bar.limit) == (0.0, 0.0, 25.0)
    assert order.bar.upper == pytest.approx(29.08, abs=0.02)  # 5.8% of 20%
    assert outcome.state == "undecided"


@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 5), (5, 5), (1, 100), (50, 100)])
def test_nothing_stands_outside_of_its_bar(k: int, n: int) -> None:
    one = share(k, n, 0.05)
    found = bar(k, n, one.lower, one.upper, 0.05)
    assert 0 <= found.lower <= found.upper <= 100
    assert 0 <= found.point <= 100
    assert 0 < found.limit <= 25


def test_an_unmarked_gate_says_that_it_was_not_asked() -> None:
    found = report(measure([Pair("s", *SAME)], {}), [], {})
    assert found.gates[1].state == "not asked"


def test_the_worst_pairs_stand_side_by_side_with_their_words() -> None:
    _, found = _both(SAME, WRONG, MOVED, SAME)
    assert [pair.index for pair in found.worst] == [1, 2]
    wrong, moved = found.worst
    assert wrong.words == "other book: phone"
    (bad,) = wrong.rows[1].wrong
    assert (bad.old, bad.new) == ("2025550143", "2025550134")
    assert wrong.rows[1].old is not None
    assert wrong.rows[1].old.arguments == '{"phone":"2025550143"}'
    assert [row.kind for row in moved.rows] == ["same", "reordered", "same", "reordered"]
    assert moved.words == "reordered b"
    assert wrong.old_words[0].text == "my number"


def test_pairs_that_were_not_kept_are_left_out_of_the_worst() -> None:
    measures, _ = _both(SAME, WRONG, MOVED)
    kept = [PlayedBoth(2, "s", _played(MOVED[0]), _played(MOVED[1]))]
    assert [pair.index for pair in report(measures, kept, MARKS).worst] == [2]


def test_latency_and_cost_stand_side_by_side() -> None:
    _, found = _both(*[SAME] * 4)
    figures = {line.label: (line.old, line.new, line.unit) for line in found.latency}
    assert figures["first word, median"] == (900, 600, "ms")
    assert figures["answer, median"] == (900, 700, "ms")
    assert figures["answer, P95"] == (1100, 800, "ms")
    costs = {line.label: (line.old, line.new) for line in found.cost}
    assert costs["a call on average"] == (pytest.approx(0.2), pytest.approx(0.1))


def test_what_was_not_measured_is_no_zero() -> None:
    result = CallResult(_booked())
    found = report(measure([Pair("s", *SAME)], MARKS), [PlayedBoth(0, "s", result, result)], MARKS)
    assert {(line.old, line.new) for line in (*found.latency, *found.cost)} == {(None, None)}


def test_notes_say_what_a_reader_would_miss() -> None:
    _, found = _both(MOVED, MOVED, *[SAME] * 48, (_booked(), call("", cut=True)), audio=False)
    assert found.notes == (
        "Order of the tools: the verdict fell with pair 2 and stands; the figures are those of all "
        "50.",
        "Compared only as far as one side is known: 1 of the pairs.",
        "Ended before the first tool, and so counted nowhere: 1 of the pairs.",
        "No caller's sound was heard in this run.",
    )


@pytest.mark.parametrize(
    ("values", "share_of", "value"),
    [([], 0.5, None), ([7], 0.95, 7), ([4, 1, 3, 2], 0.5, 2), (range(1, 101), 0.95, 95)],
)
def test_percentiles_are_values_that_were_seen(
    values: Any, share_of: float, value: float | None
) -> None:
    assert percentile(values, share_of) == value


@pytest.mark.parametrize(
    ("table", "p_value"),
    [
        ((3, 4, 1, 4), 0.4857),  # Fisher's tea: 17/35 on both sides
        ((8, 10, 1, 6), 0.0350),
        ((1, 10, 11, 14), 0.0028),
        ((0, 10, 0, 10), 1.0),
        ((0, 0, 3, 9), 1.0),
    ],
)
def test_fishers_test_gives_the_published_values(
    table: tuple[int, int, int, int], p_value: float
) -> None:
    assert fisher(*table) == pytest.approx(p_value, abs=5e-5)
    k1, n1, k2, n2 = table
    assert fisher(k2, n2, k1, n1) == pytest.approx(p_value, abs=5e-5)


def test_two_runs_are_told_apart_only_where_they_can_be() -> None:
    many, few = share(12, 50, 0.05), share(1, 50, 0.05)
    assert compare("x", many, few).words == "less in the second"
    assert compare("x", few, many).words == "more in the second"
    assert compare("x", share(3, 50, 0.05), few).words == "cannot be told apart"
    with pytest.raises(ValueError, match="no shares"):
        fisher(5, 4, 0, 1)


def test_runs_are_compared_by_gate_tool_and_scenario() -> None:
    before, _ = _both(*[MOVED] * 20, SAME)
    after, _ = _both(*[(call("abc"), call("abc"))] * 20)
    found = compare_runs(before, after)
    assert [line.name for line in found.gates] == ["order", "arguments", "outcome"]
    assert found.gates[0].words == "less in the second"
    assert [line.name for line in found.tools] == ["a", "b", "c"]  # nobody booked afterwards
    assert [line.name for line in found.scenarios] == ["s"]
