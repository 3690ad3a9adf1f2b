"""What must hold before a number of a plan goes one step further, each gate with its words.

Pure. Owns the facts of a number that a plan looks at and the verdict of every gate. ``wait`` may
pass by itself; ``stop`` wants a person. It must not decide what follows: that is ``plan_step``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from calls.numbers.plan import FULL, Gates, Parity, Plan, Progress, Route, next_percent
from calls.numbers.plan_hours import closed_by

GateName = Literal[
    "incident",
    "policy",
    "readiness",
    "parity",
    "cost",
    "approval",
    "soak",
    "calls",
    "error budget",
    "latency",
    "hours",
]


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What is known of a number now; calls are those that began on our stack since its last step.

    ``readiness`` are the blockers of the readiness page, in words, and ``readiness_waits`` what a
    person has to do there first; ``readiness_note`` says when it looked. ``incident`` is the key of
    an open incident of our stack. ``bad_calls`` are those of which ``guard.has_hurt`` is true.
    ``parity_note`` says e.g. how many more pairs are wanted. ``dearer`` says what is dearer here
    where nobody has accepted it, else ''. None: not measured.
    """

    number_id: str
    route: Route = "vapi"
    canary_percent: int = 0
    is_trunk: bool = False
    policy_reviewed: bool = False
    readiness: tuple[str, ...] = ()
    readiness_waits: tuple[str, ...] = ()
    readiness_note: str = ""
    incident: str = ""
    parity: Parity = "undecided"
    parity_note: str = ""
    dearer: str = ""
    calls: int = 0
    bad_calls: int = 0
    first_word_p95_ms: int | None = None
    turn_p95_ms: int | None = None

    @property
    def percent(self) -> int:
        """Return the share of calls that our stack has."""
        return {"vapi": 0, "paused": 0, "canary": self.canary_percent, "direct": FULL}[self.route]


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: ``pass``, ``wait`` or ``stop``, why, and the figures it was judged by."""

    name: GateName
    verdict: Literal["pass", "wait", "stop"]
    words: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Tell whether it lets the number through."""
        return self.verdict == "pass"


def gates_of(
    plan: Plan, progress: Progress, facts: NumberFacts, now: dt.datetime
) -> tuple[Gate, ...]:
    """Return every gate before the number's next step, or before its arrival at 100%.

    What stands for itself comes first. An arrival moves no call, so the clock, the policy, parity,
    cost and approvals are not asked again.
    """
    step = next_percent(plan, facts.percent, is_trunk=facts.is_trunk)
    found = [_incident(facts)]
    if step is not None:
        found += [
            _policy(facts),
            _readiness(facts),
            _parity(plan.gates, facts),
            _cost(facts),
            _approval(plan, progress, facts, step),
        ]
    if progress.since is not None and facts.percent > 0:
        found += [
            _soak(plan.gates, progress.since, now),
            _calls(plan.gates, facts),
            _budget(plan.gates, facts),
            _latency(plan.gates, facts),
        ]
    if step is not None:
        why = closed_by(plan, now)
        found.append(Gate("hours", "wait" if why else "pass", why or "something may move now"))
    return tuple(found)


def _incident(facts: NumberFacts) -> Gate:
    if facts.incident:
        evidence = {"incident": facts.incident}
        words = "an incident is open. Fix: find its cause and close it on the number's page"
        return Gate("incident", "stop", words, evidence)
    return Gate("incident", "pass", "no incident is open")


def _policy(facts: NumberFacts) -> Gate:
    if facts.policy_reviewed:
        return Gate("policy", "pass", "the call policy has been reviewed")
    words = "the call policy has not been reviewed. Fix: review it on the number's page"
    return Gate("policy", "stop", words)


def _readiness(facts: NumberFacts) -> Gate:
    blockers = list(facts.readiness)
    if facts.route == "paused":
        blockers.append("the number is paused. Fix: set its route on the number's page")
    evidence = {"note": facts.readiness_note}
    if blockers:
        return Gate("readiness", "stop", "; ".join(blockers), {**evidence, "blockers": blockers})
    if facts.readiness_waits:
        waits = list(facts.readiness_waits)
        return Gate("readiness", "stop", "; ".join(waits), {**evidence, "waits": waits})
    note = f" ({facts.readiness_note})" if facts.readiness_note else ""
    return Gate("readiness", "pass", f"nothing blocks the number{note}", evidence)


