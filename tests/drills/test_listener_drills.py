"""Calls that fifty people listen to, some of whom read nothing: every frame as without them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from calls.media import listening
from tests.drills.conftest import Tell
from tests.unit.media.test_listening import conversation

pytestmark = [pytest.mark.unit, pytest.mark.timeout(1200)]

LISTENERS, HOSTILE, FRAMES = 40, 10, 300


async def test_listeners_change_no_frame(
    count: Callable[[int, int], int], tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PIECE_SECONDS", 0.001)
    calls, frames = count(100, 1), 0
    for seed in range(calls):
        alone, _ = await conversation(0, frames=FRAMES, chance=Random(seed))
        beside, ears = await conversation(
            LISTENERS, hostile=HOSTILE, frames=FRAMES, chance=Random(seed)
        )
        assert beside.frames.sent == alone.frames.sent, seed
        assert beside.model.sent == alone.model.sent, seed
        heard = [len(ear.sound) for ear in ears[:LISTENERS]]
        assert set(heard[0::2]) == {FRAMES * 640} and set(heard[1::2]) == {FRAMES * 1280}, seed
        frames += len(alone.frames.sent) + len(alone.model.sent)
    tell(
        "50 listeners, 10 of them reading nothing",
        f"{calls} calls, {frames} frames both ways, all as without listeners, byte for byte and in "
        "order; everybody who reads hears every frame",
    )
