"""The driver with several sessions of the model: which socket gets what; none stays open."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from calls.bridge.plan import Watchdog
from calls.media.realtime_client import RealtimeUnreachable
from calls.media.recording import records, replay
from tests.unit.media.fakes import ENDED, FakeModel, Stage, plan

pytestmark = pytest.mark.unit


def events(model: FakeModel, kind: str) -> list[dict[str, Any]]:
    """Return what a session was sent under one type."""
    return [event for event in model.sent if event["type"] == kind]


def configured_by(model: FakeModel) -> None:
    """Let a session come up."""
    shape = {"format": {"type": "audio/pcmu"}}
    for kind, session in (
        ("session.created", {}),
        ("session.updated", {"audio": {"input": shape, "output": shape}}),
    ):
        event = {"type": kind, "event_id": "e", "session": session}
        model.incoming.put_nowait(json.dumps(event))


def heard(model: FakeModel) -> list[bytes]:
    """Return the caller's audio that a session was given."""
    return [base64.b64decode(each["audio"]) for each in events(model, "input_audio_buffer.append")]


async def ended(stage: Stage) -> Any:
    """End the stream; its record must replay to the letter."""
    stage.stop()
    async with asyncio.timeout(5):
        end = await stage.run
    assert stage.problems == []
    record = "".join(stage.journal.pieces)
    assert replay(record) == record
    return end


async def test_o18_another_socket_is_configured_and_carries_the_call_on() -> None:
    stage, second = Stage(), FakeModel()
    stage.next_models = [second]
    await stage.ready()
    stage.media(b"\x01" * 160)
    await stage.settle()
    stage.model.incoming.put_nowait(ENDED)
    await stage.settle()
    stage.media(b"\x02" * 160)
    await stage.settle()
    assert heard(second) == []  # O21: not before the configuration is confirmed
    configured_by(second)
    await stage.settle()
    stage.media(b"\x03" * 160)
    await stage.settle()
    assert len(events(second, "session.update")) == 1
    assert heard(second) == [bytes([number]) * 160 for number in (1, 2, 3)]
    assert heard(stage.model) == [b"\x01" * 160]
    await ended(stage)
    assert second.closed  # O20
    kinds = {kind for kind, _, _ in records("".join(stage.journal.pieces))}
    assert {"R", "R2", "O2", "r2", "C"} <= kinds  # every input names its session


async def test_refusals_are_followed_by_another_attempt() -> None:
    stage, third = Stage(), FakeModel()
    stage.next_models = [RealtimeUnreachable(500), third]
    await stage.ready()
    stage.model.incoming.put_nowait(ENDED)
    async with asyncio.timeout(5):
        await stage.dialled(3)
    configured_by(third)
    await stage.settle()
    stage.media(b"\x03" * 160)
    await stage.settle()
    assert heard(third)[-1] == b"\x03" * 160
    await ended(stage)


async def test_o20_an_attempt_that_hangs_is_dropped_and_nothing_stays_open() -> None:
    stage, second, third = Stage(plan(watchdog=Watchdog(attempt_ms=30))), FakeModel(), FakeModel()
    stage.next_models = [second, third]  # neither says a word
    await stage.ready()
    stage.model.incoming.put_nowait(ENDED)
    async with asyncio.timeout(5):
        await stage.dialled(3)
    await stage.settle()
    assert second.closed or second.aborted
    await ended(stage)
    assert third.closed or third.aborted


async def test_o20_a_stream_that_ends_while_dialling_leaves_no_task() -> None:
    stage = Stage()
    await stage.ready()
    stage.model.incoming.put_nowait(ENDED)
    await stage.settle()
    assert stage.dials == 2  # and it never comes up
    await ended(stage)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not [name for name in names if name.startswith("model-")]


async def test_what_waits_for_a_dead_socket_is_not_sent_to_the_next() -> None:
    stage, second = Stage(), FakeModel()
    stage.next_models = [second]
    await stage.ready()
    stage.model.gate.clear()  # it takes nothing any more
    for number in range(3):
        stage.media(bytes([number]) * 160)
    await stage.settle()
    stage.says("error", error={"type": "x", "code": "session_expired"})
    await stage.settle()
    configured_by(second)
    await stage.settle(200)
    assert heard(second) == [bytes([number]) * 160 for number in range(3)]  # heard once, in order
    stage.model.gate.set()
    await ended(stage)
