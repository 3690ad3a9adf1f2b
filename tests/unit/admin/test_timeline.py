"""The waterfall's geometry and the words of the call pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.admin.timeline import WIDTH, Span, draw
from calls.admin.words import (
    clock,
    is_failure,
    ms_in_words,
    reason_in_words,
    seconds_in_words,
)

pytestmark = pytest.mark.unit

SPANS = st.lists(
    st.builds(
        Span,
        lane=st.sampled_from(["user", "assistant", "system", "tool"]),
        started_ms=st.integers(0, 10_000_000),
        ended_ms=st.none() | st.integers(0, 10_000_000),
        label=st.text(max_size=20),
        kind=st.sampled_from(["", "interrupted", "failed"]),
    ),
    min_size=1,
    max_size=30,
)


@given(SPANS, st.integers(0, 10_000_000))
def test_every_bar_is_inside_the_picture(spans: list[Span], total_ms: int) -> None:
    timeline = draw(spans, total_ms)
    assert timeline is not None
    for bar in timeline.bars:
        assert bar.width > 0
        assert timeline.left - 0.1 <= bar.x <= WIDTH
        assert 0 < bar.y < timeline.axis_y
    assert 1 <= len(timeline.ticks) <= 11


def test_positions_follow_time() -> None:
    timeline = draw([Span("user", 0, 1000, "a"), Span("tool", 5000, 10_000, "b")], 10_000)
    assert timeline is not None
    first, second = timeline.bars
    middle = timeline.left + timeline.plot_width / 2
    assert first.x == timeline.left
    assert second.x == pytest.approx(middle, abs=0.2)
    assert second.x + second.width == pytest.approx(timeline.plot_right, abs=0.2)
    assert second.y > first.y
    assert [tick.text for tick in timeline.ticks][:3] == ["0 s", "1 s", "2 s"]


def test_nothing_said_draws_nothing() -> None:
    assert draw([], 5000) is None


def test_an_interruption_is_marked_where_it_happened() -> None:
    timeline = draw([Span("assistant", 0, 2000, "a", kind="interrupted")], 4000)
    assert timeline is not None
    bar = timeline.bars[0]
    assert bar.cut_x == pytest.approx(bar.x + bar.width, abs=0.1)
    assert "vp-bar-interrupted" in bar.css


def test_words() -> None:
    assert reason_in_words("customer-ended-call") == "The caller hung up"
    assert reason_in_words("brand.new-reason") == "brand: new reason"
    assert not is_failure("customer-ended-call")
    assert is_failure("pipeline-error-openai-llm-failed")
    assert is_failure("phone-call-provider-closed-websocket")
    assert [seconds_in_words(s) for s in (5, 67, 3720)] == ["5 s", "1 min 07 s", "1 h 02 min"]
    assert [ms_in_words(ms) for ms in (None, 480, 1250)] == ["–", "480 ms", "1.25 s"]
    assert clock(61_250) == "1:01.2"
