"""kill -9 between commit, claim, POST and settling: each event arrives, under one id (style.md 10).

First at each exact point, in processes of our own that stop there; then on a whole instance, at
moments drawn from a seed. What counts is the receiver's ledger, never what we believe we sent.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.calls_rig import CallsRig
from tests.acceptance.drain_victim import LEASE_SECONDS, POINTS
from tests.integration.events.receiver import Receiver, running_receiver
from tests.platform import ROOT, Platform, clean_environment, wait_until
from voiceplatform.supervisor.parent_death import before_exec

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

NUMBER = "+15550100077"
# What is told of a call that had no stream: its end, the report, our own log.
CAUSES_PER_CALL = {"status-update ended", "end-of-call-report", "call.ended"}
SETUP = """
from assistants.services import assistant_publish
from voiceplatform.base.models import Organisation
organisation = Organisation.objects.get()
organisation.call_log_url, organisation.call_log_secret = "{url}/logs", "log-secret"
organisation.save()
assistant = assistant_publish(
    organisation=organisation, source="seed", actor=None,
    document={{"name": "Told", "server": {{"url": "{url}/vapi", "secret": "s3cret"}}}},
)
"""
ON_AN_INSTANCE = """
from calls.services.seed import STANDIN_NUMBER, number_like
number_like(STANDIN_NUMBER, number="{number}", assistant=assistant)
"""
WITHOUT_ONE = """
from tests import factories
number = factories.make_number(organisation, assistant=assistant)
for _ in range({calls}):
    factories.make_call(number=number)
"""


def _manage(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _environment(var_dir: Path, **extra: str) -> dict[str, str]:
    extra |= {"DJANGO_SETTINGS_MODULE": "voiceplatform.settings", "EGRESS_ALLOW": "127.0.0.0/8"}
    return clean_environment(VAR_DIR=str(var_dir), **extra)


@dataclass
class Ledger:
    """The receiver, and the outbox it is compared to."""

    receiver: Receiver
    database: Path

    def rows(self, sql: str) -> list[tuple[str, ...]]:
        """Read the database."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as connection:
            return connection.execute(sql).fetchall()

    def pending(self) -> int:
        """Return how many events are not settled."""
        return len(self.rows("SELECT 1 FROM calls_outboxevent WHERE state = 'pending'"))

    def expire_leases(self) -> None:
        """Let a minute pass for the leases of those who were killed."""
        with sqlite3.connect(self.database, timeout=20) as connection:
            connection.execute("UPDATE calls_outboxevent SET lease_until = '2026-01-01 00:00:00'"
                               " WHERE lease_until IS NOT NULL")  # fmt: skip
        connection.close()

    def assert_whole(self) -> None:
        """Every cause of every ended call is in the ledger, under the one id of its event."""
        events = {
            str(uuid.UUID(row[0])): row[1]
            for row in self.rows("SELECT id, state FROM calls_outboxevent")
        }
        assert set(events.values()) == {"delivered"}, events
        ended = {
            str(uuid.UUID(row[0]))
            for row in self.rows("SELECT id FROM calls_call WHERE status = 'ended'")
        }
        by_cause = self.receiver.ids_by_cause()
        assert set(by_cause) == {(kind, call) for call in ended for kind in CAUSES_PER_CALL}
        assert all(len(ids) == 1 for ids in by_cause.values()), by_cause
        assert {got.event_id for got in self.receiver.got} == set(events)
        bodies = {(got.event_id, got.body) for got in self.receiver.got}
        assert len(bodies) == len(events)  # a repeat is the same to the letter


# ---- the exact points ---------------------------------------------------------------------------


@dataclass
class Workbench:
    """A database and a receiver; processes that work on them one after the other."""

    environment: dict[str, str]
    ledger: Ledger

    def run(self, point: str, nth: int = 1, work: str = "drain") -> subprocess.Popen[str]:
        """Start a process that stops at ``point`` the ``nth`` time."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.drain_victim", point, str(nth), work],
            cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, preexec_fn=before_exec(),
        )  # fmt: skip

    def kill_at(self, point: str, nth: int = 1, work: str = "drain") -> None:
        """Run a process to a point and kill it there."""
        with self.run(point, nth, work) as process:
            assert process.stdout is not None
            said = next(line for line in process.stdout if not line.startswith("{"))
            process.kill()
        assert said.strip() == (f"at {point}" if point else "done")

    def finish(self) -> None:
        """Drain with nobody killing, as the next worker does when the leases have run out."""
        for _ in range(4):
            time.sleep(LEASE_SECONDS if self.ledger.pending() else 0)
            with self.run("") as process:
                assert process.stdout is not None
                assert process.stdout.read().strip().endswith("done")
            if not self.ledger.pending():
                return
        raise AssertionError(f"{self.ledger.pending()} events are pending")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A fresh database with ten calls that are on."""
    environment = _environment(
        tmp_path,
        SECRET_KEY="k" * 60,
        FIELD_ENCRYPTION_KEYS="dGVzdC1vbmx5LWtleS10ZXN0LW9ubHkta2V5LTAwMDA=",
    )
    with running_receiver() as receiver:
        _manage(environment, "migrate", "-v0")
        code = SETUP.format(url=receiver.url) + WITHOUT_ONE.format(calls=10)
        _manage(environment, "shell", "-v0", "-c", code)
        yield Workbench(environment, Ledger(receiver, tmp_path / "db.sqlite3"))


