"""When failed deliveries are tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from calls.events.retry import DELAYS_SECONDS, delay_seconds, is_permanent, retry_after

pytestmark = pytest.mark.unit


NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_the_waits_are_those_of_standard_webhooks() -> None:
    hours = 3600
    assert DELAYS_SECONDS == (
        *(5, 5 * 60, 30 * 60, 2 * hours, 5 * hours),
        *(10 * hours, 14 * hours, 20 * hours, 24 * hours),
    )
    waits = [delay_seconds(attempt, 0.0) for attempt in range(1, len(DELAYS_SECONDS) + 1)]
    assert waits == list(DELAYS_SECONDS)
    assert sum(filter(None, waits)) == 75 * hours + 35 * 60 + 5
    assert delay_seconds(len(DELAYS_SECONDS) + 1, 0.0) is None


def test_retry_after_makes_a_wait_longer_and_never_shorter_or_endless() -> None:
    assert delay_seconds(1, 0.0, retry_after_seconds=120) == 120
    assert delay_seconds(3, 0.0, retry_after_seconds=120) == 1800
    assert delay_seconds(1, 0.0, retry_after_seconds=10**9) == 86_400
    assert delay_seconds(len(DELAYS_SECONDS) + 1, 0.0, retry_after_seconds=5) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("99999999999999999999", 86_400),
        ("Sun, 22 Nov 2026 12:02:00 GMT", 120),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2099 11:00:00 GMT", 86_400),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_jitter_adds_at_most_a_fifth(jitter: float) -> None:
    plain, spread = delay_seconds(3, 0.0), delay_seconds(3, jitter)
    assert plain is not None and spread is not None
    assert plain <= spread <= plain * 1.2


def test_only_410_means_never_again() -> None:
    assert is_permanent(410)
    assert not any(is_permanent(code) for code in (None, 200, 404, 429, 500, 503))
