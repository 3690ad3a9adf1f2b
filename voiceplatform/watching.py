"""The watcher: one plain loop that looks at the guards of all numbers and brings callers home.

``python -m voiceplatform.watching``, started by the supervisor as a copy of itself. Owns when is
looked, at every poke and every five seconds, and on which threads restores are tried; what is seen
and decided is ``calls.services.guards``'s. It needs the database and Twilio alone: no Redis and no
Celery worker, whose trouble may be what the guards see. Killed at any moment it loses nothing: all
of a restore is rows, and whoever looks next goes on. Two of them, on two machines, are harmless.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog

LOOK_EVERY_SECONDS: Final = 5.0
# Pokes that come in a crowd are one look.
LEAST_PAUSE_SECONDS: Final = 0.2
# A try mostly waits for Twilio. With half as many, 500 numbers at once were home after 61 s where
# the limit is 60; these take half of that (docs/reliability.md).
TRIES_AT_ONCE: Final = 48

log = structlog.get_logger(__name__)


def tries_at_once(database: Mapping[str, Any]) -> int:
    """Return how many restores may be tried at once on a database, one of Django's settings.

    Each holds a connection while it lasts. Where there is a pool of them, more would wait for one
    in vain and the look itself would find none.
    """
    pool = database["OPTIONS"].get("pool")
    return min(TRIES_AT_ONCE, pool["max_size"] - 2) if pool else TRIES_AT_ONCE


class Watcher:
    """Looks until it is told to end."""

    def __init__(self, path: Path, *, look_every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        from django.db import connection

        from calls.services.guards import Memory

        self._every = look_every_seconds
        self._memory = Memory()
        self._tries = ThreadPoolExecutor(
            tries_at_once(connection.settings_dict), thread_name_prefix="restore"
        )
        self._ending = False
        self._database_is_away = False
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of one that was killed
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(str(path))
        path.chmod(0o600)

    def run(self) -> None:
        """Look at once, then whenever something may have happened."""
        try:
            while not self._ending:
                wait = self.look()
                self._sleep(wait)
        finally:
            self._line.close()
            # A try has seconds; one that is cut off is made again by whoever looks next.
            self._tries.shutdown(wait=True, cancel_futures=True)

    def stop(self, *_: int | FrameType | None) -> None:
        """End after what is being done; a signal handler."""
        from calls.services import watch_poke

        self._ending = True
        watch_poke.poke()

    def look(self) -> float:
        """Look once, hand out the tries that are due; return for how many seconds to sleep."""
        from django.db import Error, connection
        from django.utils import timezone

        from calls.services.guards import guards_judge, next_due_at, tries_due

        now = timezone.now()
        try:
            _, tries = guards_judge(now, self._memory)
            for each in (*tries, *tries_due(now)):
                self._tries.submit(self._carry_out, each)
            due = next_due_at()
        except Error as error:
            connection.close()
            if not self._database_is_away:
                log.error("watcher_without_database", error=type(error).__name__)
            self._database_is_away = True
            return self._every
        if self._database_is_away:
            log.info("watcher_has_database")
            self._database_is_away = False
        if due is None:
            return self._every
        return min(self._every, max(0.0, (due - timezone.now()).total_seconds()))

    def _carry_out(self, attempt: object) -> None:
        from django.db import Error, connection

        from calls.services import watch_poke
        from calls.services.guards import Try, try_carry_out

        assert isinstance(attempt, Try)
        try:
            try_carry_out(attempt)
        except (Error, ValueError, LookupError, TypeError, OSError) as error:
            # It counts as a try that never reported; the next one is due when its time is over.
            log.error(
                "restore_not_tried", number_id=str(attempt.number_id), error=type(error).__name__
            )
        finally:
            connection.close()
            watch_poke.poke()

    def _sleep(self, seconds: float) -> None:
        began = time.monotonic()
        self._line.settimeout(max(seconds, LEAST_PAUSE_SECONDS))
        with contextlib.suppress(TimeoutError):
            self._line.recv(16)
        if self._ending:
            return
        # What else has come, or comes now, is answered by the same look.
        rest = LEAST_PAUSE_SECONDS - (time.monotonic() - began)
        if rest > 0:
            time.sleep(rest)
        self._line.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._line.recv(16)


def main() -> int:
    """Watch until a signal comes; return the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    import django

    django.setup()

    from calls.services import watch_poke
    from voiceplatform.logconf import set_process

    set_process("watcher")
    watcher = Watcher(watch_poke.address())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, watcher.stop)
    watcher.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
