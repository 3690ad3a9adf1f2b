"""The watcher's loop: woken by the end of a call, patient while the database is away, and ended."""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from calls.doctor import checks
from calls.models import NumberGuard
from calls.services import guards, watch_poke
from calls.services.call_finish import call_close
from calls.services.guards import incident_open
from tests import factories
from tests.integration.guard.test_incidents import FAULT, direct
from tests.platform import wait_until
from voiceplatform.settings import _database
from voiceplatform.watching import TRIES_AT_ONCE, Watcher, tries_at_once

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

Start = Callable[[], Watcher]


@pytest.fixture
def start(settings: Any) -> Iterator[Start]:
    """Start a watcher that looks once a minute unless it is woken, on a thread of this process."""
    threads: list[tuple[Watcher, threading.Thread]] = []

    def begin() -> Watcher:
        watcher = Watcher(watch_poke.address(), look_every_seconds=60)

        def run() -> None:
            try:
                watcher.run()
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        threads.append((watcher, thread))
        return watcher

    with tempfile.TemporaryDirectory() as folder:
        settings.RUN_DIR = Path(folder)
        yield begin
        for watcher, thread in threads:
            watcher.stop()
            thread.join(20)
            assert not thread.is_alive()


def test_the_end_of_a_call_wakes_it(start: Start) -> None:
    number = direct()
    calls = [factories.make_call(number=number) for _ in range(5)]
    NumberGuard.objects.create(
        organisation=number.organisation, number=number, stack="direct", armed_at=number.created_at
    )
    start()
    for call in calls:
        call_close(call_id=str(call.pk), reason=FAULT)
    wait_until(lambda: incident_open(number) is not None, what="the incident", seconds=20)


def test_a_database_that_is_away_is_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    judge = guards.guards_judge

    def away_at_first(*arguments: Any) -> Any:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise OperationalError("away")
        return judge(*arguments)

    monkeypatch.setattr(guards, "guards_judge", away_at_first)
    start()
    number = direct()
    wait_until(lambda: asked, what="the first look")
    watch_poke.poke()
    wait_until(
        lambda: NumberGuard.objects.filter(number=number).exists(), what="the guard", seconds=20
    )


def test_a_poke_that_nobody_hears_is_no_error(settings: Any) -> None:
    settings.RUN_DIR = Path("/nowhere")
    watch_poke.poke()


def test_the_doctor_says_whether_anybody_watches(start: Start) -> None:
    [found] = checks._watcher()
    assert (found.state, bool(found.fix)) == ("warning", True)
    start()
    [found] = checks._watcher()
    assert found.state == "ok"
    number = direct()
    NumberGuard.objects.create(
        organisation=number.organisation,
        number=number,
        stack="direct",
        armed_at=number.created_at,
        next_at=timezone.now() - dt.timedelta(minutes=2),
    )
    [found] = checks._watcher()
    assert (found.state, found.detail[:10]) == ("failed", "1 restores")


def test_tries_leave_connections_for_the_look() -> None:
    pooled: Any = _database("postgresql://somebody@127.0.0.1/rows")
    assert tries_at_once(pooled) < pooled["OPTIONS"]["pool"]["max_size"]
    assert tries_at_once(_database("sqlite:///rows.sqlite3")) == TRIES_AT_ONCE
