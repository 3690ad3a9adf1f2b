"""Twilio Media Streams messages: the only reader and writer of that wire format.

Vendor pages: https://www.twilio.com/docs/voice/media-streams/websocket-messages, read 2026-11-22
(twilio.md 3). Everything is text; counters are strings; unknown events and keys are allowed
inbound, no extra key is allowed outbound (31951). Audio stays base64: it is checked, never decoded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MULAW_BYTES_PER_MS = 8
MAX_FRAME_BYTES = 65_536

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}").fullmatch


class TwilioWireError(ValueError):
    """A message does not have the documented shape; the peer's fault, count it and go on."""


@dataclass(frozen=True, slots=True)
class Start:
    """The ``start`` message: which call this stream belongs to."""

    stream_sid: str
    account_sid: str
    call_sid: str
    encoding: str
    sample_rate_hz: int
    channels: int
    custom_parameters: dict[str, str]


def decode(text: str) -> tuple[str, dict[str, Any]]:
    """Return (event, whole message).

    Raises:
        TwilioWireError: not JSON, not an object, or without an ``event``.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TwilioWireError("not JSON") from error
    if not isinstance(message, dict):
        raise TwilioWireError("not an object")
    event = message.get("event")
    if not isinstance(event, str):
        raise TwilioWireError("no event")
    return event, message


def start_of(message: dict[str, Any]) -> Start:
    """Return the typed content of a ``start`` message.

    Raises:
        TwilioWireError: a field is missing or has another type.
    """
    body = message.get("start")
    if not isinstance(body, dict):
        raise TwilioWireError("start without body")
    media_format = body.get("mediaFormat")
    parameters = body.get("customParameters")
    if not isinstance(media_format, dict):
        raise TwilioWireError("start without mediaFormat")
    values = (body.get("streamSid"), body.get("accountSid"), body.get("callSid"))
    if not all(isinstance(value, str) and value for value in values):
        raise TwilioWireError("start without sids")
    encoding = media_format.get("encoding")
    rate, channels = media_format.get("sampleRate"), media_format.get("channels", 1)
    if not isinstance(rate, int) or not isinstance(channels, int):
        raise TwilioWireError("start with an odd mediaFormat")
    return Start(
        stream_sid=str(values[0]),
        account_sid=str(values[1]),
        call_sid=str(values[2]),
        encoding=encoding if isinstance(encoding, str) else "",
        sample_rate_hz=rate,
        channels=channels,
        custom_parameters={
            key: value
            for key, value in (parameters if isinstance(parameters, dict) else {}).items()
            if isinstance(value, str)
        },
    )


def payload_bytes(payload: object) -> int:
    """Return the decoded size of a base64 payload after checking that it is safe to splice.

    The text goes into another message unparsed, so a wrong character would be an injection.

    Raises:
        TwilioWireError: not base64, or empty.
    """
    if not isinstance(payload, str) or not payload or len(payload) % 4 or _BASE64(payload) is None:
        raise TwilioWireError("payload is not base64")
    return len(payload) // 4 * 3 - payload.count("=", -2)


def media_payload(message: dict[str, Any]) -> tuple[str, int]:
    """Return (base64 payload, decoded bytes) of an inbound ``media`` message.

    Raises:
        TwilioWireError: wrong shape, wrong track or unsafe payload.
    """
    media = message.get("media")
    if not isinstance(media, dict) or media.get("track", "inbound") != "inbound":
        raise TwilioWireError("media without inbound track")
    payload = media.get("payload")
    size = payload_bytes(payload)
    return str(payload), size


def forked_payload(message: dict[str, Any]) -> tuple[str, str, int]:
    """Return (``inbound`` or ``outbound``, base64 payload, decoded bytes) of a fork's ``media``.

    Raises:
        TwilioWireError: wrong shape, no such track or an unsafe payload.
    """
    media = message.get("media")
    track = media.get("track") if isinstance(media, dict) else None
    if not isinstance(media, dict) or track not in ("inbound", "outbound"):
        raise TwilioWireError("media without a track")
    size = payload_bytes(media.get("payload"))
    return str(track), str(media["payload"]), size


def media_timestamp_ms(message: dict[str, Any]) -> int | None:
    """Return when an inbound ``media`` message begins, in ms of the stream; None if not told."""
    media = message.get("media")
    text = media.get("timestamp") if isinstance(media, dict) else None
    if not isinstance(text, str) or not (text.isascii() and text.isdigit()) or len(text) > 15:
        return None
    return int(text)


def mark_name(message: dict[str, Any]) -> str:
    """Return the name in a ``mark`` message.

    Raises:
        TwilioWireError: no name.
    """
    mark = message.get("mark")
    name = mark.get("name") if isinstance(mark, dict) else None
    if not isinstance(name, str):
        raise TwilioWireError("mark without name")
    return name


def dtmf_digit(message: dict[str, Any]) -> str:
    """Return the key in a ``dtmf`` message: one of 0 to 9, * and #.

    Raises:
        TwilioWireError: no such key.
    """
    body = message.get("dtmf")
    digit = body.get("digit") if isinstance(body, dict) else None
    if not isinstance(digit, str) or len(digit) != 1 or digit not in "0123456789*#ABCD":
        raise TwilioWireError("dtmf without digit")
    return digit


class StreamWriter:
    """Writes messages for one stream with exactly the allowed keys (twilio.md 3.2)."""

    __slots__ = ("_clear", "_mark_head", "_media_head")

    def __init__(self, stream_sid: str) -> None:
        sid = json.dumps(stream_sid)
        self._media_head = f'{{"event":"media","streamSid":{sid},"media":{{"payload":"'
        self._mark_head = f'{{"event":"mark","streamSid":{sid},"mark":{{"name":'
        self._clear = f'{{"event":"clear","streamSid":{sid}}}'

    def media(self, payload: str) -> str:
        """Return a ``media`` message around a payload that ``payload_bytes`` has accepted."""
        return f'{self._media_head}{payload}"}}}}'

    def mark(self, name: str) -> str:
        """Return a ``mark`` message."""
        return f"{self._mark_head}{json.dumps(name)}}}}}"

    def clear(self) -> str:
        """Return the ``clear`` message."""
        return self._clear
