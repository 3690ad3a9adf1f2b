"""The one element that a shadow adds to the previous stack's TwiML, and where it is left out."""

from __future__ import annotations

import pytest

from calls.previous.answers import MOST_TWIML_BYTES, Answer
from calls.previous.forks import NotForked, forked
from calls.standins.twiml import parse_twiml
from calls.wire.twilio_voice import fork_start

pytestmark = pytest.mark.unit

START = fork_start(
    stream_url="wss://voice.example.com/twilio/shadow/1/t",
    name="shadow-1",
    status_url="https://voice.example.com/twilio/shadow-status/1",
)
CONNECT = '<Connect><Stream url="wss://old.example/m"/></Connect>'


def answer(text: str, *, encoding: str = "utf-8", kind: str = "text/xml") -> Answer:
    return Answer(kind, text.encode(encoding), 2)


def test_the_element_stands_before_the_first_verb_and_no_other_byte_changes() -> None:
    before = '<?xml version="1.0"?>\n<!-- é -->\n<Response >\n  <!-- a > b -->\n  '
    rest = CONNECT + "<Redirect>https://old.example/r?a=1&amp;b=2</Redirect>\n</Response >"
    found = forked(answer(before + rest), START)
    assert found == Answer("text/xml", (before + START + rest).encode(), 2)
    assert isinstance(found, Answer)
    document = parse_twiml(found.body.decode(), "text/xml")
    assert [verb.name for verb in document.verbs] == ["Start", "Connect", "Redirect"]
    assert document.notices == ()
    stream = document.verbs[0].child("Stream")
    assert stream is not None and stream.attributes["track"] == "both_tracks"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "iso-8859-1", "utf-16-le"])
def test_it_is_written_in_the_encoding_of_the_document(encoding: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding}"?><Response>' if "8859" in encoding else ""
    text = (head or "<Response>") + "<Say>Grüezi</Say></Response>"
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    found = forked(Answer("text/xml", mark + text.encode(encoding)), START)
    assert isinstance(found, Answer)
    assert found.body.removeprefix(mark).decode(encoding) == text.replace("<Say>", START + "<Say>")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<Response/>", "no verb"),
        ("<Response></Response>", "no verb"),
        ("<Response><Redirect>https://old.example/r</Redirect></Response>", "<Redirect>"),
        ("<Response><Reject/></Response>", "<Reject>"),
        ("<Response><Hangup/></Response>", "<Hangup>"),
        ("<Response><Pause length='2'/>" + CONNECT + "</Response>", "<Pause>"),
        ("<Response>" + START + CONNECT + "</Response>", "<Start>"),
        ("<Response>" + CONNECT + "<Stop><Stream name='a'/></Stop></Response>", "<Stop>"),
        ("<Response><Say>a</Say><Pay/></Response>", "<Pay>"),
        ("<Response><Say>a</Say><Enqueue>desk</Enqueue></Response>", "<Enqueue>"),
        ("<Response><Say>a</Say><Refer><Sip>a</Sip></Refer></Response>", "<Refer>"),
        ("<Response><Say>a</Say><Reject/></Response>", "<Reject>"),
        ("<Response><Dial answerOnBridge='true'>+15550100</Dial></Response>", "<Dial>"),
        ("<Response><Dial>+15550100</Dial></Response>", "<Dial>"),
        ("<Response>" + CONNECT + "<Dial>+15550100</Dial></Response>", "<Dial>"),
        ("<t:Response xmlns:t='u'><t:Say>a</t:Say></t:Response>", "no verb"),
        ("<Response xmlns:t='u'><Say>a</Say><t:Pay/></Response>", "prefixes"),
        ("<Response><Say>a</Response>", "well-formed"),
        ("<Response><Say>" + "a" * MOST_TWIML_BYTES + "</Say></Response>", "too long"),
    ],
)
def test_a_document_that_might_do_something_else_then_stays_as_it_is(text: str, why: str) -> None:
    found = forked(answer(text), START)
    assert isinstance(found, NotForked) and why in found.reason


def test_what_is_no_twiml_stays_as_it_is() -> None:
    text = "<Response><Say>a</Say></Response>"
    assert isinstance(forked(answer(text, kind="audio/mpeg"), START), NotForked)
    assert isinstance(forked(answer(text, kind="text/plain"), START), NotForked)
    wide = answer(text, encoding="utf-16-le", kind="text/xml; charset=utf-16")
    assert isinstance(forked(wide, START), NotForked)
