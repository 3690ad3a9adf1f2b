"""Where a squad names assistants, whatever the document is made of."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.wire.vapi_squad import assistant_ids, assistant_references

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
