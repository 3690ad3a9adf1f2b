"""The measurements on a call's page: numbers of every stream, never a text."""

from __future__ import annotations

import pytest

from calls.admin.call_page import _metrics
from calls.models import Call

pytestmark = pytest.mark.unit

STREAM = {"frames_in": 1200, "notes": {"realtime_error": "said?"}, "turn_latencies_ms": [1, 2]}


def test_numbers_of_the_only_stream_need_no_prefix() -> None:
    call = Call(metrics={"streams": [STREAM], "cost_usd": {"model": 0.01}})
    assert _metrics(call) == [("cost usd model", "0.01"), ("frames in", "1,200")]


def test_streams_of_a_resumed_call_are_told_apart() -> None:
    call = Call(metrics={"streams": [STREAM, STREAM]})
    assert [name for name, _ in _metrics(call)] == ["stream 1 frames in", "stream 2 frames in"]
