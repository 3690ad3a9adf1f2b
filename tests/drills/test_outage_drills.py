"""The database away while calls are on, Valkey stopped, media killed meanwhile: nothing is lost.

At small counts the one database is SQLite, held by a writer that does not let go; at full counts a
PostgreSQL of our own that is stopped.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.calls_rig import CallsRig, PlacedCall
from tests.acceptance.test_delivery_kills import DeliveryRig, delivery_rig
from tests.drills.conftest import Tell
from tests.integration.events.receiver import Receiver, running_receiver
from tests.platform import Platform, wait_until
from tests.servers import Postgres, postgres_server

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

VALKEY_SECONDS, DATABASE_SECONDS = 60.0, 30.0
CALLS, KILLED = 10, 3
# From about 25 s to a minute and a half; the shorter ones end while the database is away.
SHORT, LONG = 8, 30
# A webhook has 15 s (twilio.md 1.3); a caller who waits for the fallback has less.
WEBHOOK_SECONDS = 5.0
# What the caller has heard is known to the call when its mark has come back.
STORED_SECONDS = 0.5


def _scenario(exchanges: int) -> dict[str, Any]:
    """Return a call of so many numbered questions, each with its answer."""
    asks = [{"say": f"Question {number:02}.", "after": "greeting"} for number in range(exchanges)]
    rules = [
        {"when": f"Question {number:02}", "say": f"Answer {number:02}."}
        for number in range(exchanges)
    ]
    last = rules[-1]["say"]
    return {
        "name": f"exchanges{exchanges}",
        "caller": [*asks, {"hang_up": {"heard": last}}],
        "brain": {"rules": rules},
        "expect": {"agent_says": [rule["say"] for rule in rules], "ended_by": "caller"},
    }


def _conversation(first: int, last: int) -> list[tuple[str, str]]:
    return [
        turn
        for number in range(first, last)
        for turn in (("user", f"Question {number:02}."), ("assistant", f"Answer {number:02}."))
    ]


def _exchanges(rig: CallsRig, placed: PlacedCall) -> list[tuple[str, str]]:
    """Return the stored turns that are of the script."""
    return [turn for turn in rig.spoken(placed) if turn[1].startswith(("Question", "Answer"))]


def _spools(platform: Platform) -> list[Path]:
    return sorted((platform.var_dir / "spool").glob("*.spool"))


def _wait_for_words_on_disk(platform: Platform, since: float, files: int) -> None:
    """Wait until what every call has said up to ``since`` (Unix seconds) is on disk.

    The calls go on, so something is written later than that.
    """
    stored = since + STORED_SECONDS

    def written() -> bool:
        found = _spools(platform)
        return len(found) >= files and all(path.stat().st_mtime > stored for path in found)

    wait_until(written, what=f"the words on disk: {_spools(platform)}", seconds=40)


def test_a_kill_of_media_while_the_database_takes_nothing(shared_platform: Platform) -> None:
    platform = shared_platform
    database = platform.var_dir / "db.sqlite3"
    rig = CallsRig(platform.base_url, database)
    placed = rig.place(_scenario(4))
    placed.wait("heard", "Answer 00")
    with closing(sqlite3.connect(database, timeout=20, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        placed.wait("heard", "Answer 01")
        _wait_for_words_on_disk(platform, time.time(), 1)
        before = platform.kill("media")
        writer.execute("ROLLBACK")
    report = placed.report()
    assert report["failures"] == [], report
    assert platform.pid_of("media") != before
    rig.ended(placed)
    # A question on whose answer the process died may be asked and answered again.
    stored = _exchanges(rig, placed)
    assert list(dict.fromkeys(stored)) == _conversation(0, 4), (rig.spoken(placed), report)
    assert [stored.count(turn) for turn in _conversation(0, 2)] == [1, 1, 1, 1]
    assert _spools(platform) == []


# ---- at full counts: PostgreSQL ----------------------------------------------------------------


class PostgresRig(CallsRig):
    """As ``CallsRig``, on PostgreSQL."""

    url = ""

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read rows of the instance's database; JSON as the other database gives it."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(sql.replace("?", "%s"), values).fetchall()
        return [
            tuple(json.dumps(each) if isinstance(each, dict | list) else each for each in row)
            for row in rows
        ]


@dataclass
class Outage:
    """A running instance on a database that can be stopped, and the receiver of its events."""

    rig: DeliveryRig
    calls: PostgresRig
    receiver: Receiver
    server: Postgres

    @property
    def platform(self) -> Platform:
        """The instance."""
        return self.rig.platform

    def assert_told_once(self, placed: PlacedCall) -> None:
        """Fail unless the end of a call came under one id, and is there once in our log."""
        call_id = str(self.calls.call(placed.call_sid)["id"])

        def ids() -> set[str]:
            found = self.receiver.ids_by_cause().get(("call.ended", call_id), set())
            return found

        wait_until(ids, what=f"call.ended of {call_id}", seconds=120)
        assert len(ids()) == 1

    def wait_for_end(self, placed: PlacedCall) -> None:
        """Wait until a call is stored as ended, whoever found out."""
        wait_until(
            lambda: self.calls.call(placed.call_sid)["status"] == "ended",
            what="the stored end",
            seconds=180,
        )

    def refused_seconds(self) -> float:
        """Return how long a new call waits to be told that nobody can take it."""
        began = time.monotonic()
        form = {"CallSid": f"CA{'f' * 32}", "From": "+15550107777", "To": "+15550100077"}
        assert self.calls.post("/twilio/voice", form) == 503
        return time.monotonic() - began


def test_valkey_and_postgresql_are_away_while_calls_are_on(
    start_platform: Callable[..., Platform], count: Callable[[int, int], int], tell: Tell
) -> None:
    calls = count(CALLS, 0)
    if not calls:  # the suite has no time for a second instance; the kill above is its part
        return
    share = calls / CALLS
    with postgres_server() as server, running_receiver() as receiver:
        rig = delivery_rig(start_platform, receiver, server.url)
        reads = PostgresRig(rig.platform.base_url, rig.platform.var_dir)
        reads.url = server.url
        outage = Outage(rig, reads, receiver, server)
        refused, ended = _calls_through(outage, calls, share)
        kept = _killed_meanwhile(outage)
        wait_until(lambda: not _spools(rig.platform), what="an empty spool", seconds=30)
        told = Counter(kind for kind, _ in receiver.ids_by_cause())["call.ended"]
        assert told == calls + KILLED
    tell(
        "Valkey and PostgreSQL away while calls are on",
        f"Valkey {VALKEY_SECONDS * share:.0f} s and PostgreSQL {DATABASE_SECONDS * share:.0f} s, "
        f"{calls} calls on, of which {ended} ended without a database: every call reached its "
        "scripted end, every turn is stored once and in order, call.ended came once for each; a "
        f"new call was told within {refused:.1f} s to go elsewhere. Media killed during another "
        f"one: all {kept} turns that {KILLED} calls had said before are stored, nothing is left "
        "on disk",
    )


def _calls_through(outage: Outage, calls: int, share: float) -> tuple[float, int]:
    """Return how long a new call waited for its refusal, and how many calls ended meanwhile."""
    lengths = [(SHORT, LONG)[number % 2] for number in range(calls)]
    placed = [(outage.calls.place(_scenario(length)), length) for length in lengths]
    for each, _ in placed:
        each.wait("heard", "Answer 01")
    valkey = outage.platform.pid_of("valkey")
    began = time.monotonic()
    os.kill(valkey, signal.SIGSTOP)
    try:
        outage.server.stop()
        # One with connections that have just been cut, one when that is known.
        refused = max(outage.refused_seconds() for _ in range(3))
        assert refused < WEBHOOK_SECONDS
        assert outage.platform.get("/readyz")[0] == 503
        wait_until(
            lambda: time.monotonic() - began > DATABASE_SECONDS * share, what="PostgreSQL's time",
            seconds=DATABASE_SECONDS * 2,
        )  # fmt: skip
        ended = sum(each.events[-1]["kind"] == "report" for each, _ in placed)
        assert 0 < ended < len(placed)
        outage.server.start()
        wait_until(
            lambda: time.monotonic() - began > VALKEY_SECONDS * share, what="Valkey's time",
            seconds=VALKEY_SECONDS * 2,
        )  # fmt: skip
    finally:
        os.kill(valkey, signal.SIGCONT)
    for each, length in placed:
        report = each.report(180)
        assert report["failures"] == [], report
        row = outage.calls.ended(each)
        assert (row["ended_reason"], row["stream_count"]) == ("customer-ended-call", 1)
        assert _exchanges(outage.calls, each) == _conversation(0, length)
        outage.assert_told_once(each)
    return refused, ended


def _killed_meanwhile(outage: Outage) -> int:
    """Kill media while its database is away; return how many turns it had put on disk."""
    placed = [outage.calls.place(_scenario(LONG)) for _ in range(KILLED)]
    for each in placed:
        each.wait("heard", "Answer 01")
    outage.server.stop()
    for each in placed:
        each.wait("heard", "Answer 04")
    _wait_for_words_on_disk(outage.platform, time.time(), KILLED)
    before = outage.platform.kill("media")
    outage.server.start()
    assert outage.platform.pid_of("media", other_than=before) != before
    for each in placed:
        # Twilio may have been told meanwhile that nobody knows what is next.
        assert each.report(180)["kind"] == "report"
        outage.wait_for_end(each)
        stored = _exchanges(outage.calls, each)
        assert [stored.count(turn) for turn in _conversation(0, 5)] == [1] * 10
        outage.assert_told_once(each)
    return 10 * len(placed)
