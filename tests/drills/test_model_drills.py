"""The model's socket reset, expired or refused at random points of a call, again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import pytest

from tests.drills.conftest import Tell
from tests.drills.model_losses import lossy_call, random_losses, wrong
from tests.virtual_call import evenly

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]


def test_a_model_that_is_lost_at_random_points_costs_no_fact_and_no_silence(
    count: Callable[[int, int], int], tell: Tell
) -> None:
    silences_ms: list[int] = []
    losses = dials = 0
    for seed in itertools.count():
        chance = Random(seed)
        profile, sessions = random_losses(chance)
        call, sounds = lossy_call(profile, sessions, evenly(chance.choice((0, 20, 90))))
        assert wrong(call, sounds) == [], (seed, profile, sessions)
        silences_ms.append(sounds.longest_silence_ms())
        losses += call.part.bridge.counters.get("model_losses", 0)
        dials += call.part.bridge.counters.get("model_dials", 0)
        if losses >= count(100, 5):
            break
        assert seed < 500, "hardly any call loses its model"
    silences_ms.sort()
    tell(
        "model socket lost at random points (virtual time)",
        f"{len(silences_ms)} calls, {losses} losses, {dials} sockets dialled instead: every fact "
        f"was known afterwards, every tool ran once; the longest silence of a call was "
        f"{silences_ms[len(silences_ms) // 2]} ms in the median and {silences_ms[-1]} ms at worst",
    )
