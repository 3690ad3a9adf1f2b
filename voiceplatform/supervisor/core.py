"""The supervisor's one loop: start the parts in order, restart what dies, drain, end.

Single-threaded: a pipe wakes it for signals (``SIGCHLD`` among them) and for children that report
that they listen. Owns the order among the parts; each part's own life is ``children``'s.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from voiceplatform.supervisor import forking, valkey
from voiceplatform.supervisor.children import Child, reason
from voiceplatform.supervisor.errors import StartError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REPLACE_SIGNAL = signal.SIGUSR1  # to us: replace media; to media: a successor listens, leave
DRAIN_EXTRA_SECONDS = 10.0  # beyond what the media process itself waits for its calls
STOP_SECONDS = 10.0
REDIS_START_SECONDS = 10.0
POLL_SECONDS = 0.02
LONGEST_SLEEP_SECONDS = 60.0

log = structlog.get_logger(__name__)


class _StopRequested(Exception):
    """The first stop signal came while the instance was starting."""


class _KillRequested(Exception):
    """The second stop signal came: end everything now."""


def say(line: str) -> None:
    """Print one line for a person; a reader who left is no reason to end."""
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class Parts:
    """What an instance consists of; ``redis`` and ``standins`` are None when not ours to run."""

    prepare: Child
    media: Child
    web: Child
    worker: Child
    beat: Child
    watcher: Child
    redis: Child | None
    redis_socket: Path
    standins: Child | None


class Supervisor:
    """Runs one instance until a signal ends it."""

    def __init__(self, parts: Parts, *, admin_url: str, drain_seconds: float) -> None:
        self._parts = parts
        self._admin_url = admin_url
        self._drain_seconds = drain_seconds
        self._children: list[Child] = []
        self._media = parts.media
        self._media_successor: Child | None = None
        self._ending: set[str] = set()
        self._announced: set[str] = set()
        self._stops = 0
        self._began_at = time.monotonic()
        self._wake_read = -1

    def run(self) -> int:
        """Start everything and stay until told to end; return the exit code.

        Raises:
            StartError: a part needed for starting failed; everything is ended.
        """
        with self._listening_for_signals():
            try:
                try:
                    self._start()
                    while not self._stops:
                        self._turn()
                except _StopRequested:
                    log.info("stopped while starting")
                self._stop()
            except _KillRequested:
                log.warning("second signal: ending everything now")
                return 1
            finally:
                self._kill_all()
        return 0

    # Starting

    def _start(self) -> None:
        parts = self._parts
        if parts.redis is not None:
            self._launch(parts.redis)
            self._wait_for(
                lambda: valkey.answers(parts.redis_socket),
                seconds=REDIS_START_SECONDS,
                failure="Valkey does not answer on its socket. Fix: see its lines above.",
            )
            self._announce(parts.redis.name, "ready")
        forking.load_models()
        parts.prepare.start(time.monotonic())
        code = self._wait_for_end(parts.prepare)
        if code != 0:
            raise StartError(
                f"the database could not be prepared ({reason(code)}). Fix: see the lines above."
            )
        self._announce("database", "ready")
        forking.load_parts()
        if parts.standins is not None:
            self._launch(parts.standins)
            self._announce(parts.standins.name, "started")
        self._launch(parts.media)
        self._launch(parts.web)
        while not {parts.media.name, parts.web.name} <= self._announced:
            self._turn(stop_is_an_error=True)
        # Later than the two that callers wait for.
        for child in (parts.worker, parts.beat, parts.watcher):
            self._launch(child)
            self._announce(child.name, "started")
        say(f"ready: {self._admin_url}")

    def _launch(self, child: Child) -> None:
        self._children.append(child)
        child.start(time.monotonic())

    def _announce(self, name: str, state: str) -> None:
        self._announced.add(name)
        say(f"{name:<10} {state:<8} {time.monotonic() - self._began_at:5.1f} s")

    def _wait_for(self, condition: Callable[[], bool], *, seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise StartError(failure)
            self._turn(POLL_SECONDS, stop_is_an_error=True)

    def _wait_for_end(self, child: Child) -> int:
        """Return the exit code of a child that is expected to end; a stop signal ends it sooner."""
        try:
            while True:
                end = child.reap(time.monotonic())
                if end is not None:
                    return end[0]
                self._turn(stop_is_an_error=True)
        finally:
            child.signal_group(signal.SIGKILL)

    # The loop

    def _turn(
        self, longest_seconds: float = LONGEST_SLEEP_SECONDS, *, stop_is_an_error: bool = False
    ) -> None:
        """Sleep until something happens, then act on it once."""
        now = time.monotonic()
        restarts = [child.restart_at for child in self._children if child.restart_at is not None]
        wait = max(0.0, min([now + longest_seconds, *restarts]) - now)
        waiting = {child.ready_fd: child for child in self._children if child.ready_fd is not None}
        readable, _, _ = select.select([self._wake_read, *waiting], [], [], wait)
        if self._wake_read in readable:
            self._read_signals()
        for descriptor in readable:
            if descriptor in waiting:
                self._read_ready(waiting[descriptor])
        self._bury_and_restart()
        if stop_is_an_error and self._stops:
            raise _StopRequested

    def _read_signals(self) -> None:
        for number in os.read(self._wake_read, 512):
            if number in STOP_SIGNALS:
                self._stops += 1
                log.info("told to stop", signal=signal.Signals(number).name)
            elif number == REPLACE_SIGNAL:
                self._replace_media()
        if self._stops > 1:
            raise _KillRequested

    def _read_ready(self, child: Child) -> None:
        assert child.ready_fd is not None
        told = os.read(child.ready_fd, 1)
        os.close(child.ready_fd)
        child.ready_fd = None
        if told and child is self._media_successor:
            self._media_replaced(child)
        elif told:
            if child.name in self._announced:
                log.info("child is ready again", child=child.name)
            else:
                self._announce(child.name, "ready")

    # Replacing media: the successor first, so that there is always one who listens

    def _replace_media(self) -> None:
        if self._media_successor is not None or self._media.name not in self._announced:
            log.warning("media is being started already")
            return
        child = self._media.successor()
        try:
            child.start(time.monotonic())
        except (OSError, subprocess.SubprocessError) as error:
            log.error("media not replaced", error=type(error).__name__)
            return
        self._media_successor = child
        self._children.append(child)
        log.info("replacing media")

    def _media_replaced(self, child: Child) -> None:
        """Let the old one finish its calls: requests and new streams are the successor's now."""
        leaving, self._media, self._media_successor = self._media, child, None
        leaving.leaving = True
        leaving.restart_at = None
        leaving.signal(REPLACE_SIGNAL)
        if not leaving.running:
            self._children.remove(leaving)
        log.info("media replaced")

    def _bury_and_restart(self) -> None:
        now = time.monotonic()
        for child in tuple(self._children):
            end = child.reap(now)
            if end is not None:
                self._on_death(child, *end, now=now)
            if child.restart_at is not None and child.restart_at <= now:
                self._restart(child, now)

    def _restart(self, child: Child, now: float) -> None:
        """Start a child again; a machine that is out of processes must not cost the live calls."""
        try:
            child.start(now)
        except (OSError, subprocess.SubprocessError) as error:
            pause = child.backoff.pause_after(0.0)
            child.restart_at = now + pause
            log.error(
                "child not started",
                child=child.name,
                error=type(error).__name__,
                restart_in_s=pause,
            )

    def _on_death(self, child: Child, code: int, life_seconds: float, *, now: float) -> None:
        if child.ready_fd is not None:
            os.close(child.ready_fd)
            child.ready_fd = None
        fields = {"child": child.name, "reason": reason(code), "uptime_s": round(life_seconds, 1)}
        if child.name in self._ending or child.leaving:
            log.info("child ended", leaving=child.leaving, **fields)
            if child.leaving:
                self._children.remove(child)
            return
        if child is self._media_successor:
            log.error("media not replaced", **fields)
            self._media_successor = None
            self._children.remove(child)
            return
        pause = child.backoff.pause_after(life_seconds)
        child.restart_at = now + pause
        log.error("child died", restart_in_s=pause, **fields)

    # Ending

    def _stop(self) -> None:
        """End the parts in an order that loses no call: media first, what it needs last."""
        parts = self._parts
        started = set(map(id, self._children))
        log.info("stopping", drain_seconds=self._drain_seconds)
        media = [child for child in self._children if child.name == parts.media.name]
        others = (parts.web, parts.beat, parts.worker, parts.watcher, parts.standins)
        middle = [child for child in others if child]
        for group, seconds in (
            (media, self._drain_seconds + DRAIN_EXTRA_SECONDS),
            (middle, STOP_SECONDS),
            ([parts.redis] if parts.redis else [], STOP_SECONDS),
        ):
            self._end([child for child in group if id(child) in started], seconds)
        log.info("stopped")

    def _end(self, children: list[Child], seconds: float) -> None:
        for child in children:
            self._ending.add(child.name)
            child.restart_at = None
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(child.running for child in children):
            if time.monotonic() > deadline:
                late = [child for child in children if child.running]
                log.error("killing what did not end", children=[child.name for child in late])
                for child in late:
                    child.signal_group(signal.SIGKILL)
                deadline = float("inf")
            self._turn(min(1.0, max(0.0, deadline - time.monotonic())))

    def _kill_all(self) -> None:
        """Kill and reap whatever still runs; after an orderly end there is nothing left."""
        running = [child for child in (*self._children, self._parts.prepare) if child.running]
        for child in running:
            child.signal_group(signal.SIGKILL)
        for child in running:
            if child.process is not None:
                child.process.wait()
                child.process = None

    @contextlib.contextmanager
    def _listening_for_signals(self) -> Iterator[None]:
        """Have signals written to a pipe the loop selects on, instead of acted on at once."""
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        numbers = (*STOP_SIGNALS, REPLACE_SIGNAL, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        previous_fd = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake_read)
            os.close(wake_write)
