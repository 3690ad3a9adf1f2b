"""What the bench starts is measured with its children and ends when it is told to."""

from __future__ import annotations

import os
import subprocess

import pytest

from bench import processes
from tests.platform import alive, descendants, wait_until

pytestmark = pytest.mark.integration


def test_a_stopped_process_is_gone_even_if_it_does_not_listen() -> None:
    process = processes.start(
        ["/bin/sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done"],
        core=None,
        output=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    processes.stop(process, seconds=0.05)
    process.stdout.close()
    assert not alive(process.pid)


def test_usage_counts_what_a_process_has_started() -> None:
    # Four megabytes of text: Linux counts pages roughly, and calls a few hundred of them none.
    script = "text=$(head -c 4000000 /dev/zero | tr '\\0' a); (while :; do :; done) & wait"
    process = processes.start(["/bin/sh", "-c", script], core=None, output=subprocess.DEVNULL)
    try:
        wait_until(lambda: processes.usage(process.pid).cpu_seconds > 0.2, what="CPU of the child")
        assert processes.usage(process.pid).media_cpu_seconds == 0
        wait_until(lambda: processes.usage(process.pid).rss_bytes > 2_000_000, what="its memory")
    finally:
        for pid in descendants(process.pid):
            os.kill(pid, 9)
        processes.stop(process)
    assert processes.usage(process.pid) == processes.Usage(0, 0, 0)


def test_a_priority_reaches_the_sessions_that_a_process_has_started() -> None:
    # exec: a process that begins between the two looks would have another priority.
    script = "setsid sh -c 'echo on; exec sleep 30' & wait"
    process = processes.start(["/bin/sh", "-c", script], core=None, output=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        processes.prefer(process.pid, 7)
        below = descendants(process.pid)
        assert below
        for pid in (process.pid, *below):
            assert os.getpriority(os.PRIO_PROCESS, pid) == 7
    finally:
        for pid in descendants(process.pid):
            os.kill(pid, 9)
        processes.stop(process)
        process.stdout.close()


def test_two_cores_are_two_and_one_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 1, 2})
    assert processes.cores() == processes.Cores(1, 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1})
    assert processes.cores() == processes.Cores(None, None)
