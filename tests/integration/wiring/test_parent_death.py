"""A child dies with its parent, also when the parent is gone before the child asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.platform import ROOT, alive, wait_until

pytestmark = pytest.mark.integration

PARENT = """
import subprocess, sys
from voiceplatform.supervisor.parent_death import before_exec
child = subprocess.Popen(["sleep", "60"], preexec_fn=before_exec())
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_the_child_of_a_killed_parent_is_gone() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        wait_until(lambda: not alive(child), what="the child to be gone", seconds=5)


def test_a_parent_that_is_gone_already_ends_the_child_at_once() -> None:
    code = (
        "from voiceplatform.supervisor.parent_death import die_with_parent;"
        "die_with_parent(1 << 22); print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == b""
