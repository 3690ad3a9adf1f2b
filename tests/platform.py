"""The whole platform as a subprocess for acceptance tests: start, look at its processes, end it.

``tests/acceptance/conftest.py`` makes fixtures of it. Everything runs in a temporary ``VAR_DIR``
on a free port and dies with the test process.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.migrated import migrated_sqlite
from voiceplatform.supervisor.parent_death import before_exec

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0
STOP_SECONDS = 40.0

# How a child is recognised by its command line or title; Celery gives its processes their own.
PARTS = {
    "media": "voiceplatform: media",
    "web": "voiceplatform: web",
    "prepare": "voiceplatform: prepare",
    "standins": "voiceplatform: standins",
    "worker": "[celeryd: ",
    "beat": "[celery beat]",
    "watcher": "voiceplatform: watcher",
    "valkey": "valkey-server",
}


def wait_until(condition: Callable[[], object], *, what: str, seconds: float = 20.0) -> None:
    """Poll until ``condition`` holds; fail naming ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(pause)
        # Asking costs the processor time that what is waited for needs.
        pause = min(pause * 1.2, 0.25)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on just now.

    It lies below those that the kernel gives to connections and to who asks for any: until it is
    bound, which takes an instance a second or two, the other tests would take some hundred of them.
    """
    chance = random.SystemRandom()  # the common one begins anew with each test
    while True:
        port = chance.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def own_variables() -> set[str]:
    """Return the names of the platform's own environment variables."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE))


def clean_environment(**extra: str) -> dict[str, str]:
    """Return our environment without any setting of the test suite, with ``extra`` on top."""
    ours = own_variables()
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | extra


def alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def command_line(pid: int) -> str:
    """Return a process's arguments with spaces between, '' when it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def descendants(pid: int) -> set[int]:
    """Return every live process below ``pid``, however deep."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return {child for child in found if alive(child)}


@dataclass
class Platform:
    """One instance run by the real supervisor."""

    var_dir: Path
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path
    seen_pids: set[int] = field(default_factory=set)
    forgotten_bytes: int = 0
    beside: subprocess.Popen[str] | None = None  # runs code of tests (tests/acceptance/outside.py)

    @classmethod
    def start(cls, var_dir: Path, *, port: int | None = None, **environment: str) -> Self:
        """Start an instance without waiting for anything."""
        var_dir.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        log_path = var_dir.parent / f"{var_dir.name}-{time.monotonic_ns()}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "voiceplatform.supervisor"],
                cwd=ROOT,
                env=clean_environment(VAR_DIR=str(var_dir), PORT=str(port), **environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=before_exec(),
            )
        return cls(var_dir, port, process, log_path)

    @property
    def base_url(self) -> str:
        """The public origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The public origin for WebSockets."""
        return f"ws://127.0.0.1:{self.port}"

    def output(self) -> str:
        """Return what supervisor and children wrote, from ``forget_output`` on if it was called."""
        written = self.log_path.read_bytes()[self.forgotten_bytes :]
        return written.decode("utf-8", "replace")

    def forget_output(self) -> None:
        """Let ``output`` begin here."""
        self.forgotten_bytes = self.log_path.stat().st_size

    def wait_ready(self, seconds: float = READY_SECONDS) -> Self:
        """Wait for the ready line."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the supervisor ended:\n{self.output()}")
            return f"ready: {self.base_url}/admin/" in self.output()

        try:
            wait_until(ready, what="the ready line", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()[-6000:]}") from None
        return self

    def pids(self) -> set[int]:
        """Return every process of this instance but the supervisor; remembered in ``seen_pids``."""
        found = descendants(self.process.pid)
        self.seen_pids |= found
        return found

    def find(self, part: str) -> int | None:
        """Return the process id of a direct child, None while it does not run."""
        for pid in self.pids():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            is_direct = int(stat.rpartition(")")[2].split()[1]) == self.process.pid
            if is_direct and PARTS[part] in command_line(pid):
                return pid
        return None

    def pid_of(self, part: str, *, other_than: int | None = None) -> int:
        """Wait for a direct child and return its process id."""
        found: list[int] = []

        def look() -> bool:
            pid = self.find(part)
            if pid is not None and pid != other_than:
                found.append(pid)
            return bool(found)

        wait_until(look, what=f"a process for {part}", seconds=READY_SECONDS)
        return found[0]

    def kill(self, part: str, number: int = signal.SIGKILL) -> int:
        """Signal one part and return the process id it had."""
        pid = self.pid_of(part)
        os.kill(pid, number)
        return pid

    def get(self, path: str, *, seconds: float = 30.0) -> tuple[int, str]:
        """GET a path; return status and body."""
        request = urllib.request.Request(self.base_url + path)  # noqa: S310 - http to ourselves
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310 - as above
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = STOP_SECONDS) -> int:
        """Signal the supervisor, wait for it and return its exit code."""
        self.pids()
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def assert_nothing_left(self, seconds: float = 10.0) -> None:
        """Fail unless every process ever seen is gone."""
        wait_until(
            lambda: not any(alive(pid) for pid in self.seen_pids),
            what=f"no process left of {sorted(self.seen_pids)}",
            seconds=seconds,
        )

    def end(self) -> None:
        """Kill the instance if it still runs."""
        if self.beside is not None:
            self.beside.kill()
            with self.beside:  # closes its pipes
                pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def platforms() -> Iterator[Callable[..., Platform]]:
    """Yield a function that starts instances; all end with the block.

    ``start(name="a", standins=False, port=None, wait=True, fresh=False, **environment)``: two calls
    with one name share a ``VAR_DIR``. ``fresh`` makes it run the migrations itself.
    """
    folder = Path(tempfile.mkdtemp(prefix="vp-"))  # short: sockets live below
    started: list[Platform] = []

    def start(
        name: str = "a",
        *,
        standins: bool = False,
        port: int | None = None,
        wait: bool = True,
        fresh: bool = False,
        **environment: str,
    ) -> Platform:
        if standins:
            environment["STANDINS"] = "1"
        database = folder / name / "db.sqlite3"
        if not (fresh or database.exists() or "DATABASE_URL" in environment):
            database.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(migrated_sqlite(), database)
        platform = Platform.start(folder / name, port=port, **environment)
        started.append(platform)
        return platform.wait_ready() if wait else platform

    try:
        yield start
    finally:
        for platform in started:
            platform.end()
        shutil.rmtree(folder, ignore_errors=True)
