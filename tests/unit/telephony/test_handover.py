"""TwiML of the previous stack: verbatim, or with its relative addresses made absolute."""

from __future__ import annotations

import pytest

from calls.standins.twiml import parse_twiml
from calls.telephony.handover import absolute

pytestmark = pytest.mark.unit

BASE = "https://previous.example.com/twilio/inbound?x=1"


def test_without_a_relative_address_not_a_byte_changes() -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Connect action="https://a.example/n">'
        "<Stream  url='wss://a.example/s' /></Connect></Response>"
    )
    assert absolute(text, BASE) == text


def test_relative_addresses_are_those_of_the_previous_stack() -> None:
    text = (
        '<Response><Play>beep.wav</Play><Connect action="/next"><Stream url="wss://a.example/s" '
        'statusCallback="stream"/></Connect><Redirect>../again?y=2</Redirect></Response>'
    )
    play, connect, redirect = parse_twiml(absolute(text, BASE), "text/xml").verbs
    assert play.text == "https://previous.example.com/twilio/beep.wav"
    assert connect.attributes["action"] == "https://previous.example.com/next"
    assert connect.children[0].attributes == {
        "url": "wss://a.example/s",
        "statusCallback": "https://previous.example.com/twilio/stream",
    }
    assert redirect.text == "https://previous.example.com/again?y=2"


@pytest.mark.parametrize(
    "text", ["", "Hello", "<Other/>", '<!DOCTYPE x [<!ENTITY e "e">]><Response>&e;</Response>']
)
def test_what_is_no_twiml_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        absolute(text, BASE)
