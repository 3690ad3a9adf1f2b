"""The listening sockets of an instance, bound here and handed to children by descriptor.

They stay open in the supervisor, so that requests wait in the kernel's queue while a child
restarts (stack.md, crash of the web process). Owns binding and the sentence that says who has the
port; accepts nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from pathlib import Path

from voiceplatform.supervisor.errors import StartError

BACKLOG = 2048
RETRY_SECONDS = 2.0  # how long the children of a killed predecessor may hold the port
RETRY_PAUSE_SECONDS = 0.05


def bind_public(host: str, port: int, *, patient: bool) -> socket.socket:
    """Return a listening socket on ``host``:``port``.

    ``patient`` waits a moment for a port that is just being given up.

    Raises:
        StartError: the port is taken, or host and port cannot be bound.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise StartError(
            f"HOST={host!r} is no address of this machine ({error.strerror}). "
            "Fix: HOST=127.0.0.1 or HOST=0.0.0.0."
        ) from error
    deadline = time.monotonic() + (RETRY_SECONDS if patient else 0)
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(RETRY_PAUSE_SECONDS)
                continue
            raise StartError(_why_not(host, port, error)) from error
        return listener


def bind_unix(path: Path) -> socket.socket:
    """Return a listening socket on ``path``; whoever calls holds the lock of the instance.

    A file that a killed predecessor left is removed: under the lock nobody can be using it.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    return listener


def bind_loopback() -> socket.socket:
    """Return a listening socket on a free port of 127.0.0.1, for the stand-ins."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    return listener


def origin(listener: socket.socket) -> str:
    """Return the http origin of a TCP listener; an address that means all is shown as loopback."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)  # noqa: S104 - compared, not bound
    if shown is None:
        shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken by {_listener_name(port)}. "
            f"Fix: stop it, or PORT={port + 1} make serve."
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges we do not have. Fix: PORT=8000 make serve."
    return f"cannot listen on {host}:{port} ({error.strerror}). Fix: set HOST and PORT."


def _listener_name(port: int) -> str:
    """Name the process that listens on ``port`` as far as /proc lets us see it."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for link in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link) in inodes:
                        command = (process / "cmdline").read_bytes().split(b"\0")
                        shown = b" ".join(command).decode("utf-8", "replace").strip()[:60]
                        return f"pid {process.name} ({shown})"
    return "another program"


def _listening_inodes(port: int) -> set[str]:
    """Return the names, as in /proc/*/fd, of the sockets that listen on ``port``."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    found.add(f"socket:[{columns[9]}]")
    return found
