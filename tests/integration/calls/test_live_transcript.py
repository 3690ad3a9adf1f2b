"""``GET /call/{id}/transcript``: stored turns, then live ones, once each, until the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient
from django.utils import timezone

from calls.api import transcript
from calls.bridge.effects import RecordTool, RecordTurn
from calls.media.database import in_database
from calls.models import Call
from calls.services import live_feed
from calls.services.journal import batch_store
from tests import factories
from tests.integration.api.client import Rest
from voiceplatform.base.models import AuditEntry
from voiceplatform.base.services import api_key_revoke

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "LOOK_SECONDS", 0.01)


class Reader:
    """Somebody who reads a stream, event by event."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._text = ""
        self.last_id = ""
        self.comments = 0

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next event; None at the end."""
        while True:
            while "\n\n" in self._text:
                block, _, self._text = self._text.partition("\n\n")
                if block.startswith(":"):
                    self.comments += 1
                elif block.startswith("id: "):
                    lines = dict(line.split(": ", 1) for line in block.split("\n"))
                    self.last_id = lines["id"]
                    return lines["event"], json.loads(lines["data"])
            try:
                chunk = await asyncio.wait_for(anext(self._chunks), 10)
            except StopAsyncIteration:
                return None
            self._text += chunk.decode()

    async def words(self, count: int) -> list[str]:
        """Return what the next so many events say."""
        found = [await self.next() for _ in range(count)]
        return [_word(*each) for each in found if each is not None]


def _word(event: str, data: dict[str, Any]) -> str:
    return f"{event} {data.get('text', data.get('state', data.get('status')))}"


@contextlib.asynccontextmanager
async def reading(rest: Rest, call: Call, last_id: str = "") -> AsyncIterator[Reader]:
    """Open a stream."""
    headers = {"authorization": f"Bearer {rest.clear}"}
    if last_id:
        headers["last-event-id"] = last_id
    answer: Any = await AsyncClient().get(f"/call/{call.pk}/transcript", headers=headers)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    chunks = aiter(answer.streaming_content) if answer.streaming else _all(answer.content)
    try:
        yield Reader(chunks)
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]  # both are generators


async def _all(content: bytes) -> AsyncIterator[bytes]:
    yield content


def said(ordinal: int, text: str, *, over: bool = True) -> RecordTurn:
    ended_ms = ordinal * 1000 + 900 if over else None
    role: Any = ("user", "assistant")[ordinal % 2]
    return RecordTurn(ordinal, role, text, "", f"i{ordinal}", ordinal * 1000, ended_ms, False, None)


async def store(call: Call, *turns: RecordTurn, tools: tuple[RecordTool, ...] = ()) -> None:
    await in_database(
        batch_store,
        call_id=str(call.pk),
        stream_number=1,
        turns=turns,
        tools=tools,
        policy=None,
        pieces=(),
    )


def end(call: Call) -> None:
    Call.objects.filter(pk=call.pk).update(
        status="ended", ended_reason="customer-ended-call", ended_at=timezone.now()
    )


@pytest.fixture
def rest(transactional_db: None) -> Iterator[Rest]:
    yield Rest(scopes=("read", "transcripts"))
    # Views run in the one thread for them, whose connection nobody else closes.
    asyncio.run(sync_to_async(connections.close_all)())


async def test_stored_turns_come_first_then_live_ones_until_the_end(rest: Rest) -> None:
    call = await in_database(
        factories.make_call, rest.organisation, turns=[{"text": "Hello"}, {"text": "Hi there"}]
    )
    async with reading(rest, call) as reader:
        assert await reader.words(3) == ["status in-progress", "turn Hello", "turn Hi there"]
        await store(call, said(2, "I want", over=False))
        assert await reader.words(1) == ["turn I want"]
        look_up = RecordTool("c1", "look_up", "{}", "running", "", 2950, None)
        await store(call, said(2, "I want to book"), tools=(look_up,))
        assert await reader.words(2) == ["turn I want to book", "tool running"]
        await in_database(end, call)
        assert await reader.words(2) == ["status ended", "end ended"]
        assert await reader.next() is None
    entry = await in_database(lambda: AuditEntry.objects.get(action="transcript.view"))
    assert (entry.details["through"], entry.target_id) == ("stream", str(call.pk))


async def test_a_broken_line_goes_on_where_it_broke(rest: Rest) -> None:
    call = await in_database(factories.make_call, rest.organisation, turns=[{"text": "Hello"}])
    async with reading(rest, call) as reader:
        await reader.words(2)
    await store(call, said(1, "while nobody read"))
    async with reading(rest, call, reader.last_id) as again:
        assert await again.words(1) == ["turn while nobody read"]
        await store(call, said(2, "and live"))
        assert await again.words(1) == ["turn and live"]
        await in_database(end, call)
        assert await again.words(2) == ["status ended", "end ended"]
    # An EventSource asks again after every end; this tells it to stop.
    headers = {"authorization": f"Bearer {rest.clear}", "last-event-id": again.last_id}
    answer = await AsyncClient().get(f"/call/{call.pk}/transcript", headers=headers)
    assert answer.status_code == 204


async def _seen(call_id: uuid.UUID, wanted: Any) -> None:
    """Wait until the feed has looked and ``wanted`` holds of what it saw."""
    watch = live_feed.feed()._watches[call_id]
    async with asyncio.timeout(20):
        while not wanted(watch.snapshot):
            await watch.next_change().wait()


async def test_a_reader_who_is_slow_at_the_end_misses_nothing(rest: Rest) -> None:
    """What was looked at while a reader held the last piece is the next piece."""
    call = await in_database(factories.make_call, rest.organisation)
    async with reading(rest, call) as reader:
        await reader.words(1)
        await store(call, said(0, "one"))
        assert await reader.words(1) == ["turn one"]
        await store(call, said(1, "two"))
        await in_database(end, call)
        await _seen(call.pk, lambda snapshot: snapshot is not None and snapshot.over)
        assert await reader.words(3) == ["status ended", "turn two", "end ended"]
        assert await reader.next() is None


async def test_a_call_that_is_erased_while_a_reader_is_slow_ends_the_stream(rest: Rest) -> None:
    call = await in_database(factories.make_call, rest.organisation)
    call_id = call.pk
    async with reading(rest, call) as reader:
        await reader.words(1)
        await store(call, said(0, "one"))
        assert await reader.words(1) == ["turn one"]
        await in_database(call.delete)
        await _seen(call_id, lambda snapshot: snapshot is None)
        assert await reader.next() is None


async def test_a_call_that_is_over_is_answered_whole(rest: Rest) -> None:
    call = await in_database(
        factories.make_call, rest.organisation, status="ended", turns=[{"text": "Hello"}]
    )
    async with reading(rest, call) as reader:
        assert await reader.words(3) == ["status ended", "turn Hello", "end ended"]
        assert await reader.next() is None


async def test_the_last_words_are_waited_for(rest: Rest) -> None:
    """Twilio's callback may close a call before its stream has stored what was said last."""
    call = await in_database(
        factories.make_call, rest.organisation, status="ended", report_due_at=timezone.now()
    )
    async with reading(rest, call) as reader:
        assert await reader.words(1) == ["status ended"]
        await store(call, said(0, "last words"))
        assert await reader.words(1) == ["turn last words"]
        await in_database(lambda: Call.objects.filter(pk=call.pk).update(report_due_at=None))
        assert await reader.words(1) == ["end ended"]


