"""The asyncio shell of a bridge: two sockets, a clock, tasks for what is slow. No Django.

Frames go straight from the receive loop through the bridge to the other socket: no queue between,
no thread, no database. Everything slow (tools, hang-up, storage) is a task of its own behind a
port. One flusher per direction keeps the order of messages when several tasks have some.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from calls.bridge.effects import (
    CloseStream,
    DispatchTool,
    Effect,
    HangUp,
    NextStep,
    StreamEnded,
)
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.media import recording
from calls.media.pool import Prepared
from calls.media.realtime_client import RealtimeSocket, RealtimeUnreachable
from calls.wire.realtime import APPEND_HEAD
from calls.wire.twilio_media import MAX_FRAME_BYTES
from tools.spec import ToolResult

# A socket that takes nothing for so long is dead; the caller's audio is piling up behind it.
BLOCKED_SECONDS = 5.0


class Frames(Protocol):
    """Twilio's socket, whatever carries it."""

    async def receive(self) -> str | bytes | None:
        """Return the next frame, None when the socket is closed."""

    async def send(self, text: str) -> None:
        """Send a text frame; a closed socket is not an error."""

    async def close(self, code: int) -> None:
        """Close with a code; a closed socket is not an error."""


class Journal(Protocol):
    """Where the call's record goes; nothing here may block."""

    def write(self, effect: Effect) -> None:
        """Take a RecordTurn, RecordTool or PolicyLinePlayed."""

    def write_inputs(self, text: str) -> None:
        """Take a piece of the replay record."""

    async def set_next_step(self, step: NextStep, dial_to: str = "") -> None:
        """Store what the action URL will answer; returns when it is stored."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the driver needs from outside. None of them may raise, but ``connect``."""

    connect: Callable[[], Awaitable[Prepared]]
    run_tool: Callable[[DispatchTool], Awaitable[ToolResult]]
    hang_up: Callable[[], Awaitable[None]]
    journal: Journal


