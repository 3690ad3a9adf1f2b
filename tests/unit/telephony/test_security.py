"""Signatures against ones made from the reference, not from the SDK (T6, T7, T28)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from calls.telephony.security import (
    form_signature_valid,
    json_signature_valid,
    stream_signature_valid,
)

pytestmark = pytest.mark.unit

TOKEN = "token-one"
URL = "https://voice.example.com/twilio/voice"
WSS = "wss://voice.example.com/twilio/media/7f3c/abc"


def _sign(text: str, token: str = TOKEN) -> str:
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), max_size=8))
def test_any_form_is_signed_over_its_sorted_fields(form: dict[str, str]) -> None:
    try:
        text = URL + "".join(name + form[name] for name in sorted(form))
        signature = _sign(text)
    except UnicodeEncodeError:
        return  # no HTTP client can send it
    assert form_signature_valid([TOKEN], URL, form, signature)
    assert not form_signature_valid(["other"], URL, form, signature)
    assert not form_signature_valid([TOKEN], URL, {**form, "Extra": "x"}, signature)


def test_blank_and_repeated_fields_count_once_each() -> None:
    query = QueryDict("CallerName=&To=2&To=1&To=2&A=x")
    signature = _sign(URL + "Ax" + "CallerName" + "To1To2")
    assert form_signature_valid([TOKEN], URL, query, signature)


def test_t29_either_of_two_tokens_signs_and_an_empty_one_never() -> None:
    signature = _sign(URL, "token-two")
    assert form_signature_valid([TOKEN, "token-two"], URL, {}, signature)
    assert not form_signature_valid([TOKEN, ""], URL, {}, _sign(URL, ""))
    assert not form_signature_valid([], URL, {}, signature)


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https", "http"),
        URL + "/",
        URL + "?x=1",
        URL.replace("voice.example", "VOICE.example"),
        URL.replace("example.com", "example.com:8443"),
    ],
)
def test_t6_another_spelling_of_the_url_is_another_text(url: str) -> None:
    assert not form_signature_valid([TOKEN], URL, {}, _sign(url))


@given(st.text(max_size=60))
def test_t28_odd_signatures_are_wrong_and_raise_nothing(signature: str) -> None:
    assert not form_signature_valid([TOKEN], URL, {"A": "b"}, signature)
    assert not json_signature_valid([TOKEN], URL + "?bodySHA256=0", b"{}", signature)
    assert not stream_signature_valid([TOKEN], WSS, signature)


def test_json_needs_its_hash_in_the_url() -> None:
    body = json.dumps({"CallSid": "CA1", "name": "é"}).encode()
    url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    assert json_signature_valid([TOKEN], url, body, _sign(url))
    assert not json_signature_valid([TOKEN], url, body + b" ", _sign(url))
    assert not json_signature_valid([TOKEN], URL, body, _sign(URL))
    assert not json_signature_valid([TOKEN], url, b"\xff\xfe", _sign(url))
    wrong = f"{URL}?bodySHA256=0"
    assert not json_signature_valid([TOKEN], wrong, body, _sign(wrong))


def test_t7_the_stream_is_signed_as_wss_with_or_without_its_port() -> None:
    assert stream_signature_valid([TOKEN], WSS, _sign(WSS))
    with_port = WSS.replace("example.com", "example.com:443")
    assert stream_signature_valid([TOKEN], WSS, _sign(with_port))
    for wrong in (
        WSS.replace("wss", "https"),
        WSS.replace("wss", "ws"),
        WSS + "/",
        WSS.replace("abc", "abd"),
    ):
        assert not stream_signature_valid([TOKEN], WSS, _sign(wrong))


def test_a_generator_of_tokens_is_read_once_for_both_spellings() -> None:
    with_port = _sign(WSS.replace("example.com", "example.com:443"))
    assert stream_signature_valid((token for token in (TOKEN,)), WSS, with_port)
