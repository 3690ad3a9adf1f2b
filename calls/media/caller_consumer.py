"""The Channels consumer of a scripted caller's stream: our own leg of a call that a run placed.

Twilio's socket on one side, ``calls.parity.live_caller`` on the other; the far end of the telephone
call is whoever answers the number. Owns the handshake and the order at the end: what a stream
leaves is stored before the socket is closed, because Twilio then asks at once what is next.
"""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from channels.consumer import AsyncConsumer
from django.db import DatabaseError

from calls.media.database import in_database, in_database_at_last
from calls.parity.live_caller import BYTES_PER_MS, End, LiveCaller, Press, Say, Understand
from calls.services.caller_clips import words_in
from calls.services.live_lines import (
    CUT,
    LineRefused,
    LineTicket,
    line_goes_on,
    line_left,
    line_open,
)
from calls.telephony.addresses import stream_url
from calls.wire import twilio_media

# Twilio sends sound all the time; a line on which nothing comes for so long is gone.
DEAD_SECONDS: Final = 15.0
# How often a stream looks whether its run was cancelled.
LOOK_SECONDS: Final = 3.0
_CHUNK_BYTES: Final = 1_600
# Threads of its own: the loop's few are those that hang up callers' calls, and a transcriber that
# is slow must not keep them.
_hearing: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="run-caller-hears")

log = structlog.get_logger(__name__)


class RunCallerConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One stream of a scripted caller."""

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the socket."""
        message: Any = await receive()
        if message["type"] != "websocket.connect":
            return
        ticket = await self._admit(scope)
        if ticket is None:
            # Every server answers 403; the media consumer says why no other status is sent.
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        await _Line(ticket, receive, send).carry()

    async def _admit(self, scope: Any) -> LineTicket | None:
        headers = dict(scope["headers"])
        raw_path = scope.get("raw_path") or scope["path"].encode()
        arguments = scope["url_route"]["kwargs"]
        try:
            return await in_database(
                line_open,
                dial_id=str(arguments["dial_id"]),
                token=arguments["token"],
                url=stream_url(raw_path.decode("latin-1").split("?")[0]),
                signature=headers.get(b"x-twilio-signature", b"").decode("latin-1"),
            )
        except LineRefused as refusal:
            reason = str(refusal)
        except DatabaseError as error:
            reason = f"the database does not answer ({type(error).__name__})"
        log.warning("run_caller_refused", dial_id=str(arguments["dial_id"]), reason=reason)
        return None


@dataclass
class _Line:
    """The stream, once it is accepted."""

    ticket: LineTicket
    receive: ASGIReceiveCallable
    send: ASGISendCallable
    caller: LiveCaller = field(init=False)
    writer: twilio_media.StreamWriter | None = None
    digits: str = ""
    is_open: bool = True
    stopped: bool = False
    called_off: bool = False
    heard_bytes: int = 0
    line_bytes: int = 0
    asked: dict[asyncio.Future[str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the caller."""
        ticket = self.ticket
        self.caller = LiveCaller(
            ticket.scenario, ticket.clips, step=ticket.step, most_ms=ticket.most_ms
        )

    async def carry(self) -> None:
        """Carry it to its end and store what it leaves."""
        try:
            await self._converse()
        finally:
            for task in self.asked:
                task.cancel()
            await asyncio.gather(*self.asked, return_exceptions=True)
            caller = self.caller
            await in_database_at_last(
                line_left,
                dial_id=self.ticket.dial_id,
                stream_number=self.ticket.stream_number,
                step=caller.step,
                events=caller.events,
                said_seconds=caller.said_seconds,
                heard_seconds=self.heard_bytes / BYTES_PER_MS / 1_000,
                stream_seconds=self.line_bytes / BYTES_PER_MS / 1_000,
                # Without Twilio's word for it the line may be lost and the call go on (31921).
                ended=caller.ended or self._why_left(),
                digits=self.digits,
            )
            await self._close()

    def _why_left(self) -> str:
        if self.called_off:
            return "cancelled"
        return "" if self.stopped else CUT

    async def _until_called_off(self) -> None:
        """Return once nobody wants the call any more; a database that is away is no reason."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if not await in_database(line_goes_on, self.ticket.dial_id):
                    return
            except DatabaseError as error:
                log.info("run_caller_not_looked", error=type(error).__name__)

    async def _converse(self) -> None:
        incoming: asyncio.Future[Any] = asyncio.ensure_future(self.receive())
        called_off = asyncio.ensure_future(self._until_called_off())
        try:
            while self.is_open and not self.caller.ended:
                waiting: set[asyncio.Future[Any]] = {incoming, called_off, *self.asked}
                done, _ = await asyncio.wait(
                    waiting, timeout=DEAD_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    return
                if called_off in done:
                    called_off.result()
                    self.called_off = True
                    return
                self._understood(done)
                if incoming in done:
                    self._take(incoming.result())
                    incoming = asyncio.ensure_future(self.receive())
                await self._do()
        finally:
            incoming.cancel()
            called_off.cancel()

    def _understood(self, done: set[asyncio.Future[Any]]) -> None:
        for task, utterance in list(self.asked.items()):
            if task in done:
                del self.asked[task]
                self.caller.understood(utterance, task.result())

    def _take(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect":
            self.is_open = False
            return
        try:
            event, body = twilio_media.decode(message.get("text") or "")
            if event == "start":
                self.writer = twilio_media.StreamWriter(twilio_media.start_of(body).stream_sid)
            elif event == "media":
                payload, size = twilio_media.media_payload(body)
                self.line_bytes += size
                self.caller.audio(base64.b64decode(payload))
            elif event == "mark":
                name = twilio_media.mark_name(body)
                self.caller.spoken(int(name) if name.isdigit() else -1)
            elif event == "stop":
                self.stopped, self.is_open = True, False
        except twilio_media.TwilioWireError as error:
            log.warning("run_caller_message", error=str(error))

    async def _do(self) -> None:
        """Do what the caller wants."""
        while self.caller.deeds:
            deed = self.caller.deeds.pop(0)
            match deed:
                case Say():
                    await self._say(deed)
                case Understand():
                    self.heard_bytes += len(deed.audio)
                    loop, connection = asyncio.get_running_loop(), self.ticket.connection
                    asked = loop.run_in_executor(_hearing, words_in, connection, deed.audio)
                    self.asked[asked] = deed.utterance
                case Press():
                    self.digits = deed.digits
                case End():
                    pass

    async def _say(self, deed: Say) -> None:
        if self.writer is None:
            return
        for at in range(0, len(deed.audio), _CHUNK_BYTES):
            payload = base64.b64encode(deed.audio[at : at + _CHUNK_BYTES]).decode()
            await self._send(self.writer.media(payload))
        await self._send(self.writer.mark(str(deed.ordinal)))

    async def _send(self, text: str) -> None:
        if self.is_open:
            try:
                await self.send({"type": "websocket.send", "text": text, "bytes": None})
            except OSError:
                self.is_open = False

    async def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            try:
                await self.send({"type": "websocket.close", "code": 1000, "reason": ""})
            except OSError:
                return
