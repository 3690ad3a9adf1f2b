"""A stream of a call without a carrier: our consumer by its ASGI interface, a model that agrees.

For tests of what happens to frames; nothing here speaks, listens or keeps time.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from calls.media.database import in_database
from calls.models import Call
from calls.routing import websocket_urlpatterns
from calls.services.call_start import media_token, token_expiry
from tests import factories
from tests.integration.calls.rig import PUBLIC, TOKEN, sign, until
from voiceplatform.sockets import websocket_application

STREAM_SID = "MZ" + "a" * 32
UPDATED = {
    "type": "session.updated",
    "event_id": "e2",
    "session": {
        "type": "realtime",
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}},
            "output": {"format": {"type": "audio/pcmu"}},
        },
    },
}


class Model:
    """A model that agrees to everything and remembers what the query was doing at each frame."""

    def __init__(self, query_is_over: Callable[[], bool]) -> None:
        self._query_is_over = query_is_over
        self.configured = asyncio.Event()
        self.arrived: list[tuple[bytes, bool]] = []
        self.port = 0

    async def __call__(self, socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "session.created", "event_id": "e1", "session": {}}))
        async for text in socket:
            event = json.loads(text)
            if event["type"] == "session.update":
                await socket.send(json.dumps(UPDATED))
                self.configured.set()
            elif event["type"] == "input_audio_buffer.append":
                self.arrived.append((base64.b64decode(event["audio"]), self._query_is_over()))


@asynccontextmanager
async def model_server(query_is_over: Callable[[], bool]) -> AsyncIterator[Model]:
    model = Model(query_is_over)
    async with serve(model, "127.0.0.1", 0, compression=None) as server:
        model.port = server.sockets[0].getsockname()[1]
        yield model


class Socket:
    """Twilio's end of an ASGI media socket."""

    call: Call

    def __init__(self, application: Any, url_path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "path": url_path,
            "raw_path": url_path.encode(),
            "headers": headers,
            "extensions": {},
            "query_string": b"",
        }
        self._in.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(application(scope, self._in.get, self._out.put))

    async def accepted(self) -> None:
        assert (await asyncio.wait_for(self._out.get(), 10))["type"] == "websocket.accept"

    def send(self, message: dict[str, Any]) -> None:
        self._in.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def start(self, call_sid: str, account_sid: str) -> None:
        self.send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "streamSid": STREAM_SID,
            "accountSid": account_sid,
            "callSid": call_sid,
            "tracks": ["inbound"],
            "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        self.send(
            {"event": "start", "sequenceNumber": "1", "streamSid": STREAM_SID} | {"start": start}
        )

    def frame(self, number: int) -> None:
        media = {
            "track": "inbound",
            "chunk": str(number + 1),
            "timestamp": str(number * 20),
            "payload": base64.b64encode(audio_of(number)).decode(),
        }
        head = {"event": "media", "sequenceNumber": str(number + 2), "streamSid": STREAM_SID}
        self.send({**head, "media": media})

    async def close(self) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 20)


def audio_of(number: int) -> bytes:
    """Return the audio of a frame: 20 ms, different for each."""
    return number.to_bytes(4, "big") * 40


@asynccontextmanager
async def direct_call(model: Model, application: Any = None) -> AsyncIterator[Socket]:
    """A stream whose frames reach the model."""

    def make() -> Call:
        number = factories.make_number(
            twilio_account=factories.make_account(auth_token=TOKEN),
            connection=factories.make_connection(
                realtime_url=f"ws://127.0.0.1:{model.port}/v1/realtime"
            ),
            assistant=factories.make_assistant(
                first_message_mode="assistant-waits-for-user", first_message=""
            ),
        )
        return factories.make_call(
            number=number, stream_count=1, media_token_expires_at=token_expiry()
        )

    call = await in_database(make)
    url_path = f"/twilio/media/{call.pk}/{media_token(call)}"
    signature = sign(PUBLIC.replace("https", "wss") + url_path, {})
    socket = Socket(
        application or websocket_application(websocket_urlpatterns),
        url_path,
        [(b"x-twilio-signature", signature.encode())],
    )
    socket.call = call
    await socket.accepted()
    socket.start(call.call_sid, call.twilio_account.account_sid)
    await asyncio.wait_for(model.configured.wait(), 10)
    socket.frame(0)
    await until(lambda: model.arrived, what="the first frame")
    model.arrived.clear()
    yield socket
    await socket.close()
