"""What may be asked of Twilio's REST API, where, as whom, and when again."""

from __future__ import annotations

from typing import Any

import pytest

from calls.telephony.rest_rules import (
    WAITS_SECONDS,
    NextTry,
    answer_of,
    api_host,
    login_for,
    next_try,
    why_never,
)

pytestmark = pytest.mark.unit

ACCOUNT = "AC" + "a" * 32
KEY = "SK" + "b" * 32
NUMBERS = f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers"
NUMBER = f"{NUMBERS}/PN{'c' * 32}.json"


@pytest.mark.parametrize(
    ("method", "path", "form", "word"),
    [
        ("DELETE", NUMBER, {}, "DELETE"),
        ("delete", f"/2010-04-01/Accounts/{ACCOUNT}/Calls/CA1.json", {}, "DELETE"),
        ("PUT", NUMBER, {}, "PUT"),
        ("POST", f"{NUMBERS}.json", {"PhoneNumber": "+1"}, "bought"),
        ("POST", f"{NUMBERS}/Local.json", {}, "bought"),
        ("POST", NUMBER, {"VoiceUrl": "x", "SmsUrl": ""}, "SmsUrl"),
        ("POST", NUMBER, {"AccountSid": ACCOUNT}, "AccountSid"),
        ("POST", NUMBER, {"FriendlyName": "x"}, "FriendlyName"),
        ("POST", NUMBER, {"TrunkSid": "TK1", "VoiceApplicationSid": ""}, "only one"),
        ("POST", NUMBER, {"TrunkSid": "", "VoiceApplicationSid": "AP1"}, "only one"),
        ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Applications/AP1.json", {}, "TwiML app"),
    ],
)
def test_what_is_never_sent(method: str, path: str, form: dict[str, str], word: str) -> None:
    assert word in why_never(method, path, form)


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [
        ("GET", NUMBER, {}),
        ("GET", f"{NUMBERS}.json", {}),
        ("GET", f"/2010-04-01/Accounts/{ACCOUNT}/Applications/AP1.json", {}),
        ("POST", NUMBER, {"VoiceUrl": "x", "TrunkSid": "", "VoiceApplicationSid": ""}),
        ("POST", NUMBER, {"TrunkSid": "TK1", "VoiceUrl": ""}),
        ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Calls/CA1.json", {"Status": "completed"}),
    ],
)
def test_what_may_be_sent(method: str, path: str, form: dict[str, str]) -> None:
    assert why_never(method, path, form) == ""


@pytest.mark.parametrize(
    ("status", "silence", "answer"),
    [
        (200, "", "done"),
        (201, "", "done"),
        (400, "", "refused"),
        (401, "", "refused"),
        (404, "", "gone"),
        (429, "", "later"),
        (500, "", "unclear"),
        (503, "", "unclear"),
        (0, "unsent", "later"),
        (0, "lost", "unclear"),
        (0, "", "unclear"),
    ],
)
def test_what_an_answer_means(status: int, silence: Any, answer: str) -> None:
    assert answer_of(status, silence=silence) == answer


def again(method: str, answer: Any, **more: Any) -> NextTry:
    given = {"attempts": 1, "jitter": 0.0, "left_seconds": 60.0, **more}
    return next_try(method, answer, **given)


def test_a_write_whose_answer_was_lost_is_looked_for_first() -> None:
    assert again("POST", "unclear") == NextTry("look", 0.5)
    assert again("post", "later") == NextTry("again", 0.5)
    assert again("GET", "unclear") == NextTry("again", 0.5)


@pytest.mark.parametrize("answer", ["done", "gone", "refused"])
def test_what_is_settled_is_not_asked_again(answer: str) -> None:
    assert again("GET", answer).kind == "none"


def test_the_waits_grow_spread_and_end() -> None:
    waits = [again("GET", "later", attempts=n + 1).wait_seconds for n in range(len(WAITS_SECONDS))]
    assert waits == list(WAITS_SECONDS) == sorted(waits)
    assert again("GET", "later", attempts=3, jitter=1.0).wait_seconds == 3.0
    assert again("GET", "later", attempts=len(WAITS_SECONDS) + 1).kind == "none"


def test_what_twilio_asks_for_makes_a_wait_longer_and_never_shorter() -> None:
    assert again("GET", "later", retry_after_seconds=7.0).wait_seconds == 7.0
    assert again("GET", "later", retry_after_seconds=0.1).wait_seconds == 0.5


def test_no_wait_goes_past_the_end() -> None:
    assert again("POST", "later", left_seconds=8.4).kind == "none"
    assert again("POST", "later", left_seconds=8.5).kind == "again"
    assert again("POST", "later", retry_after_seconds=120.0).kind == "none"


def test_three_failures_of_twilio_leave_a_restore_within_its_minute() -> None:
    left = 60.0
    for attempts in (1, 2, 3):
        left -= 4.0  # the client's time limit
        following = again("POST", "unclear", attempts=attempts, jitter=1.0, left_seconds=left)
        assert following.kind == "look"
        left -= following.wait_seconds + 4.0
    assert left > 8.0


@pytest.mark.parametrize(
    ("region", "edge", "host"),
    [
        ("", "", "api.twilio.com"),
        ("US1", "", "api.twilio.com"),
        ("ie1", "", "api.ie1.twilio.com"),
        ("ie1", "dublin", "api.dublin.ie1.twilio.com"),
        ("", "dublin", "api.dublin.us1.twilio.com"),
    ],
)
def test_t35_each_region_has_its_host(region: str, edge: str, host: str) -> None:
    assert api_host(region, edge) == host


@pytest.mark.parametrize("made_up", ["evil.example/", "a b", "x@y", "ie1.", "-"])
def test_no_secret_goes_to_a_host_that_is_made_up(made_up: str) -> None:
    with pytest.raises(ValueError, match="words"):
        api_host(made_up)
    with pytest.raises(ValueError, match="words"):
        api_host("us1", made_up)


def test_a_key_goes_before_the_token_and_the_account_stays() -> None:
    login = login_for(ACCOUNT, auth_token="parrot", key_sid=KEY, key_secret="macaw")
    assert (login.account_sid, login.user, login.password) == (ACCOUNT, KEY, "macaw")
    login = login_for(ACCOUNT, auth_token="parrot")
    assert (login.user, login.password) == (ACCOUNT, "parrot")
    assert "parrot" not in repr(login)


@pytest.mark.parametrize(
    ("account", "given"),
    [
        ("AC1", {"auth_token": "parrot"}),
        (ACCOUNT, {}),
        (ACCOUNT, {"key_sid": KEY, "auth_token": "parrot"}),
        (ACCOUNT, {"key_sid": ACCOUNT, "key_secret": "parrot"}),
    ],
)
def test_half_a_login_is_none(account: str, given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="SID|key|token") as refused:
        login_for(account, **given)
    assert "parrot" not in str(refused.value)
