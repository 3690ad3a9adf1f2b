"""Those who listen to a live call, beside its audio and never in its way.

The driver appends what passes to a bounded queue, if anybody listens at all; everything else
happens in a task of the room: mixing ten times a second, once for all listeners. A listener has a
bounded queue of its own, which drops the oldest; one that stays behind is sent away. Nothing is
passed on before the rules of whoever has the call are known. Without Django; who may listen, and
what may be shown, is not decided here.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from calls.bridge.effects import Effect, PolicyRefused, RecordTurn, StreamEnded
from calls.media.listening_audio import OUT_HZ, BothSides, Renderer
from calls.privacy.keeping import Shown
from calls.wire import twilio_media

PIECE_SECONDS: Final = 0.1
# A burst of half a minute of speech with the caller's frames beside it; beyond, the oldest go.
MOST_PASSED: Final = 2_048
MOST_WAITING: Final = 50  # pieces of a listener: five seconds
MOST_DROPPED: Final = 100  # then it is ten seconds behind, and not catching up
MOST_LISTENERS: Final = 50  # of one call
SEND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0

TRY_LATER = 1013
GONE_ON = 1012
OVER = 1000
REFUSED = 4403

Send = Callable[[bytes | str], Awaitable[None]]
# Given who has the call; None: not to be had now, to be asked again.
AskRules = Callable[[str], Awaitable[Shown | None]]


class Tap:
    """What passed since the room looked last: cheap to write, read by the room alone."""

    __slots__ = ("_passed", "heard", "noted", "said")

    def __init__(self) -> None:
        self._passed: deque[tuple[str, Any]] = deque(maxlen=MOST_PASSED)
        append = self._passed.append
        self.heard: Callable[[str], None] = lambda text: append(("heard", text))
        self.said: Callable[[str], None] = lambda text: append(("said", text))
        self.noted: Callable[[Effect], None] = lambda effect: append(("noted", effect))

    def take(self) -> list[tuple[str, Any]]:
        """Return what passed, oldest first."""
        taken = list(self._passed)
        self._passed.clear()
        return taken


class Listener:
    """One who listens; ``closed`` resolves to (code, reason) when it is to be sent away."""

    def __init__(self, send: Send, channels: int = 1) -> None:
        self.channels = channels
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.dropped = 0
        self._send = send
        self._waiting: deque[bytes | str] = deque()
        self._news = asyncio.Event()

    def give(self, piece: bytes | str) -> None:
        """Queue a piece; the oldest makes room."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
            if self.dropped >= MOST_DROPPED:
                self.close(TRY_LATER, "too slow: the sound of the call was not read in time")
        self._waiting.append(piece)
        self._news.set()

    def close(self, code: int, reason: str) -> None:
        """Send it away; the first reason counts."""
        if not self.closed.done():
            self.closed.set_result((code, reason))
        self._news.set()

    async def run(self) -> tuple[int, str]:
        """Send what is queued until it is sent away, and return why."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await self._send(self._waiting.popleft())
                except TimeoutError:
                    self.close(TRY_LATER, "too slow: nothing was read for ten seconds")
                    break
            if self.closed.done():
                return self.closed.result()


class Room:
    """The listeners of one stream of a call. ``attach`` gives the driver its tap, or takes it.

    ``whose`` names the assistant that has the call now, ``ask`` what its listeners may get; it is
    asked when somebody begins to listen, and after each handoff; without it there are no rules.
    ``begun_with`` are those that the stream began with: words that come late may be under them.
    """

    def __init__(
        self,
        call_id: str,
        attach: Callable[[Tap | None], None],
        *,
        whose: Callable[[], str] = lambda: "",
        ask: AskRules | None = None,
        begun_with: Shown = Shown(),  # noqa: B008 - frozen
    ) -> None:
        self.call_id = call_id
        self._attach = attach
        self._whose = whose
        self._ask = ask
        self._known: str | None = None
        self._forbidden = ""
        self._shown = [begun_with]
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._tap: Tap | None = None
        self._ended: StreamEnded | None = None
        self._sides = BothSides()
        self._renderers = {channels: Renderer(channels) for channels in (1, 2)}

    @property
    def is_full(self) -> bool:
        """Tell whether nobody else may listen."""
        return len(self._listeners) >= MOST_LISTENERS

    def enter(self, listener: Listener) -> None:
        """Let somebody listen from now on; who comes as the stream ends is told so."""
        listener.give(
            _told(
                "listening",
                callId=self.call_id,
                encoding="pcm_s16le",
                sampleRate=OUT_HZ,
                channels=listener.channels,
            )
        )
        listener.give(_told("status-update", status="in-progress"))
        self._listeners.add(listener)
        if self._ended is not None:
            self._dismiss(listener, self._ended)
        elif self._task is None:
            self._tap, self._sides = Tap(), BothSides()
            self._known, self._forbidden = None, ""
            self._attach(self._tap)
            self._task = asyncio.create_task(self._run(self._tap), name="listening")

    def leave(self, listener: Listener) -> None:
        """Forget somebody; without listeners nothing is kept of what passes."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._attach(None)
            self._task.cancel()
            self._task = self._tap = None

    def end(self, ended: StreamEnded) -> None:
        """Tell everybody that the stream is over, and why."""
        self._ended = ended
        if self._tap is not None and self._is_known():
            self._pass_on(self._tap)
        for listener in tuple(self._listeners):
            self._dismiss(listener, ended)

    @staticmethod
    def _dismiss(listener: Listener, ended: StreamEnded) -> None:
        if ended.call_over:
            listener.give(_told("status-update", status="ended", endedReason=ended.ended_reason))
            listener.close(OVER, "the call is over")
        else:
            listener.close(GONE_ON, "the call goes on in another stream: connect again")

    async def _run(self, tap: Tap) -> None:
        while True:
            await asyncio.sleep(PIECE_SECONDS)
            # What passes meanwhile waits in the tap, which is bounded.
            if self._ask is not None and not self._is_known():
                await self._learn(self._ask, self._whose())
            if self._is_known():
                self._pass_on(tap)

    def _is_known(self) -> bool:
        """Tell whether it is known that something may be passed on."""
        known = self._ask is None or self._known == self._whose()
        return known and not self._forbidden

    async def _learn(self, ask: AskRules, whose: str) -> None:
        """Find out what may be shown now that ``whose`` has the call."""
        shown = await ask(whose)
        if shown is None:
            return
        self._known, self._forbidden = whose, shown.forbidden
        # A text can be late: what was said to one assistant comes while the next one has the call.
        if shown not in self._shown:
            self._shown.append(shown)
        if shown.forbidden:
            for listener in tuple(self._listeners):
                listener.close(REFUSED, shown.forbidden)

    def _pass_on(self, tap: Tap) -> None:
        """Give everybody what passed since the last time."""
        for kind, passed in tap.take():
            if kind == "noted":
                self._note(passed)
            else:
                _sound(self._sides, kind, passed)
        caller, assistant = self._sides.take()
        for channels in {listener.channels for listener in self._listeners} if caller else ():
            piece = self._renderers[channels].render(caller, assistant)
            for listener in self._listeners:
                if listener.channels == channels:
                    listener.give(piece)

    def _note(self, effect: Effect) -> None:
        if isinstance(effect, PolicyRefused):
            for listener in tuple(self._listeners):
                listener.close(REFUSED, "the caller does not agree to be listened to")
        elif isinstance(effect, RecordTurn):
            for shown in self._shown:
                effect = replace(effect, text=shown.text(effect))
            if not effect.text:
                return
            text = _told(
                "transcript",
                role=effect.role,
                transcriptType="partial" if effect.ended_ms is None else "final",
                transcript=effect.text,
                ordinal=effect.ordinal,
            )
            for listener in self._listeners:
                listener.give(text)


