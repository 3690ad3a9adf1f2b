"""What the previous stack answered: as Twilio would read it, bounded, and given on as it is."""

from __future__ import annotations

import gzip
import zlib

import pytest

from calls.previous.answers import MOST_TWIML_BYTES, Answer, Unusable, most_bytes, usable

pytestmark = pytest.mark.unit

BASE = "https://previous.example.com/in"
TWIML = b"<Response><Hangup/></Response>"
RELATIVE = "<Response><Say>Grüße</Say><Redirect>/ü</Redirect></Response>"


def read(body: bytes, content_type: str = "text/xml", coding: str = "") -> Answer | Unusable:
    return usable(body, content_type=content_type, content_coding=coding, base_url=BASE)


@pytest.mark.parametrize(
    "content_type", ["text/xml", "application/xml; charset=utf-8", "TEXT/HTML", "text/xml;"]
)
def test_twiml_without_a_relative_address_is_given_byte_for_byte(content_type: str) -> None:
    body = b'\xef\xbb\xbf<?xml version="1.0"?>\r\n<Response ><Hangup  /></Response>\n'
    assert read(body, content_type) == Answer(content_type, body)


def test_an_answer_without_a_type_that_is_twiml_is_taken_for_it() -> None:
    assert read(TWIML, "") == Answer("text/xml", TWIML)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/plain", b"We are closed. </Response> & more"), ("audio/mpeg", b"\xff\xfb\x00\x01")],
)
def test_text_and_sound_pass_through_untouched(content_type: str, body: bytes) -> None:
    assert read(body, content_type) == Answer(content_type, body)


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (TWIML, "application/json", 12300),
        (TWIML, "application/octet-stream", 12300),
        (b"", "text/xml", 12100),
        (b"<html><body>502</body></html>", "text/html", 12100),
        (b"<!DOCTYPE html><html/>", "text/html", 12100),
        (b"<Response>\xff</Response>", "text/xml", 12100),
        (b"<Response/>", "text/xml; charset=utf-7", 12100),
        (b"<Response/>", "text/xml; charset=zlib_codec", 12100),
        (b"<Response/>", "text/xml; charset=nonsense", 12100),
        (b"<Response>" + b" " * MOST_TWIML_BYTES + b"</Response>", "text/xml", 11750),
    ],
)
def test_what_twilio_could_not_run_has_twilios_code(
    body: bytes, content_type: str, code: int
) -> None:
    found = read(body, content_type)
    assert isinstance(found, Unusable) and found.code == code and found.cause


def test_absolute_addresses_may_make_it_too_long() -> None:
    play = b"<Play>b</Play>" * (MOST_TWIML_BYTES // 20)
    found = read(b"<Response>" + play + b"</Response>")
    assert isinstance(found, Unusable) and found.code == 11750


@pytest.mark.parametrize(
    ("encoding", "content_type", "before"),
    [
        ("utf-8", "text/xml", ""),
        ("iso-8859-1", "text/xml; charset=ISO-8859-1", ""),
        ("iso-8859-1", "text/xml", '<?xml version="1.0" encoding="ISO-8859-1"?>'),
        ("utf-8", 'text/xml; charset="UTF-8"', '<?xml version="1.0" encoding="ISO-8859-1"?>'),
        ("utf-16", "text/xml", ""),
        ("cp1252", "text/xml; charset=windows-1252", ""),
    ],
)
def test_an_edited_document_keeps_its_encoding(
    encoding: str, content_type: str, before: str
) -> None:
    found = read((before + RELATIVE).encode(encoding), content_type)
    expected = before + RELATIVE.replace(">/ü<", ">https://previous.example.com/ü<")
    assert found == Answer(content_type, expected.encode(encoding), 1)


def test_what_the_encoding_has_no_byte_for_is_written_as_a_reference() -> None:
    found = read(b"<Response><Play>&#xFC;</Play></Response>", "text/xml; charset=us-ascii")
    expected = b"<Response><Play>https://previous.example.com/&#252;</Play></Response>"
    assert found == Answer("text/xml; charset=us-ascii", expected, 1)


@pytest.mark.parametrize(("pack", "coding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
def test_what_was_compressed_without_being_asked_is_opened(pack: object, coding: str) -> None:
    assert callable(pack)
    assert read(pack(TWIML), "text/xml", coding) == Answer("text/xml", TWIML)


def test_a_compressed_bomb_stays_small_and_broken_compression_is_no_answer() -> None:
    bomb = read(gzip.compress(b" " * 5_000_000), "text/xml", "gzip")
    assert isinstance(bomb, Unusable) and bomb.code == 11750
    for body, coding in ((gzip.compress(TWIML)[:-9], "gzip"), (TWIML, "gzip"), (TWIML, "br")):
        found = read(body, "text/xml", coding)
        assert isinstance(found, Unusable) and found.code == 11200


def test_sound_may_be_longer_than_twiml_and_is_bounded_too() -> None:
    assert most_bytes("text/plain") == most_bytes("text/xml") == MOST_TWIML_BYTES
    assert MOST_TWIML_BYTES < most_bytes("audio/basic") <= 8_000_000
