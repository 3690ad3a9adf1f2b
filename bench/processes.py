"""Processes of the bench: started on their own core, tied to our life, measured in ``/proc``.

Linux only, like the harness. It must end nothing that it did not start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voiceplatform.supervisor.parent_death import before_exec

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STOP_SECONDS = 15.0
MEDIA_TITLE = "voiceplatform: media"


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core runs what is measured, and which the harness; None: wherever there is room."""

    measured: int | None
    harness: int | None


def cores() -> Cores:
    """Return a core for either side; with a single one they share it."""
    free = sorted(os.sched_getaffinity(0))
    return Cores(free[0], free[1]) if len(free) > 1 else Cores(None, None)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _before_exec(core: int | None) -> Callable[[], None]:
    tied = before_exec()

    def run() -> None:
        tied()
        if core is not None:
            os.sched_setaffinity(0, {core})

    return run


def start(
    command: Sequence[str],
    *,
    core: int | None,
    output: IO[bytes] | int,
    stdin: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    errors: IO[bytes] | int = subprocess.STDOUT,
) -> subprocess.Popen[bytes]:
    """Start a process that dies with ours, whatever happens to us, in a session of its own."""
    return subprocess.Popen(  # noqa: S603 - the bench's own commands
        list(command),
        env=environment,
        stdin=stdin,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        preexec_fn=_before_exec(core),
    )


def prefer(root: int, nice: int) -> None:
    """Give a process and everything below it a priority among all processes of the machine.

    Each session is a group of its own to Linux's scheduler, and niceness counts within a group only
    (sched(7), autogroup), so both are set.

    Raises:
        PermissionError: ``nice`` is below ours, and we are not privileged.
    """
    for pid in _tree(root):
        # Not every kernel has groups, and one takes a change from others than root now and then.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, BlockingIOError):
            os.setpriority(os.PRIO_PROCESS, pid, nice)
            Path(f"/proc/{pid}/autogroup").write_text(f"{nice}\n", encoding="ascii")


def stop(process: subprocess.Popen[bytes], *, seconds: float = STOP_SECONDS) -> None:
    """End a process that ``start`` began: asked first, then killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    if process.poll() is None:
        process.kill()
    process.wait()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used: CPU seconds in all and of the media process, memory now."""

    cpu_seconds: float
    media_cpu_seconds: float
    rss_bytes: int


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name, empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def usage(root: int) -> Usage:
    """Sum what a process and everything below it have used."""
    total = media = 0.0
    rss = 0
    for pid in _tree(root):
        fields = _stat(pid)
        if not fields:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
        total += seconds
        rss += int(fields[21]) * PAGE_BYTES
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if MEDIA_TITLE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                media += seconds
    return Usage(total, media, rss)


def busy_seconds(core: int | None) -> float:
    """Return the seconds a core has been busy since boot, stolen time not counted."""
    name = "cpu" if core is None else f"cpu{core}"
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[0] == name:
            user, nice, system, _, _, irq, softirq = (int(field) for field in fields[1:8])
            return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
    return 0.0
