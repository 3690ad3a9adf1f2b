"""Addresses in TwiML: relative ones made absolute, everything else letter for letter."""

from __future__ import annotations

import inspect

import pytest
from twilio.twiml import voice_response

from calls.previous.twiml import ADDRESS_SUFFIXES, NotTwiml, with_absolute_urls
from calls.standins.twiml import parse_twiml

pytestmark = pytest.mark.unit

BASE = "https://previous.example.com/twilio/inbound?x=1&y=2"
HERE = "https://previous.example.com"
HERE_ESCAPED = f"{HERE}/twilio/inbound?x=1&amp;y=2"


def rewritten(inner: str) -> str:
    """Return what becomes of the inside of a response."""
    found = with_absolute_urls(f"<Response>{inner}</Response>", BASE).text
    assert found.startswith("<Response>") and found.endswith("</Response>")
    return found[len("<Response>") : -len("</Response>")]


UNTOUCHED = [
    "<Connect action=\"https://a.example/n\"><Stream  url='wss://a.example/s' /></Connect>",
    "<Redirect>https://a.example/x?a=1&amp;b=2</Redirect>",
    "<Redirect>\n <![CDATA[https://a.example/x?a=1&b=2]]> </Redirect>",
    "<Play>HTTP://a.example/beep.wav</Play><Play digits='1w2'/>",
    "<Say>/not/an/address &lt;Redirect&gt;/x&lt;/Redirect&gt; &#x41;</Say>",
    "<!-- <Redirect>/x</Redirect> <Gather/> --><?pi <Redirect>/x</Redirect> ?><Hangup />",
    "<Say><![CDATA[<Redirect>/x</Redirect>]]></Say>",
    '<Connect><Stream url="wss://a/s"><Parameter name="url" value="/x"/></Stream></Connect>',
    '<Dial><Conference waitUrl="" beep="false">/room</Conference></Dial>',
    '<Dial statusCallback="" ><Number statusCallbackEvent="answered"\n>+1</Number></Dial>',
    "<Dial><Sip>sip:a@b.example?X-Url=/x</Sip></Dial>",
    '<Gather action="https://a.example/g" numDigits="1"><Say>1 &gt; 0</Say></Gather>',
    '<x:Say xmlns:x="urn:x" xmlns:url="y" x:url="/y">a > b</x:Say>',
    "<Redirect>mailto:a</Redirect><Play>http://[broken/x</Play>",
    "<Play>//[broken</Play>",
    "<Pause length = '1'\t/>\r\n\r\n",
]


@pytest.mark.parametrize("inner", UNTOUCHED)
def test_without_a_relative_address_not_a_letter_changes(inner: str) -> None:
    text = f'\ufeff<?xml version="1.0" encoding="ISO-8859-1"?>\n<Response >{inner}</Response>\n'
    found = with_absolute_urls(text, BASE)
    assert found.text == text and found.changed == 0


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<Play>beep.wav</Play>", f"<Play>{HERE}/twilio/beep.wav</Play>"),
        ("<Play loop='2'>\n  /a b.wav\n</Play>", f"<Play loop='2'>\n  {HERE}/a b.wav\n</Play>"),
        ("<Redirect>../again?y=2</Redirect>", f"<Redirect>{HERE}/again?y=2</Redirect>"),
        ("<Redirect>?a=1&amp;b=2</Redirect>", None),
        ("<Redirect>//b.example/x</Redirect>", "<Redirect>https://b.example/x</Redirect>"),
        ("<Redirect>/x#rc=2</Redirect>", f"<Redirect>{HERE}/x#rc=2</Redirect>"),
        (
            "<Redirect> <![CDATA[ /x?a=1&b=<2> ]]> </Redirect>",
            f"<Redirect> <![CDATA[ {HERE}/x?a=1&b=<2> ]]> </Redirect>",
        ),
        (
            "<Redirect>/x<!-- cut -->?a=<![CDATA[1&b]]>=2</Redirect>",
            f"<Redirect>{HERE}/x?a=1&amp;b=2<!-- cut --><![CDATA[]]></Redirect>",
        ),
        ("<Redirect>&#x2F;x</Redirect>", f"<Redirect>{HERE}/x</Redirect>"),
        (
            "<tw:Play xmlns:tw='u'>b.wav</tw:Play>",
            f"<tw:Play xmlns:tw='u'>{HERE}/twilio/b.wav</tw:Play>",
        ),
        (
            '<Dial  action = "/next" callerId="+1">+2</Dial>',
            f'<Dial  action = "{HERE}/next" callerId="+1">+2</Dial>',
        ),
        (
            "<Dial><Number statusCallback='s?a=1&amp;b=\"'>+1</Number></Dial>",
            f"<Dial><Number statusCallback='{HERE}/twilio/s?a=1&amp;b=&quot;'>+1</Number></Dial>",
        ),
        (
            '<Start><Recording recordingStatusCallback="/r"/></Start>',
            f'<Start><Recording recordingStatusCallback="{HERE}/r"/></Start>',
        ),
        ('<Enqueue waitUrl="/w">q</Enqueue>', f'<Enqueue waitUrl="{HERE}/w">q</Enqueue>'),
        (
            '<Connect><Stream url="/s" statusCallback="/c"/></Connect>',
            '<Connect><Stream url="wss://previous.example.com/s"'
            f' statusCallback="{HERE}/c"/></Connect>',
        ),
        ('<Brandnew someNewUrl="/n"/>', f'<Brandnew someNewUrl="{HERE}/n"/>'),
    ],
)
def test_a_relative_address_is_that_of_the_previous_stack(inner: str, expected: str | None) -> None:
    wanted = expected or f"<Redirect>{HERE}/twilio/inbound?a=1&amp;b=2</Redirect>"
    assert rewritten(inner) == wanted


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<Gather/>", f'<Gather action="{HERE_ESCAPED}"/>'),
        ("<Gather><Say>1</Say></Gather>", f'<Gather action="{HERE_ESCAPED}"><Say>1</Say></Gather>'),
        ("<Record maxLength='9' />", f"<Record action=\"{HERE_ESCAPED}\" maxLength='9' />"),
        ("<Record action=''/>", f"<Record action='{HERE_ESCAPED}'/>"),
        ("<Redirect/>", f"<Redirect>{HERE_ESCAPED}</Redirect>"),
        ("<Redirect method='GET' />", f"<Redirect method='GET' >{HERE_ESCAPED}</Redirect>"),
        ("<Redirect> </Redirect>", f"<Redirect>{HERE_ESCAPED} </Redirect>"),
    ],
)
def test_what_asks_its_own_document_by_default_asks_the_previous_stack(
    inner: str, expected: str
) -> None:
    assert rewritten(inner) == expected


