"""Makes a child process die with its parent (Linux ``PR_SET_PDEATHSIG``).

Owns the one libc call and its race. Used between fork and exec by the supervisor and inside
Celery's pool processes, so it must not log, allocate much or import Django.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Loaded at import: dlopen between fork and exec could wait for a lock that fork copied as held.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process ``signal_number`` when ``parent_pid`` ends.

    The request only covers a death that comes later, so a parent that is gone already ends this
    process here (its child was given to another process meanwhile).

    Raises:
        OSError: the kernel refused.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)


def before_exec(signal_number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a ``preexec_fn`` that ties the child to the process that calls this function."""
    parent_pid = os.getpid()

    def run() -> None:
        die_with_parent(parent_pid, signal_number)

    return run
