"""Addresses of the previous stack: wire form, our own among them, and patience."""

from __future__ import annotations

import pytest

from calls.previous.addresses import Patience, leads_to, patience_for, wire_url

pytestmark = pytest.mark.unit

OURS = "https://voice.example.com"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://a.example/in#rc=2&rt=4000", "https://a.example/in"),
        ("https://a.example", "https://a.example/"),
        ("https://a.example?x=1", "https://a.example/?x=1"),
        ("HTTPS://A.Example:8443/In", "https://A.Example:8443/In"),
        ("https://a.example/in?#rc=1", "https://a.example/in"),
        ("https://a.example/a//b/../c%2Fd?x=%2B&y=+&y=", None),
        ("https://a.example/ü?ü=ß", "https://a.example/%C3%BC?%C3%BC=%C3%9F"),
        ("https://bücher.example:81/", "https://xn--bcher-kva.example:81/"),
        ("https://u:p@a.example/in", None),
        ("http://[2001:db8::1]:8080/in", None),
    ],
)
def test_what_is_asked_is_what_is_written_but_in_ascii_and_without_overrides(
    url: str, asked: str | None
) -> None:
    assert wire_url(url) == (asked or url)
    assert wire_url(wire_url(url)) == wire_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "a.example/in", "/in", "ftp://a.example/", "https:///in", "https://a b/", "https://a:0/"]
    + [
        "https://a.example/\r\nX: y",
        "https://a\\@b/",
        "https://a:99999/",
        "https://[::1/",
        "sip:a",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        wire_url(url)


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("https://voice.example.com/twilio/voice", True),
        ("http://VOICE.example.com./twilio/voice?x=1", True),
        ("https://voice.example.com:443/twilio/status", True),
        ("https://voice.example.com/old/voice", False),
        ("https://voice.example.com:8443/twilio/voice", False),
        ("https://api.vapi.ai/twilio/inbound_call", False),
    ],
)
def test_our_own_webhook_is_known_as_such(url: str, is_ours: bool) -> None:
    assert leads_to(url, OURS) is is_ours


def test_patience_is_the_contracts_unless_we_can_answer_the_caller_ourselves() -> None:
    assert patience_for("https://a.example/") == Patience(1000, 10_000, 10_000)
    assert patience_for("https://a.example/", can_answer=True).total_ms < 5000


def test_a_number_without_a_fixed_assistant_is_never_cut_under_nine_seconds() -> None:
    short = patience_for("https://a.example/", total_ms=2000, has_assistant=False, can_answer=True)
    assert short.total_ms == 9000


def test_connection_overrides_of_the_previous_url_hold_within_our_own_time() -> None:
    """twilio.md 1.3."""
    url = "https://a.example/v#ct=2000&rt=3000&tt=8000&rc=2&rp=5xx,rt&e=ashburn"
    assert patience_for(url) == Patience(2000, 3000, 8000, 2, frozenset({"5xx", "rt"}))
    assert patience_for(f"{url}&tt=15000", can_answer=True).total_ms == 4000
    assert patience_for("https://a.example/#rp=all").retry_on == {"4xx", "5xx", "ct", "rt"}


def test_overrides_that_twilio_refuses_are_brought_into_its_range_or_ignored() -> None:
    assert patience_for("https://a.example/#rc=99&ct=1") == Patience(100, 10_000, 10_000, 5)
    assert patience_for("https://a.example/#rc=-1&rt=x&tt=&ct=²&rp=odd") == Patience()


def test_what_we_answer_still_reaches_twilio() -> None:
    assert patience_for("https://a.example/", total_ms=60_000).total_ms == 13_000
