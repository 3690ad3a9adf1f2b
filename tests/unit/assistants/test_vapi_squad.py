"""Where a squad names assistants, whatever the document is made of."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.wire.vapi_squad import (
    SquadMember,
    assistant_ids,
    assistant_references,
    squad_members,
)

pytestmark = pytest.mark.unit


def test_members_and_their_destinations_are_found_with_their_paths() -> None:
    document = {
        "members": [
            {"assistantId": "A", "assistantDestinations": [{"assistantName": "x"}]},
            {"assistant": {}, "assistantDestinations": [{}, {"assistantId": "b"}]},
        ]
    }
    assert list(assistant_references(document)) == [
        ("members.0.assistantId", "A"),
        ("members.1.assistantDestinations.1.assistantId", "b"),
    ]
    assert assistant_ids(document) == {"a", "b"}


@pytest.mark.parametrize(
    "document",
    [
        *(None, [], "x", {"members": {"a": 1}}, {"members": [None, 5, "x", []]}),
        {"members": [{"assistantId": 5, "assistantDestinations": "x"}]},
        {"members": [{"assistantDestinations": [None, {"assistantId": []}]}]},
    ],
)
def test_wrong_types_are_read_as_if_absent(document: Any) -> None:
    assert assistant_ids(document) == set()


def test_members_are_told_by_name_with_whom_they_hand_calls_to() -> None:
    to = [{"assistantId": "B", "description": "bills"}, {"assistantName": "Night"}, {}, 7]
    document = {
        "members": [
            {"assistantId": "a", "assistantDestinations": to},
            {"assistant": {"name": "Written out"}},
            {"assistantId": "gone"},
            "x",
        ]
    }
    hands_on = (("Billing", "bills"), ("Night", ""), ("?", ""), ("?", ""))
    assert squad_members(document, {"a": "Desk", "b": "Billing"}) == [
        SquadMember("Desk", hands_on),
        SquadMember("Written out"),
        SquadMember("gone"),
        SquadMember("an assistant without a name"),
    ]
    for odd in (None, [], {"members": 5}, {"members": {"a": 1}}):
        assert squad_members(odd, {}) == []
