"""The journal while the database is away, and its batches: turns never lost, repeats harmless."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from calls.bridge.effects import PolicyLinePlayed, RecordTool, RecordTurn
from calls.media import journal as journal_module
from calls.media.database import RETRY_PAUSES_SECONDS, in_database
from calls.media.journal import MAX_WAITING_PIECES, CallJournal
from calls.models import Call, CallInputChunk, ToolInvocation, Turn
from calls.services import journal as store
from calls.services.journal import batch_store, next_step_store, record_text
from tests import factories
from tests.integration.calls.rig import until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def _turn(ordinal: int, text: str = "Hello", **changes: Any) -> RecordTurn:
    values: dict[str, Any] = {
        "ordinal": ordinal, "role": "assistant", "text": text, "text_unheard": "",
        "item_id": f"item_{ordinal}", "started_ms": ordinal * 100, "ended_ms": None,
        "interrupted": False, "latency_ms": None,
    }  # fmt: skip
    return RecordTurn(**values | changes)


def _tool(state: Any = "ok", **changes: Any) -> RecordTool:
    values: dict[str, Any] = {
        "tool_call_id": "call_1", "name": "book", "arguments_json": "{}", "state": state,
        "output": "", "started_ms": 1, "duration_ms": 2,
    }  # fmt: skip
    return RecordTool(**values | changes)


class Away:
    """A database that can be taken away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = True
        self.refused = 0
        self._store, self._next = store.batch_store, store.next_step_store
        monkeypatch.setattr(store, "batch_store", self._batch)
        monkeypatch.setattr(store, "next_step_store", self._step)
        monkeypatch.setattr(journal_module, "BATCH_SECONDS", 0.01)
        monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.01)

    def _refuse(self) -> None:
        if self.is_away:
            self.refused += 1
            raise OperationalError("the database is away")

    def _batch(self, **values: Any) -> None:
        self._refuse()
        self._store(**values)

    def _step(self, **values: Any) -> None:
        self._refuse()
        self._next(**values)


