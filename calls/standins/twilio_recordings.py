"""Recordings at the stand-in (twilio.md 4.5): begun by REST, ended with their call or by REST, told
by a callback, given out as WAV. It must not run calls; the sound is a tone a channel, no words.
"""

from __future__ import annotations

import array
import asyncio
import math
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from calls.standins.twilio_call import LiveCall

_RATE = 8000
_TONES_HZ = (300, 500)  # the caller's channel, and the other one


@dataclass(slots=True)
class MadeRecording:
    """One recording; ``misses`` is how often its file is asked for before it is there."""

    sid: str
    call: LiveCall
    channels: int
    callback: str
    events: tuple[str, ...]
    misses: int = 0
    status: str = "in-progress"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration_seconds: int = 0

    def stop(self) -> None:
        """End it; what it is about is at least a second long."""
        if self.status == "in-progress":
            lasted = (datetime.now(UTC) - self.started_at).total_seconds()
            self.duration_seconds, self.status = max(1, round(lasted)), "completed"


class RecordingBook:
    """What one account has recorded. ``file_misses`` and ``tells`` are for tests."""

    def __init__(self, account_sid: str) -> None:
        self.account_sid = account_sid
        self.made: dict[str, MadeRecording] = {}
        self.file_misses = 0
        self.tells = True
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, call: LiveCall, form: Mapping[str, list[str]]) -> MadeRecording:
        """Record a call that goes on, until it ends."""
        made = MadeRecording(
            sid="RE" + uuid.uuid4().hex,
            call=call,
            channels=2 if form.get("RecordingChannels", ["mono"])[-1] == "dual" else 1,
            callback=form.get("RecordingStatusCallback", [""])[-1],
            events=tuple(form.get("RecordingStatusCallbackEvent", ["completed"])),
            misses=self.file_misses,
        )
        self.made[made.sid] = made
        task = asyncio.get_running_loop().create_task(self._follow(made))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return made

    async def _follow(self, made: MadeRecording) -> None:
        await self._tell(made)
        await made.call.finished.wait()
        made.stop()
        await self._tell(made)

    async def _tell(self, made: MadeRecording) -> None:
        if not (self.tells and made.callback and made.status in made.events):
            return
        form = {
            "AccountSid": self.account_sid,
            "CallSid": made.call.call_sid,
            "RecordingSid": made.sid,
            "RecordingUrl": f"https://api.twilio.com{self._uri(made)}",
            "RecordingStatus": made.status,
            "RecordingChannels": str(made.channels),
            "RecordingStartTime": format_datetime(made.started_at),
            "RecordingSource": "StartCallRecordingAPI",
            "RecordingTrack": "both",
            "ErrorCode": "0",
        }
        if made.status == "completed":
            form["RecordingDuration"] = str(made.duration_seconds)
        await made.call.webhooks.fetch(made.callback, "POST", form)

    def _uri(self, made: MadeRecording) -> str:
        return f"/2010-04-01/Accounts/{self.account_sid}/Recordings/{made.sid}"

    def body(self, made: MadeRecording) -> dict[str, Any]:
        """Return a recording as Twilio's REST API shows it."""
        is_over = made.status == "completed"
        return {
            "sid": made.sid,
            "account_sid": self.account_sid,
            "call_sid": made.call.call_sid,
            "conference_sid": None,
            "api_version": "2010-04-01",
            "status": made.status,
            "channels": made.channels,
            "source": "StartCallRecordingAPI",
            "track": "both",
            "date_created": format_datetime(made.started_at),
            "date_updated": format_datetime(made.started_at),
            "start_time": format_datetime(made.started_at),
            "duration": str(made.duration_seconds) if is_over else "-1",
            "price": None,
            "price_unit": "USD",
            "error_code": None,
            "encryption_details": None,
            "media_url": f"https://api.twilio.com{self._uri(made)}",
            "subresource_uris": {},
            "uri": f"{self._uri(made)}.json",
        }

    def file(self, sid: str, channels: int) -> bytes | None:
        """Return the WAV file, None while it is not ready (4.5: asked for too early, it is 404)."""
        made = self.made.get(sid)
        if made is None or made.status != "completed":
            return None
        if made.misses:
            made.misses -= 1
            return None
        return wav(made.duration_seconds, min(channels, made.channels))


@lru_cache(maxsize=8)
def wav(seconds: int, channels: int) -> bytes:
    """Return 16-bit sound at 8 kHz with another tone on each channel."""
    waves = [
        [round(8000 * math.sin(2 * math.pi * hertz * n / _RATE)) for n in range(_RATE)]
        for hertz in _TONES_HZ[:channels]
    ]
    second = array.array("h", [each for frame in zip(*waves, strict=True) for each in frame])
    data = second.tobytes() * seconds
    form = struct.pack("<HHIIHH", 1, channels, _RATE, _RATE * 2 * channels, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data
