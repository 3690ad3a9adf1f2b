"""Readiness of numbers: whatever blocks one is found, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.numbers.readiness.capacity import most_at_once
from calls.numbers.readiness.verdict import verdict_of
from tests.unit.numbers.ready_number import BEHIND_OWNER, BLOCKERS, OWNERS, ready

pytestmark = pytest.mark.property


@given(planted=st.sets(st.sampled_from(sorted(BLOCKERS))))
def test_every_planted_blocker_is_found_and_none_is_invented(planted: set[str]) -> None:
    facts = ready()
    # The order of planting is that of the table: two of them change the policy.
    for code, spoil in BLOCKERS.items():
        if code in planted:
            facts = spoil(facts)
    verdict = verdict_of(facts, str)
    # Of a number in another account nothing further of Twilio's is known to hold.
    hidden = set(BEHIND_OWNER) if planted & set(OWNERS) else set()
    blocking = {each.code for each in verdict.findings if each.weight == "blocks"}
    assert blocking == planted - hidden
    assert [each.code for each in verdict.findings if each.weight in ("look", "unknown")] == []
    assert verdict.colour == ("red" if planted else "green")
    assert len(verdict.reason) <= 90
    first = verdict.findings[0] if verdict.findings else None
    assert not planted or (first is not None and verdict.reason == first.short and verdict.step)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda each: (each[0], sum(each)))
    )
)
def test_the_most_at_once_is_what_counting_every_moment_gives(
    spans: list[tuple[int, int]],
) -> None:
    def at(moment: int) -> int:
        return sum(begin <= moment < end or begin == end == moment for begin, end in spans)

    most, when = most_at_once(spans)
    assert most == max((at(begin) for begin, _ in spans), default=0)
    assert when is None if not spans else at(int(when or 0)) == most