async def test_turns_survive_a_database_that_is_away_and_pieces_are_dropped_by_rule(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await in_database(factories.make_call)
    away = Away(monkeypatch)
    journal = CallJournal(str(call.pk), 1)
    task = asyncio.create_task(journal.run())
    for ordinal in range(200):
        journal.write(_turn(ordinal, "early"))
    journal.write(_tool("running"))
    journal.write(PolicyLinePlayed(5))
    for number in range(MAX_WAITING_PIECES + 40):
        journal.write_inputs(f"piece {number};")
    await until(lambda: away.refused >= 3, what="a few tries")
    journal.write(_turn(7, "late"))  # a newer state of a turn that waits
    journal.write(_tool("ok"))
    assert journal.dropped_pieces == 40
    away.is_away = False
    await until(lambda: not journal._turns and not journal._pieces, what="the store to begin")
    task.cancel()  # in the middle of the batch, as at the end of every call
    await asyncio.gather(task, return_exceptions=True)
    assert await journal.close() is True

    def look() -> None:
        texts = dict(Turn.objects.filter(call=call).values_list("ordinal", "text"))
        assert len(texts) == 200
        assert texts[7] == "late"
        assert texts[8] == "early"
        assert ToolInvocation.objects.get(call=call).state == "ok"
        assert Call.objects.get(pk=call.pk).policy_played_at is not None
        kept = "".join(f"piece {number};" for number in range(MAX_WAITING_PIECES))
        assert record_text(str(call.pk), 1) == kept

    await in_database(look)


async def test_a_close_without_a_database_says_so_and_ends(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await in_database(factories.make_call)
    Away(monkeypatch)
    monkeypatch.setattr("calls.media.database.RETRY_PAUSES_SECONDS", (0.01, 0.01))
    journal = CallJournal(str(call.pk), 1)
    journal.write(_turn(0))
    async with asyncio.timeout(10):
        assert await journal.close() is False
    await journal.set_next_step("hangup")  # not stored, not raised: the action URL resumes
    await in_database(call.refresh_from_db)
    assert call.next_step == {}


def test_a_database_that_is_away_for_half_a_minute_costs_no_turn() -> None:
    assert sum(RETRY_PAUSES_SECONDS) > 40


async def test_a_close_waits_for_the_database_to_come_back(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await in_database(factories.make_call)
    away = Away(monkeypatch)
    monkeypatch.setattr("calls.media.database.RETRY_PAUSES_SECONDS", (0.01,) * 100)
    journal = CallJournal(str(call.pk), 1)
    journal.write(_turn(0))
    closing = asyncio.create_task(journal.close())
    await until(lambda: away.refused > 4, what="some refusals")
    away.is_away = False
    assert await closing is True
    assert await in_database(call.turns.count) == 1


async def test_an_empty_journal_asks_the_database_nothing(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await in_database(factories.make_call)
    away = Away(monkeypatch)
    assert await CallJournal(str(call.pk), 1).close() is True
    assert away.refused == 0


def test_the_same_batch_twice_changes_nothing(transactional_db: None) -> None:
    call = factories.make_call()
    batch: dict[str, Any] = {
        "call_id": str(call.pk),
        "stream_number": 1,
        "turns": [_turn(0), _turn(1)],
        "tools": [_tool()],
        "policy": PolicyLinePlayed(5),
        "pieces": [(0, "one"), (1, "two")],
    }
    batch_store(**batch)
    first = Call.objects.get(pk=call.pk).policy_played_at
    batch_store(**batch)
    assert Call.objects.get(pk=call.pk).policy_played_at == first
    assert Turn.objects.filter(call=call).count() == 2
    assert ToolInvocation.objects.filter(call=call).count() == 1
    assert CallInputChunk.objects.filter(call=call).count() == 2
    assert record_text(str(call.pk), 1) == "onetwo"


def test_what_no_database_takes_is_made_storable(transactional_db: None) -> None:
    call = factories.make_call()
    nasty = "a\x00b\ud800c" + "x" * 300
    batch_store(
        call_id=str(call.pk),
        stream_number=1,
        turns=[_turn(0, nasty, text_unheard=nasty, item_id="i" * 100)],
        tools=[_tool(name=nasty, output=nasty, arguments_json=nasty, tool_call_id="t" * 100)],
        policy=None,
        pieces=[(0, nasty)],
    )
    turn = Turn.objects.get(call=call)
    assert "\x00" not in turn.text
    assert turn.text.startswith("ab?c")
    # The replay record keeps what really came.
    assert record_text(str(call.pk), 1) == nasty


def test_next_step_hangup_stays(transactional_db: None) -> None:
    call = factories.make_call(next_step={"kind": "resume"})
    for step in ("hangup", "resume"):
        next_step_store(call_id=str(call.pk), step=step)  # type: ignore[arg-type]
    call.refresh_from_db()
    assert call.next_step == {"kind": "hangup"}


async def _stored(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not await in_database(condition):  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(0.01)


async def test_what_is_complete_is_stored_at_once_and_what_goes_on_with_the_next_batch(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "BATCH_SECONDS", 60.0)
    call = await in_database(factories.make_call)
    journal = CallJournal(str(call.pk), 1)
    task = asyncio.create_task(journal.run())

    journal.write(_turn(0))
    journal.write(_turn(1, text="So far", role="user"))
    journal.write(_tool("running"))
    await asyncio.sleep(0)
    assert journal._turns, "nobody waits for half a turn"
    journal.write(_turn(2, role="user", ended_ms=300))
    await _stored(lambda: Turn.objects.filter(call=call).count() == 3)
    journal.write(_tool("ok", tool_call_id="call_2"))
    await _stored(lambda: ToolInvocation.objects.filter(call=call).count() == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_transfer_that_was_decided_is_stored_before_the_stream_says_so(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "BATCH_SECONDS", 60.0)
    call = await in_database(factories.make_call, next_step={"kind": "resume"})
    journal = CallJournal(str(call.pk), 1, {"to_desk": "+15550100099"})
    task = asyncio.create_task(journal.run())
    journal.write(_tool("error", name="to_desk"))
    journal.write(_tool("ok", tool_call_id="call_2"))
    await journal.close()
    await in_database(call.refresh_from_db)
    assert call.next_step == {"kind": "resume"}
    journal.write(_tool("ok", name="to_desk", tool_call_id="call_3"))
    decided = Call.objects.filter(next_step={"kind": "dial", "to": "+15550100099"})
    await _stored(decided.exists)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
