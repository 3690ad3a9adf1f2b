"""Three gates over many pairs, by hand, and what is stored of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calls.parity.measures import TOO_FEW, Measures, Pair, measure, share
from calls.parity.sequence import Outcomes, Sequence
from calls.parity.stored import MeasuresUnreadable, measures_read, measures_stored
from tests.unit.parity.calls import call, tool

pytestmark = pytest.mark.unit

MARKS: Any = {"book": {"phone": "phone"}}
PHONE, WRONG = "+12025550143", "+12025550134"


def _pair(old: Sequence, new: Sequence, scenario: str = "s", has_audio: bool = True) -> Pair:
    return Pair(scenario, old, new, has_audio)


def _booked(phone: str = PHONE, **more: Any) -> Sequence:
    return call("a", tool("book", phone=phone), **more)


SAME = _pair(_booked(), _booked())
DRIFTED = _pair(_booked(), call("a"))
MISHEARD = _pair(_booked(), _booked(WRONG))
LOST = _pair(_booked(), _booked(outcomes=Outcomes(True, True)))


def _states(found: Measures) -> dict[str, str]:
    return {gate.name: gate.verdict.state for gate in found.gates}


def test_each_gate_has_its_own_count_and_limit() -> None:
    found = measure([SAME] * 10 + [DRIFTED, MISHEARD, LOST], MARKS)
    order, arguments, outcome = found.gates
    assert (order.verdict.k, order.verdict.n, order.limit) == (1, 13, 0.05)
    # In the pair that drifted nobody booked: it has no field to compare.
    assert (arguments.verdict.k, arguments.verdict.n, arguments.limit) == (1, 12, 0.01)
    assert (outcome.verdict.k, outcome.verdict.n, outcome.limit) == (1, 13, 0.05)
    assert found.verdict == "undecided"


def test_the_verdict_is_the_worst_of_the_gates() -> None:
    assert measure([SAME] * 400, MARKS).verdict == "pass"
    clean = measure([SAME] * 100, MARKS)
    assert _states(clean) == {"order": "pass", "arguments": "undecided", "outcome": "pass"}
    assert clean.verdict == "undecided"
    misheard = measure([SAME, MISHEARD, MISHEARD, *[SAME] * 400], MARKS)
    assert _states(misheard) == {"order": "pass", "arguments": "fail", "outcome": "pass"}
    assert misheard.verdict == "fail"


def test_more_says_what_all_gates_together_still_need() -> None:
    assert measure([SAME] * 50, MARKS).more == 387 - 50  # one field in each pair
    assert measure([SAME] * 50, {}).more == 26
    two = {"book": {"phone": "phone", "other": "phone"}}
    both = _pair(*[call("a", tool("book", phone=PHONE, other=PHONE))] * 2)
    assert measure([both] * 50, two).more == 144  # (387 - 100) / 2, rounded up
    assert measure([], {}).more == 76
    assert measure([], MARKS).more == 387  # as if each pair were to give one field
    assert measure([SAME] * 400, MARKS).more == 0
    assert measure([MISHEARD] * 5, MARKS).more is None


def test_without_a_marked_field_the_gate_has_no_part_in_the_verdict_and_says_so() -> None:
    found = measure([SAME] * 76, {})
    assert found.verdict == "pass"
    assert not found.gate("arguments").applies
    assert "no field is marked" in found.gate("arguments").words()


def test_a_marked_field_that_never_occurs_leaves_it_undecided() -> None:
    found = measure([_pair(call("a"), call("a"))] * 100, MARKS)
    assert found.verdict == "undecided"
    assert found.gate("arguments").words() == "nothing was compared yet"
    assert found.more is None


def test_calls_cut_before_their_first_tool_are_no_evidence() -> None:
    empty = _pair(_booked(), call("", cut=True))
    found = measure([empty] * 400 + [SAME], MARKS)
    assert (found.pairs, found.empty, found.cut, found.audio_pairs) == (1, 400, 400, 1)
    assert found.gate("order").verdict.n == 1
    assert found.verdict == "undecided"


def test_calls_that_were_cut_have_no_outcome() -> None:
    found = measure([_pair(_booked(), call("a", cut=True))] * 100, MARKS)
    assert (found.gate("order").verdict.state, found.gate("outcome").verdict.n) == ("pass", 0)


def test_pairs_count_in_the_order_in_which_they_were_planned() -> None:
    early = measure([DRIFTED, DRIFTED, *[SAME] * 98], {})
    late = measure([*[SAME] * 98, DRIFTED, DRIFTED], {})
    assert early.gate("order").verdict.state == "fail"
    assert late.gate("order").verdict.state == "pass"
    assert early.gate("order").verdict.decided_at == 2
    said = "The verdict fell with pair 2 and stands; the figures are those of all 100"
    assert early.gate("order").note() == said
    assert measure([SAME] * 76, {}).gate("order").note() == ""
    assert measure([SAME] * 50, {}).gate("order").note() == ""


def test_only_pairs_with_a_callers_sound_count_as_such() -> None:
    found = measure([SAME, replace(SAME, has_audio=False), SAME], MARKS)
    assert (found.pairs, found.audio_pairs) == (3, 2)


def test_tools_and_scenarios_have_bounds_of_their_own() -> None:
    pairs = [
        *[_pair(_booked(), _booked(), "book")] * 60,
        *[_pair(call("ab"), call("ba"), "short")] * 3,
        _pair(call("ab"), call("ab"), "short"),
        _pair(_booked(), _booked(WRONG), "book"),
    ]
    found = measure(pairs, MARKS)
    by_tool = {line.name: line for line in found.tools}
    assert list(by_tool) == ["a", "b", "book"]
    # "ab" against "ba": one of the two moved.
    moved = by_tool["a"].reordered + by_tool["b"].reordered
    assert (moved, by_tool["b"].drift.n, by_tool["a"].drift.n) == (3, 4, 65)
    assert (by_tool["book"].drift.k, by_tool["book"].drift.words) == (0, "under the limit")
    assert (by_tool["book"].fields.k, by_tool["book"].fields.n) == (1, 61)
    assert by_tool["book"].fields.words == TOO_FEW
    assert by_tool["b"].fields.n == 0
    by_scenario = {line.name: line for line in found.scenarios}
    assert (by_scenario["short"].drift.k, by_scenario["short"].drift.n) == (3, 4)
    assert by_scenario["short"].drift.words == "over the limit"
    assert by_scenario["book"].argument_pairs == 1


@pytest.mark.parametrize(
    ("k", "n", "words"),
    [(0, 59, "under the limit"), (0, 58, TOO_FEW), (2, 8, TOO_FEW), (3, 8, "over the limit")],
)
def test_words_of_a_share(k: int, n: int, words: str) -> None:
    assert share(k, n, 0.05).words == words


def test_the_worst_pairs_come_first_and_hold_no_value() -> None:
    awful = _pair(_booked(key="old7"), call("xy", key="new7", outcomes=Outcomes(False, False)))
    found = measure([SAME, MISHEARD, *[DRIFTED] * 12, awful], MARKS)
    assert len(found.worst) == 10
    first = found.worst[0]
    assert (first.index, first.old_key, first.new_key) == (14, "old7", "new7")
    assert (first.omitted, first.extra, first.outcome) == (("a", "book"), ("x", "y"), ("tools",))
    assert first.differences == 5
    assert found.worst[1].fields == ("book: phone",)
    assert [line.index for line in found.worst[1:]] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert "2025550" not in json.dumps(measures_stored(found))


def test_the_old_stack_against_itself_is_the_noise_floor() -> None:
    repeats = [*[_pair(call("ab"), call("ab"))] * 18, *[_pair(call("ab"), call("ba"))] * 2]
    floor = measure([SAME], MARKS, repeats).noise
    assert floor is not None
    assert (floor.k, floor.n) == (2, 20)
    assert "2 of 20" in floor.words()
    assert measure([SAME], MARKS).noise is None


def test_measures_are_read_as_they_were_stored() -> None:
    found = measure([SAME, DRIFTED, MISHEARD, LOST], MARKS, [SAME])
    assert measures_read(json.loads(json.dumps(measures_stored(found)))) == found
    none = measure([], {})
    assert measures_read(json.loads(json.dumps(measures_stored(none)))) == none
    assert none.verdict == "undecided"


@pytest.mark.parametrize("version", [None, 0, 2])
def test_measures_of_another_version_are_refused_in_words(version: Any) -> None:
    stored = measures_stored(measure([SAME], MARKS))
    with pytest.raises(MeasuresUnreadable, match="Fix:"):
        measures_read({**stored, "version": version})


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "maybe"), ("gates", [{}]), ("tools", [{"name": "a"}]), ("worst", 5)],
)
def test_broken_measures_are_refused_in_words(field: str, value: Any) -> None:
    stored = json.loads(json.dumps(measures_stored(measure([SAME, DRIFTED], MARKS))))
    with pytest.raises(MeasuresUnreadable, match="Fix:"):
        measures_read({**stored, field: value})
