"""The asyncio shell of a bridge: two sockets, a clock, tasks for what is slow. No Django.

Frames go straight from the receive loop through the bridge to the other socket: no queue between,
no thread, no database. Everything slow (tools, hang-up, storage) is a task of its own behind a
port. One flusher per direction keeps the order of messages when several tasks have some.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from calls.bridge.effects import (
    CloseModel,
    CloseStream,
    DialModel,
    DispatchTool,
    DispatchTools,
    Effect,
    HangUp,
    NextStep,
    StreamEnded,
)
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.media import recording
from calls.media.listening import Tap
from calls.media.model_line import ModelLine
from calls.media.pool import Prepared
from calls.wire.realtime import APPEND_HEAD
from calls.wire.twilio_media import MAX_FRAME_BYTES
from calls.wire.vapi_control import Control
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
        """Take a RecordTurn, RecordTool, RecordHandoff or PolicyLinePlayed."""

    def write_inputs(self, text: str) -> None:
        """Take a piece of the replay record."""

    async def set_next_step(self, step: NextStep, dial_to: str = "") -> None:
        """Store what the action URL will answer; returns when it is stored."""


# What takes the result of a function call: its tool_call_id, and what came of it.
Finished = Callable[[str, ToolResult], None]


@dataclass(frozen=True, slots=True)
class Ports:
    """What the driver needs from outside. None of them may raise, but ``connect``.

    ``connect`` is called once per session of the model, and raises ``RealtimeUnreachable``; it is
    given the name of the model where that is not the one of the call's plan.
    ``run_tools`` says what came of each call exactly once, as soon as it is known.
    """

    connect: Callable[..., Awaitable[Prepared]]
    run_tools: Callable[[Sequence[DispatchTool], Finished], Coroutine[Any, Any, None]]
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
        self._line = ModelLine(1, "", plan.dialect)
        self._lines = {1: self._line}
        self._to_twilio: deque[str] = deque()
        self._twilio_busy_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._ended: StreamEnded | None = None
        # Set while somebody listens; it only remembers what passes.
        self.tap: Tap | None = None

    @property
    def now_ms(self) -> int:
        """Milliseconds since this driver was made."""
        return int((self._loop.time() - self._born) * 1000)

    @property
    def plan(self) -> CallPlan:
        """Return the plan as it is now: after a handoff it is that of another assistant."""
        return self._bridge.plan

    @property
    def awaited_plan(self) -> CallPlan:
        """Return the plan of the session that is dialled now."""
        return self._bridge.awaited_plan

    @property
    def spend_microusd(self) -> int:
        """What the model has cost in this stream so far."""
        return self._bridge.spend_microusd

    async def run(self) -> StreamEnded:
        """Carry the stream to its end and return how it ended; the sockets are closed then."""
        self._schedule()
        twilio = asyncio.create_task(self._twilio_loop(), name="twilio")
        watch = asyncio.create_task(self._over.wait(), name="over")
        self._start(self._line, self._ports.connect)
        try:
            pending: set[asyncio.Future[Any]] = {twilio, watch, self._broken}
            while not self._over.is_set():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._broken.cancel()
            for task in (twilio, watch):
                task.cancel()
            await asyncio.gather(twilio, watch, return_exceptions=True)
            lines = {self._line, *self._lines.values()}
            await asyncio.gather(*(line.close() for line in lines))
            self._recorder.flush()
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

    def control(self, control: Control) -> str:
        """Carry out a person's command; return '' or why it is refused."""
        refusals: list[str] = []

        def give(now_ms: int) -> None:
            refusals.append(self._bridge.receive_control(control, now_ms))

        self._input(recording.CONTROL, recording.control_text(control), give)
        self._spawn(self._flush())
        return refusals[0]

    # ---- inputs -------------------------------------------------------------------------------

    def _input(
        self, kind: str, text: str, give: Callable[[int], None], *, session: int = 1
    ) -> None:
        now_ms = self.now_ms
        self._recorder.input(kind, now_ms, text, session=session)
        give(now_ms)
        self._collect(now_ms)

    def _collect(self, now_ms: int) -> None:
        twilio, realtime, effects = recording.drain(self._bridge, self._recorder, now_ms)
        self._to_twilio.extend(twilio)
        if self._bridge.session != self._line.session:
            # What the earlier session was still to be sent is of no use to anybody.
            self._line.outbox.clear()
            self._line = self._lines[self._bridge.session]
        self._line.outbox.extend(realtime)
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
                if self.tap is not None:
                    self.tap.heard(frame)
                recorder.input(recording.TWILIO, now_ms, frame)
                bridge.receive_twilio(frame, now_ms)
                if bridge.effects or bridge.to_twilio:
                    self._collect(now_ms)
                elif bridge.to_realtime:
                    self._pass_on(now_ms)
            if self._line.outbox or self._to_twilio:
                await self._flush()

    def _pass_on(self, now_ms: int) -> None:
        """Send what one frame of the caller caused; audio moves no deadline forward."""
        out = self._bridge.to_realtime
        if not out[0].startswith(APPEND_HEAD):
            self._collect(now_ms)
            return
        for text in out:
            self._recorder.output(
                recording.OUT_REALTIME, now_ms, text, session=self._bridge.session
            )
        self._line.outbox.extend(out)
        out.clear()

    # ---- the model ----------------------------------------------------------------------------

    def _start(self, line: ModelLine, connect: Callable[[], Awaitable[Prepared]]) -> None:
        """Begin to dial a session."""
        task = line.task = asyncio.create_task(
            line.run(connect, self), name=f"model-{line.session}"
        )
        task.add_done_callback(self._line_done)

    def _line_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def opened(self, session: int, *, config_sent: bool, said: list[str]) -> None:
        """Tell the bridge that a session's socket is open (``Ears``)."""
        self._input(
            recording.OPENED,
            "1" if config_sent else "0",
            lambda now: self._bridge.realtime_opened(now, config_sent=config_sent, session=session),
            session=session,
        )
        for text in said:
            self._hear(session, text)
        await self._flush()

    async def says(self, session: int, text: str) -> None:
        """Give the bridge one frame of a session (``Ears``)."""
        self._hear(session, text)
        if self._to_twilio or self._line.outbox:
            await self._flush()

    async def closed(self, session: int, code: int) -> None:
        """Tell the bridge that a session's socket is gone (``Ears``)."""
        self._input(
            recording.REALTIME_CLOSED,
            str(code),
            lambda now: self._bridge.realtime_closed(code, now, session=session),
            session=session,
        )
        await self._flush()

    def _hear(self, session: int, text: str) -> None:
        now_ms = self.now_ms
        self._recorder.input(recording.REALTIME, now_ms, text, session=session)
        self._bridge.receive_realtime(text, now_ms, session=session)
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
        since = self._line.busy_since
        if since is not None and self._loop.time() - since > BLOCKED_SECONDS:
            self._line.abort()
        self._schedule()

    # ---- outputs ------------------------------------------------------------------------------

    async def _flush(self) -> None:
        if self._line.outbox:
            await self._line.flush()
        if self._to_twilio and self._twilio_busy_since is None:
            self._twilio_busy_since = self._loop.time()
            try:
                while self._to_twilio:
                    text = self._to_twilio.popleft()
                    if self.tap is not None:
                        self.tap.said(text)
                    await self._frames.send(text)
            finally:
                self._twilio_busy_since = None

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, DispatchTools):
            self._spawn(self._ports.run_tools(effect.calls, self._tool_finished))
        elif isinstance(effect, HangUp):
            self._spawn(self._hang_up())
        elif isinstance(effect, CloseStream):
            self._spawn(self._close_stream(effect))
        elif isinstance(effect, DialModel):
            line = ModelLine(effect.session, effect.config_text, self._bridge.plan.dialect)
            self._lines[effect.session] = line
            connect = self._ports.connect
            self._start(line, partial(connect, effect.model) if effect.model else connect)
        elif isinstance(effect, CloseModel):
            gone = self._lines.pop(effect.session, None)
            if gone is not None:
                self._spawn(gone.close())
        elif isinstance(effect, StreamEnded):
            self._ended = effect
            self._over.set()
        else:
            if self.tap is not None:
                self.tap.noted(effect)
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

    def _tool_finished(self, tool_call_id: str, result: ToolResult) -> None:
        self._input(
            recording.TOOL,
            recording.tool_text(tool_call_id, result),
            lambda now: self._bridge.tool_finished(tool_call_id, result, now),
        )
        self._spawn(self._flush())

    async def _hang_up(self) -> None:
        # Stored first: whatever ends the stream from here on, the action URL will hang up too.
        await self._ports.journal.set_next_step("hangup")
        await self._ports.hang_up()

    async def _close_stream(self, effect: CloseStream) -> None:
        await self._ports.journal.set_next_step(effect.next_step, effect.dial_to)
        await self._frames.close(effect.code)
        self._input(recording.TWILIO_CLOSED, "", self._bridge.twilio_closed)
