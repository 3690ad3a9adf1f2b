"""One call held by the test's own hands: messages in by name, messages out as short words.

``Line`` feeds a CallBridge and keeps what it sends in a form that reads like the protocol. It must
not decide anything: the test says what happens next.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from calls.bridge.effects import Effect
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan, Greeting
from tests.contract import check_realtime_client, check_twilio_outbound
from tests.virtual_call import ACCOUNT_SID, CALL_SID, STREAM_SID, plan_of
from tools.spec import Outcome, ToolResult

FIXTURES = Path(__file__).parents[2] / "fixtures" / "wire"


def mulaw(ms: int) -> str:
    """Return so many ms of audio in base64."""
    return base64.b64encode(b"\x55" * (8 * ms)).decode()


def start_message(**changes: Any) -> dict[str, Any]:
    """Return a ``start`` message; keywords replace parts of its body."""
    body = {
        "streamSid": STREAM_SID,
        "accountSid": ACCOUNT_SID,
        "callSid": CALL_SID,
        "tracks": ["inbound"],
        "customParameters": {"tok": "t"},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        **changes,
    }
    return {"event": "start", "sequenceNumber": "1", "streamSid": STREAM_SID, "start": body}


def quiet_plan(*tools: str, **fields: Any) -> CallPlan:
    """Return a plan in which the caller speaks first: nothing happens by itself."""
    return plan_of(*tools, **{"greeting": Greeting("wait"), **fields})


class Line:
    """A bridge and what it has sent since the last look."""

    def __init__(self, plan: CallPlan | None = None) -> None:
        self.plan = plan or quiet_plan()
        self.bridge = CallBridge(self.plan, 0)
        self.now_ms = 0

    # -- inputs -------------------------------------------------------------------------------

    def after(self, ms: int) -> Line:
        """Let time pass."""
        self.now_ms += ms
        return self

    def tick(self, after_ms: int = 0) -> Line:
        """Let time pass and call ``tick``."""
        self.after(after_ms).bridge.tick(self.now_ms)
        return self

    def twilio(self, message: dict[str, Any] | str) -> Line:
        """Feed a message of Twilio's."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.bridge.receive_twilio(text, self.now_ms)
        return self

    def realtime(self, kind: str, **fields: Any) -> Line:
        """Feed an event of the model."""
        self.bridge.receive_realtime(json.dumps({"type": kind, **fields}), self.now_ms)
        return self

    def streaming(self) -> Line:
        """Twilio has connected and started."""
        return self.twilio({"event": "connected"}).twilio(start_message())

    def dialled(self, *, config_sent: bool = False) -> Line:
        """The model's socket is open and the session created."""
        self.bridge.realtime_opened(self.now_ms, config_sent=config_sent)
        return self.realtime("session.created", session={})

    def updated(self, kind: str = "audio/pcmu") -> Line:
        """The session is configured."""
        shape = {"format": {"type": kind}}
        return self.realtime(
            "session.updated", session={"audio": {"input": shape, "output": shape}}
        )

    def ready(self) -> Line:
        """Everything is up; what was sent for it is forgotten."""
        self.dialled().streaming().updated()
        self.look()
        return self

    def frame(self, ms: int = 20, **changes: Any) -> Line:
        """Caller audio."""
        media = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": mulaw(ms)}
        return self.twilio(
            {"event": "media", "streamSid": STREAM_SID, "media": {**media, **changes}}
        )

    def mark(self, name: str) -> Line:
        """A mark comes back."""
        return self.twilio({"event": "mark", "streamSid": STREAM_SID, "mark": {"name": name}})

    def created(self, response_id: str = "r1") -> Line:
        """A response begins."""
        return self.realtime("response.created", response={"id": response_id})

    def audio(self, ms: int, item_id: str = "a1", response_id: str = "r1", **extra: Any) -> Line:
        """A piece of speech."""
        fields = {"response_id": response_id, "item_id": item_id, "content_index": 0}
        return self.realtime(
            "response.output_audio.delta", **{**fields, "delta": mulaw(ms), **extra}
        )

    def audio_done(self, item_id: str = "a1", response_id: str = "r1") -> Line:
        """The speech of an item is complete."""
        return self.realtime("response.output_audio.done", response_id=response_id, item_id=item_id)

    def text(self, text: str, item_id: str = "a1", response_id: str = "r1") -> Line:
        """Words of an item."""
        return self.realtime(
            "response.output_audio_transcript.delta",
            response_id=response_id,
            item_id=item_id,
            delta=text,
        )

    def done(
        self,
        response_id: str = "r1",
        status: str = "completed",
        output: list[dict[str, Any]] | None = None,
        **fields: Any,
    ) -> Line:
        """A response ends."""
        response = {"id": response_id, "status": status, "output": output or [], **fields}
        return self.realtime("response.done", response=response)

    def says(self, ms: int, item_id: str = "a1", response_id: str = "r1") -> Line:
        """A whole response of one item."""
        self.created(response_id).audio(ms, item_id, response_id)
        return self.audio_done(item_id, response_id).done(response_id)

    def calls(
        self,
        name: str,
        tool_call_id: str = "c1",
        response_id: str = "r1",
        status: str = "completed",
    ) -> Line:
        """A function call inside a response."""
        item = function_call(name, tool_call_id, status)
        return self.realtime("response.output_item.done", response_id=response_id, item=item)

    def lost(self, code: int = 1006) -> Line:
        """The model's socket is gone; what was sent before is forgotten."""
        self.bridge.realtime_closed(code, self.now_ms)
        self.look()
        return self

    def back(self, after_ms: int = 300) -> Line:
        """Another session is there and configured."""
        return self.after(after_ms).dialled(config_sent=True).updated()

    def tool(self, tool_call_id: str = "c1", output: str = "x", outcome: Outcome = "ok") -> Line:
        """A tool has answered."""
        self.bridge.tool_finished(tool_call_id, ToolResult(output, outcome), self.now_ms)
        return self

    def confirmed(self, tool_call_id: str = "c1") -> Line:
        """The server has taken an output into the conversation."""
        item = {"type": "function_call_output", "call_id": tool_call_id}
        return self.realtime("conversation.item.added", item=item)

    def speech(self, part: str, item_id: str = "u1") -> Line:
        """``started``, ``stopped`` or ``committed``."""
        prefix = "" if part == "committed" else "speech_"
        return self.realtime(f"input_audio_buffer.{prefix}{part}", item_id=item_id)

    def turn(self, item_id: str = "u1") -> Line:
        """The caller has said something."""
        return (
            self.speech("started", item_id).speech("stopped", item_id).speech("committed", item_id)
        )

    def error(self, code: str | None, event_id: str | None = None) -> Line:
        """An error event."""
        return self.realtime("error", error={"type": "x", "code": code, "event_id": event_id})

    # -- outputs ------------------------------------------------------------------------------

    def look(self) -> tuple[list[str], list[str], list[Effect]]:
        """Return and forget what was sent, checked by the vendors' contracts."""
        twilio = [json.loads(text) for text in self.bridge.to_twilio]
        realtime = [json.loads(text) for text in self.bridge.to_realtime]
        for message in twilio:
            check_twilio_outbound(message)
        for event in realtime:
            check_realtime_client(event)
        effects = list(self.bridge.effects)
        for queue in (self.bridge.to_twilio, self.bridge.to_realtime, self.bridge.effects):
            queue.clear()
        return (
            [_short_twilio(each) for each in twilio],
            [_short(each) for each in realtime],
            effects,
        )

    def effects(self, *kinds: type) -> list[Effect]:
        """Return and forget the effects of some kinds; the messages sent are forgotten too."""
        return [each for each in self.look()[2] if isinstance(each, kinds)]


