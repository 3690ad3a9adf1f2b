"""What listeners get of a call whose words are masked, and when nobody may hear it at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from calls.bridge.effects import RecordTurn, StreamEnded
from calls.media import listening
from calls.media.listening import Listener, Room, Tap
from calls.privacy.keeping import NOTHING, Keeping, Shown
from calls.privacy.patterns import EMAIL, PHONE, Redactor

pytestmark = pytest.mark.unit

MASKS = Keeping(Redactor((PHONE, EMAIL), (), year=2026))
SAID = "Call 415-555-0133, or write to jane.roe@mail.example."
FRAME = '{"event":"media","media":{"track":"inbound","payload":"/////w=="}}'
OVER = StreamEnded("customer-ended-call", call_over=True)


class House:
    """A room, the rules of each assistant in it, and one who listens."""

    def __init__(self, begun_with: Shown | None = None, **rules: Shown) -> None:
        self.rules = rules
        self.whose = "first"
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.taps: list[Tap | None] = []
        self.got: list[bytes | str] = []
        self.room = Room(
            "call",
            self.taps.append,
            whose=lambda: self.whose,
            ask=self._ask,
            begun_with=begun_with or Shown(),
        )
        self.listener, self.run = self.enters()

    def enters(self) -> tuple[Listener, asyncio.Task[tuple[int, str]]]:
        """Let somebody listen."""
        listener = Listener(self._take)
        self.room.enter(listener)
        return listener, asyncio.create_task(listener.run())

    async def _ask(self, whose: str) -> Shown | None:
        self.asked.append(whose)
        await self.answers.wait()
        return self.rules.get(whose)

    async def _take(self, piece: bytes | str) -> None:
        self.got.append(piece)

    def say(self, text: str, ended_ms: int | None = 900) -> None:
        """Let a turn and a frame pass."""
        tap = self.taps[-1]
        assert tap is not None
        tap.noted(RecordTurn(3, "user", text, "", "i1", 100, ended_ms, False, None))
        tap.heard(FRAME)

    @property
    def words(self) -> list[str]:
        """What the listener has read."""
        told = [json.loads(piece) for piece in self.got if isinstance(piece, str)]
        return [each["transcript"] for each in told if each["type"] == "transcript"]

    @property
    def sound(self) -> bytes:
        """What the listener has heard."""
        return b"".join(piece for piece in self.got if isinstance(piece, bytes))

    async def until(self, condition: Any) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - state without an event to wait for
                await asyncio.sleep(0.001)

    async def over(self) -> tuple[int, str]:
        """Wait until the listener has been sent away."""
        return await asyncio.wait_for(self.run, 10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PIECE_SECONDS", 0.001)


async def test_words_are_masked_as_they_are_stored() -> None:
    house = House(first=Shown(MASKS))
    house.say(SAID)
    house.say("Call 415 55", None)
    await house.until(lambda: len(house.words) == 2)
    assert house.words == ["Call [phone], or write to [email].", "Call [number]"]
    house.room.leave(house.listener)


async def test_compliance_mode_shows_no_word() -> None:
    house = House(first=Shown(NOTHING))
    house.say(SAID)
    await house.until(lambda: house.sound)
    assert house.words == []
    house.room.leave(house.listener)


async def test_nothing_is_passed_on_before_the_rules_are_known() -> None:
    house = House(first=Shown())
    house.answers.clear()
    house.say("Hello")
    await house.until(lambda: house.asked)
    assert house.words == [] and house.sound == b""
    house.answers.set()
    await house.until(lambda: house.sound)
    assert house.words == ["Hello"]
    house.room.leave(house.listener)


async def test_rules_that_cannot_be_had_are_asked_for_again_and_hold_everything_back() -> None:
    house = House()
    house.say(SAID)
    await house.until(lambda: len(house.asked) > 2)
    house.room.end(OVER)
    await house.over()
    assert house.words == [] and house.sound == b""
    house.room.leave(house.listener)


async def test_an_assistant_whose_calls_nobody_may_hear_takes_over() -> None:
    house = House(first=Shown(), second=Shown(MASKS, "nobody may listen"))
    house.say("Hello")
    await house.until(lambda: house.words)
    house.whose = "second"
    before = house.sound
    house.say(SAID)
    assert await house.over() == (4403, "nobody may listen")
    assert house.words == ["Hello"] and house.sound == before
    # Whoever comes while the one before is on their way out is not let in either.
    late, run = house.enters()
    assert await asyncio.wait_for(run, 10) == (4403, "nobody may listen")
    assert house.sound == before
    house.room.leave(house.listener)
    house.room.leave(late)


@pytest.mark.parametrize("joins_later", [False, True])
async def test_words_that_come_late_are_under_the_rules_they_were_said_under(
    joins_later: bool,
) -> None:
    house = House(begun_with=Shown(MASKS), first=Shown(MASKS), second=Shown())
    if joins_later:
        house.room.leave(house.listener)
        house.whose = "second"
        house.listener, house.run = house.enters()
    else:
        await house.until(lambda: house.asked)
        house.whose = "second"
    house.say("Call 415-555-0133")
    await house.until(lambda: house.words)
    assert house.words == ["Call [phone]"]
    house.room.leave(house.listener)
