"""Fake ends of a driver: Twilio's socket, the model's socket and the ports, all in memory."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from calls.bridge.effects import DispatchTool, Effect, NextStep
from calls.bridge.plan import CallPlan, Greeting
from calls.media.driver import CallDriver, Finished, Ports
from calls.media.pool import Prepared
from calls.wire.realtime import SessionConfig
from tools.spec import ToolResult, ToolSpec

CALL_SID, ACCOUNT_SID, STREAM_SID = "CA" + "1" * 32, "AC" + "2" * 32, "MZ" + "3" * 32
ENDED: Any = object()


def plan(**changes: Any) -> CallPlan:
    """Return a plan whose caller speaks first."""
    values: dict[str, Any] = {
        "call_id": "00000000-0000-4000-8000-000000000001",
        "call_sid": CALL_SID,
        "account_sid": ACCOUNT_SID,
        "session": SessionConfig(instructions="Be brief."),
        "greeting": Greeting("wait"),
        "tools": (ToolSpec(name="look_up", kind="function"),),
    }
    return CallPlan(**values | changes)


class FakeFrames:
    """Twilio's socket. ``gate`` holds every send until it is set."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.closed_with: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self) -> str | bytes | None:
        frame = await self.incoming.get()
        return None if frame is ENDED else frame

    async def send(self, text: str) -> None:
        await self.gate.wait()
        self.sent.append(json.loads(text))

    async def close(self, code: int) -> None:
        self.closed_with = self.closed_with or code
        self.incoming.put_nowait(ENDED)


