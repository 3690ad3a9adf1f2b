"""kill -9 of the worker, of Valkey and of the web process while events are on their way; the demo
killed at many places; a demo's seconds.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.test_delivery_kills import DeliveryRig, delivery_rig
from tests.acceptance.test_demo import FIRST_CALL_ENDED, DemoRun, assert_told
from tests.drills.conftest import Tell
from tests.integration.events.receiver import running_receiver
from tests.migrated import migrated_sqlite
from tests.platform import Platform

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]
Count = Callable[[int, int], int]

# "media" is the process that commits what calls cause: Twilio's webhooks are served by it. "web"
# commits what an operator causes: a redelivery (design.md 2.11).
PARTS = ("worker", "valkey", "receiver", "media", "web")
CALLS_PER_KILL, CALLERS = 5, 3
# The supervisor makes a part wait that died within five seconds of its start.
REST_SECONDS = 5.5
LEASE_SECONDS = 60


def test_kills_while_events_are_on_their_way(
    start_platform: Callable[..., Platform],
    request: pytest.FixtureRequest,
    count: Count,
    tell: Tell,
) -> None:
    kills = count(200, len(PARTS))
    _kills(start_platform, "", kills, tell, "SQLite")
    if kills > len(PARTS):  # the suite has no time for a second instance
        url = request.getfixturevalue("postgres_url")
        _kills(start_platform, url, kills, tell, "PostgreSQL")


def _kills(
    start_platform: Callable[..., Platform], url: str, kills: int, tell: Tell, database: str
) -> None:
    chance = random.Random(17)
    began = time.monotonic()
    with running_receiver() as receiver:
        rig = delivery_rig(start_platform, receiver, url)
        struck = _storm(rig, kills, chance)
        if kills == len(PARTS):
            rig.end_leases()  # the suite has no minute to wait
        # What failed twice waits five minutes by the schedule; asked for again counts as once.
        rig.deliver_all_again()
        # The last kill's lease, and the start of a worker that the supervisor makes wait.
        rig.settled(LEASE_SECONDS + 60)
        rig.ledger.assert_whole()
        causes = receiver.ids_by_cause()
        assert rig.placed == CALLS_PER_KILL * kills
        assert len(causes) == 3 * rig.placed
        sent, repeats = len(receiver.got), receiver.repeats()
    each = ", ".join(f"{struck[part]} of {part}" for part in PARTS)
    tell(
        "kill -9 between commit, claim, POST and settling" + (f", {database}" if url else ""),
        f"{kills} kills ({each}) while {rig.placed} calls ended, on {database}: "
        f"{len(causes)} causes, all {len(causes)} in the receiver's ledger, each under one id; "
        f"{sent} requests, {repeats} of them repeats of an event already delivered (many asked "
        "for by the operator whose web process was killed), equal to the letter; nothing pending; "
        f"{(time.monotonic() - began) / 60:.1f} minutes",
    )


def _storm(rig: DeliveryRig, kills: int, chance: random.Random) -> Counter[str]:
    """Kill parts at moments drawn from a seed while calls end side by side and events are sent."""
    receiver = rig.ledger.receiver
    over, tickets = threading.Event(), threading.Semaphore(0)
    struck: Counter[str] = Counter()
    killed: dict[str, tuple[int, float]] = {}

    def end_calls(share: int) -> None:
        for _ in range(share):
            tickets.acquire()
            rig.end_a_call()

    def strike(part: str) -> None:
        pid, at = killed.get(part, (0, 0.0))
        time.sleep(max(0.0, at + REST_SECONDS - time.monotonic()))
        if part == "receiver":
            receiver.die(chance.uniform(0.2, 1.0))
        else:
            pid = rig.kill(part, other_than=pid)
        killed[part] = (pid, time.monotonic())
        struck[part] += 1

    calls = CALLS_PER_KILL * kills
    shares = [calls // CALLERS + (caller < calls % CALLERS) for caller in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS + 1) as people:
        working = [people.submit(rig.ask_again_until, over)]
        working += [people.submit(end_calls, share) for share in shares]
        try:
            for number in range(kills):
                if number % len(PARTS) == 0:
                    order = chance.sample(PARTS, len(PARTS))
                # A receiver that takes its time makes the moment of the POST long enough to meet.
                receiver.delay_seconds = chance.choice([0.0, 0.05, 0.5])
                tickets.release(CALLS_PER_KILL)
                time.sleep(chance.uniform(0.0, 1.2))
                strike(order[number % len(PARTS)])
        finally:
            receiver.delay_seconds = 0.0
            tickets.release(calls)
            for work in working[1:]:
                work.exception()
            over.set()
        for work in working:
            work.result()
    for part, (pid, _) in killed.items():
        assert part == "receiver" or rig.platform.pid_of(part, other_than=pid) != pid
    return struck


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

    if kills == 1:  # the suite tries no kill during the migrations
        (folder / "demo").mkdir()
        shutil.copyfile(migrated_sqlite(), folder / "demo" / "db.sqlite3")
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
