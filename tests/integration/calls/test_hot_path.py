"""The hot path: a slow query anywhere delays no frame, and audio touches no database, thread or
channel layer (style.md 2, the companion of T19, T31930). Order and causality only.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import connection
from django.urls import path
from websockets.asyncio.server import ServerConnection, serve

from calls.media import consumer as consumer_module
from calls.media.consumer import MediaConsumer
from calls.media.database import in_database
from calls.media.realtime_client import Endpoint, dial
from calls.models import Call
from calls.routing import websocket_urlpatterns
from calls.services.call_start import media_token, token_expiry
from tests import factories
from tests.integration.calls.rig import PUBLIC, TOKEN, sign, until
from voiceplatform.sockets import websocket_application

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

FRAMES = 1000
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
async def _model(query_is_over: Callable[[], bool]) -> AsyncIterator[Model]:
    model = Model(query_is_over)
    async with serve(model, "127.0.0.1", 0, compression=None) as server:
        model.port = server.sockets[0].getsockname()[1]
        yield model


class Socket:
    """Twilio's end of an ASGI media socket."""

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
            "payload": base64.b64encode(_audio(number)).decode(),
        }
        head = {"event": "media", "sequenceNumber": str(number + 2), "streamSid": STREAM_SID}
        self.send({**head, "media": media})

    async def close(self) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 20)


def _audio(number: int) -> bytes:
    return number.to_bytes(4, "big") * 40  # every frame is another


class SlowQuery:
    """A statement that the database holds until it is released or its time is up."""

    def __init__(self, longest_seconds: float) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()
        self.release = threading.Event()
        self._longest_seconds = longest_seconds

    def run(self) -> None:
        """Run it in this thread."""
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            connection.connection.create_function("hold", 0, self._hold)
            with connection.cursor() as cursor:
                cursor.execute("SELECT hold()")
        else:
            with connection.cursor() as cursor:
                self.begun.set()
                while not self.release.is_set() and self._longest_seconds > 0:
                    cursor.execute("SELECT pg_sleep(0.1)")
                    self._longest_seconds -= 0.1
        self.over.set()
        connection.close()

    def _hold(self) -> int:
        self.begun.set()
        self.release.wait(self._longest_seconds)
        return 1


@asynccontextmanager
async def _call(model: Model, application: Any = None) -> AsyncIterator[Socket]:
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
    await socket.accepted()
    socket.start(call.call_sid, call.twilio_account.account_sid)
    await asyncio.wait_for(model.configured.wait(), 10)
    socket.frame(0)
    await until(lambda: model.arrived, what="the first frame")
    model.arrived.clear()
    yield socket
    await socket.close()


async def _in_pool(query: SlowQuery) -> None:
    await in_database(query.run)


async def _in_the_one_thread(query: SlowQuery) -> None:
    await sync_to_async(query.run)()


async def _drive(
    model: Model, socket: Socket, query: SlowQuery, running: asyncio.Future[None]
) -> None:
    """Send every frame while the query runs; the query ends when all have arrived, or late."""
    await until(query.begun.is_set, what="the query")
    for number in range(1, FRAMES + 1):
        socket.frame(number)
    try:
        await until(lambda: len(model.arrived) == FRAMES, what="every frame", seconds=8)
    finally:
        query.release.set()
        await running
    assert [audio for audio, _ in model.arrived] == [_audio(n) for n in range(1, FRAMES + 1)]
    late = sum(over for _, over in model.arrived)
    assert late == 0, f"{late} of {FRAMES} frames waited for the query"


@pytest.mark.parametrize("work", [_in_pool, _in_the_one_thread])
async def test_no_frame_waits_for_a_query(transactional_db: None, work: Any) -> None:
    query = SlowQuery(longest_seconds=4.0)
    async with _model(query.over.is_set) as model, _call(model) as socket:
        running = asyncio.ensure_future(work(query))
        await _drive(model, socket, query, running)