class FakeModel:
    """The model's socket; ``gate`` as above, an abort lets everything go."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self.aborted = False
        self.close_code = 1006
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self) -> str | None:
        frame = await self.incoming.get()
        return None if frame is ENDED else frame

    async def send(self, text: str) -> None:
        await self.gate.wait()
        if not self.aborted:
            self.sent.append(json.loads(text))

    async def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True
        self.gate.set()
        self.incoming.put_nowait(ENDED)


@dataclass
class FakeJournal:
    """Remembers; ``log`` is shared with the other ports to show the order of things."""

    log: list[str]
    effects: list[Effect] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    def write(self, effect: Effect) -> None:
        self.effects.append(effect)

    def write_inputs(self, text: str) -> None:
        self.pieces.append(text)

    async def set_next_step(self, step: NextStep, dial_to: str = "") -> None:
        await asyncio.sleep(0)
        self.log.append(f"next step {step}")


class Stage:
    """A driver between its fakes; ``script`` helpers speak as each side."""

    def __init__(self, call_plan: CallPlan | None = None, *, keep_audio: bool = False) -> None:
        self.log: list[str] = []
        self.frames, self.model = FakeFrames(), FakeModel()
        self.journal = FakeJournal(self.log)
        self.tool: Callable[[DispatchTool], Any] = self._no_tool
        self.connect_error: Exception | None = None
        self.prepared = Prepared(self.model)  # type: ignore[arg-type]  # a fake of the same shape
        # What is found when another session is dialled, in order; nothing left: it takes for ever.
        self.next_models: list[FakeModel | Exception] = []
        self.dials = 0
        self._dialled = asyncio.Condition()
        self.problems: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.problems.append(context["message"]))
        ports = Ports(self._connect, self._run_tools, self._hang_up, self.journal)
        self.driver = CallDriver(call_plan or plan(), self.frames, ports, keep_audio=keep_audio)
        self.run = asyncio.create_task(self.driver.run())

    async def _no_tool(self, effect: DispatchTool) -> ToolResult:
        return ToolResult("nothing", outcome="ok")

    async def _connect(self) -> Prepared:
        self.dials += 1
        async with self._dialled:
            self._dialled.notify_all()
        if self.connect_error is not None:
            raise self.connect_error
        if self.dials == 1:
            return self.prepared
        if not self.next_models:
            await asyncio.Event().wait()
        found = self.next_models.pop(0)
        if isinstance(found, Exception):
            raise found
        return Prepared(found)  # type: ignore[arg-type]

    async def dialled(self, times: int) -> None:
        """Return once the model has been dialled so often."""
        async with self._dialled:
            await self._dialled.wait_for(lambda: self.dials >= times)

    async def _run_tools(self, calls: Sequence[DispatchTool], finished: Finished) -> None:
        for effect in calls:
            finished(effect.tool_call_id, await self.tool(effect))

    async def _hang_up(self) -> None:
        self.log.append("hang up")

    # -- Twilio -------------------------------------------------------------------------------

    def twilio(self, message: dict[str, Any] | str | bytes) -> None:
        """Send a frame as Twilio."""
        frame = json.dumps(message) if isinstance(message, dict) else message
        self.frames.incoming.put_nowait(frame)

    def start(self) -> None:
        """Send ``connected`` and ``start``."""
        self.twilio({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "streamSid": STREAM_SID,
            "accountSid": ACCOUNT_SID,
            "callSid": CALL_SID,
            "tracks": ["inbound"],
            "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        head = {"event": "start", "sequenceNumber": "1", "streamSid": STREAM_SID}
        self.twilio({**head, "start": start})

    def media(self, audio: bytes) -> None:
        """Send caller audio."""
        media = {"track": "inbound", "chunk": "1", "timestamp": "0"}
        media["payload"] = base64.b64encode(audio).decode()
        head = {"event": "media", "sequenceNumber": "2", "streamSid": STREAM_SID}
        self.twilio({**head, "media": media})

    def stop(self) -> None:
        """Send ``stop`` and close."""
        stop = {"accountSid": ACCOUNT_SID, "callSid": CALL_SID}
        head = {"event": "stop", "sequenceNumber": "9", "streamSid": STREAM_SID}
        self.twilio({**head, "stop": stop})
        self.frames.incoming.put_nowait(ENDED)

    # -- the model ----------------------------------------------------------------------------

    def says(self, kind: str, **fields: Any) -> None:
        """Send an event as the model."""
        event = {"type": kind, "event_id": "e", **fields}
        self.model.incoming.put_nowait(json.dumps(event))

    async def ready(self) -> None:
        """Bring stream and session up."""
        self.start()
        self.says("session.created", session={})
        mulaw = {"format": {"type": "audio/pcmu"}}
        audio = {"input": mulaw, "output": mulaw}
        self.says("session.updated", session={"type": "realtime", "audio": audio})
        await self.settle()

    def speaks(self, audio: bytes, response_id: str = "r1", item_id: str = "i1") -> None:
        """Make the model speak."""
        self.says("response.created", response={"id": response_id, "status": "in_progress"})
        item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        where = {"response_id": response_id, "output_index": 0}
        self.says("response.output_item.added", **where, item=item)
        self.delta(audio, response_id, item_id)

    def delta(self, audio: bytes, response_id: str = "r1", item_id: str = "i1") -> None:
        """Send more of the model's audio."""
        where = {"response_id": response_id, "item_id": item_id, "output_index": 0}
        text = base64.b64encode(audio).decode()
        self.says("response.output_audio.delta", **where, content_index=0, delta=text)

    def calls_tool(self, name: str = "look_up", tool_call_id: str = "call_1") -> None:
        """Make the model call a function."""
        self.says("response.created", response={"id": "r9", "status": "in_progress"})
        item = {
            "id": "i9", "type": "function_call", "name": name, "call_id": tool_call_id,
            "arguments": "{}", "status": "completed",
        }  # fmt: skip
        where = {"response_id": "r9", "output_index": 0}
        self.says("response.output_item.done", **where, item=item)
        done = {"id": "r9", "status": "completed", "output": [item], "usage": None}
        self.says("response.done", response=done)

    # -- looking ------------------------------------------------------------------------------

    async def settle(self, turns: int = 50) -> None:
        """Let every task take its turns; nothing here waits for time."""
        for _ in range(turns):
            await asyncio.sleep(0)

    @property
    def model_types(self) -> list[str]:
        """The types of what the model was sent."""
        return [event["type"] for event in self.model.sent]
