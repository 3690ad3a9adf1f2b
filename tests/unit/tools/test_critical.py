"""Which arguments of a tool are critical: by their names, by their formats, by a mark."""

from __future__ import annotations

from typing import Any

import pytest

from tools.critical import argument_paths, critical_arguments, guessed_arguments, mark_critical
from tools.switches import LEGACY, read_switches

pytestmark = pytest.mark.unit

SCHEMA = {
    "type": "object",
    "properties": {
        "customerPhone": {"type": "string"},
        "guests": {"type": "integer"},
        "note": {"type": "string"},
        "visit": {"type": "string", "format": "date-time"},
        "attendees": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
        },
    },
    "$defs": {
        "person": {
            "properties": {"full_name": {"type": "string"}, "vip": {"type": "boolean"}},
        }
    },
}


def test_paths_lead_into_lists_and_alternatives() -> None:
    assert argument_paths(SCHEMA) == (
        *("customerPhone", "guests", "note", "visit"),
        *("attendees[].full_name", "attendees[].vip"),
    )


@pytest.mark.parametrize(
    ("name", "kind", "critical"),
    [
        *((name, "string", True) for name in ("phone", "caller_phone_number", "e-mail", "Email")),
        *((name, "string", True) for name in ("firstName", "name_of_guest", "startIso", "DOB")),
        *((name, "string", True) for name in ("appointmentId", "patientID", "day", "time", "ref")),
        *((name, "string", False) for name in ("note", "idea", "reason", "timezone", "nameless")),
        *((name, "boolean", False) for name in ("name_confirmed", "day_is_holiday")),
        ("party_size", "integer", False),
        ("order_number", "integer", True),
    ],
)
def test_an_argument_is_critical_by_its_name(name: str, kind: str, critical: bool) -> None:
    schema = {"properties": {name: {"type": kind}}}
    assert guessed_arguments(schema) == ((name,) if critical else ())


def test_a_mark_wins_over_a_guess_even_if_it_names_nothing() -> None:
    guess = ("customerPhone", "visit", "attendees[].full_name")
    assert critical_arguments({}, SCHEMA) == guess
    marked = mark_critical({"type": "function", **LEGACY}, ["note", "guests", "gone"], SCHEMA)
    assert marked["voiceplatform"]["criticalArguments"] == ["guests", "note"]
    assert read_switches(marked).legacy_message
    assert critical_arguments(marked, SCHEMA) == ("guests", "note")
    nothing = mark_critical({}, [], SCHEMA)
    assert nothing == {"voiceplatform": {"criticalArguments": []}}
    assert critical_arguments(nothing, SCHEMA) == ()
    assert mark_critical(nothing, guess, SCHEMA) == {}, "what is guessed leaves no mark"


@pytest.mark.parametrize(
    "parameters",
    [
        *(None, [], "x", {"properties": []}, {"properties": {"a": 3}}, {"$ref": "#"}),
        {"anyOf": [{"$ref": "#"}] * 50, "properties": {"a": {"$ref": "#"}}},
    ],
)
def test_any_schema_is_read_in_bounded_time(parameters: Any) -> None:
    assert all(path.startswith("a") for path in argument_paths(parameters))
    assert critical_arguments({"voiceplatform": {"criticalArguments": "x"}}, parameters) == ()