def assert_sent(
    line: Line, *, twilio: list[str] | None = None, realtime: list[str] | None = None
) -> list[Effect]:
    """Compare what was sent since the last look, in short words; None: do not care."""
    to_twilio, to_realtime, effects = line.look()
    if twilio is not None:
        assert to_twilio == twilio
    if realtime is not None:
        assert to_realtime == realtime
    return effects


def function_call(name: str, tool_call_id: str, status: str = "completed") -> dict[str, Any]:
    """Return a function call item."""
    return {
        "id": f"f-{tool_call_id}",
        "type": "function_call",
        "status": status,
        "call_id": tool_call_id,
        "name": name,
        "arguments": "{}",
    }


def script(name: str) -> list[dict[str, Any]]:
    """Return the lines of a recorded sequence, e.g. ``twilio/opening``."""
    lines = (FIXTURES / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _short_twilio(message: dict[str, Any]) -> str:
    if message["event"] == "media":
        return f"media {len(base64.b64decode(message['media']['payload'])) // 8}"
    return f"mark {message['mark']['name']}" if message["event"] == "mark" else "clear"


def _short(event: dict[str, Any]) -> str:
    kind = event["type"]
    if kind == "input_audio_buffer.append":
        return f"append {len(base64.b64decode(event['audio'])) // 8}"
    if kind == "conversation.item.truncate":
        return f"truncate {event['item_id']} {event['audio_end_ms']}"
    if kind == "conversation.item.delete":
        return f"delete {event['item_id']}"
    if kind == "response.create":
        return f"create {event['response']['metadata']['purpose']}"
    if kind == "response.cancel":
        return f"cancel {event['response_id']}"
    if kind == "conversation.item.create":
        item = event["item"]
        if item["type"] == "function_call":
            return f"call {item['call_id']}"
        return f"output {item['call_id']}" if "call_id" in item else f"seed {item['role']}"
    return f"update {event['event_id']}"
