"""A part forked from the supervisor is like a process of its own (ADR 0019)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform import alive, clean_environment, wait_until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[3]

# Stands for the supervisor: handlers, wake-up pipe, lock, two sockets of which one is handed on.
PARENT = """
import os, signal, socket, sys
from voiceplatform.supervisor.forking import Entry, fork
wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, lambda *_: None)
signal.set_wakeup_fd(wake_write)
lock = open(sys.argv[1], "w")
kept, other = socket.socketpair()
assert kept.fileno() > 2
part = fork(
    Entry("tests.integration.wiring.forked_part"), name="part",
    arguments=sys.argv[2:], keep=[kept.fileno()],
)
sys.stdout.write(f"{part.pid} {kept.fileno()}\\n")
sys.stdout.flush()
code = part.wait()
sys.stdout.write(f"{code} {part.poll()}\\n")
"""


def parent(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "lock"), *arguments],
        cwd=ROOT,
        env=clean_environment(MARKER="kept", SPT_NOENV="1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(tmp_path: Path, *arguments: str) -> tuple[list[str], str]:
    out, err = parent(tmp_path, *arguments).communicate(timeout=30)
    return out.splitlines(), err


def test_it_keeps_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    lines, err = told(tmp_path, "tell", "--fd", "7")
    assert err == ""
    (facts,) = (json.loads(line) for line in lines if line.startswith("{"))
    (kept,) = (int(line.split()[1]) for line in lines if line[0].isdigit() and line != "0 0")
    assert facts == {
        "argv": ["part", "tell", "--fd", "7"],
        "descriptors": [0, 1, 2, kept],
        "input": "/dev/null",
        "leads_session": True,
        "default_signals": True,
        "wakeup_fd": -1,
        "blocked": 0,
        "title": "voiceplatform: part",
        "environment_kept": True,
    }
    assert "0 0" in lines


def test_an_exception_is_told_and_is_exit_code_1(tmp_path: Path) -> None:
    lines, err = told(tmp_path, "fail")
    assert "1 1" in lines
    assert "RuntimeError: a part that fails" in err


def test_its_exit_code_is_the_parts_own_and_its_exit_handlers_run(tmp_path: Path) -> None:
    lines, _ = told(tmp_path, "exit", "3")
    assert "3 3" in lines
    assert lines.count("said good-bye") == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_and_is_its_exit_code(tmp_path: Path, number: signal.Signals) -> None:
    with parent(tmp_path, "wait") as process:
        assert process.stdout is not None
        os.kill(int(process.stdout.readline().split()[0]), number)
        assert process.stdout.read().split() == [str(-number)] * 2


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    with parent(tmp_path, "wait") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[0])
        process.kill()
        wait_until(lambda: not alive(pid), what="the end of the part")


def test_loading_everything_starts_no_thread_and_opens_nothing(tmp_path: Path) -> None:
    """A fork copies one thread only; what another held locked would stay locked for ever."""
    source = (
        "import os\n"
        "from voiceplatform.supervisor import forking\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "forking.load_models(); forking.load_parts()\n"
        "from django.conf import settings\n"
        "print(settings.SETTINGS_MODULE)\n"
        "print(len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd')) - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=clean_environment(VAR_DIR=str(tmp_path), DJANGO_SETTINGS_MODULE="tests.settings"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["voiceplatform.settings", "1", "0"]
