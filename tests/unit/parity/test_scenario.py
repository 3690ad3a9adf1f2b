"""Scenario documents: read whole, written back the same, every problem named at once."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.scenario import Noise, expected_sequence, scenario_document
from calls.parity.scenario_reading import ScenarioWrong, scenario_problems, scenario_read
from calls.parity.scripted_caller import call_seconds, caller_steps

pytestmark = pytest.mark.unit

BOOKING: dict[str, Any] = {
    "name": "booking",
    "persona": "Ada Park, in a hurry",
    "goals": ["a cleaning on Friday"],
    "variables": {"customer": {"name": "Ada"}},
    "caller": [
        {
            "say": "I would like to book a cleaning.",
            "first": "One moment.",
            "expect": [
                {"tool": "look_up", "arguments": {"phone": "+15550100002"}},
                {"tool": "check", "arguments": {"date": "2026-11-27"}, "together": True},
            ],
            "agent": "Ten or eleven?",
        },
        {"dtmf": "1#", "after": {"heard": "ten or eleven"}, "expect": [{"tool": "check"}]},
        {"say": "Stop.", "barge_in": {"after_ms_of_agent_audio": 900}},
        {"hang_up": True, "after": {"silence_ms": 2000}},
    ],
    "tools": {"check": [{"result": "10:00"}, {"error": "no room", "delay_ms": 700}]},
    "expect": {"transferred": False, "ended": "customer-ended-call"},
    "noise": {"old": {"omit_percent": 2.0}},
}


def test_a_document_comes_back_as_it_was() -> None:
    scenario = scenario_read(BOOKING)
    assert scenario_document(scenario) == BOOKING
    assert scenario_read(scenario_document(scenario)) == scenario
    assert scenario.old_noise == Noise(omit_percent=2.0)


def test_expected_calls_are_answered_in_their_order_and_the_last_answer_holds() -> None:
    sequence = expected_sequence(scenario_read(BOOKING), key="k", stack="vapi")
    assert [(t.name, t.outcome, t.result, t.message) for t in sequence.tools] == [
        ("look_up", "ok", "OK", 0),
        ("check", "ok", "10:00", 0),
        ("check", "failed", "no room", 1),
    ]
    assert sequence.outcomes.tools_ok is False and sequence.outcomes.transferred is False
    assert scenario_read(BOOKING).reply("check", 9).text == "no room"


@pytest.mark.parametrize(
    ("document", "field", "says"),
    [
        ([], "the scenario", "it is a list"),
        ({"caller": []}, "name", "it is empty"),
        ({"name": "x"}, "caller", "it is missing"),
        ({"name": "x", "caller": []}, "caller", "the caller does nothing"),
        ({"name": "x", "caler": []}, "caler", "there is no such key"),
        ({"name": "x", "caller": [{"say": 3}]}, "caller[0].say", "it is a number"),
        ({"name": "x", "caller": [{"say": "a", "dtmf": "1"}]}, "caller[0]", "say and dtmf"),
        ({"name": "x", "caller": [{"dtmf": "one"}]}, "caller[0].dtmf", "other than keys"),
        (
            {"name": "x", "caller": [{"say": "a", "after": "later"}]},
            "caller[0].after",
            "is no moment",
        ),
        (
            {"name": "x", "caller": [{"say": "a", "after": {"heard": "("}}]},
            "caller[0].after.heard",
            "no pattern",
        ),
        (
            {"name": "x", "caller": [{"say": "a", "after": {"ms": -1}}]},
            "caller[0].after.ms",
            "no time",
        ),
        (
            {"name": "x", "caller": [{"say": "a", "expect": [{"arguments": {}}]}]},
            "caller[0].expect[0].tool",
            "it is empty",
        ),
        (
            {"name": "x", "caller": [{"hang_up": True, "expect": ["t"]}]},
            "caller[0]",
            "nothing follows",
        ),
        (
            {"name": "x", "caller": [{"say": "a"}], "tools": {"t": [{}]}},
            "tools.t[0]",
            "no single answer",
        ),
        (
            {"name": "x", "caller": [{"say": "a"}], "noise": {"old": {"omit_percent": 101}}},
            "noise.old.omit_percent",
            "no share",
        ),
    ],
)
def test_a_problem_names_field_cause_and_fix(document: Any, field: str, says: str) -> None:
    found = [each for each in scenario_problems(document) if each.field == field]
    assert found, scenario_problems(document)
    assert says in found[0].cause and found[0].fix
    assert str(found[0]).startswith(f"{field}: ") and " Fix: " in str(found[0])


@pytest.mark.parametrize(
    ("pattern", "is_slow"),
    [
        ("ten|eleven", False),
        (r"(ten|eleven) o'clock( sharp)?", False),
        (r"table for \d+ .*which time", False),
        (r"[(+*]+ and \(\*\+", False),
        ("(a+)+$", True),
        ("(a|a)*b", True),
        ("(a|aa){9,}b", True),
        (".*.*.*b", True),
    ],
)
def test_a_pattern_that_could_hold_up_its_worker_is_refused(pattern: str, is_slow: bool) -> None:
    document = {"name": "x", "caller": [{"say": "One.", "after": {"heard": pattern}}]}
    causes = [each.cause for each in scenario_problems(document)]
    assert causes == (["looking for this pattern may take seconds"] if is_slow else [])


def test_every_problem_is_told_at_once() -> None:
    document = {"caller": [{"say": ""}, {"dtmf": "x"}, {"wave": 1}], "tools": {"t": [7]}}
    with pytest.raises(ScenarioWrong) as wrong:
        scenario_read(document)
    fields = {each.field for each in wrong.value.problems}
    assert fields >= {"name", "caller[0].say", "caller[1].dtmf", "caller[2].wave", "tools.t[0]"}


@pytest.mark.parametrize("value", [None, 1, "x", [1], {"caller": 5}, {"caller": [[]]}, {1: 2}])
def test_no_value_makes_the_reader_raise_anything_else(value: Any) -> None:
    assert scenario_problems({"name": "x", "caller": value, "tools": value, "expect": value})
    assert scenario_problems(value)


def test_a_caller_who_never_hangs_up_is_given_an_end() -> None:
    document = {"name": "x", "caller": [{"say": "Hello."}]}
    steps = caller_steps(scenario_read(document))
    assert [step.action for step in steps] == ["say", "hang_up"]
    assert steps[1].wait == "silence_ms"


def test_a_live_call_is_given_the_time_that_its_words_and_answers_take() -> None:
    short = scenario_read({"name": "x", "caller": [{"say": "Hello."}]})
    long = scenario_read(BOOKING)
    assert 60 < call_seconds(short) < call_seconds(long) < 600
