"""kill -9 between commit, claim, POST and settling: each event arrives, under one id (style.md 10).

At each exact point, in processes of our own that stop there; a whole instance, killed at moments
drawn from a seed, is for the drill (tests/drills/test_delivery_drills.py). What counts is the
receiver's ledger, never what we believe we sent.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.calls_rig import CallsRig
from tests.acceptance.drain_victim import LEASE_SECONDS, POINTS
from tests.integration.events.receiver import Receiver, running_receiver
from tests.migrated import migrated_sqlite
from tests.platform import ROOT, Platform, alive, clean_environment, wait_until
from voiceplatform.supervisor.parent_death import before_exec

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

NUMBER = "+15550100077"
# What is told of a call that had no stream: its end, the report, our own log.
CAUSES_PER_CALL = {"status-update ended", "end-of-call-report", "call.ended"}
KEYS = {
    "SECRET_KEY": "k" * 60,
    "FIELD_ENCRYPTION_KEYS": "dGVzdC1vbmx5LWtleS10ZXN0LW9ubHkta2V5LTAwMDA=",
}
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
# Only an embedded database is given one.
PASSWORD = "of-the-drill-7f3a"
ADMINISTRATOR = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("admin", password="{PASSWORD}")
"""
WITHOUT_ONE = """
from tests import factories
number = factories.make_number(organisation, assistant=assistant)
for _ in range({calls}):
    factories.make_call(number=number)
"""


def _manage(environment: dict[str, str], *arguments: str, may_be: tuple[int, ...] = (0,)) -> None:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode in may_be, done.stderr


def _environment(var_dir: Path, **extra: str) -> dict[str, str]:
    extra = {
        "DJANGO_SETTINGS_MODULE": "voiceplatform.settings", "EGRESS_ALLOW": "127.0.0.0/8", **extra
    }  # fmt: skip
    return clean_environment(VAR_DIR=str(var_dir), **extra)


@dataclass
class Ledger:
    """The receiver, and the outbox it is compared to."""

    receiver: Receiver
    database: Path | str  # a file of SQLite, or a URL of PostgreSQL

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read the database."""
        if isinstance(self.database, str):
            with psycopg.connect(self.database) as connection:
                return connection.execute(sql).fetchall()
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as connection:
            return connection.execute(sql).fetchall()

    def pending(self) -> int:
        """Return how many events are not settled."""
        return len(self.rows("SELECT 1 FROM calls_outboxevent WHERE state = 'pending'"))

    def settled_ids(self, count: int) -> list[str]:
        """Return the newest events that were delivered."""
        sql = "SELECT id FROM calls_outboxevent WHERE state = 'delivered' ORDER BY created_at DESC"
        return [str(uuid.UUID(str(row[0]))) for row in self.rows(f"{sql} LIMIT {count}")]

    def assert_whole(self) -> None:
        """Every cause of every ended call is in the ledger, under the one id of its event."""
        events = {
            str(uuid.UUID(str(row[0]))): row[1]
            for row in self.rows("SELECT id, state FROM calls_outboxevent")
        }
        assert set(events.values()) == {"delivered"}, events
        ended = {
            str(uuid.UUID(str(row[0])))
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

    victims: subprocess.Popen[str]
    ledger: Ledger

    def run(self, point: str, nth: int = 1, work: str = "drain") -> int:
        """Have a process work that stops at ``point`` the ``nth`` time; return its pid."""
        assert self.victims.stdin is not None
        self.victims.stdin.write(json.dumps({"point": point, "nth": nth, "work": work}) + "\n")
        self.victims.stdin.flush()
        return int(self.said().removeprefix("pid "))

    def said(self) -> str:
        """Return the next line that is not of the log."""
        assert self.victims.stdout is not None
        return next(line for line in self.victims.stdout if not line.startswith("{")).strip()

    def kill_at(self, point: str, nth: int = 1, work: str = "drain") -> None:
        """Run a process to a point and kill it there."""
        pid = self.run(point, nth, work)
        assert self.said() == (f"at {point}" if point else "done")
        if point:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), what=f"the end of {pid}")

    def finish(self) -> None:
        """Drain with nobody killing, as the next worker does when the leases have run out."""
        for _ in range(4):
            time.sleep(LEASE_SECONDS if self.ledger.pending() else 0)
            self.kill_at("")
            if not self.ledger.pending():
                return
        raise AssertionError(f"{self.ledger.pending()} events are pending")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A fresh database with ten calls that are on."""
    environment = _environment(tmp_path, **KEYS)
    shutil.copyfile(migrated_sqlite(), tmp_path / "db.sqlite3")
    victims = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.drain_victim"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=None, text=True, preexec_fn=before_exec(),
    )  # fmt: skip
    try:
        with running_receiver() as receiver:
            bench = Workbench(victims, Ledger(receiver, tmp_path / "db.sqlite3"))
            code = SETUP.format(url=receiver.url) + WITHOUT_ONE.format(calls=10)
            bench.kill_at("", work=f"shell {code}")
            yield bench
    finally:
        victims.kill()
        victims.communicate()


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
    pid = bench.run("")
    # Two calls at two endpoints; what is third waits for what is first of its call.
    ledger.receiver.wait_for(4)
    os.kill(pid, signal.SIGKILL)
    ledger.receiver.release()
    assert ledger.pending() == 6
    bench.finish()
    ledger.assert_whole()
    assert ledger.receiver.repeats() == 4


