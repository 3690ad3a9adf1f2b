"""Back-off, how an end is put into words, and who follows whom when media is replaced."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NoReturn

import pytest

from voiceplatform.supervisor.children import Backoff, Child, reason
from voiceplatform.supervisor.core import Parts, Supervisor
from voiceplatform.supervisor.forking import Forked

pytestmark = pytest.mark.unit


def test_pauses_double_up_to_ten_seconds() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_after(0.5) for _ in range(9)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])


def test_after_a_life_of_five_seconds_callers_do_not_wait_and_pauses_begin_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause_after(4.9)
    assert backoff.pause_after(5.0) == 0.0
    assert backoff.pause_after(6.0) == 0.0
    assert backoff.pause_after(1.0) == pytest.approx(0.1)
    assert backoff.pause_after(1.0) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-63, "killed by signal 63"),
    ],
)
def test_reason(code: int, words: str) -> None:
    assert reason(code) == words


def test_a_machine_out_of_processes_is_asked_again_and_keeps_what_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError("no process to give")

    monkeypatch.setattr("voiceplatform.supervisor.children.subprocess.Popen", refuse)
    child = Child("web", ["true"], {}, Path("/"), reports_ready=True)
    parts = Parts(child, child, child, child, child, child, None, Path("/none"), None)
    supervisor = Supervisor(parts, admin_url="", drain_seconds=0)
    for pause in (0.1, 0.2):
        supervisor._restart(child, now=5.0)
        assert (child.running, child.ready_fd) == (False, None)
        assert child.restart_at == pytest.approx(5.0 + pause)


class Started(Child):
    """A child whose process is only a number; keeps the signals it was sent."""

    def start(self, now: float) -> None:
        self.ready_fd, self.said = os.pipe()
        self.process = Forked(1, returncode=None)
        self.started_at, self.sent = now, list[int]()

    def successor(self) -> Child:
        return Started(self.name, self.command, self.environment, self.folder)

    def signal(self, number: int) -> None:
        self.sent.append(number)

    def signal_group(self, number: int) -> None:
        self.sent.append(number)


def _with_media() -> tuple[Supervisor, Started]:
    media = Started("media", [], {}, Path("/"))
    parts = Parts(media, media, media, media, media, media, None, Path("/none"), None)
    supervisor = Supervisor(parts, admin_url="", drain_seconds=0)
    supervisor._launch(media)
    _is_ready(supervisor, media)
    return supervisor, media


def _is_ready(supervisor: Supervisor, child: Started) -> None:
    os.write(child.said, b"1")
    os.close(child.said)
    supervisor._read_ready(child)


def _dies(supervisor: Supervisor, child: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Started, "reap", lambda self, now: (-9, 7.0) if self is child else None)
    supervisor._bury_and_restart()
    monkeypatch.setattr(Started, "reap", lambda self, now: None)


def test_the_old_media_is_told_to_leave_when_its_successor_listens_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor, old = _with_media()
    supervisor._replace_media()
    supervisor._replace_media()  # one at a time
    _, new = supervisor._children
    assert isinstance(new, Started)
    assert old.sent == []
    _is_ready(supervisor, new)
    assert (old.sent, new.sent) == ([signal.SIGUSR1], [])
    _dies(supervisor, old, monkeypatch)
    assert supervisor._children == [new]
    assert (old.restart_at, new.restart_at) == (None, None)
    _dies(supervisor, new, monkeypatch)
    assert new.restart_at is not None, "it is the one that is kept running"


def test_a_successor_that_dies_before_it_listens_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor, old = _with_media()
    supervisor._replace_media()
    new = supervisor._children[1]
    assert isinstance(new, Started)
    os.close(new.said)  # its end of the pipe, without a word
    supervisor._read_ready(new)
    _dies(supervisor, new, monkeypatch)
    assert (supervisor._children, old.sent, new.restart_at) == ([old], [], None)
    supervisor._replace_media()  # and it can be tried again
    assert len(supervisor._children) == 2