async def attend(
    room: Room, channels: int, send: Send, gone: Coroutine[Any, Any, int]
) -> tuple[int, str]:
    """Let somebody listen until they leave or are sent away; return why to close, code 0 if gone.

    ``gone`` ends when the other side has left (0) or is to be sent away for a reason of its own.
    """
    listener = Listener(send, channels)
    room.enter(listener)
    run = asyncio.create_task(listener.run(), name="listener")
    left = asyncio.create_task(gone, name="listener-gone")
    try:
        waits: set[asyncio.Future[Any]] = {run, left, listener.closed}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if listener.closed.done() and not run.done():
            # What is queued is sent; a socket that takes nothing is not waited for any longer.
            await asyncio.wait({run}, timeout=CLOSE_SECONDS)
        if left.done():
            return left.result(), "too much was sent"
        return listener.closed.result() if listener.closed.done() else (0, "")
    finally:
        room.leave(listener)
        listener.close(OVER, "gone")
        for task in (run, left):
            task.cancel()
        await asyncio.gather(run, left, return_exceptions=True)


def _sound(sides: BothSides, kind: str, text: str) -> None:
    try:
        event, message = twilio_media.decode(text)
        if event == "clear" and kind == "said":
            sides.cleared()
        elif event == "media":
            payload, _ = twilio_media.media_payload(message)
            audio = base64.b64decode(payload)
            if kind == "heard":
                sides.heard(audio)
            else:
                sides.said(audio)
    except twilio_media.TwilioWireError:
        return  # the bridge counts it


def _told(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


class Rooms:
    """The calls of this process that can be listened to, by call_id."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def open(self, room: Room) -> None:
        """Let a call be found; a later stream takes the place of an earlier one."""
        self._rooms[room.call_id] = room

    def close(self, room: Room, ended: StreamEnded) -> None:
        """Let it be found no more and send its listeners away."""
        if self._rooms.get(room.call_id) is room:
            del self._rooms[room.call_id]
        room.end(ended)

    def find(self, call_id: str) -> Room | None:
        """Return the room of a call that this process carries."""
        return self._rooms.get(call_id)


rooms = Rooms()
