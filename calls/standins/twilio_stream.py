"""Carries one media stream over a real WebSocket: signed handshake, the peer on the real clock, and
the stream's status callbacks (twilio.md 1.7, 2.4, 6.4, 8.3). It must not decide what is sent.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from calls.standins.caller import CallerStep
from calls.standins.peer import Close, Send
from calls.standins.twilio_media import TwilioMediaPeer
from calls.standins.twiml import Verb

if TYPE_CHECKING:
    from calls.standins.twilio_call import LiveCall

HANDSHAKE_SECONDS = 5.0


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class StreamRun:
    """One `<Connect><Stream>` of a call; `errors` are (code, text) of twilio.md 8.3."""

    call: LiveCall
    noun: Verb
    peer: TwilioMediaPeer
    running: bool = False
    errors: list[tuple[int, str]] = field(default_factory=list)
    second_status: int | None = None  # HTTP status that a second handshake met
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _shown: int = 0

    @classmethod
    def prepared(cls, call: LiveCall, noun: Verb, steps: Sequence[CallerStep]) -> StreamRun:
        """Return a stream for `noun` whose caller goes on with `steps`."""
        parameters = {
            child.attributes.get("name", ""): child.attributes.get("value", "")
            for child in noun.children
        }
        sid = "MZ" + uuid.uuid4().hex
        media = call.scenario.media_of(len(call.streams))
        peer = TwilioMediaPeer(call.account_sid, call.call_sid, sid, parameters, steps, media)
        return cls(call, noun, peer)

    def end_by_rest(self) -> None:
        """Send `stop` and close, because the call got another instruction."""
        self.peer.call_ended_by_rest(_now_ms())
        self._wake.set()

    def caller_hang_up(self) -> None:
        """Send `stop` and close, because the caller is gone."""
        self.peer.caller_hang_up(_now_ms())
        self._wake.set()

    async def carry(self) -> str | None:
        """Run the stream to its end; return who ended it, None if it never began."""
        url = self.noun.attributes.get("url", "")
        fault = _url_fault(url)
        if fault is not None:
            self._failed(*fault)
            return None
        try:
            socket = await self._connect(url)
        except InvalidStatus as error:
            self._failed(31920, f"handshake answered {error.response.status_code}")
            return None
        except (InvalidHandshake, InvalidURI) as error:
            self._failed(31920, f"handshake failed: {error}")
            return None
        except TimeoutError:
            self._failed(31901, "connection timeout")
            return None
        except OSError as error:
            self._failed(31902, f"connection refused: {error}")
            return None
        self._callback("stream-started")
        self.call.note("stream", stream_sid=self.peer.stream_sid, url=url)
        self.running = True
        try:
            self.peer.opened(_now_ms())
            await self._exchange(socket)
        finally:
            self.running = False
            await socket.close()
        self._show()
        if self.peer.ended_by == "script" and self.peer.profile.drop_after_ms is not None:
            self.errors.append((31903, "the connection was lost"))
        self._callback("stream-stopped")
        return self.peer.ended_by

    async def _connect(self, url: str) -> ClientConnection:
        profile = self.peer.profile
        signature = self.call.webhooks.sign(url, {}, stale=profile.stale_signature)
        options: dict[str, Any] = {
            "additional_headers": {"x-twilio-signature": signature},
            "user_agent_header": "Twilio.TmeWs/1.0",
            "origin": profile.origin,
            "compression": None,
            "open_timeout": HANDSHAKE_SECONDS,
            "close_timeout": 1,
            "max_size": None,
            "proxy": None,
        }
        target = self.call.webhooks.reachable(url)
        socket = await connect(target, **options)
        if profile.second_connection:
            try:
                second = await connect(target, **options)
            except InvalidStatus as error:
                self.second_status = error.response.status_code
            else:
                self.second_status = 101
                await second.close()
        return socket

    async def _exchange(self, socket: ClientConnection) -> None:
        incoming: asyncio.Task[str | bytes] | None = None
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            while True:
                if not await self._send(socket):
                    return
                self._show()
                now_ms = _now_ms()
                if incoming is None and self.peer.reads(now_ms):
                    incoming = asyncio.ensure_future(socket.recv())
                deadline = self.peer.next_deadline_ms()
                wait = 0.0 if deadline is None else max(0, deadline - now_ms) / 1000
                waiting: set[asyncio.Future[Any]] = {woken}
                if incoming is not None:
                    waiting.add(incoming)
                await asyncio.wait(waiting, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if incoming is not None and incoming.done():
                    self.peer.receive(incoming.result(), _now_ms())
                    incoming = None
                self.peer.tick(_now_ms())
        except ConnectionClosed as closed:
            if self.peer.ended_by is None:
                self.peer.peer_closed(_now_ms())
                code = closed.rcvd.code if closed.rcvd is not None else 1006
                kind = 31903 if closed.rcvd is None else 31921
                self.errors.append((kind, f"the server closed the stream ({code})"))
        finally:
            woken.cancel()
            if incoming is not None:
                incoming.cancel()

    async def _send(self, socket: ClientConnection) -> bool:
        for output in self.peer.drain():
            if isinstance(output, Send):
                await socket.send(output.data)
            elif isinstance(output, Close):
                if output.code == 1006:
                    socket.transport.abort()
                else:
                    await socket.close(output.code, output.reason)
                return False
        return True

    def _show(self) -> None:
        for moment in self.peer.timeline[self._shown :]:
            self.call.note(moment.kind, text=moment.text)
        self._shown = len(self.peer.timeline)

    def _failed(self, code: int, text: str) -> None:
        self.errors.append((code, text))
        self._callback("stream-error", f"{code} {text}")

    def _callback(self, event: str, error: str = "") -> None:
        url = self.noun.attributes.get("statusCallback")
        if not url:
            return
        form = {
            "AccountSid": self.peer.account_sid,
            "CallSid": self.peer.call_sid,
            "StreamSid": self.peer.stream_sid,
            "StreamName": self.noun.attributes.get("name", self.peer.stream_sid),
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(),
        }
        if error:
            form["StreamError"] = error
        self.call.call_back(url, self.noun.attributes.get("statusCallbackMethod", "POST"), form)


def _url_fault(url: str) -> tuple[int, str] | None:
    scheme, _, rest = url.partition("://")
    if not rest:
        return 31923, f"malformed URL {url!r}"
    if scheme not in ("wss", "ws"):  # ws only because a rehearsal runs on loopback
        return 31922, f"scheme {scheme!r} is not supported"
    if "?" in url:
        return 31920, "a query string in the stream URL (trap T9)"
    return None
