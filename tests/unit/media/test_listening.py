"""Listeners of a live call: what they get, and that the call never notices them."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest

from calls.bridge.effects import PolicyRefused, RecordTurn, StreamEnded
from calls.media import listening
from calls.media.listening import MOST_LISTENERS, Listener, Room, Rooms, Tap
from tests.unit.media.fakes import Stage

pytestmark = pytest.mark.unit

FRAMES = 60


class Ear:
    """Somebody who listens; ``gate`` holds every send until it is set."""

    def __init__(self, channels: int = 1, *, reads: bool = True) -> None:
        self.got: list[bytes | str] = []
        self.gate = asyncio.Event()
        if reads:
            self.gate.set()
        self.listener = Listener(self.take, channels)
        self.run = asyncio.create_task(self.listener.run())

    async def take(self, piece: bytes | str) -> None:
        await self.gate.wait()
        self.got.append(piece)

    @property
    def sound(self) -> bytes:
        return b"".join(piece for piece in self.got if isinstance(piece, bytes))

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind."""
        texts = [json.loads(piece) for piece in self.got if isinstance(piece, str)]
        return [message for message in texts if message["type"] == kind]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PIECE_SECONDS", 0.001)


async def conversation(
    listeners: int, *, hostile: int = 0, frames: int = FRAMES, chance: Random | None = None
) -> tuple[Stage, list[Ear]]:
    """Run a stream with talk on both sides before so many listeners, to its end.

    With ``chance`` the assistant speaks in bursts of any size at any time.
    """
    stage = Stage()
    room = Room("call", lambda tap: setattr(stage.driver, "tap", tap))
    ears = [Ear(1 + number % 2) for number in range(listeners)]
    ears += [Ear(reads=False) for _ in range(hostile)]
    for ear in ears:
        room.enter(ear.listener)
    await stage.ready()
    for number in range(frames):
        stage.media(number.to_bytes(2, "big") * 80)
        if number == 10:
            stage.speaks(b"\x21" * 1600)
        if chance is not None and number > 10 and chance.random() < 0.3:
            stage.delta(bytes([number % 256]) * chance.randrange(1, 8000))
        if chance is None and 10 < number < 40:
            stage.delta(bytes([number]) * 800)
        if number % 10 == 0:
            await stage.settle(5)
    await stage.settle(60)
    stage.stop()
    ended = await asyncio.wait_for(stage.run, 5)
    room.end(ended)
    for ear in ears:
        ear.gate.set()
    await asyncio.gather(*(ear.run for ear in ears))
    for ear in ears:
        room.leave(ear.listener)
    assert stage.problems == []
    return stage, ears


async def test_fifty_listeners_and_hostile_ones_change_no_frame() -> None:
    """The drill at the size of the suite: byte for byte, and in order, both ways."""
    alone, _ = await conversation(0)
    before, ears = await conversation(MOST_LISTENERS, hostile=5)
    assert before.frames.sent == alone.frames.sent
    assert before.model.sent == alone.model.sent
    assert len(alone.frames.sent) > 30
    assert len([m for m in alone.model.sent if "append" in m["type"]]) == FRAMES
    mono = {ear.sound for ear in ears[:MOST_LISTENERS] if ear.listener.channels == 1}
    assert len(mono) == 1 and len(mono.pop()) == FRAMES * 160 * 4
    assert all(ear.listener.dropped == 0 for ear in ears[:MOST_LISTENERS])


async def test_nobody_listening_costs_nothing() -> None:
    stage, _ = await conversation(0)
    assert stage.driver.tap is None


async def test_the_last_one_who_leaves_turns_the_tap_off() -> None:
    taps: list[Tap | None] = []
    room = Room("call", taps.append)
    ears = [Ear(), Ear()]
    for ear in ears:
        room.enter(ear.listener)
    assert len(taps) == 1 and taps[0] is not None
    room.leave(ears[0].listener)
    room.leave(ears[0].listener)
    assert len(taps) == 1
    room.leave(ears[1].listener)
    assert taps[1:] == [None]
    for ear in ears:
        ear.run.cancel()


