"""Reading webhooks and writing TwiML: any form, exact documents (twilio.md 1, 2; T9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.standins.twiml import parse_twiml
from calls.wire import twilio_voice
from calls.wire.twilio_voice import VoiceFormError, status_report, stream_report, voice_request

pytestmark = pytest.mark.unit

CALL_SID, ACCOUNT_SID = "CA" + "1" * 32, "AC" + "2" * 32
FORMS = st.dictionaries(
    st.sampled_from(
        ["CallSid", "AccountSid", "From", "To", "CallStatus", "CallDuration", "SequenceNumber",
         "ErrorCode", "StreamSid", "StreamEvent", "StreamError", "Direction", "New"]
    ),
    st.one_of(st.text(), st.just(CALL_SID), st.just(ACCOUNT_SID), st.just("5")),
)  # fmt: skip


@given(FORMS)
def test_a_form_is_read_or_refused_by_name(form: dict[str, str]) -> None:
    for read in (voice_request, status_report, stream_report):
        try:
            read(form)
        except VoiceFormError as error:
            assert error.field in {"CallSid", "AccountSid"}


def test_what_is_absent_has_its_default() -> None:
    request = voice_request({"CallSid": CALL_SID, "AccountSid": ACCOUNT_SID})
    assert (request.caller, request.callee, request.direction) == ("", "", "inbound")
    report = status_report({"CallSid": CALL_SID})
    assert (report.sequence_number, report.duration_seconds, report.error_code) == (-1, 0, "")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "٣", "9" * 10, " 1"])
def test_numbers_that_are_none_are_the_default(text: str) -> None:
    form = {"CallSid": CALL_SID, "SequenceNumber": text, "CallDuration": text}
    report = status_report(form)
    assert (report.sequence_number, report.duration_seconds) == (-1, 0)


def test_what_no_database_takes_is_left_out() -> None:
    form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT_SID, "From": "a\x00b\ud800c"}
    assert voice_request(form).caller == "ab?c"


def test_long_values_are_cut_to_their_columns() -> None:
    form = {"CallSid": CALL_SID, "StreamError": "x" * 500, "StreamSid": "M" * 50}
    report = stream_report(form | {"StreamEvent": "y" * 50})
    assert (len(report.error), len(report.stream_sid), len(report.event)) == (200, 34, 30)


def test_the_stream_document() -> None:
    text = twilio_voice.connect_stream(
        stream_url="wss://h/a&b", action_url="https://h/next", status_url="https://h/s"
    )
    document = parse_twiml(text, "text/xml")
    assert document.notices == ()
    (connect,) = document.verbs
    assert connect.attributes == {"action": "https://h/next", "method": "POST"}
    (stream,) = connect.children
    assert stream.attributes["url"] == "wss://h/a&b"


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))))
def test_said_text_is_escaped(line: str) -> None:
    text = twilio_voice.say_and_hang_up(line)
    say, hangup = parse_twiml(text, "text/xml").verbs
    assert (say.text, hangup.name) == (line.strip(), "Hangup")


def test_the_other_documents() -> None:
    assert [v.name for v in parse_twiml(twilio_voice.hang_up(), "text/xml").verbs] == ["Hangup"]
    (reject,) = parse_twiml(twilio_voice.reject_busy(), "text/xml").verbs
    assert (reject.name, reject.attributes) == ("Reject", {"reason": "busy"})
    said = twilio_voice.connect_stream(
        stream_url="wss://h/a", action_url="https://h/n", status_url="https://h/s",
        say_first="Hello & welcome", language="en",
    )  # fmt: skip
    say, connect = parse_twiml(said, "text/xml").verbs
    assert (say.text, say.attributes, connect.name) == (
        "Hello & welcome", {"language": "en"}, "Connect",
    )  # fmt: skip


def test_keys_are_pressed_before_the_stream_begins() -> None:
    addresses = {"stream_url": "wss://h/a", "action_url": "https://h/n"}
    document = parse_twiml(twilio_voice.press_and_connect(**addresses, digits="1#"), "text/xml")
    play, connect = document.verbs
    assert (document.notices, play.name, play.attributes) == ((), "Play", {"digits": "1#"})
    assert connect.attributes == {"action": "https://h/n", "method": "POST"}
    (only,) = parse_twiml(twilio_voice.press_and_connect(**addresses), "text/xml").verbs
    assert only.name == "Connect"
