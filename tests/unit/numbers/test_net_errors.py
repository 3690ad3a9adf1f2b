"""What Twilio's list of errors says of callers whom we did not answer."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from calls.numbers.net_errors import Noted, read, unanswered

pytestmark = pytest.mark.unit

OURS = "https://voice.example.com"
THEIRS = "https://api.vapi.example/twilio/inbound_call?token=t"
NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


def note(url: str, call: str = "CA1", seconds: int = 0, code: str = "11205") -> Noted:
    return Noted(call, code, url, NOON + dt.timedelta(seconds=seconds))


def found(*notes: Noted) -> list[tuple[str, bool, bool]]:
    calls = unanswered(notes, our_url=OURS)
    return [(call.call_sid, call.in_call, call.fallback_failed) for call in calls]


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ([f"{OURS}/twilio/voice"], [("CA1", False, False)]),
        ([f"{OURS}/twilio/voice", THEIRS], [("CA1", False, True)]),
        ([f"{OURS}/twilio/after-stream/1"], [("CA1", True, False)]),
        ([f"{OURS}/twilio/after-dial/1", THEIRS], [("CA1", True, True)]),
        # Nobody waits for what is only told.
        ([f"{OURS}/twilio/status"], []),
        ([f"{OURS}/twilio/stream-status"], []),
        ([f"{OURS}/twilio/recording"], []),
        # Of another site: a tool's, or the same host on another port.
        ([THEIRS], []),
        (["https://voice.example.com:8443/twilio/voice"], []),
        (["https://voice.example.com.evil.example/twilio/voice"], []),
        ([f"{OURS}/admin/"], []),
    ],
)
def test_which_errors_mean_that_somebody_else_had_to_answer(
    urls: list[str], expected: list[tuple[str, bool, bool]]
) -> None:
    assert found(*(note(url) for url in urls)) == expected


def test_what_failed_before_we_did_is_not_the_fallback() -> None:
    """A hand-over's own address may fail earlier in the same call."""
    assert found(note(THEIRS), note(f"{OURS}/twilio/after-stream/1", seconds=9)) == [
        ("CA1", True, False)
    ]


def test_each_call_is_one_and_the_earliest_comes_first() -> None:
    voice = f"{OURS}/twilio/voice"
    later, first = note(voice, "CA2", 5, "11200"), note(voice, "CA1", 1)
    calls = unanswered([later, first, note(voice, "CA1", 2, "11200")], our_url=OURS)
    assert [(call.call_sid, call.code, call.at) for call in calls] == [
        ("CA1", "11205", first.at),
        ("CA2", "11200", later.at),
    ]


ROW = {
    "call_sid": "CA1",
    "error_code": 11200,
    "request_url": f"{OURS}/twilio/voice",
    "message_date": "Mon, 23 Nov 2026 12:00:00 +0000",
}


@pytest.mark.parametrize(
    "changes",
    [{"call_sid": None}, {"request_url": ""}, {"message_date": "soon", "date_created": ""}],
)
def test_an_entry_about_no_call_or_without_a_time_is_none(changes: dict[str, Any]) -> None:
    assert read(ROW | changes) is None


def test_an_entry_is_read_with_its_zone() -> None:
    assert read(ROW) == Noted("CA1", "11200", f"{OURS}/twilio/voice", NOON)
    bare = read(ROW | {"message_date": "Mon, 23 Nov 2026 12:00:00 -0000"})
    assert bare is not None and bare.at == NOON
