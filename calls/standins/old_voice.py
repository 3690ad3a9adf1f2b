"""The old stack's voice at the stand-in: answers a call's stream in tones and keeps its own log.

A socket under ``/old/media``: the old stack's TwiML leads Twilio there. It hears the caller's
words as they arrive in the audio, calls the tools that its rules name (nobody is asked: a rule has
the answer too) and speaks. Its logs have the shape of Vapi's ``GET /call`` and are served below
``/old/api``, to whoever has the ``api_key``. It is a peer: it must not import the platform.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from calls.standins.asgi import Receive, Scope, Send, headers_of, respond_json
from calls.standins.tones import ToneDecoder, encode

PATH: Final = "/old/media"
API: Final = "/old/api"
_CHUNK_BYTES: Final = 8_000


@dataclass(frozen=True, slots=True)
class OldRule:
    """What is done and said when the caller's words fit: tools as (name, arguments, result)."""

    when: re.Pattern[str]
    say: str
    tools: tuple[tuple[str, dict[str, Any], str], ...] = ()


@dataclass(slots=True)
class OldVoiceApp:
    """The voice: ``greeting``, ``rules`` in order, and the ``logs`` of calls by CallSid."""

    greeting: str = "Hello, this is the old desk."
    rules: list[OldRule] = field(default_factory=list)
    logs: dict[str, dict[str, Any]] = field(default_factory=dict)
    api_key: str = "old-stack-key"
    asked: list[str] = field(default_factory=list)

    async def api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer ``GET /call`` of Vapi's API (vapi.md 1.5), newest first."""
        query = parse_qs(scope["query_string"].decode())
        self.asked.append(scope["query_string"].decode())
        if headers_of(scope).get("authorization") != f"Bearer {self.api_key}":
            await respond_json(send, 401, {"message": "Invalid Key.", "statusCode": 401})
            return
        if scope["path"] != f"{API}/call":
            await respond_json(send, 404, {"message": "Not Found", "statusCode": 404})
            return
        least, most = query.get("createdAtGe", [""])[0], query.get("createdAtLe", ["9"])[0]
        rows = [log for log in self.logs.values() if least <= log["createdAt"] <= most]
        rows.sort(key=lambda log: str(log["createdAt"]), reverse=True)
        await respond_json(send, 200, rows[: int(query.get("limit", ["100"])[0])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry one stream to its end."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        line = _Line(self, send)
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                break
            await line.take(json.loads(message["text"]))
        line.end()


class _Line:
    def __init__(self, app: OldVoiceApp, send: Send) -> None:
        self._app, self._send = app, send
        self._decoder = ToneDecoder()
        self._stream_sid = ""
        self._log: dict[str, Any] = {}
        self._began = datetime.now(UTC)

    async def take(self, message: dict[str, Any]) -> None:
        """Take one message of Twilio's."""
        if message["event"] == "start":
            self._stream_sid = message["start"]["streamSid"]
            self._log = self._new_log(message["start"]["callSid"])
            await self._say(self._app.greeting)
        elif message["event"] == "media":
            for heard in self._decoder.feed(base64.b64decode(message["media"]["payload"])):
                await self._heard(heard.text)

    def end(self) -> None:
        """Close the log."""
        if self._log:
            self._log |= {"status": "ended", "endedAt": _iso(datetime.now(UTC))}
            self._log["endedReason"] = "customer-ended-call"

    async def _heard(self, text: str) -> None:
        self._note({"role": "user", "message": text})
        rule = next((rule for rule in self._app.rules if rule.when.search(text)), None)
        for name, arguments, result in rule.tools if rule is not None else ():
            tool_call_id = f"call_{uuid.uuid4().hex[:12]}"
            function = {"name": name, "arguments": json.dumps(arguments)}
            made = {"id": tool_call_id, "type": "function", "function": function}
            self._note({"role": "tool_calls", "toolCalls": [made]})
            self._note(
                {
                    "role": "tool_call_result",
                    "toolCallId": tool_call_id,
                    "name": name,
                    "result": result,
                }
            )
        await self._say(rule.say if rule is not None else "Could you say that again?")

    async def _say(self, text: str) -> None:
        self._note({"role": "bot", "message": text})
        audio = encode(text)
        for at in range(0, len(audio), _CHUNK_BYTES):
            payload = base64.b64encode(audio[at : at + _CHUNK_BYTES]).decode()
            media = {"event": "media", "streamSid": self._stream_sid, "media": {"payload": payload}}
            await self._send({"type": "websocket.send", "text": json.dumps(media)})

    def _new_log(self, call_sid: str) -> dict[str, Any]:
        log: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "type": "inboundPhoneCall",
            "status": "in-progress",
            "phoneCallProvider": "twilio",
            "phoneCallProviderId": call_sid,
            "createdAt": _iso(self._began),
            "startedAt": _iso(self._began),
            "cost": 0.07,
            "messages": [],
        }
        self._app.logs[call_sid] = log
        return log

    def _note(self, message: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        seconds = round((now - self._began).total_seconds(), 3)
        self._log["messages"].append(
            {**message, "time": now.timestamp() * 1000, "secondsFromStart": seconds}
        )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
