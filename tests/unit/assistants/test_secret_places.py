"""Which secrets a revision has that is brought back."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.secret_places import with_secrets_of

pytestmark = pytest.mark.unit

URL = "https://hooks.example.com/vapi"


def doc(**server: Any) -> dict[str, Any]:
    return {"name": "A", "server": {"url": URL, **server}}


@pytest.mark.parametrize(
    ("old", "current", "expected"),
    [
        (doc(secret="1"), doc(secret="2"), doc(secret="2")),
        (doc(secret="1"), doc(secret=None), doc(secret=None)),
        (doc(secret="1"), doc(), doc()),
        (doc(), doc(secret="2"), doc(secret="2")),
        (doc(secret="1"), {"name": "B"}, doc(secret="1")),
        (
            doc(headers={"X-Api-Key": "1", "X-Site": "north"}),
            doc(headers={"X-Api-Key": "2", "X-Site": "south"}),
            doc(headers={"X-Api-Key": "2", "X-Site": "north"}),
        ),
    ],
)
def test_a_secret_is_the_one_of_today(old: Any, current: Any, expected: Any) -> None:
    assert with_secrets_of(current, old) == expected


def test_a_secret_goes_with_its_address() -> None:
    old = doc(secret="1", headers={"Authorization": "1"})
    current = {"name": "A", "server": {"url": "https://new.example.com", "secret": "2"}}
    assert with_secrets_of(current, old) == old


def test_a_token_in_an_address_is_the_one_of_today() -> None:
    old = {"serverUrl": "https://a.example/?token=1&v=1", "serverUrlSecret": "1"}
    current = {"serverUrl": "https://a.example/?token=2&v=1", "serverUrlSecret": "2"}
    assert with_secrets_of(current, old) == current
    other = {"serverUrl": "https://b.example/?token=3", "serverUrlSecret": "3"}
    assert with_secrets_of(other, old) == old


def test_tools_are_matched_by_name_and_not_by_place() -> None:
    book = {"type": "function", "function": {"name": "book"}, "server": {"url": URL, "secret": "1"}}
    look = {"type": "function", "function": {"name": "look"}, "server": {"url": URL, "secret": "2"}}
    newer = book | {"server": {"url": URL, "secret": "9"}}
    found = with_secrets_of({"tools": [look, newer]}, {"tools": [book]})
    assert found == {"tools": [newer]}
