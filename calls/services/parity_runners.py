"""Who plays the calls of a run: one runner for each kind of run, and what it gives back.

Owns the registry and the words between a run and its runners. It must not play anything itself:
``parity_runs`` deals the calls, a runner plays one on one stack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from calls.models import ParityCall, ParityRun
from calls.parity.played import CallLatency, CallResult, Utterance

__all__ = [
    "CallLatency",
    "CallHalted",
    "CallLost",
    "CallRefused",
    "CallResult",
    "CallStopped",
    "Registered",
    "Utterance",
    "kinds_played",
    "register_runner",
    "runner_of",
]


class CallRefused(Exception):
    """This call cannot be played, now or later; the message names the cause and the fix.

    ``cost_usd``: what was spent all the same; it counts towards the run's limit.
    """

    def __init__(self, words: str, *, cost_usd: Decimal = Decimal(0)) -> None:
        super().__init__(words)
        self.cost_usd = cost_usd


class CallLost(Exception):
    """Something in between failed, such as a socket; the call is played again, three times.

    ``cost_usd``: what was spent until then; it counts towards the run's limit.
    """

    def __init__(self, words: str, *, cost_usd: Decimal = Decimal(0)) -> None:
        super().__init__(words)
        self.cost_usd = cost_usd


class CallStopped(CallLost):
    """It was cut off, or not begun, because the run was cancelled: no try that counts."""


class CallHalted(CallStopped):
    """It was not begun because no call of the run may be now; the message names cause and fix.

    The run ends there, with that reason, and goes on when somebody resumes it.
    """


# Plays the call that is named, on the stack that is named, and may take minutes. It runs in a
# thread of its own, up to ``ParityRun.parallel`` at once, and may use the database. Raises
# CallRefused or CallLost; what else it raises is a defect that loses this pair alone.
Runner = Callable[[ParityCall], CallResult]
# Looks at a run before its first call, in the worker's own thread, each time a worker takes it;
# raises CallRefused where the whole run cannot be played.
Preparation = Callable[[ParityRun], None]
# Says in USD what a call will cost that is about to begin, rather too much than too little.
Estimate = Callable[[ParityCall], Decimal]


@dataclass(frozen=True, slots=True)
class Registered:
    """A runner with what it needs before its first call."""

    play: Runner
    prepare: Preparation = field(default=lambda run: None)
    estimate: Estimate = field(default=lambda call: Decimal(0))


_RUNNERS: Final[dict[str, Registered]] = {}


def register_runner(
    kind: str,
    runner: Runner,
    *,
    prepare: Preparation | None = None,
    estimate: Estimate | None = None,
) -> None:
    """Have ``runner`` play the calls of runs of ``kind``; belongs into ``AppConfig.ready``.

    Args:
        estimate: reserves so much of the run's money for each call that is on.
    """
    usual = Registered(runner)
    _RUNNERS[kind] = Registered(runner, prepare or usual.prepare, estimate or usual.estimate)


def runner_of(kind: str) -> Registered | None:
    """Return who plays runs of ``kind``, None where nobody does."""
    return _RUNNERS.get(kind)


def kinds_played() -> tuple[str, ...]:
    """Return the kinds of runs that can be begun here."""
    return tuple(kind for kind in ParityRun.Kind.values if kind in _RUNNERS)
