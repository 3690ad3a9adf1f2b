"""kill -9 of a random part of a running instance while calls are on, again and again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from tests.acceptance.calls_rig import LONG, CallsRig
from tests.acceptance.test_kills import CONVERSATION
from tests.drills.conftest import Tell
from tests.platform import Platform, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]

PARTS = ("media", "web", "worker", "beat", "valkey")


def test_kills_of_every_part_in_the_middle_of_a_call(
    shared_platform: Platform,
    count: Callable[[int, int], int],
    tell: Tell,
) -> None:
    platform = shared_platform
    rig = CallsRig(platform.base_url, platform.var_dir / "db.sqlite3")
    chance = random.Random(2)
    kills = count(100, 1)
    gaps_ms: list[float] = []
    done = dict.fromkeys(PARTS, 0)
    for number in range(kills):
        part = PARTS[number % len(PARTS)]
        placed = rig.place(LONG)
        placed.wait("heard", chance.choice(["first answer", "second answer"]))
        before = platform.kill(part)
        killed_at = time.monotonic()
        if part == "media":
            wait_until(
                lambda placed=placed: sum(e["kind"] == "stream" for e in placed.events) >= 2,
                what="the next stream",
                seconds=40,
            )
            gaps_ms.append((time.monotonic() - killed_at) * 1000)
        report = placed.report()
        assert report["failures"] == [], (part, report)
        row = rig.ended(placed)
        assert row["ended_reason"] == "customer-ended-call"
        spoken = rig.spoken(placed)
        order = [spoken.index(turn) for turn in CONVERSATION]
        assert order == sorted(order)
        assert platform.pid_of(part) != before
        wait_until(lambda: platform.get("/readyz")[0] == 200, what="readiness", seconds=40)
        done[part] += 1
    gaps_ms.sort()
    median, worst = gaps_ms[len(gaps_ms) // 2], gaps_ms[-1]
    parts = ", ".join(f"{number} {part}" for part, number in done.items() if number)
    tell(
        "kill -9 while a call is on",
        f"{kills} kills ({parts}): every call reached its scripted end; after the death of media "
        f"the next stream began within {median:.0f} ms in the median and {worst:.0f} ms at worst",
    )