async def test_fifty_readers_look_at_the_database_once(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await in_database(factories.make_call, rest.organisation)
    looks: list[int] = []
    look = live_feed.look

    def counted(known: Any) -> Any:
        looks.append(len(known))
        return look(known)

    monkeypatch.setattr(live_feed, "look", counted)
    feed = live_feed.feed()
    async with contextlib.AsyncExitStack() as stack:
        watches = [stack.enter_context(feed.reading(call.pk)) for _ in range(50)]
        before = len(looks)
        changed = watches[0].next_change()
        await store(call, said(0, "Hello"))
        await asyncio.wait_for(changed.wait(), 10)
        assert len({id(watch) for watch in watches}) == 1
        assert set(looks) == {1} and len(looks) - before < 50
        assert live_feed.reader_count() == 50
    assert live_feed.reader_count() == 0
    task = feed._task
    assert task is not None
    await asyncio.wait_for(task, 10)  # nobody reads: it ends by itself


async def test_an_unchanged_call_costs_no_rows(rest: Rest) -> None:
    call = await in_database(factories.make_call, rest.organisation, turns=[{"text": "Hello"}])
    first = await in_database(live_feed.look, {call.pk: ()})
    assert first[call.pk].snapshot is not None
    again = await in_database(live_feed.look, {call.pk: first[call.pk].sums})
    assert again[call.pk].snapshot is None
    await store(call, said(0, "Hello!"))
    assert (await in_database(live_feed.look, {call.pk: first[call.pk].sums}))[call.pk].snapshot


async def test_silence_has_a_heartbeat_and_a_revoked_key_ends_it(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "HEARTBEAT_SECONDS", 0.01)
    call = await in_database(factories.make_call, rest.organisation)
    async with reading(rest, call) as reader:
        await reader.words(1)
        await in_database(api_key_revoke, key=rest.key)
        assert await reader.next() is None
        assert reader.comments >= 1


async def test_a_call_that_is_erased_ends_the_stream(rest: Rest) -> None:
    call = await in_database(factories.make_call, rest.organisation)
    async with reading(rest, call) as reader:
        await reader.words(1)
        await in_database(call.delete)
        assert await reader.next() is None


def test_who_may_not_read(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    call = factories.make_call(rest.organisation)
    path = f"/call/{call.pk}/transcript"
    answer = Rest(scopes=("read", "calls"))("GET", path)
    assert (answer.status_code, "transcripts" in answer.json()["message"]) == (403, True)
    assert Rest(scopes=("transcripts",))("GET", path).status_code == 404
    monkeypatch.setattr(live_feed, "MOST_READERS", 0)
    answer = rest("GET", path)
    assert answer.status_code == 429 and "GET /call/{id}" in answer.json()["message"]
