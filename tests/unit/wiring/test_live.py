"""The registry of live calls: counting, draining and ending (T30)."""

from __future__ import annotations

import asyncio

import pytest

from calls.media import live
from calls.media.live import LiveCalls

pytestmark = pytest.mark.unit


def test_counts_entries_and_a_second_leave_does_nothing() -> None:
    calls = LiveCalls()
    first, second = calls.enter(), calls.enter()
    assert calls.active_count() == 2
    calls.leave(first)
    calls.leave(first)
    assert calls.active_count() == 1
    calls.leave(second)
    assert calls.active_count() == 0


def test_draining_is_final_and_does_not_end_a_call() -> None:
    ended: list[str] = []
    calls = LiveCalls()
    calls.enter(lambda: ended.append("a"))
    assert not calls.is_draining()
    calls.begin_drain()
    calls.begin_drain()
    assert calls.is_draining()
    assert (calls.active_count(), ended) == (1, [])


async def test_t30_waiting_ends_with_the_last_call_and_not_before() -> None:
    calls = LiveCalls()
    first, second = calls.enter(), calls.enter()
    waiting = [asyncio.create_task(calls.wait_until_idle()) for _ in range(2)]
    calls.leave(first)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    calls.leave(second)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_a_call_that_enters_while_the_waiter_wakes_is_waited_for_too() -> None:
    calls = LiveCalls()
    first = calls.enter()
    waiting = asyncio.create_task(calls.wait_until_idle())
    await asyncio.sleep(0)
    calls.leave(first)
    second = calls.enter()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    calls.leave(second)
    await asyncio.wait_for(waiting, 1)


async def test_waiting_returns_at_once_when_idle_and_can_be_cancelled() -> None:
    calls = LiveCalls()
    await asyncio.wait_for(calls.wait_until_idle(), 1)
    calls.enter()
    waiting = asyncio.create_task(calls.wait_until_idle())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_end_all_now_asks_each_call_even_when_one_leaves_at_once() -> None:
    calls = LiveCalls()
    ended: list[str] = []
    entry = calls.enter(lambda: (ended.append("a"), calls.leave(entry))[0])
    calls.enter(lambda: ended.append("b"))
    calls.enter()
    calls.end_all_now()
    assert sorted(ended) == ["a", "b"]
    assert calls.active_count() == 2


def test_the_module_is_the_process_registry() -> None:
    before = live.active_count()
    entry = live.enter()
    assert live.active_count() == before + 1
    live.leave(entry)
    assert live.active_count() == before
    assert live.is_draining() is False


async def test_t30_a_call_between_two_streams_holds_the_drain_up() -> None:
    calls = LiveCalls()
    calls.expect("a", 60)
    drained = asyncio.create_task(calls.wait_until_drained())
    await calls.wait_until_idle()  # it has no stream now
    entry = calls.enter(name="a")
    await asyncio.sleep(0)
    assert not drained.done()
    calls.expect("a", 60)
    calls.leave(entry)
    await asyncio.sleep(0)
    assert not drained.done()
    calls.expect_no_more("a")
    await drained


async def test_a_call_that_does_not_come_is_expected_for_its_time_only() -> None:
    calls = LiveCalls()
    calls.expect("a", 0.0)
    await asyncio.wait_for(calls.wait_until_drained(), 10)
    calls.expect_no_more("unknown")
    assert calls.active_count() == 0


async def test_one_name_can_be_waited_for_among_others() -> None:
    calls = LiveCalls()
    first, other = calls.enter(name="a"), calls.enter(name="b")
    left = asyncio.create_task(calls.wait_until_left("a"))
    await asyncio.sleep(0)
    assert not left.done()
    calls.leave(first)
    await asyncio.wait_for(left, 10)
    await calls.wait_until_left("never")
    assert calls.active_count() == 1
    calls.leave(other)
