"""Scenarios that nobody wrote: from tools by rule, from a past call with its caller's words."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.fields import marks_of
from calls.parity.making import Offered, extracted, generated
from calls.parity.played import Utterance
from calls.parity.scenario import scenario_document
from calls.parity.scenario_reading import scenario_problems
from calls.parity.sequence import Outcomes, Sequence, ToolCall

pytestmark = pytest.mark.unit


def offered(name: str, kind: str = "function", **properties: Any) -> Offered:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Offered(name, kind, f"Does {name}. And more.", schema, marks_of(schema))


BOOK = offered(
    "book",
    phone={"type": "string"},
    date={"type": "string"},
    service={"type": "string", "enum": ["cleaning", "filling"]},
    guests={"type": "integer"},
)


def test_each_tool_that_a_caller_can_ask_for_gets_a_scenario_and_all_get_one() -> None:
    found = generated([BOOK, offered("look"), offered("endCall", "endCall")])
    assert [each.name for each in found] == [
        "asks for book",
        "asks for look",
        "all tools in one call",
    ]
    assert [each.tool for each in found[2].expected] == ["book", "look"]
    for scenario in found:
        assert scenario_problems(scenario_document(scenario)) == []


def test_required_arguments_get_values_that_fit_and_the_caller_says_them() -> None:
    [scenario] = generated([BOOK])
    [call] = scenario.expected
    assert call.arguments["phone"] == "+15550100002" and call.arguments["date"] == "2026-11-27"
    assert call.arguments["service"] in ("cleaning", "filling")
    assert isinstance(call.arguments["guests"], int)
    assert "+15550100002" in scenario.caller[0].text and "Does book" in scenario.caller[0].text


def test_a_past_call_gives_its_words_its_calls_and_its_answers() -> None:
    said = [
        Utterance("assistant", "Hello.", 0),
        Utterance("user", "Is Friday free?", 2_000),
        Utterance("assistant", "It is.", 6_000),
        Utterance("user", "Book it.", 8_000),
        Utterance("assistant", "Done.", 12_000),
    ]
    tools = (
        ToolCall("check", {"date": "Friday"}, "ok", 4_000, "free", message=0),
        ToolCall("book", {}, "failed", 10_000, "no", message=1),
        ToolCall("note", {}, "ok", 10_000, "yes", message=1),
    )
    outcomes = Outcomes(transferred=False, ended="customer-ended-call")
    scenario = extracted("c", Sequence("k", "vapi", tools, outcomes), said)
    steps = [(turn.text, [(e.tool, e.together) for e in turn.expect]) for turn in scenario.caller]
    assert steps == [
        ("Is Friday free?", [("check", False)]),
        ("Book it.", [("book", False), ("note", True)]),
        ("", []),
    ]
    assert scenario.caller[2].action == "hang_up" and scenario.caller[0].agent == "It is."
    assert scenario.reply("book", 0).is_error and scenario.reply("check", 0).text == "free"
    assert scenario_problems(scenario_document(scenario)) == []


def test_calls_before_the_callers_first_word_are_not_lost() -> None:
    said = [Utterance("user", "Hello?", 5_000)]
    tools = (ToolCall("greet", {}, "ok", 100, "hi"),)
    scenario = extracted("c", Sequence("k", "vapi", tools), said)
    assert [each.tool for each in scenario.expected] == ["greet"]


def test_a_call_in_which_nobody_spoke_gives_no_step() -> None:
    assert extracted("c", Sequence("k", "vapi"), []).caller == ()
