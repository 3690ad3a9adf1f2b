"""Back-off, and how an end is put into words."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from voiceplatform.supervisor.children import Backoff, Child, reason
from voiceplatform.supervisor.core import Parts, Supervisor

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
    parts = Parts(child, child, child, child, child, None, Path("/none"), None)
    supervisor = Supervisor(parts, admin_url="", drain_seconds=0)
    for pause in (0.1, 0.2):
        supervisor._restart(child, now=5.0)
        assert (child.running, child.ready_fd) == (False, None)
        assert child.restart_at == pytest.approx(5.0 + pause)
