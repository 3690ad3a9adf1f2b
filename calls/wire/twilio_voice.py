"""Twilio's voice webhooks: the only reader of their form fields and writer of TwiML.

Vendor pages: https://www.twilio.com/docs/voice/twiml and /voice/twiml/stream, read 2026-11-22
(twilio.md 1, 2). ``From`` and ``To`` are not always numbers; unknown fields are normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from twilio.twiml.voice_response import Connect, Dial, Gather, Start, VoiceResponse

DIAL_SECONDS = 30
KEY_SECONDS = 1  # of silence for a key behind what is said; Twilio takes no less
ANSWER_SECONDS = 6  # after a question
TERMINAL_STATUSES = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


class VoiceFormError(ValueError):
    """A webhook lacks a field that Twilio always sends; answer 400 and name the field."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the field {field} is missing or malformed")
        self.field = field


@dataclass(frozen=True, slots=True)
class VoiceRequest:
    """The fields of a voice webhook that the platform acts on (twilio.md 1.1)."""

    call_sid: str
    account_sid: str
    caller: str
    callee: str
    call_status: str
    direction: str


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A status callback (4.6); ``sequence_number`` is -1 where Twilio sends none."""

    call_sid: str
    call_status: str
    duration_seconds: int
    sequence_number: int
    error_code: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream status callback (2.4)."""

    call_sid: str
    stream_sid: str
    event: str
    error: str


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """A recording status callback (4.5); ``call_sid`` is always the parent leg's."""

    call_sid: str
    recording_sid: str
    status: str
    duration_seconds: int
    channels: int
    started_at: datetime | None
    error_code: str


def is_sid(value: str, prefix: str) -> bool:
    """Tell whether a text is a Twilio id of that prefix: two letters and 32 hex digits."""
    return (
        len(value) == 34
        and value.startswith(prefix)
        and all(char in "0123456789abcdefABCDEF" for char in value[2:])
    )


def _required_sid(form: Mapping[str, str], field: str, prefix: str) -> str:
    value = form.get(field, "")
    if not is_sid(value, prefix):
        raise VoiceFormError(field)
    return value


def _text(form: Mapping[str, str], field: str, limit: int) -> str:
    """Return a field that every database takes: no NUL, no lone surrogate, at most ``limit``."""
    value = form.get(field, "").replace("\x00", "")
    return value.encode("utf-8", "replace").decode()[:limit]


