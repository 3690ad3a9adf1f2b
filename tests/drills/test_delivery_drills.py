"""kill -9 of the worker, of Valkey and of the web process while events are on their way; the demo
killed at many places; a demo's seconds.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.test_delivery_kills import delivery_rig
from tests.acceptance.test_demo import FIRST_CALL_ENDED, DemoRun, assert_told
from tests.drills.conftest import Tell
from tests.integration.events.receiver import running_receiver
from tests.platform import Platform

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]
Count = Callable[[int, int], int]

# "media" is the process that commits what calls cause: Twilio's webhooks are served by it. "web"
# commits what an operator causes: a redelivery (design.md 2.11).
PARTS = ("worker", "web", "valkey", "media")
LEASE_SECONDS = 60


def test_kills_while_events_are_on_their_way(
    start_platform: Callable[..., Platform],
    request: pytest.FixtureRequest,
    count: Count,
    tell: Tell,
) -> None:
    kills = count(200, 4)
    _kills(start_platform, "", kills, tell, "SQLite")
    if kills > len(PARTS):  # the suite has no time for a second instance
        url = request.getfixturevalue("postgres_url")
        _kills(start_platform, url, kills, tell, "PostgreSQL")


def _kills(
    start_platform: Callable[..., Platform], url: str, kills: int, tell: Tell, database: str
) -> None:
    chance = random.Random(17)
    calls = 5 if kills > len(PARTS) else 3
    with running_receiver() as receiver:
        rig = delivery_rig(start_platform, receiver, url)
        deaths = 0
        for number in range(kills):
            # A receiver that takes its time makes the moment of the POST long enough to be met.
            receiver.delay_seconds = chance.choice([0.0, 0.05, 0.5])
            if number % len(PARTS) == 0:
                receiver.die(chance.uniform(0.2, 1.0))
                deaths += 1
            rig.kill(PARTS[number % len(PARTS)], chance.uniform(0.0, 1.5), calls=calls)
        receiver.delay_seconds = 0.0
        if kills > len(PARTS):
            # What failed twice waits five minutes by the schedule.
            rig.deliver_all_again()
        # The last kill's lease, and the start of a worker that the supervisor makes wait.
        rig.settled(LEASE_SECONDS + 60)
        rig.ledger.assert_whole()
        causes = receiver.ids_by_cause()
        assert len(causes) == 3 * rig.placed
        sent, repeats = len(receiver.got), receiver.repeats()
    each = ", ".join(
        f"{sum(PARTS[n % len(PARTS)] == part for n in range(kills))} of {part}" for part in PARTS
    )
    tell(
        "kill -9 between commit, claim, POST and settling" + (f", {database}" if url else ""),
        f"{kills} kills ({each}) and {deaths} deaths of the receiver while {rig.placed} calls "
        f"ended, on {database}: {len(causes)} causes, all "
        f"{len(causes)} in the receiver's ledger, each under one id; {sent} requests, {repeats} "
        "of them repeats of an event already delivered, equal to the letter; nothing pending",
    )


# The first one is all that the suite tries: in the middle of a call.
PLACES = ("caller says", "starting on", "valkey     ready", "database   ready", "web        ready",
          "the platform is up", "sample Vapi exports", "caller hears",
          "check_availability")  # fmt: skip
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def test_demos_killed_anywhere_and_the_seconds_of_the_next(count: Count, tell: Tell) -> None:
    chance = random.Random(23)
    kills = count(36, 1)
    folder = Path(tempfile.mkdtemp(prefix="vpd-"))
    fresh = Path(tempfile.mkdtemp(prefix="vpd-"))
    runs: list[DemoRun] = []

    def start(where: Path) -> DemoRun:
        runs.append(DemoRun.start(where))
        return runs[-1]

    try:
        for number in range(kills):
            run = start(folder)
            run.wait_line(PLACES[number % len(PLACES)])
            run.signal(chance.choice(SIGNALS))
            run.wait(seconds=15)
            run.assert_nothing_left(folder)
        seconds = []
        for where in (fresh, fresh, folder) if kills > 1 else ():
            run = start(where)
            seconds.append(run.wait_line(FIRST_CALL_ENDED))
            assert run.wait() == 0, run.output
            assert_told(run.result())
            run.assert_nothing_left(where)
    finally:
        for run in runs:
            run.end()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)
    if seconds:
        tell(
            "make demo killed half-way",
            f"{kills} kills by {len(SIGNALS)} signals at {len(PLACES)} places: no process left, "
            "and the next run in the folder told its three calls as scripted",
        )
        tell(
            "make demo, seconds to the first finished call",
            f"{seconds[0]:.0f} s in a fresh folder, {seconds[1]:.0f} s the second time "
            "(of which the call itself takes 11 s; .venv is made before)",
        )
