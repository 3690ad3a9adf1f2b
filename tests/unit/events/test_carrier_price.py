"""What the carrier charges: every leg and stream is rounded up to a minute (twilio.md 8.2)."""

from __future__ import annotations

import pytest

from calls.money.carrier import carrier_microusd, started_minutes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (0.2, 1), (59, 1), (60, 1), (61, 2)])
def test_started_minutes_are_billed_whole(seconds: float, minutes: int) -> None:
    assert started_minutes(seconds) == minutes


def test_three_minutes_ten_of_a_bot_call_as_the_reference_works_it_out() -> None:
    # twilio.md 8.2: 4 minutes of inbound and stream, without the recording.
    assert carrier_microusd(call_seconds=190, stream_seconds=[189]) == 4 * (8_500 + 4_000)


def test_each_stream_of_a_resumed_call_is_rounded_by_itself() -> None:
    assert carrier_microusd(call_seconds=50, stream_seconds=[20, 25]) == 8_500 + 2 * 4_000


def test_a_transfer_pays_the_leg_it_dialled() -> None:
    prices = [
        carrier_microusd(call_seconds=90, stream_seconds=[], transfer_seconds=n) for n in (0, 61)
    ]
    assert prices[1] - prices[0] == 2 * 14_000