def _parity(gates: Gates, facts: NumberFacts) -> Gate:
    evidence = {"parity": facts.parity, "note": facts.parity_note}
    note = f" ({facts.parity_note})" if facts.parity_note else ""
    if gates.parity == "not asked":
        return Gate("parity", "pass", "parity is not asked for by this plan", evidence)
    if facts.parity == "fail":
        words = f"parity has failed{note}. Fix: look at the pairs that differ, or skip the number"
        return Gate("parity", "stop", words, evidence)
    if facts.parity == "pass" or gates.parity == "undecided is enough":
        return Gate("parity", "pass", f"parity: {facts.parity}{note}", evidence)
    return Gate("parity", "wait", f"parity is undecided{note}", evidence)


def _cost(facts: NumberFacts) -> Gate:
    if facts.dearer:
        words = (
            f"{facts.dearer}, and nobody has accepted that. Fix: accept it on the page “Cost "
            "forecasts”, or skip the number"
        )
        return Gate("cost", "stop", words, {"dearer": facts.dearer})
    return Gate("cost", "pass", "no forecast says dearer, or it has been accepted")


def _approval(plan: Plan, progress: Progress, facts: NumberFacts, step: int) -> Gate:
    rule = plan.gates.approval
    is_wanted = rule == "every step" or (rule == "first step" and facts.percent == 0)
    if not is_wanted:
        return Gate("approval", "pass", "no approval is wanted")
    if step in progress.approved:
        return Gate("approval", "pass", f"{step}% has been approved", {"percent": step})
    words = f"{step}% has not been approved. Fix: approve it on the plan's page"
    return Gate("approval", "wait", words, {"percent": step})


def _soak(gates: Gates, since: dt.datetime, now: dt.datetime) -> Gate:
    waited = now - since
    evidence = {
        "seconds": int(waited.total_seconds()),
        "wanted_seconds": int(gates.soak.total_seconds()),
    }
    if waited >= gates.soak:
        return Gate("soak", "pass", "the last step has stood long enough", evidence)
    return Gate("soak", "wait", f"the last step has to stand for {gates.soak}", evidence)


def _calls(gates: Gates, facts: NumberFacts) -> Gate:
    words = f"{facts.calls} of {gates.least_calls} calls since the last step"
    verdict: Literal["pass", "wait"] = "pass" if facts.calls >= gates.least_calls else "wait"
    return Gate("calls", verdict, words, {"calls": facts.calls, "wanted": gates.least_calls})


def _budget(gates: Gates, facts: NumberFacts) -> Gate:
    allowed = max(gates.budget_least, int(gates.budget_share * facts.calls + 1e-9))
    evidence = {"calls": facts.calls, "bad_calls": facts.bad_calls, "allowed": allowed}
    words = f"{facts.bad_calls} bad calls of {facts.calls}, {allowed} allowed"
    if facts.bad_calls <= allowed:
        return Gate("error budget", "pass", words, evidence)
    words += ". Fix: look at them on the number's page; good calls make up for them"
    return Gate("error budget", "stop", words, evidence)


def _latency(gates: Gates, facts: NumberFacts) -> Gate:
    evidence = {
        "first_word_p95_ms": facts.first_word_p95_ms,
        "first_word_limit_ms": gates.first_word_p95_ms,
        "turn_p95_ms": facts.turn_p95_ms,
        "turn_limit_ms": gates.turn_p95_ms,
    }
    for what, value, limit in (
        ("the first word", facts.first_word_p95_ms, gates.first_word_p95_ms),
        ("answers", facts.turn_p95_ms, gates.turn_p95_ms),
    ):
        if value is not None and value > limit:
            words = f"P95 of {what} is {value} ms, the limit {limit} ms. Fix: see the slow calls"
            return Gate("latency", "stop", words, evidence)
    if facts.calls and facts.first_word_p95_ms is None:
        return Gate("latency", "wait", "latency has not been measured yet", evidence)
    return Gate("latency", "pass", "latency is within its limits", evidence)
