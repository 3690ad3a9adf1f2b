"""What is wrong with a route's settings: each finding with its field, and none invented."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.hours import hours_stored
from calls.numbers.route_problems import RouteSettings, route_problems
from calls.numbers.schedule import Schedule

pytestmark = pytest.mark.unit

GOOD = RouteSettings("canary", canary_percent=10)
WEEK = hours_stored({"mon": "09:00-17:00"})


def found(**changes: Any) -> list[tuple[str, str]]:
    return [(p.field, p.weight) for p in route_problems(replace(GOOD, **changes))]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"route": "vapi"},
        {"route": "direct"},
        {"route": "paused"},
        {"route": "paused", "policy_reviewed": False, "blocked": "it is Vapi's own"},
        {"route": "vapi", "policy_reviewed": False, "blocked": "it is Vapi's own"},
        {"route": "direct", "has_previous_url": False},
        {"kind": "trunk", "route": "direct"},
        {"kind": "trunk", "route": "vapi", "has_previous_url": False},
        {"kind": "app"},
        {"schedule": Schedule("Europe/Berlin", WEEK)},
        {"route": "direct", "webhook_ms": 5_000},
        {"webhook_ms": 5_000},  # a canary has a net, so the attempt is short
        {"route": "vapi", "qualified": True, "webhook_ms": 5_000},
        {"old_fixed": False},
    ],
)
def test_nothing_is_invented(changes: dict[str, Any]) -> None:
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("changes", "field", "weight"),
    [
        ({"route": "odd"}, "route", "error"),
        ({"blocked": "it is Vapi's own"}, "route", "error"),
        ({"policy_reviewed": False}, "policy", "error"),
        ({"kind": "trunk"}, "route", "error"),
        ({"kind": "trunk", "has_previous_url": False}, "route", "error"),
        ({"has_previous_url": False}, "previous_voice_url", "error"),
        ({"route": "vapi", "has_previous_url": False}, "previous_voice_url", "warning"),
        ({"canary_percent": 101}, "canary_percent", "error"),
        ({"canary_percent": -1}, "canary_percent", "error"),
        ({"canary_percent": 0}, "canary_percent", "warning"),
        ({"canary_percent": 100}, "canary_percent", "warning"),
        ({"schedule": Schedule("Mars/Olympus", WEEK)}, "zone", "error"),
        ({"schedule": Schedule("UTC", hours_stored({}))}, "windows", "warning"),
        ({"schedule": Schedule("UTC", WEEK, "canary")}, "outside", "warning"),
        ({"route": "paused", "schedule": Schedule("UTC", WEEK)}, "route", "warning"),
        ({"patience_ms": 0}, "patience_ms", "error"),
        ({"patience_ms": 15_001}, "patience_ms", "error"),
        ({"patience_ms": 10_000}, "patience_ms", "warning"),
        ({"route": "vapi", "webhook_ms": 4_500}, "webhook_ms", "warning"),
        ({"old_fixed": False, "webhook_ms": 5_500}, "webhook_ms", "warning"),
    ],
)
def test_each_setting_that_is_wrong_is_found_alone(
    changes: dict[str, Any], field: str, weight: str
) -> None:
    assert found(**changes) == [(field, weight)]


def test_a_route_that_holds_outside_the_windows_has_the_same_rules() -> None:
    plan = Schedule("UTC", WEEK, "direct")
    assert found(route="vapi", schedule=plan, policy_reviewed=False) == [("policy", "error")]
    # A paused number takes no call at any time.
    paused = found(route="paused", schedule=plan, policy_reviewed=False)
    assert paused == [("route", "warning")]


def test_errors_come_first_and_every_finding_says_cause_and_fix() -> None:
    worst = replace(
        GOOD,
        canary_percent=0,
        policy_reviewed=False,
        blocked="it is Vapi's own",
        has_previous_url=False,
        schedule=Schedule("Mars/" + "x" * 300, hours_stored({}), "canary"),
        old_fixed=False,
        patience_ms=0,
        webhook_ms=1_000,
    )
    problems = route_problems(worst)
    weights = [problem.weight for problem in problems]
    assert weights == sorted(weights)  # "error" < "warning"
    assert len(problems) >= 8
    for problem in problems:
        assert problem.cause.endswith(".")
        assert problem.fix.endswith(".")
        assert len(problem.cause) < 250
