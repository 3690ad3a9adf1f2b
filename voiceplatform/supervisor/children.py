"""One child process: how it is started, when it may be started again, how it is ended.

Owns the life of a single child and its back-off; the order among children is the supervisor's.
Every child leads a session of its own, so that Ctrl-C reaches the supervisor only and a signal to
the group reaches the child's own children too, and every child dies with the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voiceplatform.supervisor.forking import Entry, Forked, fork
from voiceplatform.supervisor.parent_death import before_exec

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
# A part that cannot run dies while it starts. Who is killed later has callers waiting for the next.
HEALTHY_SECONDS = 5.0


@dataclass
class Backoff:
    """The pause before the next start: doubles with each short life, none after a long one."""

    _next_seconds: float = FIRST_PAUSE_SECONDS

    def pause_after(self, life_seconds: float) -> float:
        """Return how many seconds to wait after a life of ``life_seconds``."""
        if life_seconds >= HEALTHY_SECONDS:
            self._next_seconds = FIRST_PAUSE_SECONDS
            return 0.0
        pause = self._next_seconds
        self._next_seconds = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return pause


def reason(return_code: int) -> str:
    """Say in words how a process ended."""
    if return_code < 0:
        try:
            return f"killed by {signal.Signals(-return_code).name}"
        except ValueError:
            return f"killed by signal {-return_code}"
    return f"exit code {return_code}"


@dataclass
class Child:
    """A part of the platform and, while it runs, its process.

    With ``entry`` it is a copy of the supervisor and ``command`` its arguments; without, a program.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    descriptors: tuple[int, ...] = ()
    entry: Entry | None = None
    reports_ready: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    process: subprocess.Popen[bytes] | Forked | None = None
    started_at: float = 0.0  # monotonic seconds, as every time here
    restart_at: float | None = None
    ready_fd: int | None = None
    leaving: bool = False  # a successor has taken its place

    @property
    def running(self) -> bool:
        """Tell whether it has a process that was not yet found dead."""
        return self.process is not None

    def successor(self) -> Child:
        """Return the same part once more, not started yet."""
        return Child(
            *(self.name, self.command, self.environment, self.folder, self.descriptors),
            *(self.entry, self.reports_ready),
        )

    def start(self, now: float) -> None:
        """Start the process.

        With ``reports_ready`` a pipe's write end goes to it as ``--ready-fd N``, and ``ready_fd``
        is the end to read: one byte when it listens, end of file when it died before.

        Raises:
            OSError, subprocess.SubprocessError: the machine has no process or memory to give.
        """
        command = list(self.command)
        inherited = list(self.descriptors)
        write_end = None
        if self.reports_ready:
            self.ready_fd, write_end = os.pipe()
            command += ["--ready-fd", str(write_end)]
            inherited.append(write_end)
        try:
            if self.entry is not None:
                self.process = fork(self.entry, name=self.name, arguments=command, keep=inherited)
            else:
                self.process = subprocess.Popen(  # noqa: S603 - commands of our own
                    command,
                    env=self.environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    pass_fds=inherited,
                    start_new_session=True,
                    # The supervisor has one thread: running Python between fork and exec is safe.
                    preexec_fn=before_exec(),
                )
        except (OSError, subprocess.SubprocessError):
            if self.ready_fd is not None:
                os.close(self.ready_fd)
                self.ready_fd = None
            raise
        finally:
            if write_end is not None:
                os.close(write_end)
        self.started_at = now
        self.restart_at = None

    def reap(self, now: float) -> tuple[int, float] | None:
        """Return exit code and seconds of life when the process has ended since the last look."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.signal_group(signal.SIGKILL)  # its own children, if it left any
        self.process = None
        return code, now - self.started_at

    def signal(self, number: int) -> None:
        """Signal the process alone, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def signal_group(self, number: int) -> None:
        """Signal the process and everything it started, if it ran."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
