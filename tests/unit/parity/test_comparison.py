"""Past calls of both stacks without pairs, by hand and against published values."""

from __future__ import annotations

import pytest

from calls.parity.comparison import compare_past, fisher
from tests.unit.parity.calls import call

pytestmark = pytest.mark.unit


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


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="no shares"):
        fisher(5, 4, 0, 1)


def test_each_tool_is_counted_once_for_each_call_that_used_it() -> None:
    found = compare_past([call("aab")] * 12, [call("a")] * 8)
    a, b = found.tools
    assert (a.old.k, a.old.n, a.new.k, a.new.n, a.words) == (12, 12, 8, 8, "cannot be told apart")
    assert (b.old.k, b.new.k, b.words) == (12, 0, "used less here")
    assert compare_past([call("a")] * 8, [call("aab")] * 12).tools[1].words == "used more here"
    assert found.order.p_value < 0.01


def test_calls_whose_end_is_unknown_are_left_out_and_counted() -> None:
    found = compare_past([call("a"), call("ab", cut=True)], [call("a")])
    assert (found.old, found.new, found.left_out) == (1, 1, 1)
    assert [tool.name for tool in found.tools] == ["a"]


def test_a_side_without_a_call_shows_nothing() -> None:
    found = compare_past([call("a")], [])
    assert (found.old, found.new, found.order.p_value) == (1, 0, 1.0)
