"""One exchange with the previous stack: redirects, repeats, limits and what is stored of it."""

from __future__ import annotations

from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from calls.previous.addresses import Patience, patience_for
from calls.previous.errand import MOST_REDIRECTS, Errand, Failure, Outcome, Outgoing, Step
from calls.previous.requests import Heard

pytestmark = pytest.mark.unit

TOKEN = "0123456789abcdef0123456789abcdef"
URL = "https://previous.example.com/in?key=secret"
XML = [("Content-Type", "text/xml")]
HEARD = Heard(b"CallSid=CA1&From=%2B15550100001", [("I-Twilio-Idempotency-Token", "11-22")])


def errand(url: str = URL, **changes: Any) -> Errand:
    given: dict[str, Any] = {
        "url": url,
        "method": "POST",
        "heard": HEARD,
        "auth_token": TOKEN,
        "patience": Patience(),
        "own_url": "https://voice.example.com",
    }
    return Errand(**(given | changes))


def request_of(step: Step) -> Outgoing:
    assert isinstance(step, Outgoing), step
    return step


def outcome_of(step: Step) -> Outcome:
    assert isinstance(step, Outcome), step
    return step


def test_an_answer_is_given_on_and_the_row_says_who_took_the_call() -> None:
    made = errand(now_ms=1000)
    request_of(made.start(1000))
    found = outcome_of(made.answered(200, XML, b"<Response><Play>b</Play></Response>", 1250))
    assert found.answer is not None
    assert found.answer.body == (
        b"<Response><Play>https://previous.example.com/b</Play></Response>"
    )
    assert found.is_taken and not found.both_reached
    assert found.as_json() == {
        "reason": "the previous stack (previous.example.com) answered the call",
        "reached": "yes",
        "is_taken": True,
        "error_code": 0,
        "status": 200,
        "host": "previous.example.com",
        "requests": 1,
        "redirects": 0,
        "elapsed_ms": 250,
        "absolute_made": 1,
    }


def test_a_redirect_is_signed_anew_and_its_answer_is_relative_to_the_final_url() -> None:
    made = errand()
    request_of(made.start(0))
    moved = [("Location", "//b.example:8443/next/x?y=1"), ("Set-Cookie", "s=1; Path=/")]
    further = request_of(made.answered(302, moved, b"", 10))
    assert (further.method, further.url) == ("GET", "https://b.example:8443/next/x?y=1")
    headers = dict(further.headers)
    assert RequestValidator(TOKEN).validate(further.url, {}, headers["X-Twilio-Signature"])
    assert "Cookie" not in headers
    found = outcome_of(made.answered(200, XML, b"<Response><Play>b</Play></Response>", 20))
    assert found.answer is not None and b"https://b.example:8443/next/b" in found.answer.body
    assert (found.redirects, found.requests, found.host) == (1, 2, "b.example")


def test_a_cookie_is_shown_to_its_own_host_and_kept_for_the_call() -> None:
    made = errand()
    request_of(made.start(0))
    moved = [("location", "/in2"), ("set-cookie", "s=1; Path=/"), ("set-cookie", "t=2; Path=/")]
    further = request_of(made.answered(307, moved, b"", 10))
    assert dict(further.headers)["Cookie"] == "s=1; t=2"
    assert (further.method, further.body) == ("POST", HEARD.fields)
    found = outcome_of(made.answered(200, XML, b"<Response/>", 20))
    later = request_of(errand(cookies=found.cookies, purpose="status").start(0))
    assert dict(later.headers)["Cookie"] == "s=1; t=2"


def test_redirects_have_an_end() -> None:
    made = errand()
    step: Step = made.start(0)
    asked = 0
    while isinstance(step, Outgoing):
        asked += 1
        step = made.answered(302, [("Location", f"/{asked}")], b"", 1)
    assert (asked, step.error_code) == (MOST_REDIRECTS + 1, 11215)


@pytest.mark.parametrize(
    "location", ["ftp://b.example/", "file:///etc/passwd", "http://[b/", "gopher:x"]
)
def test_a_redirect_to_what_is_no_web_address_is_not_followed(location: str) -> None:
    made = errand()
    request_of(made.start(0))
    found = outcome_of(made.answered(302, [("Location", location)], b"", 1))
    assert found.error_code == 11100 and found.both_reached


