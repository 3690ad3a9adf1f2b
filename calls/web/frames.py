"""The browser in the place of Twilio's socket: what the driver carries, in the page's framing.

Owns how each side's frames become the other's: the bridge meets ``connected``, ``start``,
``media``, ``mark`` and ``stop`` exactly as from the carrier. It must not know rows, users or
Django.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from calls.wire import web_media
from calls.wire.twilio_media import MULAW_BYTES_PER_MS

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class WebFrames:
    """One talk's socket as ``calls.media.driver.Frames``."""

    def __init__(
        self, receive: Receive, send: Send, *, stream_sid: str, call_sid: str, account_sid: str
    ) -> None:
        self._receive = receive
        self._send = send
        self._sid = stream_sid
        self._head: deque[str] = deque((_CONNECTED, _start(stream_sid, call_sid, account_sid)))
        self._open = True
        # Set by us: True when the line is hung up, False when the bridge wants no more.
        self._end: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._stopped = False
        self._reading: asyncio.Task[Any] | None = None
        self._sequence = 1
        self._heard_bytes = 0
        self._telling: set[asyncio.Task[None]] = set()

    # ---- what the driver uses -----------------------------------------------------------------

    async def receive(self) -> str | bytes | None:
        """Return the next of the carrier's messages, None when there will be no more."""
        if self._head:
            return self._head.popleft()
        if self._stopped:
            return None
        if self._reading is None:
            self._reading = asyncio.create_task(self._next_frame(), name="page")
        await asyncio.wait({self._reading, self._end}, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            self._stopped = True
            return self._stop() if self._end.result() else None
        frame, self._reading = self._reading.result(), None
        return self._stop() if frame is None else self._as_carrier(frame)

    async def send(self, text: str) -> None:
        """Send one of the bridge's messages to the page."""
        message = json.loads(text)
        event = message["event"]
        if event == "media":
            audio = base64.b64decode(message["media"]["payload"])
            await self._put({"type": "websocket.send", "bytes": audio, "text": None})
        elif event == "mark":
            await self._put_text(web_media.page_text("mark", {"name": message["mark"]["name"]}))
        else:
            await self._put_text(web_media.page_text(event))

    async def close(self, code: int) -> None:
        """Read nothing more. The socket itself stays open for the last word, see ``leave``."""
        self._finish(hung_up=False)

    # ---- what the consumer uses ---------------------------------------------------------------

    def tell(self, kind: str, values: Mapping[str, Any]) -> None:
        """Show the page something; returns at once."""
        task = asyncio.create_task(self._put_text(web_media.page_text(kind, values)))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def hang_up(self) -> None:
        """End the line, as the carrier does when it is told to."""
        self._finish(hung_up=True)

    async def leave(self, values: Mapping[str, Any]) -> None:
        """Say how it ended and close the socket."""
        await asyncio.gather(*self._telling)
        await self._put_text(web_media.page_text("ended", values))
        if self._reading is not None:
            self._reading.cancel()
        if self._open:
            self._open = False
            try:
                await self._send({"type": "websocket.close", "code": 1000, "reason": ""})
            except OSError:
                return

    # ---- inside -------------------------------------------------------------------------------

    async def _next_frame(self) -> str | bytes | None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._open = False
            return None
        text: str | None = message.get("text")
        return text if text is not None else bytes(message.get("bytes") or b"")

    def _as_carrier(self, frame: str | bytes) -> str | bytes:
        try:
            said = web_media.read(frame)
        except web_media.WebWireError:
            return b""  # the bridge counts it and gives up on the twentieth
        if isinstance(said, web_media.Stop):
            return self._stop()
        if isinstance(said, web_media.Played):
            return self._message("mark", mark={"name": said.name})
        if isinstance(said, web_media.Key):
            return self._message("dtmf", dtmf={"track": "inbound_track", "digit": said.digit})
        at_ms = self._heard_bytes // MULAW_BYTES_PER_MS
        self._heard_bytes += len(said.data)
        return self._message(
            "media",
            media={
                "track": "inbound",
                "chunk": str(self._sequence),
                "timestamp": str(at_ms),
                "payload": base64.b64encode(said.data).decode(),
            },
        )

    def _finish(self, *, hung_up: bool) -> None:
        if not self._end.done():
            self._end.set_result(hung_up)

    def _stop(self) -> str:
        self._stopped = True
        return self._message("stop", stop={})

    def _message(self, event: str, **body: Any) -> str:
        self._sequence += 1
        return json.dumps(
            {
                "event": event,
                "sequenceNumber": str(self._sequence),
                "streamSid": self._sid,
                **body,
            }
        )

    async def _put_text(self, text: str) -> None:
        await self._put({"type": "websocket.send", "text": text, "bytes": None})

    async def _put(self, message: Any) -> None:
        if self._open:
            try:
                await self._send(message)
            except OSError:
                self._open = False  # the page is gone; the reader will see the end


_CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'


def _start(stream_sid: str, call_sid: str, account_sid: str) -> str:
    return json.dumps(
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": stream_sid,
            "start": {
                "streamSid": stream_sid,
                "accountSid": account_sid,
                "callSid": call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {},
            },
        }
    )
