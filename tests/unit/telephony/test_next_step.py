"""What comes after a stream, as a table (T15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.telephony.next_step import MAX_STREAMS, next_step

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("stored", "ended", "streams", "step"),
    [
        ("resume", False, 1, "resume"),
        ("resume", False, MAX_STREAMS - 1, "resume"),
        ("resume", False, MAX_STREAMS, "apologise"),
        ("resume", False, MAX_STREAMS + 5, "apologise"),
        ("", False, 1, "resume"),
        ("something new", False, 1, "resume"),
        ("apologise", False, 1, "apologise"),
        ("apologise", True, 1, "hangup"),
        ("hangup", False, 1, "hangup"),
        ("hangup", False, MAX_STREAMS, "hangup"),
        ("resume", True, 1, "hangup"),
    ],
)
def test_the_table(stored: str, ended: bool, streams: int, step: str) -> None:
    assert next_step(stored=stored, ended=ended, stream_count=streams) == step


@given(st.text(), st.booleans(), st.integers(0, 100))
def test_streams_are_never_handed_out_without_end(stored: str, ended: bool, streams: int) -> None:
    step = next_step(stored=stored, ended=ended, stream_count=streams)
    assert step != "resume" or (streams < MAX_STREAMS and not ended and stored != "hangup")
