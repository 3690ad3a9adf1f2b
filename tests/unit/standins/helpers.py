"""Checked peers and a 30-line pass-through bridge for the stand-ins' own tests. Everything a peer
sends goes through the vendor contract (tests/contract.py) on its way out.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from calls.standins.caller import CallerStep
from calls.standins.peer import Output, Send
from calls.standins.realtime_brain import Brain
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import ToneDecoder, encode, silence
from calls.standins.twilio_media import MediaProfile, TwilioMediaPeer
from calls.standins.virtual import Wire, run_virtual
from tests.contract import check_realtime_server, check_twilio_inbound

ACCOUNT_SID, CALL_SID, STREAM_SID = "AC" + "a" * 32, "CA" + "b" * 32, "MZ" + "c" * 32
PCMU = {"type": "audio/pcmu"}
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Look up the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def config(**overrides: Any) -> dict[str, Any]:
    """Return the session of openai_realtime.md 2.5, with top-level overrides."""
    turn = {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 320,
        "create_response": True,
        "interrupt_response": True,
    }
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "You answer the phone.",
        "audio": {
            "input": {
                "format": PCMU,
                "transcription": {"model": "gpt-transcribe", "language": "en"},
                "turn_detection": turn,
            },
            "output": {"format": PCMU, "voice": "marin"},
        },
        "tools": [WEATHER],
        "tool_choice": "auto",
        **overrides,
    }


def event(kind: str, **fields: Any) -> str:
    """Return a client event as JSON text, with an event_id."""
    return json.dumps({"type": kind, "event_id": f"test-{kind}", **fields})


class Session:
    """A Realtime peer driven by hand; every event it sends is checked and kept."""

    def __init__(
        self,
        profile: RealtimeProfile | None = None,
        brain: Brain | None = None,
        *,
        configure: bool = True,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.peer = RealtimePeer(profile, brain)
        self.now_ms = 0
        self.events: list[dict[str, Any]] = []
        self.other: list[Output] = []
        self.peer.opened(0, query, headers)
        self.run(0)
        if configure:
            self.send("session.update", session=config())

    def send(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Send one event now and return what it caused at once."""
        return self.raw(event(kind, **fields))

    def raw(self, frame: str | bytes) -> list[dict[str, Any]]:
        """Send a frame as it stands."""
        self.peer.receive(frame, self.now_ms)
        return self._collect()

    def run(self, for_ms: int) -> list[dict[str, Any]]:
        """Let time pass and return what was sent meanwhile."""
        self.now_ms += for_ms
        self.peer.tick(self.now_ms)
        return self._collect()

    def append(self, audio: bytes) -> list[dict[str, Any]]:
        """Send caller audio in 20 ms frames at real pace."""
        seen: list[dict[str, Any]] = []
        for at in range(0, len(audio), 160):
            payload = base64.b64encode(audio[at : at + 160]).decode()
            seen += self.send("input_audio_buffer.append", audio=payload)
            seen += self.run(20)
        return seen

    def speak(self, text: str) -> list[dict[str, Any]]:
        """Say `text` as the caller and stay silent until the VAD has noticed."""
        return self.append(encode(text) + silence(360))

    def _collect(self) -> list[dict[str, Any]]:
        fresh: list[dict[str, Any]] = []
        for output in self.peer.drain():
            if not isinstance(output, Send):
                self.other.append(output)
            elif isinstance(output.data, bytes):
                self.other.append(output)
            else:
                parsed = json.loads(output.data)
                dialect = self.peer.profile.dialect
                check_realtime_server(parsed, dialect)
                fresh.append(parsed)
        self.events += fresh
        return fresh


def say_exactly(text: str) -> dict[str, Any]:
    return {"instructions": f'Say this sentence exactly once: "{text}"', "tool_choice": "none"}


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in events if each["type"] == kind]


def audio_of(events: list[dict[str, Any]]) -> bytes:
    deltas = of_kind(events, "response.output_audio.delta")
    return b"".join(base64.b64decode(each["delta"]) for each in deltas)


