"""A fork of a call at the Twilio stand-in: `<Start><Stream>`, which copies what both sides say to a
socket, holds nothing up and takes nothing (twilio.md 2.1, 2.5). It goes on through whatever TwiML
the call is given later. It must not decide what is said.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from calls.standins.twiml import Verb

if TYPE_CHECKING:
    from calls.standins.twilio_call import LiveCall

Track = Literal["inbound", "outbound"]
FRAME_BYTES = 160
FRAME_MS = 20
HANDSHAKE_SECONDS = 5.0
_TRACKS: dict[str, tuple[Track, ...]] = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}


@dataclass(slots=True)
class ForkRun:
    """One fork; `sent_frames` is what went out, `state` what became of it."""

    call: LiveCall
    noun: Verb
    stream_sid: str = field(default_factory=lambda: "MZ" + uuid.uuid4().hex)
    state: Literal["opening", "on", "stopped", "refused", "lost"] = "opening"
    sent_frames: int = 0
    _sound: dict[str, bytearray] = field(default_factory=dict)
    _chunks: dict[str, int] = field(default_factory=dict)
    _out: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)
    _sequence: int = 0

    @property
    def name(self) -> str:
        """Return the name under which it is stopped: its own, else its SID."""
        return self.noun.attributes.get("name") or self.stream_sid

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Return which sides are copied."""
        return _TRACKS.get(self.noun.attributes.get("track", "inbound_track"), ())

    def hear(self, track: Track, audio: bytes) -> None:
        """Copy sound of one side, as it is said or played."""
        if self.state not in ("opening", "on") or track not in self.tracks:
            return
        sound = self._sound.setdefault(track, bytearray())
        sound += audio
        while len(sound) >= FRAME_BYTES:
            number = self._chunks.get(track, 0)
            self._chunks[track] = number + 1
            body = {
                "track": track,
                "chunk": str(number + 1),
                "timestamp": str(number * FRAME_MS),
                "payload": base64.b64encode(bytes(sound[:FRAME_BYTES])).decode(),
            }
            del sound[:FRAME_BYTES]
            self._out.put_nowait({"event": "media", "media": body})

    def stop(self) -> None:
        """End it: by TwiML, by REST, or with the call."""
        if self.state in ("opening", "on"):
            self.state = "stopped"
            sids = {"accountSid": self.call.account_sid, "callSid": self.call.call_sid}
            self._out.put_nowait({"event": "stop", "stop": sids})
            self._out.put_nowait(None)

    async def carry(self) -> None:
        """Run the fork to its end; nothing of it reaches the call but an entry in its errors."""
        url = self.noun.attributes.get("url", "")
        try:
            socket = await connect(
                self.call.webhooks.reachable(url),
                additional_headers={"x-twilio-signature": self.call.webhooks.sign(url, {})},
                user_agent_header="Twilio.TmeWs/1.0",
                compression=None,
                open_timeout=HANDSHAKE_SECONDS,
                close_timeout=1,
                max_size=None,
                proxy=None,
            )
        except InvalidStatus as error:
            self._refused(31920, f"handshake answered {error.response.status_code}")
            return
        except (InvalidHandshake, InvalidURI, TimeoutError, OSError) as error:
            self._refused(31920, f"handshake failed: {type(error).__name__}")
            return
        if self.state == "opening":
            self.state = "on"
        self._callback("stream-started")
        self.call.note("fork", stream_sid=self.stream_sid, url=url)
        listener = asyncio.create_task(self._listen(socket))
        try:
            await self._send(socket)
        except ConnectionClosed:
            self.state = "lost"
            self.call.fork_error(31921, "the fork's server closed the socket")
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            await socket.close()
        self._callback("stream-stopped")

    async def _send(self, socket: ClientConnection) -> None:
        await socket.send(
            json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        )
        start = {
            "streamSid": self.stream_sid,
            "accountSid": self.call.account_sid,
            "callSid": self.call.call_sid,
            "tracks": list(self.tracks),
            "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self._put(socket, {"event": "start", "start": start})
        while (message := await self._out.get()) is not None:
            await self._put(socket, message)
            self.sent_frames += message["event"] == "media"

    async def _put(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        self._sequence += 1
        head = {"sequenceNumber": str(self._sequence), "streamSid": self.stream_sid}
        await socket.send(json.dumps({**message, **head}))

    async def _listen(self, socket: ClientConnection) -> None:
        async for _ in socket:
            self.call.fork_error(31924, "a message on a unidirectional stream")
        if self.state == "on":
            self.state = "lost"
            self.call.fork_error(31921, "the fork's server closed the socket")
            self._out.put_nowait(None)

    def _refused(self, code: int, text: str) -> None:
        self.state = "refused"
        self.call.fork_error(code, text)
        self._callback("stream-error", text)

    def _callback(self, event: str, error: str = "") -> None:
        url = self.noun.attributes.get("statusCallback", "")
        if not url:
            return
        form = {
            "AccountSid": self.call.account_sid,
            "CallSid": self.call.call_sid,
            "StreamSid": self.stream_sid,
            "StreamName": self.name,
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(),
        }
        form |= {"StreamError": error} if error else {}
        self.call.call_back(url, self.noun.attributes.get("statusCallbackMethod", "POST"), form)
