"""What the provider says of its limits: read whatever it is, kept for the end of the stream."""

from __future__ import annotations

from typing import Any

import pytest

from calls.bridge.effects import StreamEnded
from calls.bridge.rate_limits import readings
from tests.unit.bridge.line import Line, quiet_plan

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "entries",
    [None, "tokens", {}, [None], [{"name": "tokens"}], [{"name": "tokens", "limit": "many"}]]
    + [[{"name": "tokens", "limit": True}], [{"name": "tokens", "limit": -1}]]
    + [[{"name": "tokens", "limit": 10**30}], [{"name": "images", "limit": 5}], [{"name": []}]],
)
def test_what_is_no_reading_is_passed_over(entries: Any) -> None:
    assert readings(entries) == {}


def test_limit_and_remainder_are_read_by_name() -> None:
    entries = [
        {"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.5},
        {"name": "requests", "limit": 5_000.0},
    ]
    assert readings(entries) == {
        "tokens": {"limit": 40_000, "remaining": 39_000},
        "requests": {"limit": 5_000},
    }


def test_the_last_reading_is_told_with_its_model_when_the_stream_is_over() -> None:
    line = Line(quiet_plan()).ready()
    for remaining in (39_000, 38_000):
        limits = [{"name": "tokens", "limit": 40_000, "remaining": remaining}]
        line.realtime("rate_limits.updated", rate_limits=limits)
    line.twilio({"event": "stop", "stop": {}})
    (end,) = [each for each in line.effects(StreamEnded) if isinstance(each, StreamEnded)]
    assert end.metrics["rate_limits"] == {
        "model": line.bridge.plan.model,
        "tokens": {"limit": 40_000, "remaining": 38_000},
    }