class CallDriver:
    """Runs one stream of one call from accept to end."""

    def __init__(self, plan: CallPlan, frames: Frames, ports: Ports, *, keep_audio: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()
        self._frames = frames
        self._ports = ports
        self._recorder = recording.Recorder(
            plan, keep_audio=keep_audio, store=ports.journal.write_inputs
        )
        self._bridge = CallBridge(plan, 0)
        self._socket: RealtimeSocket | None = None
        self._to_twilio: deque[str] = deque()
        self._to_realtime: deque[str] = deque()
        self._twilio_busy_since: float | None = None
        self._realtime_busy_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._ended: StreamEnded | None = None

    @property
    def now_ms(self) -> int:
        """Milliseconds since this driver was made."""
        return int((self._loop.time() - self._born) * 1000)

    async def run(self) -> StreamEnded:
        """Carry the stream to its end and return how it ended; the sockets are closed then."""
        self._schedule()
        loops = [
            asyncio.create_task(self._twilio_loop(), name="twilio"),
            asyncio.create_task(self._realtime_loop(), name="realtime"),
        ]
        watch = asyncio.create_task(self._over.wait(), name="over")
        try:
            pending: set[asyncio.Task[Any]] = {*loops, watch}
            while not self._over.is_set():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in (*loops, watch):
                task.cancel()
            await asyncio.gather(*loops, watch, return_exceptions=True)
            self._recorder.flush()
            if self._socket is not None:
                await self._socket.close()
        if self._ended is None:
            raise RuntimeError("the stream is over without having ended")
        return self._ended

    def shut_down(self) -> None:
        """Leave the call to another process at once."""
        self._input(recording.SHUT_DOWN, "", lambda now: self._bridge.shut_down(now))
        self._spawn(self._flush())

    def end(self, cause: EndCause) -> None:
        """Hang up at once."""
        self._input(recording.END, cause.name, lambda now: self._bridge.end(cause, now))
        self._spawn(self._flush())

    # ---- inputs -------------------------------------------------------------------------------

    def _input(self, kind: str, text: str, give: Callable[[int], None]) -> None:
        now_ms = self.now_ms
        self._recorder.input(kind, now_ms, text)
        give(now_ms)
        self._collect(now_ms)

    def _collect(self, now_ms: int) -> None:
        twilio, realtime, effects = recording.drain(self._bridge, self._recorder, now_ms)
        self._to_twilio.extend(twilio)
        self._to_realtime.extend(realtime)
        for effect in effects:
            self._perform(effect)
        self._schedule()

    async def _twilio_loop(self) -> None:
        bridge, recorder, frames = self._bridge, self._recorder, self._frames
        while True:
            frame = await frames.receive()
            now_ms = self.now_ms
            if frame is None:
                self._input(recording.TWILIO_CLOSED, "", bridge.twilio_closed)
                return
            if isinstance(frame, bytes):
                self._input(recording.MALFORMED, "", bridge.twilio_malformed)
            elif len(frame) > MAX_FRAME_BYTES:
                await frames.close(1009)
                self._input(recording.TWILIO_CLOSED, "", bridge.twilio_closed)
                return
            else:
                recorder.input(recording.TWILIO, now_ms, frame)
                bridge.receive_twilio(frame, now_ms)
                if bridge.effects or bridge.to_twilio:
                    self._collect(now_ms)
                elif bridge.to_realtime:
                    self._pass_on(now_ms)
            if self._to_realtime or self._to_twilio:
                await self._flush()

    def _pass_on(self, now_ms: int) -> None:
        """Send what one frame of the caller caused; audio moves no deadline forward."""
        out = self._bridge.to_realtime
        if not out[0].startswith(APPEND_HEAD):
            self._collect(now_ms)
            return
        for text in out:
            self._recorder.output(recording.OUT_REALTIME, now_ms, text)
        self._to_realtime.extend(out)
        out.clear()

    async def _realtime_loop(self) -> None:
        bridge = self._bridge
        try:
            prepared = await self._ports.connect()
        except RealtimeUnreachable as error:
            code = error.code
            self._input(
                recording.REALTIME_CLOSED, str(code), lambda now: bridge.realtime_closed(code, now)
            )
            await self._flush()
            await self._over.wait()
            return
        socket = self._socket = prepared.socket
        sent = prepared.config_sent
        self._input(
            recording.OPENED,
            "1" if sent else "0",
            lambda now: bridge.realtime_opened(now, config_sent=sent),
        )
        for said in prepared.said:
            self._receive_realtime(said)
        await self._flush()
        while True:
            text = await socket.receive()
            if text is None:
                break
            self._receive_realtime(text)
            if self._to_twilio or self._to_realtime:
                await self._flush()
        code = socket.close_code
        self._input(
            recording.REALTIME_CLOSED, str(code), lambda now: bridge.realtime_closed(code, now)
        )
        await self._flush()
        await self._over.wait()

    def _receive_realtime(self, text: str) -> None:
        now_ms = self.now_ms
        self._recorder.input(recording.REALTIME, now_ms, text)
        self._bridge.receive_realtime(text, now_ms)
        self._collect(now_ms)

    # ---- time ---------------------------------------------------------------------------------

    def _schedule(self) -> None:
        due_ms = self._bridge.next_deadline_ms()
        if due_ms is None:
            return
        # At least once a second, to notice a socket that takes nothing.
        due_ms = min(due_ms, self.now_ms + 1000)
        if self._timer is not None:
            if self._timer_at_ms <= due_ms:
                return
            self._timer.cancel()
        self._timer_at_ms = due_ms
        self._timer = self._loop.call_at(self._born + due_ms / 1000 + 0.001, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_ms, due_ms = self.now_ms, self._bridge.next_deadline_ms()
        if due_ms is not None and now_ms >= due_ms:
            self._input(recording.TICK, "", self._bridge.tick)
            self._spawn(self._flush())
        since = self._realtime_busy_since
        if since is not None and self._loop.time() - since > BLOCKED_SECONDS and self._socket:
            self._socket.abort()
        self._schedule()

    # ---- outputs ------------------------------------------------------------------------------

    async def _flush(self) -> None:
        if self._to_realtime and self._realtime_busy_since is None and self._socket is not None:
            self._realtime_busy_since = self._loop.time()
            try:
                while self._to_realtime:
                    await self._socket.send(self._to_realtime.popleft())
            finally:
                self._realtime_busy_since = None
        if self._to_twilio and self._twilio_busy_since is None:
            self._twilio_busy_since = self._loop.time()
            try:
                while self._to_twilio:
                    await self._frames.send(self._to_twilio.popleft())
            finally:
                self._twilio_busy_since = None

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, DispatchTool):
            self._spawn(self._run_tool(effect))
        elif isinstance(effect, HangUp):
            self._spawn(self._hang_up())
        elif isinstance(effect, CloseStream):
            self._spawn(self._close_stream(effect))
        elif isinstance(effect, StreamEnded):
            self._ended = effect
            self._over.set()
        else:
            self._ports.journal.write(effect)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A port broke its promise not to raise: a bug of ours that must not be silent.
            self._loop.call_exception_handler(
                {"message": "a task of a call failed", "exception": task.exception()}
            )

    async def _run_tool(self, effect: DispatchTool) -> None:
        result = await self._ports.run_tool(effect)
        text = json.dumps(
            {
                "tool_call_id": effect.tool_call_id,
                "output": result.output,
                "outcome": result.outcome,
                "duration_ms": result.duration_ms,
            }
        )
        self._input(
            recording.TOOL,
            text,
            lambda now: self._bridge.tool_finished(effect.tool_call_id, result, now),
        )
        await self._flush()

    async def _hang_up(self) -> None:
        # Stored first: whatever ends the stream from here on, the action URL will hang up too.
        await self._ports.journal.set_next_step("hangup")
        await self._ports.hang_up()

    async def _close_stream(self, effect: CloseStream) -> None:
        await self._ports.journal.set_next_step(effect.next_step, effect.dial_to)
        await self._frames.close(effect.code)
        self._input(recording.TWILIO_CLOSED, "", self._bridge.twilio_closed)