async def test_no_frame_waits_for_eight_queries_at_once(transactional_db: None) -> None:
    queries = [SlowQuery(longest_seconds=4.0) for _ in range(8)]
    async with _model(queries[0].over.is_set) as model, _call(model) as socket:
        others = [asyncio.ensure_future(in_database(query.run)) for query in queries[1:]]
        await _drive(model, socket, queries[0], asyncio.ensure_future(_in_pool(queries[0])))
        for query in queries[1:]:
            query.release.set()
        await asyncio.gather(*others)


class StockConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """The mutant: what a stock Channels consumer makes of the same bridge of frames."""

    channel_layer_alias = "absent"  # the layer would only make it slower

    async def connect(self) -> None:
        self.model = await dial(Endpoint(STOCK_URL["url"], "openai_ga", "m", "k"))
        await self.accept()
        await self.model.send('{"type":"session.update"}')

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        message = json.loads(text_data)
        if message["event"] == "media":
            payload = message["media"]["payload"]
            await self.model.send(
                json.dumps({"type": "input_audio_buffer.append", "audio": payload})
            )

    async def disconnect(self, code: int) -> None:
        await self.model.close()


STOCK_URL: dict[str, str] = {}


async def test_a_stock_consumer_fails_this_very_assertion(transactional_db: None) -> None:
    query = SlowQuery(longest_seconds=0.3)
    routes = [path("twilio/media/<uuid:call_id>/<str:token>", StockConsumer.as_asgi())]
    async with _model(query.over.is_set) as model:
        STOCK_URL["url"] = f"ws://127.0.0.1:{model.port}/"
        async with _call(model, websocket_application(routes)) as socket:
            running = asyncio.ensure_future(_in_the_one_thread(query))
            with pytest.raises(AssertionError, match="frames waited for the query"):
                await _drive(model, socket, query, running)


# ---- what the audio path never does -----------------------------------------------------------


@contextmanager
def _forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail on a query of the loop's thread, and on any thread hop outside the journal's task."""
    broken: list[str] = []

    def no_query(execute: Any, sql: str, *arguments: Any) -> Any:
        broken.append(f"query on the loop: {sql[:60]}")
        raise AssertionError(sql)

    loop = asyncio.get_running_loop()
    run_in_executor = loop.run_in_executor

    def no_thread(*arguments: Any) -> Any:
        task = asyncio.current_task()
        if task is None or task.get_name() != "journal":
            broken.append(f"a thread for {arguments[1]} in {task and task.get_name()}")
        return run_in_executor(*arguments)

    async def no_hop(self: SyncToAsync[Any, Any], *arguments: Any, **options: Any) -> Any:
        broken.append(f"sync_to_async of {self.func}")
        raise AssertionError(self.func)

    with monkeypatch.context() as patched, connection.execute_wrapper(no_query):
        patched.setattr(loop, "run_in_executor", no_thread, raising=False)
        patched.setattr(SyncToAsync, "__call__", no_hop)
        yield broken


async def test_frames_touch_no_database_no_thread_and_no_channel_layer(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _model(lambda: False) as model, _call(model) as socket:
        # What belongs to the start of the stream is over once the first frame has arrived and
        # its own tasks have ended.
        await until(
            lambda: not any("in_database" in str(task) for task in asyncio.all_tasks()),
            what="the end of the start",
        )
        with _forbidden(monkeypatch) as broken:
            for number in range(1, FRAMES + 1):
                socket.frame(number)
            await until(lambda: len(model.arrived) == FRAMES, what="every frame")
        assert broken == []


def test_the_watchers_of_that_test_can_fail(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def misbehave() -> list[str]:
        with _forbidden(monkeypatch) as broken:
            await in_database(lambda: None)
            with pytest.raises(AssertionError):
                await sync_to_async(print)()
            return broken

    broken = asyncio.run(misbehave())
    assert ["a thread" in broken[0], "sync_to_async" in broken[1]] == [True, True]


def test_the_media_consumer_has_no_channel_layer() -> None:
    assert not hasattr(MediaConsumer, "groups")
    assert "channel_layer" not in vars(MediaConsumer)
    # The stock __call__ would take one; ours replaces it.
    assert MediaConsumer.__call__ is vars(MediaConsumer)["__call__"]
    assert not [name for name in vars(consumer_module) if "layer" in name]
