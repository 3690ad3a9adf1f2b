"""A parity run for ``make demo``: the example scenarios, stored and rehearsed on both stacks.

It uses what the admin uses, and the worker plays. What a rehearsal can tell: docs/parity-runs.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from assistants.models import Assistant
from calls.models import ParityRun, ParityScenario
from calls.models.parity import OPEN_STATES
from calls.services.parity_exports import report_text
from calls.services.parity_reports import report_of
from calls.services.parity_runs import run_begin, scenarios_in_use
from calls.services.parity_scenarios import scenario_of_yaml, scenario_write

SCENARIOS: Final = Path(__file__).resolve().parents[2] / "examples" / "scenarios"
PAIRS: Final = 24
PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2


def rehearse(assistant: Assistant, tell: Callable[[str], None]) -> ParityRun:
    """Play the example scenarios on both stacks; tell the verdict, and where the report is.

    The seed is always the same, so every demo shows the same report.
    """
    have = set(ParityScenario.objects.filter(assistant=assistant).values_list("name", flat=True))
    for path in sorted(SCENARIOS.glob("*.yaml")):
        scenario = scenario_of_yaml(path.read_text(encoding="utf-8"), path.stem)
        if scenario.name not in have:
            scenario_write(assistant=assistant, scenario=scenario, actor=None)
    run = run_begin(
        kind=ParityRun.Kind.REHEARSAL,
        assistant=assistant,
        scenarios=scenarios_in_use(assistant),
        pairs=PAIRS,
        seed=1,
        actor=None,
    )
    until = time.monotonic() + PATIENCE_SECONDS
    while run.state in OPEN_STATES and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        run.refresh_from_db()
    if run.state in OPEN_STATES:
        tell(f"{run.done} of {run.wanted} pairs are played; the rest follows")
    else:
        for line in report_text(report_of(run, with_words=False)).splitlines():
            tell(line)
    return run
