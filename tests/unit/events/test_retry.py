"""When failed deliveries are tried again."""

from __future__ import annotations

import pytest

from calls.events.retry import DELAYS_SECONDS, delay_seconds, is_permanent

pytestmark = pytest.mark.unit


def test_waits_grow_and_end_after_about_two_days() -> None:
    waits = [delay_seconds(attempt, 0.0) for attempt in range(1, len(DELAYS_SECONDS) + 1)]
    assert waits == sorted(waits)  # type: ignore[type-var]
    assert 40 * 3600 < sum(filter(None, waits)) < 60 * 3600
    assert delay_seconds(len(DELAYS_SECONDS) + 1, 0.0) is None


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_jitter_adds_at_most_a_fifth(jitter: float) -> None:
    plain, spread = delay_seconds(3, 0.0), delay_seconds(3, jitter)
    assert plain is not None and spread is not None
    assert plain <= spread <= plain * 1.2


def test_only_410_means_never_again() -> None:
    assert is_permanent(410)
    assert not any(is_permanent(code) for code in (None, 200, 404, 429, 500, 503))
