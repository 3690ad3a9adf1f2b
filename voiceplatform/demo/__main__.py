"""``make demo``: a whole instance on embedded parts with stand-ins, three calls, then the admin.

Starts the supervisor, waits until it is ready, tells the story in a process of its own
(``story``), and keeps serving, or stops after the calls when ``ONCE=1``. Owns processes only; what
they do is what production does. Everything dies with this process, however it ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO, Any

from voiceplatform import env, settings
from voiceplatform.supervisor.parent_death import before_exec

READY_SECONDS = 90.0
STOP_SECONDS = 20.0


class Demo:
    """The two processes of a demo."""

    def __init__(self) -> None:
        self.var_dir = settings.VAR_DIR / "demo"
        self.url = f"http://127.0.0.1:{settings.PORT}"
        self.environment = env.child_environment(
            {
                "VAR_DIR": str(self.var_dir),
                "PORT": str(settings.PORT),
                "HOST": "127.0.0.1",
                "PUBLIC_BASE_URL": self.url,
                "STANDINS": "1",
                "DATABASE_URL": "",
                "REDIS_URL": "",
                "DRAIN_SECONDS": "5",
                "EGRESS_ALLOW": "127.0.0.0/8",
            }
        )
        self.platform: subprocess.Popen[str] | None = None
        self.story: subprocess.Popen[bytes] | None = None
        self.ready = threading.Event()
        self._complaints: list[str] = []
        self._stopped_by = 0

    def run(self) -> int:
        """Run the demo and return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        self.var_dir.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        _say(f"starting on {self.url} (everything it owns is in {_shown(self.var_dir)})")
        code = self._start_platform()
        if code is not None:
            return code
        _say(f"the platform is up after {time.monotonic() - begun:.1f} s")
        story = self._tell()
        if self._stopped_by or settings.DEMO_ONCE or story != 0:
            stopped = self._stop_platform()
            return 128 + self._stopped_by if self._stopped_by else story or stopped
        return self._serve()

    def _start_platform(self) -> int | None:
        """Start the supervisor; return an exit code if it did not get ready."""
        self.platform = subprocess.Popen(
            [sys.executable, "-m", "voiceplatform.supervisor"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=before_exec(),
        )
        assert self.platform.stdout is not None
        reader = threading.Thread(
            target=self._read, args=(self.platform.stdout, self.var_dir / "platform.log")
        )
        reader.daemon = True
        reader.start()
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready.wait(0.1):
            if self.platform.poll() is not None:
                if self._stopped_by:
                    return 128 + self._stopped_by
                reader.join(2)
                sys.stderr.write("".join(self._complaints) or "the platform did not start\n")
                return 1
            if time.monotonic() > deadline:
                sys.stderr.write(f"not ready after {READY_SECONDS:.0f} s; see platform.log\n")
                self._stop_platform()
                return 1
        return None

    def _read(self, stream: IO[str], log: Path) -> None:
        with log.open("w", encoding="utf-8") as file:
            for line in stream:
                file.write(line)
                file.flush()
                if self.ready.is_set():
                    continue
                if line.startswith("ready:"):
                    self.ready.set()
                elif not line.startswith("{") and " ready " in line:
                    _say(f"  {line.rstrip()}")
                elif not line.startswith("{"):
                    self._complaints.append(line)

    def _tell(self) -> int:
        self.story = subprocess.Popen(
            [sys.executable, "-m", "voiceplatform.demo.story"],
            env=self.environment,
            start_new_session=True,
            preexec_fn=before_exec(),
        )
        return _ended(self.story)

    def _serve(self) -> int:
        assert self.platform is not None
        password = (self.var_dir / "keys" / "admin_password").read_text().strip()
        _say(f"still serving {self.url}/admin/ - sign in as admin, password {password}")
        _say("Ctrl-C stops everything.")
        code = _ended(self.platform)
        return 0 if self._stopped_by else code

    def _stop_platform(self) -> int:
        if self.platform is None or self.platform.poll() is not None:
            return 0
        self.platform.terminate()
        try:
            return self.platform.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.platform.kill()
            return 1

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Only pass it on: the main flow, which may be waiting right now, does the rest."""
        self._stopped_by = number
        if self.story is not None and self.story.returncode is None:
            self.story.kill()
        if self.platform is not None and self.platform.returncode is None:
            self.platform.terminate()


def _ended(process: subprocess.Popen[Any]) -> int:
    """Wait for a process; unlike ``Popen.wait`` a signal handler may look at it meanwhile."""
    while (code := process.poll()) is None:
        time.sleep(0.1)
    return code


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(Demo().run())
