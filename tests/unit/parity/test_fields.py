"""Which fields are critical by rule, and where their values are."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.fields import marks_of, path_problem, values_at

pytestmark = pytest.mark.unit


def _schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("name", "schema", "kind"),
    [
        ("phone", TEXT, "phone"),
        ("callerPhone", TEXT, "phone"),
        ("phoneNumber", {"type": "number"}, "phone"),
        ("callback_number", TEXT, "phone"),
        ("contact", {"type": "string", "format": "phone"}, "phone"),
        ("emailAddress", TEXT, "email"),
        ("e-mail", TEXT, "email"),
        ("attendees", {"type": "string", "description": "List of attendee emails"}, "email"),
        ("name", TEXT, "name"),
        ("patientName", TEXT, "name"),
        ("first_name", TEXT, "name"),
        ("Nachname", TEXT, "name"),
        ("preferredDate", TEXT, "date"),
        ("startIso", TEXT, "date"),
        ("dob", TEXT, "date"),
        ("slot", {"type": "string", "description": "as YYYY-MM-DD"}, "date"),
        ("bookingId", TEXT, "id"),
        ("phoneNumberId", TEXT, "id"),
        ("memberID", TEXT, "id"),
        ("order_number", {"type": "integer"}, "id"),
        ("caller_zip_code", TEXT, "id"),
        ("anything", {"type": ["string", "null"], "format": "uuid"}, "id"),
        # Not critical:
        ("productName", TEXT, None),
        ("propertyName", TEXT, None),
        ("timezone", TEXT, None),
        ("timePreference", TEXT, None),
        ("phoneType", TEXT, None),
        ("email_verified", {"type": "boolean"}, None),
        ("emailConsent", TEXT, None),
        ("date", {"type": "string", "enum": ["today", "tomorrow"]}, None),
        ("areaCode", TEXT, None),
        ("duration", {"type": "integer"}, None),
        ("start", {"type": "integer"}, None),
        ("notes", TEXT, None),
        ("number_of_guests", {"type": "integer"}, None),
        (
            "query",
            {
                "type": "string",
                "description": "What the caller asked by e-mail or phone, "
                "in the caller's own words",
            },
            None,
        ),
    ],
)
def test_the_rule(name: str, schema: Any, kind: str | None) -> None:
    assert marks_of(_schema(**{name: schema})) == ({name: kind} if kind else {})


def test_nested_objects_lists_branches_and_references() -> None:
    guest = _schema(email=TEXT, **{"a.phone": TEXT})
    schema = {
        **_schema(
            guest={"$ref": "#/$defs/guest"},
            guests={"type": "array", "items": {"$ref": "#/$defs/guest"}},
            phones={"type": "array", "items": TEXT},
            when={"anyOf": [{"type": "null"}, _schema(date=TEXT), TEXT]},
        ),
        "$defs": {"guest": guest},
    }
    assert marks_of(schema) == {
        "guest.email": "email",
        'guest["a.phone"]': "phone",
        "guests[*].email": "email",
        'guests[*]["a.phone"]': "phone",
        "phones[*]": "phone",
        "when.date": "date",
        "when": "date",
    }


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "x",
        {"properties": []},
        {"properties": {"phone": None}},
        {"$ref": "#"},
        {"$ref": "https://example.com/x"},
        {"properties": {"name": {"type": 5}}},
    ],
)
def test_a_schema_that_cannot_be_used_marks_nothing_and_ends(broken: Any) -> None:
    assert marks_of(broken) == {}


def test_a_schema_that_refers_to_itself_ends() -> None:
    node: dict[str, Any] = _schema(email=TEXT, next={"$ref": "#"}, other={"$ref": "#"})
    assert marks_of(node)["email"] == "email"


ARGUMENTS = {
    "guest": {"phone": "1"},
    "attendees": [{"email": "a"}, {"email": "b"}, {}, "odd"],
    "phones": ["1", "2"],
    "a.b": "dot",
    "": "no name",
    "none": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("guest.phone", [("guest.phone", "1")]),
        ("guest.missing", []),
        ("guest.phone.deeper", []),
        ("attendees[*].email", [("attendees[0].email", "a"), ("attendees[1].email", "b")]),
        ("attendees.email", [("attendees[0].email", "a"), ("attendees[1].email", "b")]),
        ("attendees[1].email", [("attendees[1].email", "b")]),
        ("attendees[9].email", []),
        ("phones[*]", [("phones[0]", "1"), ("phones[1]", "2")]),
        ('["a.b"]', [('["a.b"]', "dot")]),
        ('[""]', [('[""]', "no name")]),
        ("none", [("none", None)]),
    ],
)
def test_values_and_their_places(path: str, found: list[tuple[str, Any]]) -> None:
    assert values_at(ARGUMENTS, path) == found
    for place, value in found:
        assert values_at(ARGUMENTS, place) == [(place, value)]


@pytest.mark.parametrize("path", ["", "[0]", "a..b", "a[", "a[x]", '["a\\x"]', "a]"])
def test_what_is_no_path_is_named_and_finds_nothing(path: str) -> None:
    assert "Fix:" in path_problem(path)
    assert values_at(ARGUMENTS, path) == []
    assert path_problem("guest.phone") == ""


def test_endless_lists_are_read_to_a_limit() -> None:
    assert len(values_at({"a": [{"b": 1}] * 5_000}, "a.b")) == 500
