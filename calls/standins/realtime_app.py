"""OpenAI's end over sockets as an ASGI application: `/v1/realtime` in three dialects, speech, text
and the model list. It carries frames between a socket and a RealtimePeer and keeps the clock; it
must not decide what the peer says.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any
from urllib.parse import parse_qsl

from calls.standins.asgi import Receive, Scope, Send, headers_of, read_body, respond, respond_json
from calls.standins.book import StandinBook
from calls.standins.chat import chat_completion
from calls.standins.peer import Close, Output, Refuse
from calls.standins.realtime_connect import key_is_good
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import REALTIME_MODELS, Dialect, RealtimeProfile
from calls.standins.realtime_session import VOICES
from calls.standins.tones import encode, pcm24k
from calls.standins.transcriptions import transcription

# Path -> dialect; None takes the profile's own (openai_realtime.md 1.1, 1.3, 13.3).
REALTIME_PATHS: dict[str, Dialect | None] = {
    "/v1/realtime": None,
    "/openai/v1/realtime": "azure_ga",
    "/openai/realtime": "beta",
}
HTTP_PATHS = (
    *("/v1/models", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/chat/completions"),
)
_SPEECH_KEYS = frozenset(
    {"model", "input", "voice", "response_format", "speed", "instructions", "stream_format"}
)


def now_ms() -> int:
    """Return the process's monotonic time in ms."""
    return time.monotonic_ns() // 1_000_000


class RealtimeApp:
    """ASGI application of the Realtime stand-in."""

    def __init__(self, book: StandinBook) -> None:
        self.book = book

    def serves(self, path: str) -> bool:
        """Tell whether a path belongs to this application."""
        return path in REALTIME_PATHS or path in HTTP_PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one socket."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    # -- WebSocket ----------------------------------------------------------------------------

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        dialect = REALTIME_PATHS[scope["path"]]
        profile: RealtimeProfile | None = None
        if dialect is not None:
            profile = dataclasses.replace(self.book.profile, dialect=dialect)
        peer = self.book.new_session(profile, int(time.time()))
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        peer.opened(now_ms(), query, headers_of(scope))
        peer.tick(now_ms())
        await receive()  # websocket.connect
        if peer.profile.upgrade_delay_ms:
            await asyncio.sleep(peer.profile.upgrade_delay_ms / 1000)
        outputs = peer.drain()
        if outputs and isinstance(outputs[0], Refuse):
            await _refuse(send, outputs[0].status)
            return
        await send({"type": "websocket.accept"})
        if await _carry(outputs, send):
            await _converse(peer, receive, send)

    # -- HTTP ---------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        scheme, _, key = headers_of(scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key_is_good(self.book.profile, key):
            await _error(send, 401, "invalid_api_key", "Incorrect API key provided.")
        elif scope["path"] == "/v1/models" and scope["method"] == "GET":
            models = [
                {"id": name, "object": "model", "created": 0, "owned_by": "openai"}
                | {"shutdown_date": date}
                for name, date in REALTIME_MODELS.items()
            ]
            await respond_json(send, 200, {"object": "list", "data": models})
        elif scope["path"] == "/v1/audio/speech" and scope["method"] == "POST":
            await self._speech(body, send)
        elif scope["path"] == "/v1/audio/transcriptions" and scope["method"] == "POST":
            kind = headers_of(scope).get("content-type", "")
            await respond_json(send, *transcription(body, kind))
        elif scope["path"] == "/v1/chat/completions" and scope["method"] == "POST":
            await respond_json(send, *chat_completion(body))
        else:
            await _error(send, 404, "unknown_url", "Unknown request URL.")

    async def _speech(self, body: bytes, send: Send) -> None:
        fault, request = _speech_request(body)
        if fault is not None:
            await _error(send, 400, "invalid_value", fault)
            return
        await respond(send, 200, pcm24k(encode(request["input"])), "audio/pcm")


def _speech_request(body: bytes) -> tuple[str | None, dict[str, Any]]:
    try:
        request = json.loads(body)
    except ValueError:
        return "We could not parse the JSON body.", {}
    if not isinstance(request, dict):
        return "An object is expected.", {}
    unknown = sorted(set(request) - _SPEECH_KEYS)
    if unknown:
        return f"Unknown parameter: '{unknown[0]}'.", {}
    for key in ("model", "input", "voice"):
        if not isinstance(request.get(key), str) or not request[key]:
            return f"Missing required parameter: '{key}'.", {}
    if request["voice"] not in VOICES | {"fable", "nova", "onyx"}:
        return f"Invalid voice: '{request['voice']}'.", {}
    if request.get("response_format") != "pcm":
        return "This stand-in renders response_format 'pcm' only.", {}
    if len(request["input"]) > 4096:
        return "input is longer than 4096 characters.", {}
    return None, request


async def _error(send: Send, status: int, code: str, message: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    await respond_json(send, status, {"error": error})


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "websocket.http.response.start", "status": status, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


async def _carry(outputs: list[Output], send: Send) -> bool:
    """Send what a peer put out; return False once the socket is closed."""
    for output in outputs:
        if isinstance(output, Close):
            # 1006 means no close frame: returning without one makes the server cut the line.
            if output.code != 1006:
                reason = output.reason[:120]
                await send({"type": "websocket.close", "code": output.code, "reason": reason})
            return False
        if isinstance(output, Refuse):
            return False
        key = "bytes" if isinstance(output.data, bytes) else "text"
        await send({"type": "websocket.send", key: output.data})
    return True


async def _converse(peer: RealtimePeer, receive: Receive, send: Send) -> None:
    """Run one session until either side closes."""
    incoming = asyncio.ensure_future(receive())
    try:
        while True:
            deadline = peer.next_deadline_ms()
            wait = None if deadline is None else max(0, deadline - now_ms()) / 1000
            await asyncio.wait({incoming}, timeout=wait)
            if incoming.done():
                message = incoming.result()
                if message["type"] == "websocket.disconnect":
                    peer.peer_closed(now_ms())
                    return
                text = message.get("text")
                peer.receive(text if text is not None else message["bytes"], now_ms())
                incoming = asyncio.ensure_future(receive())
            peer.tick(now_ms())
            if not await _carry(peer.drain(), send):
                return
    except OSError:
        peer.peer_closed(now_ms())  # the client is gone in the middle of a send
    finally:
        incoming.cancel()
