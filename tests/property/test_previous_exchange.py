"""Any form, any address, any answer: the signature validates, and an exchange comes to an end."""

from __future__ import annotations

from typing import get_args
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from calls.previous.addresses import Patience, wire_url
from calls.previous.answers import MOST_TWIML_BYTES
from calls.previous.errand import MOST_REDIRECTS, Errand, Failure, Outcome, Outgoing
from calls.previous.requests import Heard, Method, first_request

pytestmark = pytest.mark.property

TOKEN = "0123456789abcdef0123456789abcdef"
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
FORMS = st.lists(st.tuples(st.sampled_from(["From", "To", "a", "Ü"]) | WORDS, WORDS), max_size=8)
PLACES = st.sampled_from(["a.example", "A.b.example:8443", "a.example:443", "bü.example"])
# No semicolon: at a path's end Twilio's validator takes it away from what it checks.
PIECES = st.text(st.sampled_from(list("ab/.%2B+=&:~ü'()")), max_size=12)
METHODS = st.sampled_from(get_args(Method))


class Repeated(dict[str, list[str]]):
    """A form as servers hand it to the validator."""

    def getall(self, name: str) -> list[str]:
        """Return every value of a name."""
        return self[name]


@given(METHODS, st.sampled_from(["http", "https"]), PLACES, PIECES, PIECES, FORMS)
def test_twilios_validator_accepts_what_the_server_sees(
    method: Method, scheme: str, place: str, path: str, query: str, form: list[tuple[str, str]]
) -> None:
    url = f"{scheme}://{place}/{path}?{query}#rc=1"
    asked = first_request(url, method, Heard(urlencode(form).encode()), auth_token=TOKEN)
    headers = dict(asked.headers)
    seen = f"{urlsplit(asked.url).scheme}://{headers['Host']}{asked.target.decode('ascii')}"
    posted = Repeated(parse_qs(asked.body.decode("ascii"), keep_blank_values=True))
    assert RequestValidator(TOKEN).validate(seen, posted, headers["X-Twilio-Signature"])
    assert wire_url(asked.url) == asked.url


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Location", "Set-Cookie", "Content-Type", "Content-Encoding", "X"]),
        st.sampled_from(
            ["/x", "//b.example", "https://c.example:99999/", "text/xml", "audio/x", "gzip", "a=1"]
            + ["https://voice.example.com/twilio/voice", "text/xml; charset=utf-16", "a=1; Path=x"]
        )
        | st.text(st.characters(max_codepoint=255), max_size=20),
    ),
    max_size=4,
)
BODIES = st.sampled_from([b"<Response/>", b"<Response><Redirect>x</Redirect></Response>", b"\xff"])
ANSWERS = st.tuples(st.integers(200, 599), HEADERS, BODIES | st.binary(max_size=30))
EVENTS = ANSWERS | st.sampled_from(get_args(Failure))
PATIENCE = st.builds(
    Patience,
    total_ms=st.integers(1, 50),
    retries=st.integers(0, 5),
    retry_on=st.frozensets(st.sampled_from(["ct", "rt", "4xx", "5xx"])),
)


@given(METHODS, PATIENCE, st.lists(EVENTS, min_size=1, max_size=30))
def test_whatever_comes_back_an_exchange_ends_and_never_raises(
    method: Method, patience: Patience, events: list[object]
) -> None:
    errand = Errand(
        url="https://a.example/in",
        method=method,
        heard=Heard(b"CallSid=CA1"),
        auth_token=TOKEN,
        patience=patience,
        own_url="https://voice.example.com",
    )
    step = errand.start(0)
    asked = now_ms = 0
    while isinstance(step, Outgoing):
        event = events[asked % len(events)]
        asked, now_ms = asked + 1, now_ms + 1
        assert asked <= MOST_REDIRECTS + patience.retries + 1
        assert "voice.example.com" not in step.url
        if isinstance(event, tuple):
            step = errand.answered(*event, now_ms)
        else:
            step = errand.failed(event, now_ms)
    assert isinstance(step, Outcome)
    assert step.requests == asked and step.redirects <= MOST_REDIRECTS
    assert step.is_taken == (step.answer is not None)
    if step.answer is not None:
        assert step.reached == "yes" and len(step.answer.body) <= MOST_TWIML_BYTES
    else:
        assert step.error_code or "our own webhook" in step.reason
