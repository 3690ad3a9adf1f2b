"""Names of tools: whatever a document says, what a model is sent is legal and there once."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.names import legal_name

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("look_up", "look_up"),
        ("look up order", "look_up_order"),
        ("google.calendar.event.create", "google_calendar_event_create"),
        ("_private", "_private"),
        ("été", "ete"),
        ("najdi_termin_za_stranko_ž", "najdi_termin_za_stranko_z"),
        ("Book a Table!", "Book_a_Table"),
        ("name\n", "name"),
        ("a" * 63 + " b", "a" * 63),
        ("予約", "tool"),
        ("", "tool"),
        ("x" * 70, "x" * 64),
    ],
)
def test_o8_v11_names_are_made_legal(name: str, legal: str) -> None:
    assert legal_name(name) == legal


def test_v11_doubled_names_get_numbers() -> None:
    taken: list[str] = []
    for _ in range(3):
        taken.append(legal_name("api_request_tool", taken))
    assert taken == ["api_request_tool", "api_request_tool_2", "api_request_tool_3"]


@given(st.lists(st.text(max_size=80), max_size=8))
def test_every_name_is_legal_and_there_once(names: list[str]) -> None:
    taken: list[str] = []
    for name in names:
        taken.append(legal_name(name, taken))
    assert len(set(taken)) == len(taken)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in taken)
