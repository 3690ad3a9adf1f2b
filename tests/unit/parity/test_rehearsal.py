"""Our stack in a rehearsal is the real bridge: what the assistant lacks shows there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.plan import CallPlan, Limits
from calls.parity.dealing import chance
from calls.parity.played import CallResult
from calls.parity.rehearsal import rehearse
from calls.parity.scenario_reading import scenario_read
from tests.virtual_call import plan_of

pytestmark = pytest.mark.unit

BOOKING: dict[str, Any] = {
    "name": "booking",
    "caller": [
        {
            "say": "I would like to book a cleaning on Friday.",
            "expect": [{"tool": "check", "arguments": {"date": "2026-11-27"}}],
            "agent": "I have ten o'clock, which name?",
        },
        {
            "say": "Ada Park.",
            "after": {"heard": "which name"},
            "expect": [
                {"tool": "book", "arguments": {"name": "Ada Park"}},
                {"tool": "note", "arguments": {}, "together": True},
            ],
            "agent": "You are booked.",
        },
        {"say": "Goodbye.", "expect": ["endCall"]},
    ],
    "tools": {"check": "10:00", "book": [{"error": "the book is closed", "delay_ms": 1500}]},
}
EVERY = ("check", "book", "note", "endCall")


def played(plan: CallPlan, seed: int = 1, **changes: Any) -> CallResult:
    scenario = scenario_read({**BOOKING, **changes})
    return rehearse(plan, scenario, key="k", rng=chance(seed, "booking", 0, "direct"))


def test_a_whole_conversation_gives_its_tool_calls_words_and_times() -> None:
    found = played(plan_of(*EVERY))
    tools = found.sequence.tools
    assert [(t.name, t.outcome, t.message) for t in tools] == [
        ("check", "ok", 0),
        ("book", "failed", 1),
        ("note", "ok", 1),
        ("endCall", "ok", 2),
    ]
    assert tools[0].arguments == {"date": "2026-11-27"} and tools[0].result == "10:00"
    assert [t.at_ms for t in tools] == sorted(t.at_ms or 0 for t in tools)
    assert found.sequence.outcomes.ended == "assistant-ended-call"
    assert found.sequence.outcomes.tools_ok is False
    said = [each.text for each in found.transcript]
    assert "Ada Park." in said and "You are booked." in said
    assert found.latency.first_word_ms is not None and found.latency.turns_ms
    assert found.cost_usd > 0


def test_the_same_seed_gives_the_same_call_and_another_one_does_too_in_its_tools() -> None:
    plan = plan_of(*EVERY)
    assert played(plan) == played(plan)
    names = [t.name for t in played(plan, seed=2).sequence.tools]
    assert names == [t.name for t in played(plan).sequence.tools]


def test_a_tool_that_the_assistant_lacks_is_not_called() -> None:
    found = played(plan_of("check", "note", "endCall"))
    assert [t.name for t in found.sequence.tools] == ["check", "note", "endCall"]


def test_arguments_that_the_schema_refuses_are_a_failed_call() -> None:
    plan = plan_of(*EVERY)
    schema = {"type": "object", "properties": {"date": {"enum": ["today"]}}}
    check = replace(plan.tools[0], parameters=schema)
    found = played(replace(plan, tools=(check, *plan.tools[1:])))
    assert found.sequence.tools[0].outcome == "failed"
    assert "date" in (found.sequence.tools[0].result or "")


def test_a_call_that_must_end_too_early_shows() -> None:
    plan = replace(plan_of(*EVERY), limits=Limits(max_duration_ms=10_000))
    found = played(plan, tools={"check": {"result": "10:00", "delay_ms": 9_000}})
    assert [t.name for t in found.sequence.tools] == ["check"]
    assert found.sequence.outcomes.ended == "exceeded-max-duration"


def test_noise_of_ours_is_planted_only_where_it_is_asked_for() -> None:
    found = played(plan_of(*EVERY), noise={"ours": {"omit_percent": 100}})
    assert len(found.sequence.tools) == 3
    assert len(played(plan_of(*EVERY), noise={"old": {"omit_percent": 100}}).sequence.tools) == 4


def test_a_caller_whose_cue_never_comes_hangs_up() -> None:
    turns = [{"say": "Hello."}, {"say": "Never.", "after": {"heard": "xylophone"}}]
    found = played(plan_of(*EVERY), caller=turns)
    assert found.sequence.tools == ()
    assert found.sequence.outcomes.ended == "customer-ended-call"
