"""Which kinds of runs this installation plays: the one list, read when an application is ready.

Owns the registration. Runners are fetched when their first run is played: a rehearsal brings both
stand-ins along, which no start should wait for.
"""

from __future__ import annotations

from decimal import Decimal

from calls.models import ParityCall, ParityRun
from calls.services.parity_runners import CallRefused, CallResult, register_runner

_LIVE_ALONE = "calls are heard along when they come, and cannot be played. Fix: wait for them."


def kinds_register() -> None:
    """Register every runner."""
    register_runner("rehearsal", _rehearsal_play, prepare=_rehearsal_prepare)
    register_runner("replay", _replay_play, prepare=_replay_prepare)
    register_runner("rehear", _rehear_play, prepare=_replay_prepare)
    register_runner("shadow", _shadow_play, prepare=_shadow_prepare)
    register_runner("live", _live_play, prepare=_live_prepare, estimate=_live_estimate)


def _rehearsal_play(call: ParityCall) -> CallResult:
    from calls.services.parity_rehearsals import rehearsal_play

    return rehearsal_play(call)


def _rehearsal_prepare(run: ParityRun) -> None:
    from calls.services.parity_rehearsals import rehearsal_prepare

    rehearsal_prepare(run)


def _replay_play(call: ParityCall) -> CallResult:
    from calls.services.replay_runs import replay_play

    return replay_play(call)


def _rehear_play(call: ParityCall) -> CallResult:
    from calls.services.replay_runs import rehear_play

    return rehear_play(call)


def _replay_prepare(run: ParityRun) -> None:
    from calls.services.replay_runs import replay_prepare

    replay_prepare(run)


def _shadow_play(call: ParityCall) -> CallResult:
    raise CallRefused(_LIVE_ALONE)


def _shadow_prepare(run: ParityRun) -> None:
    raise CallRefused(_LIVE_ALONE)


def _live_play(call: ParityCall) -> CallResult:
    from calls.services.live_runs import live_play

    return live_play(call)


def _live_prepare(run: ParityRun) -> None:
    from calls.services.live_runs import live_prepare

    live_prepare(run)


def _live_estimate(call: ParityCall) -> Decimal:
    from calls.services.live_costs import place_estimate

    return place_estimate(call)
