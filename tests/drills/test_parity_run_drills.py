"""Rehearsals that are cancelled at any call, again and again, say the same as undisturbed ones.

Every call is played by the real runner; what is drawn is when somebody cancels, and how often a
worker dies with a call in its hands.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from calls.models import ParityCall, ParityRun
from calls.parity.played import CallResult
from calls.services import parity_runners
from calls.services.parity_runners import CallLost, Registered
from calls.services.parity_runs import run_begin, run_cancel, run_continue, run_resume
from tests import factories
from tests.drills.conftest import Tell

Count = Callable[[int, int], int]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db]

RUNS = 60
DOCUMENT = {
    "caller": [{"say": "Go.", "expect": ["check_availability"]}, {"hang_up": True}],
    "noise": {"ours": {"omit_percent": 20}, "old": {"extra_percent": 10}},
}


class Disturbed:
    """The usual runner, until a drawn call: then somebody cancels, or the socket breaks."""

    def __init__(self, rng: random.Random) -> None:
        usual = parity_runners.runner_of("rehearsal")
        assert usual is not None
        self.usual, self.rng, self.is_on = usual, rng, True

    def __call__(self, call: ParityCall) -> CallResult:
        drawn = self.rng.random() if self.is_on else 1.0
        if drawn < 0.1 and call.attempts < 3:
            raise CallLost("the socket broke")
        if drawn < 0.3:
            run_cancel(run=call.run, actor=None)
        return self.usual.play(call)


def shown(run: ParityRun) -> Any:
    return run.state, run.done, run.verdict, run.measures, run.figures


def test_a_run_that_was_disturbed_says_the_same(
    monkeypatch: pytest.MonkeyPatch, count: Count, tell: Tell
) -> None:
    monkeypatch.setattr("voiceplatform.base.jobs._BEAT_SECONDS", 0)
    tool = factories.make_tool(name="check_availability", parameters={"type": "object"})
    assistant = factories.make_assistant(tools=[tool])
    cancelled = lost = 0
    runs = count(RUNS, 2)
    for seed in range(runs):
        found = []
        for is_disturbed in (False, True):
            player = Disturbed(random.Random(seed))
            player.is_on = is_disturbed
            monkeypatch.setitem(
                parity_runners._RUNNERS, "rehearsal", Registered(player, player.usual.prepare)
            )
            run = run_begin(
                kind="rehearsal",
                assistant=assistant,
                documents={"a": DOCUMENT, "b": DOCUMENT},
                pairs=6,
                seed=seed,
                parallel=1,
                actor=None,
                tells_workers=False,
            )
            run_continue(run.pk)
            run.refresh_from_db()
            while run.state == ParityRun.State.CANCELLED:
                cancelled += 1
                run_resume(run=run, actor=None, tells_workers=False)
                run_continue(run.pk)
                run.refresh_from_db()
            lost += sum(attempts - 1 for attempts in run.calls.values_list("attempts", flat=True))
            monkeypatch.setitem(parity_runners._RUNNERS, "rehearsal", player.usual)
            found.append(shown(run))
        assert found[0] == found[1], f"seed {seed}"
        assert found[0][:2] == ("done", 6)
    assert cancelled > 0
    tell(
        "parity runs, cancelled and resumed",
        f"{runs} runs of 6 pairs, cancelled {cancelled} times, {lost} calls lost and played again: "
        "each showed what the undisturbed run of its seed showed",
    )