def test_a_kill_at_every_point_between_commit_and_settling(bench: Workbench) -> None:
    chance = random.Random(7)
    ledger = bench.ledger
    # Three calls end; their process dies before the third commits, after it, and not at all.
    bench.kill_at("before the commit", nth=8, work="end 3")
    assert ledger.rows("SELECT count(*) FROM calls_call WHERE status = 'ended'") == [(2,)]
    assert ledger.pending() == 6
    bench.kill_at("between commit and poke", nth=1, work="end 1")
    assert ledger.pending() == 9
    for point, (module, _, _) in POINTS.items():
        if module == "delivery":
            bench.kill_at("", work="end 1")
            bench.kill_at(point, nth=chance.randint(1, 3))
    bench.finish()
    ledger.assert_whole()
    # A kill between the answer and settling must repeat what the receiver has, and did.
    assert ledger.receiver.repeats() > 0


def test_a_kill_while_the_receiver_is_thinking(bench: Workbench) -> None:
    ledger = bench.ledger
    bench.kill_at("", work="end 2")
    ledger.receiver.hold()
    process = bench.run("")
    ledger.receiver.wait_for(6)
    process.kill()
    process.communicate()
    ledger.receiver.release()
    assert ledger.pending() == 6
    bench.finish()
    ledger.assert_whole()
    assert ledger.receiver.repeats() == 6


# ---- a whole instance ---------------------------------------------------------------------------


@dataclass
class DeliveryRig:
    """A running instance that tells a receiver of its calls; calls are placed by webhook alone."""

    platform: Platform
    calls: CallsRig
    ledger: Ledger
    placed: int = 0
    errors: list[str] = field(default_factory=list)

    def end_a_call(self) -> None:
        """Ring and hang up, as Twilio says it; what is lost with a process is said again."""
        self.placed += 1
        form = {"CallSid": f"CA{self.placed:032x}", "From": "+15550107777", "To": NUMBER}
        self._post("/twilio/voice", form)
        over = {"CallStatus": "completed", "CallDuration": "3", "SequenceNumber": "2"}
        self._post("/twilio/status", form | over)

    def _post(self, path: str, form: dict[str, str]) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                status = self.calls.post(path, form)
            except (OSError, urllib.error.URLError):
                status = 0  # killed with our request in hand
            if status in {200, 204}:
                return
            assert time.monotonic() < deadline, (path, status)
            time.sleep(0.1)

    def kill(self, part: str, after_seconds: float, calls: int = 3) -> None:
        """End some calls and kill ``part`` with all it started, so long after the first began."""
        pid = self.platform.pid_of(part)

        def strike() -> None:
            time.sleep(after_seconds)
            os.killpg(pid, signal.SIGKILL)

        killer = threading.Thread(target=strike)
        killer.start()
        for _ in range(calls):
            self.end_a_call()
        killer.join()
        assert self.platform.pid_of(part, other_than=pid) != pid

    def settled(self, seconds: float) -> None:
        """Wait until nothing is pending."""
        wait_until(
            lambda: self.ledger.pending() == 0,
            what=f"all events settled:\n{self.platform.output()[-3000:]}",
            seconds=seconds,
        )


def delivery_rig(start_platform: Callable[..., Platform], receiver: Receiver) -> DeliveryRig:
    """Start an instance and have it tell ``receiver``."""
    platform = start_platform(standins=True, EGRESS_ALLOW="127.0.0.0/8")
    code = (SETUP + ON_AN_INSTANCE).format(url=receiver.url, number=NUMBER)
    environment = _environment(platform.var_dir, PORT=str(platform.port))
    _manage(environment, "shell", "-v0", "-c", code)
    database = platform.var_dir / "db.sqlite3"
    return DeliveryRig(platform, CallsRig(platform.base_url, database), Ledger(receiver, database))


def test_kills_of_the_worker_and_of_valkey_in_a_running_instance(
    start_platform: Callable[..., Platform],
) -> None:
    chance = random.Random(5)
    with running_receiver() as receiver:
        rig = delivery_rig(start_platform, receiver)
        # The worker, when the receiver has requests that it has not answered.
        receiver.hold()
        rig.end_a_call()
        receiver.wait_for(3, seconds=30)
        worker = rig.platform.pid_of("worker")
        os.killpg(worker, signal.SIGKILL)
        receiver.release()
        assert rig.ledger.pending() == 3
        rig.platform.pid_of("worker", other_than=worker)
        # Valkey, between commits and pokes; the worker has to find it again.
        rig.kill("valkey", chance.uniform(0, 0.3))
        rig.ledger.expire_leases()
        rig.settled(60)
        rig.ledger.assert_whole()
        assert len(receiver.ids_by_cause()) == 3 * rig.placed == 12
        assert receiver.repeats() >= 3