async def test_a_listener_is_told_the_format_the_words_and_the_end() -> None:
    _, (ear,) = await conversation(1)
    (format_,) = ear.told("listening")
    assert (format_["sampleRate"], format_["channels"], format_["encoding"]) == (
        *(16_000, 1, "pcm_s16le"),
    )
    assert [m["status"] for m in ear.told("status-update")] == ["in-progress", "ended"]
    assert ear.told("status-update")[-1]["endedReason"] == "customer-ended-call"
    assert ear.run.result() == (1000, "the call is over")


async def test_who_comes_as_the_stream_ends_is_told_so() -> None:
    taps: list[Tap | None] = []
    room = Room("call", taps.append)
    room.end(StreamEnded("customer-ended-call", call_over=True))
    ear = Ear()
    room.enter(ear.listener)
    assert await asyncio.wait_for(ear.run, 5) == (1000, "the call is over")
    room.leave(ear.listener)
    assert taps == []


async def test_words_come_as_they_are_stored() -> None:
    tap: list[Tap | None] = []
    room = Room("call", tap.append)
    ear = Ear()
    room.enter(ear.listener)
    assert tap[0] is not None
    for ended_ms in (None, 900):
        tap[0].noted(RecordTurn(3, "user", "Hello", "", "i1", 100, ended_ms, False, None))
    room.end(StreamEnded("worker-shutdown", call_over=False))
    code, reason = await asyncio.wait_for(ear.run, 5)
    assert [(m["transcriptType"], m["transcript"]) for m in ear.told("transcript")] == [
        ("partial", "Hello"),
        ("final", "Hello"),
    ]
    assert (code, "connect again" in reason) == (1012, True)
    room.leave(ear.listener)


async def test_who_does_not_read_loses_the_oldest_and_is_sent_away() -> None:
    ear = Ear(reads=False)
    for number in range(200):
        ear.listener.give(bytes([number]))
        await asyncio.sleep(0)
    assert ear.listener.closed.result()[0] == 1013
    assert len(ear.listener._waiting) <= listening.MOST_WAITING
    ear.gate.set()
    assert (await asyncio.wait_for(ear.run, 5))[0] == 1013
    assert ear.got[0] == b"\x00" and ear.got[-1] == bytes([199])
    assert len(ear.got) <= listening.MOST_WAITING + 1


async def test_a_send_that_never_ends_sends_the_listener_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "SEND_SECONDS", 0.01)
    ear = Ear(reads=False)
    ear.listener.give(b"x")
    code, reason = await asyncio.wait_for(ear.run, 5)
    assert code == 1013 and "ten seconds" in reason


async def test_a_refusal_of_the_caller_sends_everybody_away() -> None:
    taps: list[Tap | None] = []
    room = Room("call", taps.append)
    ears = [Ear(), Ear()]
    for ear in ears:
        room.enter(ear.listener)
    assert taps[0] is not None
    taps[0].noted(PolicyRefused(100))
    for ear in ears:
        code, _ = await asyncio.wait_for(ear.run, 5)
        assert code == 4403
        room.leave(ear.listener)


async def test_what_passes_unread_is_bounded() -> None:
    tap = Tap()
    for number in range(3 * listening.MOST_PASSED):
        tap.heard(str(number))
    taken = tap.take()
    assert len(taken) == listening.MOST_PASSED
    assert taken[-1] == ("heard", str(3 * listening.MOST_PASSED - 1))
    assert tap.take() == []


async def test_nonsense_on_the_line_is_the_bridges_to_count() -> None:
    taps: list[Tap | None] = []
    room = Room("call", taps.append)
    ear = Ear()
    room.enter(ear.listener)
    tap = taps[0]
    assert tap is not None
    for text in ("{", "[]", '{"event":"media"}', '{"event":"media","media":{"payload":"?"}}'):
        tap.heard(text)
    tap.heard('{"event":"media","media":{"track":"inbound","payload":"/////w=="}}')
    room.end(StreamEnded("customer-ended-call", call_over=True))
    await asyncio.wait_for(ear.run, 5)
    assert len(ear.sound) == 4 * 4
    room.leave(ear.listener)


async def test_a_later_stream_keeps_its_place() -> None:
    found, ended = Rooms(), StreamEnded("worker-shutdown", call_over=False)
    first, second = (Room("call", lambda tap: None) for _ in range(2))
    found.open(first)
    found.open(second)
    found.close(first, ended)
    assert found.find("call") is second
    found.close(second, ended)
    assert found.find("call") is None
