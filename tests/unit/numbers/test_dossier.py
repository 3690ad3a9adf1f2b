"""A dossier deals calls to the steps of the way and says what it does not know."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from calls.numbers.dossier import (
    Approval,
    Change,
    DossierCall,
    DossierFacts,
    NetPart,
    OldRate,
    ToolLine,
    compose,
)
from calls.numbers.guard import EndedCall, Stack

pytestmark = pytest.mark.unit

START = dt.datetime(2026, 11, 2, 9, tzinfo=dt.UTC)


def after(hours: float) -> dt.datetime:
    return START + dt.timedelta(hours=hours)


def call(
    hours: float, stack: Stack = "direct", *, is_bad: bool = False, **more: Any
) -> DossierCall:
    reason = "pipeline-error-openai-llm-failed" if is_bad else "customer-ended-call"
    return DossierCall(
        EndedCall(
            call_id=f"{stack}-{hours}",
            number_id="n",
            stack=stack,
            begun_at=after(hours),
            ended_at=after(hours) + dt.timedelta(minutes=2),
            ended_reason=reason,
            duration_seconds=120,
            **more,
        ),
        Decimal("0.06") if stack == "direct" else Decimal(0),
    )


CHANGES = (
    Change(after(1), "plan", "vapi", "canary 5%", "plan:1", "step ordered"),
    Change(after(2), "route", "canary 5%", "direct", "user:ada", "it went well"),
)
FACTS = DossierFacts(
    number_id="n",
    number="+14155550100",
    name="Reception",
    organisation="Acme",
    route="direct",
    made_at=after(9),
    changes=CHANGES,
)


def test_a_call_belongs_to_the_route_under_which_it_began() -> None:
    calls = (call(0, "vapi"), call(1), call(1.5, "vapi"), call(1.99, is_bad=True), call(2), call(3))
    steps = compose(replace(FACTS, calls=calls)).steps
    assert [step.route for step in steps] == ["vapi", "canary 5%", "direct"]
    found = [{each.stack: (each.calls, each.bad_calls) for each in s.figures} for s in steps]
    assert found == [
        {"vapi": (1, 0)},
        {"direct": (2, 1), "vapi": (1, 0)},
        {"direct": (2, 0)},
    ]
    assert (steps[0].since, steps[0].until, steps[2].until) == (None, after(1), None)
    assert (steps[2].who, steps[2].why) == ("user:ada", "it went well")


def test_no_change_is_one_step_of_the_route_there_is() -> None:
    steps = compose(replace(FACTS, changes=(), calls=(call(1),))).steps
    assert [(step.route, step.figures[0].calls) for step in steps] == [("direct", 1)]


def test_figures_carry_exact_bounds_and_latency_of_those_that_were_measured() -> None:
    calls = [call(3 + n, first_word_ms=500 + n) for n in range(9)] + [call(20, is_bad=True)]
    figures = compose(replace(FACTS, calls=calls)).steps[-1].figures[0]
    assert (figures.calls, figures.bad_calls) == (10, 1)
    assert (figures.bad_low, figures.bad_high) == pytest.approx((0.00253, 0.44502), abs=6e-6)
    assert figures.first_word_p95_ms == 508
    assert figures.turn_p95_ms is None


def test_what_a_plan_holds_a_number_for_stands_in_its_dossier() -> None:
    words = "by the forecast of 2026-11-20 a minute is dearer here, and nobody has accepted it"
    dossier = compose(replace(FACTS, cost_words=words, is_dearer=True))
    assert dossier.as_json()["costGate"] == {"isOpen": False, "words": words}
    assert any("nobody has accepted it" in gap for gap in dossier.gaps)
    assert any(line.startswith("By the forecast of 2026-11-20") for line in dossier.cost.words)
    assert not any("dearer" in gap for gap in compose(FACTS).gaps)


def test_cost_compares_a_minute_with_a_minute_and_says_what_is_estimated() -> None:
    calls = (call(0, "vapi"), call(3), call(4))
    rate = OldRate(Decimal("0.13"), "entered", "invoice of October")
    cost = compose(replace(FACTS, calls=calls, old_rate=rate)).cost
    assert (cost.ours_usd, cost.ours_minutes, cost.ours_per_minute) == (
        Decimal("0.1200"),
        4.0,
        Decimal("0.0300"),
    )
    assert (cost.old_usd, cost.old_minutes) == (Decimal("0.2600"), 2.0)
    assert "estimate: entered (invoice of October)" in " ".join(cost.words)
    measured = replace(rate, is_measured=True, source="measured on 9 calls")
    assert "is measured" in " ".join(compose(replace(FACTS, old_rate=measured)).cost.words)


def test_unknown_rate_is_no_zero() -> None:
    cost = compose(replace(FACTS, calls=(call(0, "vapi"),))).cost
    assert (cost.old_usd, cost.old_per_minute, cost.ours_per_minute) == (None, None, None)
    assert "is not known" in " ".join(cost.words)


def test_gaps_name_what_is_missing_and_nothing_that_is_there() -> None:
    gaps = " ".join(compose(replace(FACTS, tools=(ToolLine("book", "unknown"),))).gaps)
    for words in ("undecided: no source yet", "Readiness has not", "approval", "book"):
        assert words in gaps
    whole = replace(
        FACTS,
        parity="pass",
        approvals=(Approval(after(1), "user:ada", "5%", "good"),),
        tools=(ToolLine("book", "ok", after(0)),),
        net=(NetPart("ringing", "armed", after(0)),),
    )
    assert compose(whole).gaps == ("Readiness has not been looked at.",)


def test_drill_is_no_firing_in_earnest() -> None:
    part = NetPart("ringing", "armed", last_drill_at=after(1))
    assert "never fired in earnest: ringing" in " ".join(compose(replace(FACTS, net=(part,))).gaps)


def test_json_is_plain_and_says_the_same() -> None:
    dossier = compose(replace(FACTS, calls=(call(0, "vapi"), call(3))))
    read = json.loads(json.dumps(dossier.as_json()))
    assert read["number"]["number"] == "+14155550100"
    assert read["parity"] == {"verdict": "undecided", "words": "no source yet"}
    assert [step["route"] for step in read["steps"]] == ["vapi", "canary 5%", "direct"]
    assert read["steps"][2]["figures"][0]["badHigh"] == pytest.approx(0.975)
    assert read["cost"]["oursUsd"] == "0.0600"
    assert read["gaps"] == list(dossier.gaps)