def words_in(events: list[dict[str, Any]]) -> list[str]:
    return [heard.text for heard in ToneDecoder().feed(audio_of(events) + silence(100))]


def error_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    [found] = of_kind(events, "error")
    return found["error"]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Return the event types, runs of deltas folded into one."""
    folded: list[str] = []
    for each in events:
        if not (each["type"].endswith("delta") and each["type"] in folded[-2:]):
            folded.append(each["type"])
    return folded


class PassThroughBridge:
    """The least a bridge can do: payloads pass through, barge-in clears, tools are answered."""

    def __init__(self, tools: dict[str, str]) -> None:
        self.to_twilio: list[str] = []
        self.to_realtime: list[str] = []
        self.tools, self.ready, self.stream_sid = tools, False, ""
        self.calls: list[tuple[str, str]] = []

    def tick(self, now_ms: int) -> None:
        return

    def next_deadline_ms(self) -> int | None:
        return None

    def from_twilio(self, frame: str | bytes, now_ms: int) -> None:
        message = json.loads(frame)
        check_twilio_inbound(message)
        self.stream_sid = message.get("streamSid", "")
        if message["event"] == "media" and self.ready:
            payload = message["media"]["payload"]
            self.to_realtime.append(event("input_audio_buffer.append", audio=payload))

    def from_realtime(self, frame: str | bytes, now_ms: int) -> None:
        message = json.loads(frame)
        check_realtime_server(message)
        kind = message["type"]
        if kind == "session.created":
            self.to_realtime.append(event("session.update", session=config()))
        elif kind == "session.updated":
            self.ready = True
            greeting = 'Say this sentence exactly once: "Good morning, clinic."'
            self.to_realtime.append(event("response.create", response={"instructions": greeting}))
        elif kind == "response.output_audio.delta":
            self._twilio("media", {"payload": message["delta"]})
        elif kind == "response.output_audio.done":
            self._twilio("mark", {"name": message["item_id"]})
        elif kind == "input_audio_buffer.speech_started":
            self.to_twilio.append(json.dumps({"event": "clear", "streamSid": self.stream_sid}))
        elif kind == "response.output_item.done" and message["item"]["type"] == "function_call":
            item = message["item"]
            self.calls.append((item["name"], item["arguments"]))
            output = {
                "type": "function_call_output",
                "call_id": item["call_id"],
                "output": self.tools[item["name"]],
            }
            self.to_realtime.append(event("conversation.item.create", item=output))
        elif kind == "response.done" and message["response"]["output"]:
            if message["response"]["output"][-1]["type"] == "function_call":
                self.to_realtime.append(event("response.create"))

    def _twilio(self, kind: str, body: dict[str, str]) -> None:
        message = {"event": kind, "streamSid": self.stream_sid, kind: body}
        self.to_twilio.append(json.dumps(message))


def drained(queue: list[str]) -> list[str]:
    """Empty a list and return what it held."""
    held = list(queue)
    queue.clear()
    return held


def converse(
    script: list[CallerStep],
    brain: Brain,
    *,
    media: MediaProfile | None = None,
    realtime: RealtimeProfile | None = None,
    tools: dict[str, str] | None = None,
    until_ms: int = 60_000,
) -> tuple[TwilioMediaPeer, RealtimePeer, PassThroughBridge]:
    """Run one whole call in virtual time through the pass-through bridge."""
    caller = TwilioMediaPeer(
        ACCOUNT_SID, CALL_SID, STREAM_SID, {"tok": "t"}, script, media or MediaProfile()
    )
    model = RealtimePeer(realtime, brain)
    bridge = PassThroughBridge(tools or {})
    wires = [
        Wire(caller.drain, bridge.from_twilio, latency_ms=30),
        Wire(lambda: drained(bridge.to_twilio), caller.receive, latency_ms=30),
        Wire(lambda: drained(bridge.to_realtime), model.receive, latency_ms=15),
        Wire(model.drain, bridge.from_realtime, latency_ms=15),
    ]
    caller.opened(0)
    model.opened(0)
    run_virtual(
        [caller, bridge, model], until_ms, wires, stop_when=lambda: caller.ended_by is not None
    )
    return caller, model, bridge
