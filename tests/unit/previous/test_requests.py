"""Requests to the previous stack, checked by Twilio's own validator."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from twilio.request_validator import RequestValidator

from calls.previous.cookies import Cookie
from calls.previous.requests import (
    Heard,
    Outgoing,
    fields_of,
    first_request,
    next_request,
    signature,
    with_error,
)

pytestmark = pytest.mark.unit

TOKEN = "0123456789abcdef0123456789abcdef"
FORM = (
    b"CallSid=CA1&From=%2B15550100001&To=%2B15550100002&CallStatus=ringing&CallerName="
    b"&Zeta=1&SipHeader_X-Name=J%C3%BCrgen+M&Repeated=b&Repeated=a&Repeated=b&Alpha=a%26b%3Dc"
)
HEARD = Heard(FORM)


class Repeated(dict[str, list[str]]):
    """A form as servers hand it to the validator: ``getall`` is what it looks for."""

    def getall(self, name: str) -> list[str]:
        """Return every value of a name."""
        return self[name]


def form_at_the_server(asked: Outgoing) -> Repeated:
    return Repeated(parse_qs(asked.body.decode("ascii"), keep_blank_values=True))


def is_valid(asked: Outgoing, url: str | None = None) -> bool:
    given = dict(asked.headers)["X-Twilio-Signature"]
    form: Any = form_at_the_server(asked) if asked.method == "POST" else {}
    return bool(RequestValidator(TOKEN).validate(url or asked.url, form, given))


URLS = [
    "https://a.example/in",
    "https://a.example:443/in",
    "https://a.example:8443/in?tenant=7&x=%2B",
    "http://a.example/in?",
    "https://A.Example/Case",
    "https://a.example/ü?ß=ü",
    "https://bücher.example/in",
    "https://a.example",
]


@pytest.mark.parametrize("url", URLS)
def test_a_post_is_signed_for_the_url_that_is_asked(url: str) -> None:
    asked = first_request(url, "POST", HEARD, auth_token=TOKEN)
    assert is_valid(asked)
    assert not is_valid(asked, "https://voice.example.com/twilio/voice")
    # The server puts the address together again of what it was sent.
    scheme, host = urlsplit(url).scheme, dict(asked.headers)["Host"]
    assert is_valid(asked, f"{scheme}://{host}{asked.target.decode()}")


@pytest.mark.parametrize("url", URLS)
def test_a_get_has_the_fields_in_its_query_and_is_signed_for_it(url: str) -> None:
    asked = first_request(url, "GET", HEARD, auth_token=TOKEN)
    assert asked.body == b"" and asked.url.endswith(FORM.decode("ascii"))
    assert is_valid(asked)
    assert fields_of(urlsplit(asked.url).query.encode())[-len(fields_of(FORM)) :] == fields_of(FORM)
    assert "Content-Type" not in dict(asked.headers)


def test_the_form_goes_on_letter_for_letter_and_in_order() -> None:
    assert first_request("https://a.example/", "POST", HEARD, auth_token=TOKEN).body == FORM


def test_a_form_that_came_by_get_is_posted_where_the_number_was_posted_to() -> None:
    asked = first_request("https://a.example/", "POST", Heard(b"A=%C3%BC&B="), auth_token=TOKEN)
    assert asked.body == b"A=%C3%BC&B=" and is_valid(asked)


def test_bytes_that_no_query_holds_are_escaped() -> None:
    asked = first_request("https://a.example/", "GET", Heard(b"A=\xc3\xbc#&B= "), auth_token=TOKEN)
    assert asked.url == "https://a.example/?A=%C3%BC%23&B=%20"


def test_the_fragment_is_neither_sent_nor_signed() -> None:
    """twilio.md 1.3: a signature over the URL with its overrides does not match."""
    asked = first_request("https://a.example/in?x=1#rc=2", "POST", HEARD, auth_token=TOKEN)
    assert asked.target == b"/in?x=1"
    assert is_valid(asked, "https://a.example/in?x=1")


def test_t6_the_url_is_the_recorded_one_whatever_host_twilio_named() -> None:
    heard = Heard(FORM, [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example")])
    asked = first_request("https://a.example/in", "POST", heard, auth_token=TOKEN)
    assert dict(asked.headers)["Host"] == "a.example"
    assert "X-Forwarded-Host" not in dict(asked.headers)


def test_the_headers_are_twilios_and_nothing_tells_of_us() -> None:
    heard = Heard(
        FORM,
        [
            ("user-agent", "TwilioProxy/1.2"),
            ("i-twilio-idempotency-token", "11-22"),
            ("X-Home-Region", "us1"),
            ("accept", "*/*"),
            ("x-twilio-signature", "ours"),
            ("x-twilio-webhooks-signature-settings", "key=k,algorithm=HMAC_SHA256"),
            ("x-forwarded-for", "10.0.0.1"),
            ("via", "1.1 caddy"),
            ("cookie", "session=ours"),
            ("authorization", "Basic b3Vycw=="),
            ("content-length", "1"),
            ("i-twilio-odd", "a\r\nX-Injected: 1"),
            ("i-twilio-long", "a" * 5000),
        ],
    )
    asked = first_request("https://a.example/in", "POST", heard, auth_token=TOKEN)
    headers = dict(asked.headers)
    assert headers.pop("X-Twilio-Signature") != "ours"
    assert headers == {
        "Host": "a.example",
        "User-Agent": "TwilioProxy/1.2",
        "Accept": "*/*",
        "I-Twilio-Idempotency-Token": "11-22",
        "X-Home-Region": "us1",
        "Accept-Encoding": "identity",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_a_user_part_becomes_authorization_for_its_own_host_alone() -> None:
    asked = first_request("https://us%40er:p@a.example/in", "POST", HEARD, auth_token=TOKEN)
    assert dict(asked.headers)["Authorization"] == "Basic dXNAZXI6cA=="
    assert dict(asked.headers)["Host"] == "a.example"
    assert asked.target == b"/in"
    further = next_request("https://b.example/", 302, asked, HEARD, auth_token=TOKEN)
    assert "Authorization" not in dict(further.headers)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_is_followed_by_a_get_without_the_fields(status: int) -> None:
    """twilio.md 1.2."""
    asked = first_request("https://a.example/in", "POST", HEARD, auth_token=TOKEN)
    further = next_request("https://b.example/x?y=1", status, asked, HEARD, auth_token=TOKEN)
    assert (further.method, further.url, further.body) == ("GET", "https://b.example/x?y=1", b"")
    assert is_valid(further)


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_keeps_the_form(status: int) -> None:
    asked = first_request("https://a.example/in", "POST", HEARD, auth_token=TOKEN)
    further = next_request("https://b.example/x", status, asked, HEARD, auth_token=TOKEN)
    assert (further.method, further.body) == ("POST", FORM)
    assert is_valid(further) and not is_valid(further, "https://a.example/in")


def test_cookies_go_where_they_belong() -> None:
    kept = (Cookie("s", "1", "a.example", "/", is_host_only=True, is_secure=True),)
    asked = first_request("https://a.example/in", "POST", HEARD, auth_token=TOKEN, cookies=kept)
    assert dict(asked.headers)["Cookie"] == "s=1"
    plain = first_request("http://a.example/in", "POST", HEARD, auth_token=TOKEN, cookies=kept)
    assert "Cookie" not in dict(plain.headers)


def test_a_fallback_url_is_told_what_failed() -> None:
    """twilio.md 1.1: ErrorCode and ErrorUrl are fields of the fallback request only."""
    told = with_error(HEARD, error_code=11200, error_url="https://a.example/in?x=1&y=2")
    assert fields_of(told.fields) == [
        *fields_of(FORM),
        ("ErrorCode", "11200"),
        ("ErrorUrl", "https://a.example/in?x=1&y=2"),
    ]


def test_t29_another_token_signs_otherwise() -> None:
    assert signature("old", "https://a.example/") != signature("new", "https://a.example/")


def test_nothing_of_a_request_is_shown_by_accident() -> None:
    asked = first_request("https://a.example/in?key=secret", "POST", HEARD, auth_token=TOKEN)
    assert "secret" not in repr(asked) and "5550100001" not in repr((asked, HEARD))