def _integer(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def seconds_of(form: Mapping[str, str], field: str) -> int:
    """Return a duration field, 0 where it is absent or no number."""
    return _integer(form.get(field, ""), 0)


def voice_request(form: Mapping[str, str]) -> VoiceRequest:
    """Read an incoming-call webhook.

    Raises:
        VoiceFormError: no usable CallSid or AccountSid.
    """
    return VoiceRequest(
        call_sid=_required_sid(form, "CallSid", "CA"),
        account_sid=_required_sid(form, "AccountSid", "AC"),
        caller=_text(form, "From", 80),
        callee=_text(form, "To", 80),
        call_status=form.get("CallStatus", ""),
        direction=form.get("Direction", "inbound"),
    )


def status_report(form: Mapping[str, str]) -> StatusReport:
    """Read a call status callback.

    Raises:
        VoiceFormError: no usable CallSid.
    """
    return StatusReport(
        call_sid=_required_sid(form, "CallSid", "CA"),
        call_status=form.get("CallStatus", ""),
        duration_seconds=_integer(form.get("CallDuration", ""), 0),
        sequence_number=_integer(form.get("SequenceNumber", ""), -1),
        error_code=_text(form, "ErrorCode", 10),
    )


def stream_report(form: Mapping[str, str]) -> StreamReport:
    """Read a stream status callback.

    Raises:
        VoiceFormError: no usable CallSid.
    """
    return StreamReport(
        call_sid=_required_sid(form, "CallSid", "CA"),
        stream_sid=_text(form, "StreamSid", 34),
        event=_text(form, "StreamEvent", 30),
        error=_text(form, "StreamError", 200),
    )


def recording_report(form: Mapping[str, str]) -> RecordingReport:
    """Read a recording status callback.

    Raises:
        VoiceFormError: no usable CallSid or RecordingSid.
    """
    return RecordingReport(
        call_sid=_required_sid(form, "CallSid", "CA"),
        recording_sid=_required_sid(form, "RecordingSid", "RE"),
        status=_text(form, "RecordingStatus", 20),
        duration_seconds=seconds_of(form, "RecordingDuration"),
        channels=min(_integer(form.get("RecordingChannels", ""), 0), 2),
        started_at=_moment(form.get("RecordingStartTime", "")),
        error_code=_text(form, "ErrorCode", 10),
    )


def _moment(text: str) -> datetime | None:
    """Return a time in RFC 2822, as Twilio writes it, None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def connect_stream(
    *,
    stream_url: str,
    action_url: str,
    status_url: str,
    say_first: str = "",
    language: str = "",
    keys_url: str = "",
) -> str:
    """Return TwiML that bridges the call and asks ``action_url`` for the next step afterwards.

    ``say_first`` is spoken by Twilio before the stream: the policy line when no rendered one
    exists yet. A key pressed meanwhile is told to ``keys_url``, if any. Without ``action`` every
    lost stream would hang up the caller (2.3).
    """
    response = VoiceResponse()
    if say_first:
        _say(response, say_first, language, keys_url)
    connect = Connect(action=action_url, method="POST")
    connect.stream(url=stream_url, status_callback=status_url, status_callback_method="POST")
    response.append(connect)
    return str(response)


def fork_start(*, stream_url: str, name: str, status_url: str) -> str:
    """Return the one element that copies both sides of a call to ``stream_url`` (2.1).

    It does not hold up what follows it, nothing can be said into it (31924), and it goes on
    through whatever TwiML the call is given later, until it is stopped or the call is over.
    """
    start = Start()
    start.stream(
        url=stream_url,
        name=name,
        track="both_tracks",
        status_callback=status_url,
        status_callback_method="POST",
    )
    return str(start.to_xml(xml_declaration=False))


def press_and_connect(*, stream_url: str, action_url: str, digits: str = "") -> str:
    """Return TwiML that presses keys on a call of ours, bridges it, and asks what is next.

    A stream cannot press keys (twilio.md 3.2), ``<Play digits>`` can:
    https://www.twilio.com/docs/voice/twiml/play, read 2026-11-23.
    """
    response = VoiceResponse()
    if digits:
        response.play(digits=digits)
    connect = Connect(action=action_url, method="POST")
    connect.stream(url=stream_url)
    response.append(connect)
    return str(response)


def ask_consent(
    *,
    line: str,
    language: str,
    question: str,
    question_language: str,
    answer_url: str,
    speech_language: str = "",
) -> str:
    """Return TwiML that says a line no key stops, then a question, and tells ``answer_url``.

    The answer is a key, and with a ``speech_language`` (BCP 47) what Twilio understood too; no
    answer is told as well (``actionOnEmptyResult``). Nothing follows: without it the call is over.
    https://www.twilio.com/docs/voice/twiml/gather, read 2026-11-23.
    """
    response = VoiceResponse()
    if line:
        response.say(line, language=language or None)
    asking = response.gather(
        input="dtmf speech" if speech_language else "dtmf",
        num_digits=1,
        timeout=ANSWER_SECONDS,
        finish_on_key="",
        action_on_empty_result=True,
        action=answer_url,
        method="POST",
        language=speech_language or None,
        speech_timeout="auto" if speech_language else None,
    )
    asking.say(question, language=question_language or None)
    return str(response)


def _say(response: VoiceResponse, text: str, language: str, keys_url: str) -> None:
    """Speak; the first key stops it and is told to ``keys_url``, without one it goes on.

    https://www.twilio.com/docs/voice/twiml/gather, read 2026-11-22: ``timeout`` is at least 1 s,
    ``finishOnKey`` '' lets # be a key like any other.
    """
    speaker: VoiceResponse | Gather = response
    if keys_url:
        speaker = response.gather(
            input="dtmf",
            num_digits=1,
            timeout=KEY_SECONDS,
            finish_on_key="",
            action=keys_url,
            method="POST",
        )
    speaker.say(text, language=language or None)


def dial(
    *,
    to: str,
    caller_id: str,
    action_url: str,
    ring_seconds: int = DIAL_SECONDS,
    say_first: str = "",
    language: str = "",
) -> str:
    """Return TwiML that connects the caller to a number or SIP address (4.4).

    ``action_url`` is asked afterwards, whatever came of it. The caller hears it ring until somebody
    answers (``answerOnBridge``). ``caller_id`` must be owned, or the caller's own on an inbound
    call. ``say_first`` is spoken before it rings.
    """
    response = VoiceResponse()
    if say_first:
        response.say(say_first, language=language or None)
    made = Dial(
        action=action_url,
        method="POST",
        timeout=ring_seconds,
        caller_id=caller_id,
        answer_on_bridge=True,
    )
    if to.startswith(("sip:", "sips:")):
        made.sip(to)
    else:
        made.number(to)
    response.append(made)
    return str(response)


def hang_up() -> str:
    """Return TwiML that ends the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def say_and_hang_up(text: str, language: str = "", keys_url: str = "") -> str:
    """Return TwiML that says one sentence and ends the call, or tells ``keys_url`` of a key."""
    response = VoiceResponse()
    _say(response, text, language, keys_url)
    response.hangup()
    return str(response)


def reject_busy() -> str:
    """Return TwiML that declines a ringing call without answering it (1.2)."""
    response = VoiceResponse()
    response.reject(reason="busy")
    return str(response)
