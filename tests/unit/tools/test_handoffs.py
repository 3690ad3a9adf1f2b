"""What a handoff tool is read as, and what the model is offered of it (vapi.md 3.5, 8.1, 8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.findings import Notes
from assistants.handoff_account import account_handoff
from assistants.overrides import destination_tools, overridden
from tools.handoffs import (
    Context,
    chosen,
    destinations_of,
    handed_values,
    hands_over,
    offered_function,
)

pytestmark = pytest.mark.unit

SALES = {"type": "assistant", "assistantId": "A1", "description": "wants to buy"}
HELP = {"type": "assistant", "assistantName": "Help", "description": "needs help"}


def tool(*destinations: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "handoff", "destinations": list(destinations), **fields}


def test_one_destination_names_the_tool_and_needs_no_argument() -> None:
    name, description, schema = offered_function(tool(SALES), names={"a1": "Sales"})
    assert name == "handoff_to_Sales"
    assert "wants to buy" in description
    assert schema == {"type": "object", "properties": {}}


def test_several_destinations_are_a_choice() -> None:
    name, _, schema = offered_function(tool(SALES, HELP), names={"a1": "Sales"}, groups=1)
    assert name == "handoff_to_group_2"
    assert schema["properties"]["destination"]["enum"] == ["A1", "Help"]
    assert schema["required"] == ["destination"]


def test_what_the_document_says_of_its_function_holds() -> None:
    own = {"name": "to_sales", "description": "Go.", "parameters": {"type": "object", "x": 1}}
    assert offered_function(tool(SALES, function=own), names={}) == (
        *("to_sales", "Go."),
        {"type": "object", "x": 1},
    )


@pytest.mark.parametrize(
    ("word", "index"), [("A1", 0), ("Help", 1), ("help", 1), ("nobody", None), ("", None)]
)
def test_the_model_chooses_by_id_or_name(word: str, index: int | None) -> None:
    places = destinations_of(tool(SALES, HELP))
    assert chosen(places, {"destination": word}) is (None if index is None else places[index])


def test_the_only_destination_is_meant_whatever_it_is_called() -> None:
    places = destinations_of(tool(HELP))
    assert chosen(places, {"destination": "<uuid>"}) is chosen(places, {}) is places[0]


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        ({}, Context("all")),
        ({"contextEngineeringPlan": {"type": "none"}}, Context("none")),
        (
            {"contextEngineeringPlan": {"type": "lastNMessages", "maxMessages": 4.0}},
            Context("lastNMessages", 4),
        ),
        ({"contextEngineeringPlan": {"type": "lastNMessages"}}, Context("lastNMessages", 0)),
        ({"contextEngineeringPlan": {"type": 7}}, Context("all")),
        ({"transferMode": "delete-history"}, Context("none")),
        ({"transferMode": "swap-system-message-in-history"}, Context("all")),
    ],
)
def test_what_the_next_assistant_is_told(entry: dict[str, Any], context: Context) -> None:
    (found,) = destinations_of(tool({**HELP, **entry}))
    assert found.context == context


@pytest.mark.parametrize("odd", [None, 5, [], {}, {"destinations": {}}, tool(None, 7, "x", {})])
def test_wrong_types_are_read_as_if_absent(odd: Any) -> None:
    assert destinations_of(odd) == ()
    assert not hands_over(odd)


def test_a_transfer_to_an_assistant_is_a_handoff_and_one_to_a_number_is_not() -> None:
    number = {"type": "number", "number": "+15550100001"}
    assert hands_over({"type": "transferCall", "destinations": [HELP]})
    assert not hands_over({"type": "transferCall", "destinations": [HELP, number]})


def test_arguments_become_variables_but_never_what_the_platform_says() -> None:
    given = {"destination": "A1", "intent": "buy", "customer": "Eve", "now": "never"}
    assert handed_values(given) == {"intent": "buy"}


# ---- overrides and destinations of a squad ----


def test_overrides_are_laid_in_order_and_variables_are_kept_apart() -> None:
    base = {"voice": {"provider": "x", "voiceId": "a"}, "model": {"model": "m", "tools": [1]}}
    whole, variables = overridden(
        base,
        [
            {"voice": {"voiceId": "b"}, "variableValues": {"a": 1, "b": 1}},
            {"firstMessage": "Hi", "variableValues": {"b": 2}, "tools:append": [2]},
        ],
    )
    assert whole == {
        "voice": {"provider": "x", "voiceId": "b"},
        "model": {"model": "m", "tools": [1, 2]},
        "firstMessage": "Hi",
    }
    assert variables == {"a": 1, "b": 2}


def test_entries_with_an_id_or_a_plan_are_handoffs_and_plain_names_transfers() -> None:
    member = {
        "assistantDestinations": [
            {"type": "assistant", "assistantName": "Night", "message": ""},
            {"assistantId": "A1"},
            {"assistantName": "Day", "contextEngineeringPlan": {"type": "none"}},
            7,
        ]
    }
    made = destination_tools(member)
    assert [each["type"] for each in made] == ["transferCall", "handoff", "handoff"]
    assert all(destinations_of(each) for each in made)
    assert destination_tools({"assistantDestinations": None}) == []


# ---- findings ----


def states(document: dict[str, Any]) -> dict[str, str]:
    notes = Notes()
    account_handoff(document, notes, "$")
    return {finding.path: finding.state for finding in notes.findings}


def test_findings_say_what_runs_and_what_does_not() -> None:
    found = states(
        tool(
            {**HELP, "variableExtractionPlan": {"schema": {}}},
            {"type": "dynamic", "server": {"url": "https://x"}},
        )
    )
    assert found["$.type"] == "mapped"
    assert found["$.destinations[0].assistantName"] == "mapped"
    assert found["$.destinations[0].variableExtractionPlan"] == "unsupported"
    assert found["$.destinations[1]"] == "mapped"  # its server is asked


@pytest.mark.parametrize("kind", ["dynamic", "squad"])
def test_a_tool_that_leads_to_no_assistant_is_not_promised(kind: str) -> None:
    assert states(tool({"type": kind, "squad": {"members": []}}))["$.type"] == "unsupported"


def test_a_stored_squad_is_a_destination_like_an_assistant() -> None:
    place = {"type": "squad", "squadId": "S1", "entryAssistantName": "Night", "squadOverrides": {}}
    (found,) = destinations_of(tool(place))
    assert (found.squad_id, found.entry_name, found.words) == ("S1", "Night", ("S1",))
    assert offered_function(tool(place), names={"s1": "Clinic"})[0] == "handoff_to_Clinic"
    assert states(tool(place))["$.type"] == "mapped"
