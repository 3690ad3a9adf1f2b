"""What a person decides about critical fields, beside what the rule says."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.fields import marks_of
from calls.parity.marking import (
    KINDS,
    LONGEST_PATH,
    Field,
    decided,
    decision_problem,
    decisions_for,
    fields_of,
    read_decisions,
)

pytestmark = pytest.mark.unit

TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "phone": TEXT,
        "notes": TEXT,
        "size": {"enum": ["s", "l"]},
        "guest": {"type": "object", "properties": {"email": {"type": ["string", "null"]}}},
    },
}
RULE = {"phone": "phone", "guest.email": "email"}


def test_without_a_decision_the_rule_holds() -> None:
    assert marks_of(SCHEMA) == RULE == decided(marks_of(SCHEMA), {})


def test_a_decision_marks_unmarks_and_changes_a_kind() -> None:
    decisions = {"notes": "text", "phone": "", "guest.email": "id"}
    assert decided(marks_of(SCHEMA), decisions) == {"notes": "text", "guest.email": "id"}


def test_every_field_is_shown_with_its_type_its_rule_and_what_holds() -> None:
    assert fields_of(SCHEMA, {"notes": "text", "phone": "", "extra.x": "id"}) == (
        Field("phone", "string", "phone", None),
        Field("notes", "string", None, "text"),
        Field("size", "choice", None, None),
        Field("guest.email", "string or null", "email", "email"),
        Field("extra.x", "", None, "id", is_in_schema=False),
    )
    assert [each.is_decided for each in fields_of(SCHEMA, {"phone": ""})][:2] == [True, False]


def test_where_nothing_is_marked_by_rule_decisions_alone_mark() -> None:
    found = fields_of(SCHEMA, {"phone": "phone"}, has_rule=False)
    assert [(each.path, each.rule, each.kind) for each in found if each.kind] == [
        ("phone", None, "phone")
    ]


def test_only_what_differs_from_the_rule_is_kept_so_a_new_field_follows_the_rule() -> None:
    wanted = {"phone": "", "notes": "text", "guest.email": "email", "size": ""}
    kept = decisions_for(marks_of(SCHEMA), wanted)
    assert kept == {"phone": "", "notes": "text"}
    later = {**SCHEMA, "properties": {**SCHEMA["properties"], "orderId": TEXT}}
    assert decided(marks_of(later), kept) == {
        "notes": "text",
        "guest.email": "email",
        "orderId": "id",
    }


@pytest.mark.parametrize("stored", [None, [], "phone", {"phone": "fax", "x": 3, 5: "id"}])
def test_what_is_no_decision_is_not_read(stored: Any) -> None:
    assert read_decisions(stored) == {}
    assert decided(marks_of(SCHEMA), read_decisions(stored)) == RULE


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("guest.phone", "phone", ""),
        ("guests[*].phone", "", ""),
        ("guest..x", "id", "is no path. Fix: "),
        ("", "id", "is no path. Fix: "),
        ("phone", "fax", "is no kind of field. Fix: choose one of phone, email"),
        ("a" * (LONGEST_PATH + 1), "id", "is longer than 300"),
    ],
)
def test_a_wrong_path_or_kind_is_told_with_its_fix(path: str, kind: str, says: str) -> None:
    found = decision_problem(path, kind)
    assert says in found and bool(found) == bool(says)


def test_the_kinds_are_those_that_have_a_form() -> None:
    assert KINDS == ("phone", "email", "name", "date", "id", "number", "text")
