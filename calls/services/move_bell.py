"""Tells a worker that a move has something to do; the beat asks too, every few seconds.

It must not know what a move is.
"""

from __future__ import annotations

from typing import Final

from voiceplatform.base.job_bell import Doorbell, task_tell

TASK: Final = "calls.tasks.continue_moves"
# One turn asks Twilio a few times for each of some numbers.
SOFT_LIMIT_SECONDS: Final = 10 * 60

_doorbell = Doorbell("moves-poke")


def poke() -> None:
    """Ask a worker to look now, from a thread; belongs behind the commit."""
    _doorbell.press(_ring)


def _ring() -> None:
    task_tell(TASK)
