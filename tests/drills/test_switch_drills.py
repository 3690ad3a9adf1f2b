"""Numbers of every kind are moved here and put back while the processes that do it are killed.

What counts is Twilio's side: its configuration field by field, and the log of its requests.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from calls.standins.server import RunningStandins
from tests.acceptance.test_delivery_kills import KEYS, _environment
from tests.drills.conftest import Tell
from tests.drills.switch_victim import POINTS
from tests.integration.moves.twilio import KINDS, VOICE, running_twilio
from tests.migrated import migrated_sqlite
from tests.platform import ROOT
from voiceplatform.supervisor.parent_death import before_exec

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]
Count = Callable[[int, int], int]

BASE = "https://voice.example.com"


@dataclass
class Victims:
    """The processes that move the numbers."""

    process: subprocess.Popen[str]
    standins: RunningStandins
    numbers: list[dict[str, Any]]
    deaths: Counter[str] = field(default_factory=Counter)

    def order(self, work: str, point: str = "", nth: int = 1) -> dict[str, Any]:
        """Have something done by a copy of the process, which dies at ``point`` if there is one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        order = {"work": work, "point": point, "nth": nth, "numbers": self.numbers}
        self.process.stdin.write(json.dumps({**order, "url": self.standins.base_url}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = {}
        for line in self.process.stdout:
            if line.startswith("{") and '"timestamp"' not in line:
                answer = json.loads(line)
                break
        assert answer and "failed" not in answer, (work, point)
        return answer

    def turn_until_settled(self, chance: random.Random) -> None:
        """Let workers carry the moves on, each killed somewhere, until none is under way."""
        points = list(POINTS)
        for turn in range(len(self.numbers) * 40 + 200):
            point = points[turn % len(points)]
            # Few numbers have few looks and writes; then the first of them is as good.
            nth = chance.randint(1, 1 + len(self.numbers) // 40)
            answer = self.order("turn", point, nth)
            if answer.get("died"):
                self.deaths[point] += 1
            elif not answer["open"]:
                assert answer["steps"] and "stopped" not in answer["steps"], answer
                return
        raise AssertionError("the moves do not come to an end")


@contextmanager
def running_victims(tmp_path: Path, count: int) -> Iterator[Victims]:
    """Run the stand-in with ``count`` numbers of every kind, and a process that moves them."""
    shutil.copyfile(migrated_sqlite(), tmp_path / "db.sqlite3")
    environment = _environment(tmp_path, **KEYS, PUBLIC_BASE_URL=BASE)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.drills.switch_victim"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=None, text=True, preexec_fn=before_exec(),
    )  # fmt: skip
    try:
        with running_twilio() as standins:
            made = standins.carrier.numbers
            numbers = []
            for index in range(count):
                kind = KINDS[index % len(KINDS)]
                # None may be called from, so no test call is placed: those are of another test.
                row = made.add(f"+1555200{index:04d}", capabilities={"voice": False}, **kind)
                is_trunk = bool(kind.get("trunk_sid"))
                numbers.append(
                    {"number": row["phone_number"], "sid": row["sid"], "trunk": is_trunk}
                )
            victims = Victims(process, standins, numbers)
            victims.order("seed")
            yield victims
    finally:
        process.kill()
        process.communicate()


def _voice(standins: RunningStandins) -> dict[str, dict[str, Any]]:
    # '' and null are one to Twilio's calls and to its SDK (twilio.md 5.4).
    rows = standins.carrier.numbers.resources.values()
    return {row["sid"]: {name: row[name] or None for name in VOICE} for row in rows}


def _others(standins: RunningStandins) -> dict[str, dict[str, Any]]:
    rows = standins.carrier.numbers.resources.values()
    return {row["sid"]: {k: v for k, v in row.items() if k not in VOICE} for row in rows}


def test_numbers_of_every_kind_move_and_come_back_whoever_is_killed(
    tmp_path: Path, count: Count, tell: Tell
) -> None:
    chance = random.Random(11)
    began = time.monotonic()
    numbers = count(200, len(KINDS))
    with running_victims(tmp_path, numbers) as victims:
        standins = victims.standins
        before, others = _voice(standins), _others(standins)
        victims.order("begin")
        victims.turn_until_settled(chance)
        victims.order("callers")
        victims.turn_until_settled(chance)
        for row in standins.carrier.numbers.resources.values():
            assert row["voice_url"].startswith(f"{BASE}/twilio/voice#"), "all answer here"
        there = sum(victims.deaths.values())
        victims.order("restore")
        victims.turn_until_settled(chance)
        assert _voice(standins) == before
        assert _others(standins) == others, "text messages and all else as they were"
        log = standins.app.twilio.log
        posts = Counter(path for method, path, _ in log if method == "POST")
        assert posts == Counter(dict.fromkeys(posts, 2)), "one each way for every number"
        # A number that nobody answered before needs a write to come here and one to go back.
        assert len(posts) == numbers
        assert not [name for _, _, form in log for name in form if name.startswith("Sms")]
        assert {method for method, _, _ in log} == {"GET", "POST"}
        assert standins.carrier.numbers.alarms == []
        back = sum(victims.deaths.values()) - there
        _move_again_and_restore_by_command(victims, tmp_path)
        assert _voice(standins) == before
        assert _others(standins) == others
    assert set(victims.deaths) == set(POINTS), "somebody died at every point"
    struck = ", ".join(f"{victims.deaths[point]} {point}" for point in POINTS)
    tell(
        "kill -9 while numbers are moved and put back",
        f"{numbers} numbers of {len(KINDS)} kinds (address, app, trunk, none, '' and null, with "
        f"text-message settings), moved here and put back by processes of which "
        f"{there + back} were killed ({struck}): every field as it was, {2 * numbers} POST (one "
        "per number and direction), no field of text messages, no DELETE; moved again and put back "
        "by restore_number --all with no worker and no Redis; "
        f"{(time.monotonic() - began) / 60:.1f} minutes",
    )


def _move_again_and_restore_by_command(victims: Victims, tmp_path: Path) -> None:
    """Put all back by a process that has the database and Twilio alone."""
    victims.order("begin")
    answer = victims.order("turn")
    for _ in victims.numbers:
        if not answer["open"]:
            break
        answer = victims.order("turn")
    # Replaced: a way back took over a move whose first caller nobody had noted yet.
    assert not answer["open"] and set(answer["steps"]) <= {"replaced", "done", "tested"}, answer
    nobody = "redis://127.0.0.1:9/0"
    done = subprocess.run(
        [sys.executable, "manage.py", "restore_number", "--all", "--json"],
        cwd=ROOT, env=_environment(tmp_path, **KEYS, PUBLIC_BASE_URL=BASE, REDIS_URL=nobody),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    body = json.loads(done.stdout)
    assert body["ok"], body
    assert [each["state"] for each in body["numbers"]] == ["done"] * len(victims.numbers)
