"""TwiML is read strictly, numbers obey Twilio's precedence."""

from __future__ import annotations

import pytest

from calls.standins.twilio_numbers import Numbers, VoiceConfig
from calls.standins.twiml import TwimlError, parse_twiml

pytestmark = pytest.mark.unit


def test_a_connect_document_is_read_whole() -> None:
    document = parse_twiml(
        '<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="https://h/a">'
        '<Stream url="wss://h/m" name="main"><Parameter name="a" value="b &amp; c"/></Stream>'
        "</Connect><Say> Sorry </Say></Response>",
        "application/xml; charset=utf-8",
    )
    connect, say = document.verbs
    stream = connect.child("Stream")
    assert stream is not None
    assert stream.attributes == {"url": "wss://h/m", "name": "main"}
    assert stream.children[0].attributes == {"name": "a", "value": "b & c"}
    assert (say.text, connect.child("Relay"), document.notices) == ("Sorry", None, ())


@pytest.mark.parametrize(
    ("body", "notice"),
    [
        ("<Sing/>", "Response/Sing is not known here"),
        ('<Say pitch="1">x</Say>', "Response/Say@pitch is not known"),
        ("<Connect>text</Connect>", "Response/Connect takes no text"),
        ('<Connect><Stream url="x" codec="y"/></Connect>', "Connect/Stream@codec is not known"),
        ("<Connect><Stream><Parametre/></Stream></Connect>", "Stream/Parametre is not known here"),
    ],
)
def test_what_is_unknown_is_ignored_with_12200(body: str, notice: str) -> None:
    document = parse_twiml(f"<Response>{body}</Response>", "text/xml")
    [(code, text)] = document.notices
    assert code == 12200
    assert text.endswith(notice)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [("<Response>", "text/xml", 12100), ("<R/>", "text/xml", 12100), ("<Response/>", "", 12300)],
)
def test_what_is_no_twiml_is_an_error(body: str, kind: str, code: int) -> None:
    with pytest.raises(TwimlError) as caught:
        parse_twiml(body, kind)
    assert caught.value.code == code


def test_precedence_of_an_incoming_call() -> None:
    numbers = Numbers("AC" + "0" * 32)
    sid = numbers.add("+15550100001", voice_url="https://a/", status_callback="https://s/")["sid"]
    assert numbers.effective("+15550100009") is None
    assert numbers.effective("+15550100001") == VoiceConfig(
        "https://a/", status_callback="https://s/"
    )
    numbers.update(sid, {"TrunkSid": "TK1", "VoiceUrl": "https://b/", "Unknown": "x"})
    assert numbers.effective("+15550100001") == VoiceConfig(source="trunk")
    numbers.update(sid, {"TrunkSid": "", "VoiceUrl": ""})
    assert numbers.effective("+15550100001") == VoiceConfig(source="none")
