"""Where a number's calls went before: by Twilio's precedence, or why nobody can be asked."""

from __future__ import annotations

import pytest

from calls.previous.target import Asked, PreviousTarget, previous_target
from calls.telephony.number_config import FIELDS

pytestmark = pytest.mark.unit

OURS = "https://voice.example.com"
NUMBER = dict.fromkeys(FIELDS, "") | {
    "voice_url": "https://api.vapi.ai/twilio/inbound_call#rt=9000",
    "voice_method": "GET",
    "voice_fallback_url": "https://old.example/fallback",
    "status_callback": "https://api.vapi.ai/twilio/status",
    "status_callback_method": "POST",
}
APP = {"voice_url": "https://app.example/in", "status_callback": "https://app.example/status"}


def target(app: dict[str, str] | None = None, **changes: str) -> PreviousTarget:
    return previous_target(NUMBER | changes, app, own_url=OURS)


def test_a_number_of_its_own_url_is_asked_there_by_its_own_methods() -> None:
    assert target() == PreviousTarget(
        "url",
        Asked("https://api.vapi.ai/twilio/inbound_call#rt=9000", "GET"),
        Asked("https://old.example/fallback", "POST"),
        Asked("https://api.vapi.ai/twilio/status", "POST"),
    )


def test_t26_an_app_wins_over_the_numbers_own_urls() -> None:
    found = target(APP, voice_application_sid="AP1")
    assert (found.kind, found.voice.url) == ("app", "https://app.example/in")
    assert found.status.url == "https://app.example/status" and not found.fallback


def test_an_app_that_was_not_recorded_is_never_replaced_by_the_numbers_urls() -> None:
    found = target(voice_application_sid="AP1")
    assert not found.voice and "App's URLs are not recorded" in found.problem


def test_a_trunk_wins_over_all_and_cannot_be_asked() -> None:
    found = target(APP, voice_application_sid="AP1", trunk_sid="TK1")
    assert found.kind == "trunk" and not found.voice and "SIP trunk" in found.problem


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is empty"),
        ("ftp://a.example/", "no http or https URL"),
        ("https://a b/", "a space"),
        ("https://voice.example.com/twilio/voice", "taken after the switch"),
    ],
)
def test_what_cannot_be_asked_says_why_and_what_to_do(url: str, words: str) -> None:
    found = target(voice_url=url)
    assert not found.voice and words in found.problem and "Fix: " in found.problem


@pytest.mark.parametrize("url", ["https://voice.example.com/twilio/status", "nonsense"])
def test_a_report_that_cannot_be_forwarded_does_not_keep_calls_back(url: str) -> None:
    found = target(status_callback=url, voice_fallback_url=url)
    assert found.voice and not found.status and not found.fallback and not found.problem
