"""Runs of parity: begun, carried on by any worker, cancelled, resumed, measured.

Owns the rows of runs and of their calls, and the leases under which calls are played: who lost
one writes nothing more. Which calls a run has is decided when it begins, by its seed alone. A call
that is over is kept, whatever becomes of the run. How a call is played is a runner's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from assistants.models import Assistant, AssistantRevision
from calls.models import Call, ParityRun, ParityScenario, PhoneNumber


class RunRefused(Exception):
    """The run cannot be begun, cancelled or resumed; the message names the cause and the fix."""


def run_begin(
    *,
    kind: str,
    assistant: Assistant,
    actor: Any,
    revision: AssistantRevision | None = None,
    number: PhoneNumber | None = None,
    scenarios: Sequence[ParityScenario] = (),
    calls: Sequence[Call] = (),
    pairs: int = 50,
    seed: int | None = None,
    parallel: int = 20,
    model: str = "",
    stops_early: bool = False,
    again: bool = False,
    cost_limit_usd: Decimal = Decimal(5),
    options: Mapping[str, Any] | None = None,
) -> ParityRun:
    """Write a run with its calls and queue it.

    Args:
        revision: what answers on our stack; by default the assistant's current one.
        scenarios: of rehearsals and live runs, dealt in an order that ``seed`` decides until there
            are ``pairs``.
        calls: past calls of replay and re-hear; each makes one pair, at most ``pairs``.
        again: also play the old stack a second time, for what it differs from itself.

    Raises:
        RunRefused: nothing to play, nobody who plays this kind, or values out of range.
    """
    raise NotImplementedError


def run_continue(run_id: uuid.UUID | str) -> None:
    """Play what is left of a run; harmless when another worker does or it has ended."""
    raise NotImplementedError


def run_cancel(*, run: ParityRun, actor: Any) -> bool:
    """Stop a run after the calls at hand; what was played is kept. False: it had ended."""
    raise NotImplementedError


def run_resume(*, run: ParityRun, actor: Any) -> None:
    """Queue a cancelled or failed run again: what it still lacks is played, nothing twice.

    Raises:
        RunRefused: it is not one of these, or is under way.
    """
    raise NotImplementedError
