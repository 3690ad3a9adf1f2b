"""``make demo``: a whole instance on embedded parts with stand-ins, three calls, then the admin.

Starts the supervisor, waits until it is ready, tells the story in a process of its own
(``story``), and keeps serving, or stops after the calls when ``ONCE=1``. Owns processes only; what
they do is what production does. Everything dies with this process, however it ends.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

from voiceplatform import env, settings
from voiceplatform.supervisor.parent_death import before_exec

READY_SECONDS = 90.0
STOP_SECONDS = 20.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StopRequested(Exception):
    """A signal asked for the end; ``args[0]`` is its number."""


class Demo:
    """The two processes of a demo."""

    def __init__(self) -> None:
        self.var_dir = settings.VAR_DIR / "demo"
        self.url = f"http://127.0.0.1:{settings.PORT}"
        self.environment = env.child_environment(
            {
                # Whatever project the person's shell was set up for before.
                "DJANGO_SETTINGS_MODULE": "voiceplatform.settings",
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
        self._serving = False
        self._complaints: list[str] = []

    def run(self) -> int:
        """Run the demo and return the exit code."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._told)
        try:
            try:
                code = self._run()
            finally:
                stopped = self._end()
        except _StopRequested as request:
            return 0 if self._serving else 128 + int(request.args[0])
        return code or stopped

    def _run(self) -> int:
        self.var_dir.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        _say(f"starting on {self.url} (everything it owns is in {_shown(self.var_dir)})")
        if not self._start_platform():
            return 1
        _say(f"the platform is up after {time.monotonic() - begun:.1f} s")
        story = self._tell()
        if settings.DEMO_ONCE or story != 0:
            return story
        return self._serve()

    def _start_platform(self) -> bool:
        """Start the supervisor and wait; tell whether it got ready, having said why not."""
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
                reader.join(2)
                said = "".join(self._complaints) or "the platform did not start\n"
                # The supervisor's advice names the command that people start it with.
                sys.stderr.write(said.replace("make serve", "make demo"))
                return False
            if time.monotonic() > deadline:
                sys.stderr.write(f"not ready after {READY_SECONDS:.0f} s; see platform.log\n")
                return False
        return True

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
        return self.story.wait()

    def _serve(self) -> int:
        assert self.platform is not None
        self._serving = True
        password = self.var_dir / "keys" / "admin_password"
        _say(f"still serving {self.url}/admin/ - sign in as admin, password {password.read_text()}")
        _say("Ctrl-C stops everything.")
        return self.platform.wait()

    def _end(self) -> int:
        """End both processes in order; return 1 if the platform had to be killed."""
        if self.story is not None and self.story.poll() is None:
            self.story.kill()
            self.story.wait()
        if self.platform is None or self.platform.poll() is not None:
            return 0
        self.platform.terminate()
        try:
            self.platform.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.platform.kill()
            return 1
        return 0

    def _told(self, number: int, frame: FrameType | None) -> None:
        # It leaves what waits for a process, because `Popen` cannot be waited for twice at a time.
        # A second signal ends this process at once, and the kernel ends the others with it.
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise _StopRequested(number)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    """Print one line for a person; a reader who left is no reason to end."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(Demo().run())
