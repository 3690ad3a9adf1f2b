"""Starts a part of ours as a copy of the supervisor, which has loaded the application already.

A part is up in a tenth of the processor time that a Python of its own would take, after a death
too (ADR 0019). Owns what a copy must shed to be like a new process: descriptors, signals,
arguments, standard input. The supervisor has one thread, so running Python after a fork is safe.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from voiceplatform.env import set_settings_module
from voiceplatform.supervisor.parent_death import die_with_parent

# What the parts import sooner or later, so that it is read once. Importing starts no thread and
# opens nothing (held by a test).
MODULES = (
    "voiceplatform.urls",
    "voiceplatform.asgi_media",
    "voiceplatform.asgi",
    "voiceplatform.serving",
    "voiceplatform.watching",
    "calls.services.guards",
    "celery.__main__",
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.apps.beat",
    "celery.concurrency.prefork",
    "kombu.transport.redis",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)


@dataclass(frozen=True)
class Entry:
    """A part's main function by name, ``module:function``; it takes its arguments from ``argv``."""

    module: str
    function: str = "main"

    def run(self) -> int:
        """Call it; return the exit code."""
        found: Callable[[], int | None] = getattr(
            importlib.import_module(self.module), self.function
        )
        return found() or 0


@dataclass
class Forked:
    """A copy that runs, with the part of ``subprocess.Popen`` that a supervisor needs."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal) once it has ended, else None."""
        return self._collect(os.WNOHANG)

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        code = self._collect(0)
        assert code is not None
        return code

    def _collect(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def load_models() -> None:
    """Set Django up with our settings, whatever others the environment names.

    No garbage is looked for until ``load_parts`` is through: next to nothing of what is imported
    becomes any, and looking was a quarter of the time.
    """
    gc.disable()
    set_settings_module()
    import django

    django.setup()


def load_parts() -> None:
    """Import what the parts will need, and keep the collector from touching it in every copy."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def fork(entry: Entry, *, name: str, arguments: Sequence[str], keep: Sequence[int]) -> Forked:
    """Start ``entry`` in a copy of this process that owns ``keep`` and dies with us.

    Raises:
        OSError: the machine has no process or memory to give.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent_pid = os.getpid()
    # A signal for the copy that comes before it has shed our handlers would be told to us.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            # Nothing above this frame may run or be freed here: it holds our sockets' numbers.
            os._exit(_copy(entry, name, arguments, set(keep), parent_pid, before))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(pid)


def _copy(
    entry: Entry,
    name: str,
    arguments: Sequence[str],
    keep: set[int],
    parent_pid: int,
    mask: set[signal.Signals | int],
) -> int:
    """Live as the part; return the exit code."""
    with _LastWords() as last_words:
        os.setsid()
        _shed_signals()
        die_with_parent(parent_pid)
        _shed_descriptors(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _take_name(name, arguments)
        last_words.code = entry.run()
    with _LastWords():  # as multiprocessing ends its copies
        threading._shutdown()  # type: ignore[attr-defined]  # private, and there
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return last_words.code


@dataclass
class _LastWords:
    """Ends a block as the interpreter ends a program: whatever is raised becomes an exit code."""

    code: int = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: object
    ) -> bool:
        if isinstance(error, SystemExit):
            self.code = _exit_code(error)
        elif error is not None:
            traceback.print_exception(error)
        return True


def _shed_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _shed_descriptors(keep: set[int]) -> None:
    """Close what is the supervisor's: its lock, its pipes, the other parts' sockets."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for found in os.listdir("/proc/self/fd"):
        if int(found) > 2 and int(found) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(found))


def _take_name(name: str, arguments: Sequence[str]) -> None:
    from setproctitle import setproctitle

    setproctitle(f"voiceplatform: {name}")
    sys.argv = [name, *arguments]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # files, not buffers


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1
