"""Wakes the watcher of this machine: a call has ended, or a person has ordered something.

Owns the address, a datagram socket under ``RUN_DIR``, and the sending. A poke may be lost, and
where no watcher listens it is: the watcher looks every few seconds anyway. Sending never waits.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from django.conf import settings


def address() -> Path:
    """Return where the watcher of this machine listens."""
    return Path(settings.RUN_DIR) / "watch.sock"


def poke() -> None:
    """Ask the watcher to look now; belongs behind the commit of what it is to see."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.sendto(b"!", str(address()))


def is_heard() -> bool:
    """Tell whether a watcher of this machine listens; sends nothing."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect(str(address()))
    except OSError:
        return False
    return True