@pytest.mark.parametrize("at_once", [True, False])
def test_our_own_webhook_is_never_asked(at_once: bool) -> None:
    ours = "https://voice.example.com/twilio/voice"
    made = errand(ours if at_once else URL)
    step = made.start(0)
    if not at_once:
        request_of(step)
        step = made.answered(307, [("Location", ours)], b"", 1)
    found = outcome_of(step)
    assert "our own webhook" in found.reason and not found.is_taken


@pytest.mark.parametrize(
    ("failure", "code", "reached"),
    [
        ("refused", 11200, "no"),
        ("name", 11210, "no"),
        ("connect", 11205, "no"),
        ("tls", 11220, "no"),
        ("silent", 11200, "maybe"),
        ("broken", 11200, "maybe"),
        ("too_long", 11750, "yes"),
        ("url", 11100, "no"),
        ("time", 11200, "maybe"),
    ],
)
def test_a_failure_says_whether_both_stacks_may_have_the_call(
    failure: Failure, code: int, reached: str
) -> None:
    made = errand(patience=Patience(retries=0))
    request_of(made.start(0))
    found = outcome_of(made.failed(failure, 5))
    assert (found.error_code, found.reached, found.answer) == (code, reached, None)
    assert found.both_reached is (reached != "no")
    assert "Fix: " in found.reason and "secret" not in found.reason


def test_no_connection_is_tried_once_more_as_twilio_does() -> None:
    """twilio.md 1.3: one retry, of connection failures only."""
    made = errand()
    first = request_of(made.start(0))
    assert request_of(made.failed("connect", 1000)) == first
    assert outcome_of(made.failed("connect", 2000)).requests == 2
    silent = errand()
    request_of(silent.start(0))
    assert outcome_of(silent.failed("silent", 1000)).requests == 1


def test_overrides_of_the_url_say_what_else_is_tried_again_with_the_same_token() -> None:
    url = f"{URL}#rc=3&rp=all"
    made = errand(url, patience=patience_for(url))
    first = request_of(made.start(0))
    for step in (
        made.answered(503, [], b"", 1),
        made.failed("silent", 2),
        made.answered(404, [], b"", 3),
    ):
        again = request_of(step)
        assert again == first
        assert dict(again.headers)["I-Twilio-Idempotency-Token"] == "11-22"
    assert outcome_of(made.answered(503, [], b"", 4)).requests == 4


def test_nothing_is_begun_when_the_time_is_up() -> None:
    made = errand(patience=Patience(total_ms=4000))
    request_of(made.start(0))
    assert made.left_ms(3999) == 1
    found = outcome_of(made.failed("connect", 4000))
    assert found.requests == 1
    late = errand(patience=Patience(total_ms=4000))
    request_of(late.start(0))
    found = outcome_of(late.answered(302, [("Location", "/x")], b"", 4000))
    assert "its time was up" in found.reason and found.requests == 1


@pytest.mark.parametrize("status", [204, 301, 304, 400, 401, 404, 500, 503])
def test_a_status_that_is_no_answer_leaves_the_call_to_us(status: int) -> None:
    made = errand()
    request_of(made.start(0))
    found = outcome_of(made.answered(status, XML, b"", 5))
    assert not found.is_taken and found.both_reached and found.status == status


def test_a_report_is_taken_whatever_it_answers() -> None:
    """twilio.md 4.6: the body of an answer to a status callback is ignored."""
    made = errand(purpose="status")
    request_of(made.start(0))
    assert made.most_bytes(200, "audio/mpeg") == 0
    found = outcome_of(made.answered(204, [("Content-Type", "application/json")], b"", 5))
    assert found.is_taken and found.answer is None and not found.both_reached


def test_only_a_bounded_body_is_wanted() -> None:
    made = errand()
    assert made.most_bytes(302, "text/xml") == made.most_bytes(500, "text/xml") == 0
    assert made.most_bytes(200, "text/xml") == 64 * 1024


def test_without_an_auth_token_nothing_is_asked() -> None:
    found = outcome_of(errand(auth_token="").start(0))
    assert found.requests == 0 and "no auth token" in found.reason and not found.both_reached