def test_our_stand_in_of_twilio_reads_what_was_meant() -> None:
    text = (
        '<Response><Play>beep.wav</Play><Connect action="/next"><Stream url="wss://a.example/s" '
        'statusCallback="stream"/></Connect><Redirect>../again?y=2&amp;z=3</Redirect></Response>'
    )
    document = parse_twiml(with_absolute_urls(text, BASE).text, "text/xml")
    play, connect, redirect = document.verbs
    assert play.text == f"{HERE}/twilio/beep.wav"
    assert connect.attributes["action"] == f"{HERE}/next"
    assert connect.children[0].attributes["statusCallback"] == f"{HERE}/twilio/stream"
    assert redirect.text == f"{HERE}/again?y=2&z=3"
    assert with_absolute_urls(text, BASE).changed == 4


BOMB = (
    '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<Response><Say>&b;</Say></Response>"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        "<Other/>",
        "<response/>",
        "<Response>",
        "<Response/><Response/>",
        "<Response><Say>&nbsp;</Say></Response>",
        "<Response a='1' a='2'/>",
        "<Response><Say>a & b</Say></Response>",
        " <?xml version='1.0'?><Response/>",
        "<Response>\x00</Response>",
        "<Response>\ud800</Response>",
        "<!DOCTYPE html><html></html>",
        '<!DOCTYPE Response SYSTEM "file:///etc/passwd"><Response/>',
        '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><Response>&e;</Response>',
        BOMB,
    ],
)
def test_what_is_no_twiml_or_would_have_to_be_expanded_is_refused(text: str) -> None:
    with pytest.raises(NotTwiml):
        with_absolute_urls(text, BASE)


def test_depth_is_no_danger() -> None:
    text = f"<Response>{'<a>' * 9000}<Redirect>/x</Redirect>{'</a>' * 9000}</Response>"
    assert f"{HERE}/x" in with_absolute_urls(text, BASE).text


def test_every_address_of_the_sdks_twiml_is_known_and_nothing_else_is_taken_for_one() -> None:
    """A new version of the SDK may bring attributes whose names end otherwise."""
    names = {
        name.replace("_", "")
        for _, kind in inspect.getmembers(voice_response, inspect.isclass)
        for _, method in inspect.getmembers(kind, inspect.isfunction)
        if kind.__module__ == voice_response.__name__
        for name in inspect.signature(method).parameters
    }
    taken = {name for name in names if name.endswith(ADDRESS_SUFFIXES)}
    assert taken == {
        *("action", "url", "waiturl", "referurl", "eventcallbackurl", "statuscallbackurl"),
        *("statuscallback", "recordingstatuscallback", "transcribecallback", "amdstatuscallback"),
        *("partialresultcallback", "sipurl"),  # sip_url is a SIP address in the text of <Sip>
    }
    assert {name for name in names if "url" in name or "callback" in name} - taken == {
        *("statuscallbackmethod", "statuscallbackevent", "waiturlmethod"),
        *("recordingstatuscallbackmethod", "recordingstatuscallbackevent"),
        *("partialresultcallbackmethod", "amdstatuscallbackmethod"),
    }
