"""The hot path: a slow query anywhere delays no frame, and audio touches no database, thread or
channel layer (style.md 2, the companion of T19, T31930). Order and causality only.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import connection
from django.urls import path

from calls.media import consumer as consumer_module
from calls.media.consumer import MediaConsumer
from calls.media.database import in_database
from calls.media.realtime_client import Endpoint, dial
from tests.integration.calls.direct import Model, Socket, audio_of, direct_call, model_server
from tests.integration.calls.rig import until
from voiceplatform.sockets import websocket_application

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

FRAMES = 1000


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
    assert [audio for audio, _ in model.arrived] == [audio_of(n) for n in range(1, FRAMES + 1)]
    late = sum(over for _, over in model.arrived)
    assert late == 0, f"{late} of {FRAMES} frames waited for the query"


@pytest.mark.parametrize("work", [_in_pool, _in_the_one_thread])
async def test_no_frame_waits_for_a_query(transactional_db: None, work: Any) -> None:
    query = SlowQuery(longest_seconds=4.0)
    async with model_server(query.over.is_set) as model, direct_call(model) as socket:
        running = asyncio.ensure_future(work(query))
        await _drive(model, socket, query, running)


async def test_no_frame_waits_for_eight_queries_at_once(transactional_db: None) -> None:
    queries = [SlowQuery(longest_seconds=4.0) for _ in range(8)]
    async with model_server(queries[0].over.is_set) as model, direct_call(model) as socket:
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
    async with model_server(query.over.is_set) as model:
        STOCK_URL["url"] = f"ws://127.0.0.1:{model.port}/"
        async with direct_call(model, websocket_application(routes)) as socket:
            running = asyncio.ensure_future(_in_the_one_thread(query))
            with pytest.raises(AssertionError, match="frames waited for the query"):
                await _drive(model, socket, query, running)


# ---- what the audio path never does -----------------------------------------------------------


@contextmanager
def _forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail on a query of the loop's thread, and on any thread hop outside the two tasks for it.

    The journal stores in a thread, and the desk of commands looks for one there; neither touches a
    frame.
    """
    broken: list[str] = []

    def no_query(execute: Any, sql: str, *arguments: Any) -> Any:
        broken.append(f"query on the loop: {sql[:60]}")
        raise AssertionError(sql)

    loop = asyncio.get_running_loop()
    run_in_executor = loop.run_in_executor

    def no_thread(*arguments: Any) -> Any:
        task = asyncio.current_task()
        if task is None or task.get_name() not in ("journal", "control-desk"):
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
    async with model_server(lambda: False) as model, direct_call(model) as socket:
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