# ---- a whole instance ---------------------------------------------------------------------------


class Operator:
    """A person signed in to the admin who asks again when the page does not come."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._cookies = CookieJar()
        self._browser = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self._cookies)
        )
        made = platform.var_dir / "keys" / "admin_password"
        password = made.read_text().strip() if made.exists() else PASSWORD
        self._open("/admin/login/")
        self._open("/admin/login/", username="admin", password=password)

    def deliver_again(self, ids: list[str]) -> None:
        """Choose events in the list and press "Deliver again now"."""
        if ids:
            action = {"action": "deliver_again", "_selected_action": ids}
            self._open("/admin/calls/outboxevent/", **action)

    def _open(self, path: str, **form: str | list[str]) -> None:
        url = self._platform.base_url + path
        deadline = time.monotonic() + 60
        while True:
            data = None
            if form:
                token = {c.name: str(c.value) for c in self._cookies}["csrftoken"]
                form["csrfmiddlewaretoken"] = token
                data = urllib.parse.urlencode(form, doseq=True).encode()
            try:
                with self._browser.open(url, data, timeout=30) as response:
                    assert response.status == 200
                    return
            except OSError:  # killed with our request in hand: URLError, reset, 502
                assert time.monotonic() < deadline, path
                time.sleep(0.1)


@dataclass
class DeliveryRig:
    """A running instance that tells a receiver of its calls; calls are placed by webhook alone."""

    platform: Platform
    calls: CallsRig
    ledger: Ledger
    environment: dict[str, str]
    placed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end_a_call(self) -> None:
        """Ring and hang up, as Twilio says it; what is lost with a process is said again."""
        with self.lock:
            self.placed += 1
            number = self.placed
        form = {"CallSid": f"CA{number:032x}", "From": "+15550107777", "To": NUMBER}
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

    def kill(self, part: str, other_than: int | None) -> int:
        """Kill a part with all that it started; return the process id it had.

        Args:
            other_than: the process that was killed last time, which has to have a successor first.
        """
        while True:
            pid = self.platform.pid_of(part, other_than=other_than)
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has died by itself, of another part's death
                other_than = pid
            else:
                return pid

    def ask_again_until(self, over: threading.Event) -> None:
        """Have an operator deliver again what is settled, over and over."""
        operator = Operator(self.platform)
        while not over.wait(0.3):
            operator.deliver_again(self.ledger.settled_ids(3))

    def deliver_all_again(self) -> None:
        """Order what waits for the schedule, as an operator does whose receiver is back."""
        if self.ledger.pending():
            # 1: meanwhile everything has arrived.
            _manage(self.environment, "redeliver_events", "--state", "pending", may_be=(0, 1))

    def end_leases(self) -> None:
        """Let the minute be over for which a killed worker holds what it had claimed (SQLite)."""
        assert isinstance(self.ledger.database, Path)
        with closing(sqlite3.connect(self.ledger.database, timeout=20)) as connection, connection:
            connection.execute(
                "UPDATE calls_outboxevent SET lease_until = NULL WHERE state = 'pending'"
            )

    def settled(self, seconds: float) -> None:
        """Wait until nothing is pending."""

        def pending() -> str:
            rows = self.ledger.rows(
                "SELECT kind, attempt_count, next_attempt_at, lease_until FROM calls_outboxevent "
                "WHERE state = 'pending'"
            )
            return "\n".join(map(str, rows))

        try:
            wait_until(lambda: self.ledger.pending() == 0, what="the end", seconds=seconds)
        except AssertionError as error:
            pytest.fail(
                f"events are pending after {seconds} s:\n{pending()}\n"
                f"{self.platform.output()[-3000:]}\n{error}"
            )


def delivery_rig(
    start_platform: Callable[..., Platform], receiver: Receiver, postgres_url: str = ""
) -> DeliveryRig:
    """Start an instance and have it tell ``receiver``; on PostgreSQL where there is a URL."""
    extra = {"EGRESS_ALLOW": "127.0.0.0/8"}
    if postgres_url:
        extra |= {"DATABASE_URL": postgres_url, **KEYS}
    platform = start_platform("pg" if postgres_url else "a", standins=True, **extra)
    environment = _environment(platform.var_dir, PORT=str(platform.port), **extra)
    code = (SETUP + ON_AN_INSTANCE).format(url=receiver.url, number=NUMBER)
    code += ADMINISTRATOR if postgres_url else ""
    _manage(environment, "shell", "-v0", "-c", code)
    database = platform.var_dir / "db.sqlite3"
    return DeliveryRig(
        platform,
        CallsRig(platform.base_url, database),
        Ledger(receiver, postgres_url or database),
        environment,
    )
