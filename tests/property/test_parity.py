"""Parity for any calls: symmetric, blind to what is stated to mean the same, and of one mind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calls.parity import bounds
from calls.parity.differ import Difference, difference
from calls.parity.forms import Kind, normalise
from calls.parity.measures import Pair, measure
from calls.parity.noise import distance
from calls.parity.procedure import follow, follow_pairs, state_at
from calls.parity.sequence import (
    Outcomes,
    Sequence,
    ToolCall,
    canonical_arguments,
    sequence_dump,
    sequence_load,
)
from calls.parity.stored import measures_read, measures_stored

pytestmark = pytest.mark.property

MARKS: Any = {
    "a": {"phone": "phone", "guests[*].email": "email"},
    "b": {"name": "name", "when": "date", "id": "id"},
}
# A third of the usual number: calls are large to draw. The deep profile draws more of them too.
FEWER = max(1, settings.default.max_examples // 3)
KINDS: tuple[Kind, ...] = ("phone", "email", "name", "date", "id", "number", "text")

scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "phone": st.sampled_from(["2025550143", "+1 202 555 0143", "2025550134", None, ""]),
        "guests": st.lists(st.sampled_from([{"email": "a@x"}, {"email": "B@x"}, {}]), max_size=2),
        "name": st.sampled_from(["José", "jose", "O'Brien", "OBrien", ""]),
        "when": st.sampled_from(["2026-03-05", "March 5, 2026", "tomorrow", 5]),
        "id": scalars,
    },
)
tools = st.builds(
    ToolCall,
    name=st.sampled_from("abcd"),
    arguments=arguments,
    outcome=st.sampled_from(["ok", "failed", "unknown"]),
    message=st.none() | st.integers(0, 2),
)
calls = st.builds(
    Sequence,
    key=st.just("k"),
    stack=st.sampled_from(["vapi", "direct"]),
    tools=st.lists(tools, max_size=5).map(tuple),
    outcomes=st.builds(
        Outcomes,
        tools_ok=st.none() | st.booleans(),
        transferred=st.none() | st.booleans(),
        structured=st.none() | st.dictionaries(st.sampled_from("xyz"), scalars, max_size=3),
    ),
    cut=st.booleans(),
    scenario=st.sampled_from(["one", "two"]),
)


def _seen(found: Difference) -> tuple[Any, ...]:
    """What does not depend on how values are written."""
    return (
        found.drifts,
        len(found.reordered),
        len(found.compared),
        sorted((each.tool, each.path) for each in found.arguments),
        sorted(each.fact for each in found.outcome),
        len(found.facts),
        found.cut,
        found.says_nothing,
    )


def _turned(found: Difference, *, is_turned: bool) -> tuple[Any, ...]:
    """All that is counted or shown of a pair, seen from the other side."""
    sides = (found.extra, found.omitted) if is_turned else (found.omitted, found.extra)
    return (
        *(sorted(each) for each in sides),
        sorted(found.reordered),
        sorted(
            (each.tool, each.path, each.differs, *((each.old, each.new)[:: -1 if is_turned else 1]))
            for each in found.compared
        ),
        [(each.fact, each.differs) for each in found.facts],
        sorted(row.kind for row in found.aligned if row.kind in ("same", "reordered")),
        found.retries[:: -1 if is_turned else 1],
        (found.cut, found.says_nothing, found.count),
    )


@settings(max_examples=FEWER)
@given(calls, calls)
@example(
    Sequence("k", "vapi", (ToolCall("a"), ToolCall("b"))),
    Sequence("k", "vapi", (ToolCall("b"), ToolCall("a"))),
)
def test_drift_is_symmetric(old: Sequence, new: Sequence) -> None:
    one, two = difference(old, new, MARKS), difference(new, old, MARKS)
    assert one.drifts is two.drifts
    assert _turned(one, is_turned=False) == _turned(two, is_turned=True)
    assert distance(old, new) == pytest.approx(distance(new, old))


@given(calls)
def test_a_call_does_not_differ_from_itself(call: Sequence) -> None:
    found = difference(call, call, MARKS)
    assert not (found.drifts or found.arguments or found.outcome)
    assert {row.kind for row in found.aligned} <= {"same"}


@settings(max_examples=FEWER)
@given(calls, calls)
def test_every_call_of_a_tool_is_accounted_for_once(old: Sequence, new: Sequence) -> None:
    found = difference(old, new, {})
    same = sum(row.kind == "same" for row in found.aligned)
    moved = len(found.reordered)
    left = sum(row.old is not None for row in found.aligned)
    right = sum(row.new is not None for row in found.aligned)
    assert left == same + moved + len(found.omitted)
    assert right == same + moved + len(found.extra)
    if not found.cut:
        assert left == len(old.tools) - found.retries[0]
        assert right == len(new.tools) - found.retries[1]
    assert 0 <= distance(old, new) <= 1


def _written_otherwise(value: Any, dice: Any) -> Any:
    """The same arguments as another model might write them."""
    if isinstance(value, dict):
        names = dice.permutation(sorted(value))
        return {name: _written_otherwise(value[name], dice) for name in names}
    if isinstance(value, list):
        return [_written_otherwise(each, dice) for each in value]
    return dice.other(value)


class _Dice:
    """Ways of writing the same value, drawn by Hypothesis."""

    SAME = (
        ("2025550143", "+1 202 555 0143", "(202) 555-0143", "202.555.0143", 2025550143),
        ("2025550134", "+12025550134"),
        ("a@x", "A@X", " a@x "),
        ("B@x", "b@x"),
        ("2026-03-05", "March 5, 2026", "5.3.2026", "the 5th of March 2026"),
        ("", None, "  "),
    )

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw

    def permutation(self, items: list[Any]) -> Any:
        return self.draw(st.permutations(items))

    def other(self, value: Any) -> Any:
        for ways in self.SAME:
            if value in ways and not isinstance(value, int):
                return self.draw(st.sampled_from(ways))
        return value


@settings(max_examples=FEWER)
@given(calls, calls, st.data())
def test_what_is_stated_to_mean_the_same_changes_nothing(
    old: Sequence, new: Sequence, data: st.DataObject
) -> None:
    dice = _Dice(data)
    # Text that is not marked is left as it is: whether a failed call is a repeat hangs on it.
    marked = {"a": ("phone", "guests"), "b": ("when",)}

    def rewritten(tool: ToolCall) -> ToolCall:
        fields = {
            name: _written_otherwise(value, dice) if name in marked.get(tool.name, ()) else value
            for name, value in tool.arguments.items()
        }
        shuffled = {name: fields[name] for name in dice.permutation(sorted(fields))}
        outcome = "ok" if tool.outcome == "failed" else tool.outcome
        return ToolCall(tool.name, shuffled, outcome, message=tool.message)

    def plain(call: Sequence) -> Sequence:
        kept = tuple(
            ToolCall(each.name, each.arguments, "ok", message=each.message) for each in call.tools
        )
        return Sequence(call.key, call.stack, kept, call.outcomes, call.cut, call.scenario)

    before = plain(new)
    after = Sequence(
        new.key, new.stack, tuple(map(rewritten, new.tools)), new.outcomes, new.cut, new.scenario
    )
    assert _seen(difference(plain(old), before, MARKS)) == _seen(
        difference(plain(old), after, MARKS)
    )


@settings(max_examples=FEWER)
@given(calls, calls, st.data())
def test_calls_of_one_message_may_come_in_any_order(
    old: Sequence, new: Sequence, data: st.DataObject
) -> None:
    groups: list[list[ToolCall]] = []
    for each in new.tools:
        alike = groups and each.message is not None and groups[-1][-1].message == each.message
        if alike:
            groups[-1].append(each)
        else:
            groups.append([each])
    mixed = tuple(each for group in groups for each in data.draw(st.permutations(group)))
    other = Sequence(new.key, new.stack, mixed, new.outcomes, False, new.scenario)
    this = Sequence(new.key, new.stack, new.tools, new.outcomes, False, new.scenario)
    that = Sequence(old.key, old.stack, old.tools, old.outcomes, False, old.scenario)
    one, two = difference(that, this, {}), difference(that, other, {})
    assert (sorted(one.omitted), sorted(one.extra)) == (sorted(two.omitted), sorted(two.extra))
    assert len(one.reordered) == len(two.reordered)


@given(st.sampled_from(KINDS), scalars | st.text())
def test_every_form_is_its_own_form(kind: Kind, value: Any) -> None:
    form = normalise(kind, value)
    assert normalise(kind, form) == form


@given(
    st.integers(1, 28),
    st.integers(1, 12),
    st.integers(1000, 2999),
    st.integers(0, 23),
    st.integers(0, 59),
)
def test_a_moment_is_the_same_in_figures_and_in_words(
    day: int, month: int, year: int, hour: int, minute: int
) -> None:
    name = "January February March April May June July August September October November December"
    iso = f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}"
    half = "AM" if hour < 12 else "PM"
    words = f"{name.split()[month - 1]} {day}, {year} at {(hour - 1) % 12 + 1}:{minute:02} {half}"
    assert normalise("date", iso) == iso == normalise("date", words)
    assert normalise("date", f"{day}.{month}.{year}") == iso[:10]


@given(values)
def test_arguments_as_text_do_not_depend_on_the_order_of_keys(value: Any) -> None:
    text = canonical_arguments(value)
    assert canonical_arguments(json.loads(text)) == text


@settings(max_examples=FEWER)
@given(calls)
def test_a_stored_call_is_read_as_it_was(call: Sequence) -> None:
    stored = json.loads(json.dumps(sequence_dump(call)))
    assert sequence_dump(sequence_load(stored)) == stored


@settings(max_examples=FEWER)
@given(st.integers(0, 200), st.integers(0, 200))
def test_bounds_are_monotone(k: int, rest: int) -> None:
    n = k + rest
    low, high = bounds.lower(k, n), bounds.upper(k, n)
    assert low <= (k / n if n else 0.5) <= high
    assert bounds.upper(k, n + 1) <= high
    assert bounds.lower(k, n + 1) <= low
    assert bounds.upper(k + 1, n + 1) >= high
    assert bounds.lower(k + 1, n + 1) >= low


paths = st.lists(st.booleans(), max_size=500) | st.lists(
    st.integers(0, 30).map(lambda number: number == 0), max_size=500
)


@settings(max_examples=FEWER)
@given(paths, st.sampled_from([0.05, 0.01, 0.1]))
def test_the_procedure_never_gives_both_verdicts_along_one_path(
    path: list[bool], limit: float
) -> None:
    seen = [follow(path[:n], limit).state for n in range(0, len(path) + 1, 7)]
    seen.append(follow(path, limit).state)
    decided = [state for state in seen if state != "undecided"]
    assert len(set(decided)) <= 1
    assert seen == ["undecided"] * (len(seen) - len(decided)) + decided


@given(st.integers(0, 400), st.integers(0, 400))
def test_one_more_fault_never_helps(k: int, rest: int) -> None:
    order = {"pass": 0, "undecided": 1, "fail": 2}
    n = k + rest + 1
    assert order[state_at(k, n, 0.05)] <= order[state_at(k + 1, n, 0.05)]


@settings(max_examples=FEWER)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_fields_of_one_call_never_fail_sooner_than_fields_by_themselves(
    given_pairs: list[tuple[int, int]],
) -> None:
    pairs = [(min(given), max(given)) for given in given_pairs]
    together = follow_pairs(pairs, 0.01)
    assert together.k == sum(faults for faults, _ in pairs)
    apart = [index < faults for faults, things in pairs for index in range(things)]
    if together.state == "fail":
        assert follow(apart, 0.01).state == "fail"


@settings(max_examples=FEWER)
@given(st.lists(st.tuples(calls, calls), max_size=6))
def test_measures_are_read_as_they_were_stored_and_hold_no_value(
    drawn: list[tuple[Sequence, Sequence]],
) -> None:
    found = measure([Pair(old.scenario, old, new) for old, new in drawn], MARKS)
    text = json.dumps(measures_stored(found))
    assert measures_read(json.loads(text)) == found
    assert "2025550" not in text
    assert found.pairs + found.empty == len(drawn)
