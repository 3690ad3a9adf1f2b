"""Rows of cost forecasts and of proposed instructions."""

from __future__ import annotations

from typing import Any

from assistants.models import Assistant
from calls.models import CostForecast, GuardrailProposal, ParityRun
from tests.factories.assistants import make_assistant
from tests.factories.parity import make_run


def make_forecast(assistant: Assistant | None = None, **columns: Any) -> CostForecast:
    """Make a forecast of a hundred calls that says "cheaper"."""
    assistant = assistant or make_assistant()
    defaults: dict[str, Any] = {
        "revision": assistant.current_revision,
        "model": "gpt-realtime-2.1",
        "calls": 100,
        "minutes": 250.0,
        "low_usd": 0.06,
        "middle_usd": 0.07,
        "high_usd": 0.08,
        "old_low_usd": 0.1,
        "old_middle_usd": 0.11,
        "old_high_usd": 0.12,
        "verdict": "cheaper",
    }
    return CostForecast.objects.create(
        assistant=assistant, organisation=assistant.organisation, **{**defaults, **columns}
    )


def make_guardrail(run: ParityRun | None = None, **columns: Any) -> GuardrailProposal:
    """Make a proposal that nobody has decided on."""
    run = run or make_run()
    defaults: dict[str, Any] = {
        "pattern": f"omitted check before book {run.guardrails.count()}",
        "kind": "omitted",
        "tool": "check",
        "seen": 4,
        "looked_at": 30,
        "instruction": "Always call check before you call book.",
        "seed": 7,
    }
    return GuardrailProposal.objects.create(
        run=run, assistant=run.assistant, organisation=run.organisation, **{**defaults, **columns}
    )
