"""kill -9 of the parts of a running instance while calls are on, again and again, and media
replaced under its calls.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.calls_rig import LONG, CallsRig
from tests.acceptance.test_kills import CONVERSATION
from tests.drills.conftest import Tell
from tests.drills.live_calls import LiveCalls, live_calls
from tests.drills.media_kills import (
    PHASES,
    assert_reported_once,
    one_kill,
    rolling_restart,
)
from tests.platform import Platform, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]

PARTS = ("media", "web", "worker", "beat", "valkey", "watcher")


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
        answer = chance.choice(["first answer", "second answer"])
        placed.wait("heard", answer)
        if part == "media":
            # The journal writes every half second; what a kill costs is the next drill's.
            wait_until(
                lambda placed=placed, answer=answer: answer in str(rig.spoken(placed)),
                what="the stored turn",
            )
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


@pytest.fixture(scope="module")
def calls(_lasting_platform: Platform) -> Iterator[LiveCalls]:
    """Stand-ins of this process, and a number of the shared instance that uses them."""
    with live_calls(_lasting_platform) as running:
        yield running


def told(silences_ms: list[int]) -> str:
    """Return median and worst of some silences in words."""
    ordered = sorted(silences_ms)
    return f"{ordered[len(ordered) // 2]} ms in the median, {ordered[-1]} ms at worst"


def test_kills_of_media_in_every_phase_of_a_call(
    shared_platform: Platform, calls: LiveCalls, count: Callable[[int, int], int], tell: Tell
) -> None:
    """Each kill meets five calls; which one of them has come to its phase at that moment turns."""
    chance = random.Random(5)
    met: dict[str, list[int]] = {}
    kills = count(50, 1)
    for number in range(kills):
        for each in one_kill(calls, PHASES[(number + 1) % len(PHASES)], chance):
            met.setdefault(each.phase, []).append(each.silence_ms)
    every = sorted(ms for silences in met.values() for ms in silences)
    p95_ms = every[math.ceil(len(every) * 0.95) - 1]
    phases = "; ".join(
        f"{phase}: {len(found)} calls, {told(found)}" for phase, found in met.items()
    )
    if kills >= 10:
        assert set(PHASES) <= set(met), phases
        assert p95_ms <= 4_000, phases
        assert every[-1] <= 8_000, phases
        assert_reported_once(calls)
    tell(
        "kill -9 of media in every phase of a call",
        f"{kills} kills, {len(every)} calls on: every line stayed up, every call went on with its "
        f"history to its scripted end, every turn that was complete is stored, one report each; "
        f"silence {p95_ms} ms at P95, {every[-1]} ms at worst ({phases})",
    )


def test_media_is_replaced_under_its_calls(
    shared_platform: Platform, calls: LiveCalls, count: Callable[[int, int], int], tell: Tell
) -> None:
    number = count(20, 2)
    handed_over, silences_ms = rolling_restart(calls, number, random.Random(3))
    assert max(silences_ms, default=0) <= 8_000
    tell(
        "media replaced under its calls",
        f"{number} live calls when the successor began to listen: none lost, none noticed it; the "
        f"{handed_over} that were handed over because the old one's time was ended: silence "
        f"{told(silences_ms) if silences_ms else 'none'}",
    )
