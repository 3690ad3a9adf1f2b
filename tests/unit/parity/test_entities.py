"""Phone numbers, addresses, names and dates as people say and write them."""

from __future__ import annotations

import datetime as dt

import pytest

from calls.parity.entities import Entity, Kind, compare, entities_of, entity, same, tally

pytestmark = pytest.mark.unit

MONDAY = dt.date(2026, 11, 23)


def found(text: str, kind: Kind) -> list[str]:
    """Return the values of one kind in a text that was said on a Monday."""
    return [each.value for each in entities_of(text, MONDAY) if each.kind == kind]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("My number is 555-010-2233.", "5550102233"),
        ("It's (555) 010 2233, thanks", "5550102233"),
        ("plus one 555 010 2233", "+15550102233"),
        ("+1 (555) 010-2233", "+15550102233"),
        ("five five five, oh one oh, two two three three", "5550102233"),
        ("five double five zero one zero double two double three", "5550102233"),
        ("triple five oh one oh twenty-two thirty three", "5550102233"),
        ("eight hundred five five five, uh, oh one oh two", "8005550102"),
        ("555 dash 0102", "5550102"),
    ],
)
def test_a_phone_number_is_found_however_it_is_said(text: str, value: str) -> None:
    assert found(text, "phone") == [value]


@pytest.mark.parametrize(
    "text", ["I need two tables at ten.", "Flat 12, 3rd floor", "on 2026-11-24 at 10:30", "GB-1"]
)
def test_what_is_no_phone_number_is_not_taken_for_one(text: str) -> None:
    assert found(text, "phone") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Write to Jane.Doe@Example.com.", "jane.doe@example.com"),
        ("It's jane dot doe at example dot com", "jane.doe@example.com"),
        ("j a n e at example dot co dot uk, please", "jane@example.co.uk"),
        ("jane underscore d at my dash clinic dot com", "jane_d@my-clinic.com"),
        ("jane two two at example dot com. Thanks", "22@example.com"),
        ("my email is jane.doe at example.com. Bye", "jane.doe@example.com"),
    ],
)
def test_an_address_is_found_however_it_is_said(text: str, value: str) -> None:
    assert found(text, "email") == [value]


def test_at_alone_makes_no_address() -> None:
    assert found("See you at ten. Meet me at home. Dot it down", "email") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("My name is Zoë Müller-Lüdenscheidt.", "zoe muller ludenscheidt"),
        ("my name is jane doe and I need help", "jane doe"),
        ("Hi, this is Peter Parker calling about", "peter parker"),
        ("I'm Jane.", "jane"),
        ("Tom Brown speaking", "tom brown"),
        ("S M I T H", "smith"),
        ("that's s-m-y-t-h", "smyth"),
    ],
)
def test_a_name_is_found_where_it_is_given(text: str, value: str) -> None:
    assert found(text, "name") == [value]


@pytest.mark.parametrize("text", ["I'm looking for a table", "This is about my bill", "it's fine"])
def test_words_after_i_am_are_no_name_unless_they_are_written_like_one(text: str) -> None:
    assert found(text, "name") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on 2026-12-01", "2026-12-01"),
        ("the 24th of November", "2026-11-24"),
        ("November twenty-fourth", "2026-11-24"),
        ("Nov. 24, 2027", "2027-11-24"),
        ("the second of january", "2027-01-02"),
        ("tomorrow", "2026-11-24"),
        ("the day after tomorrow", "2026-11-25"),
        ("Tuesday", "2026-11-24"),
        ("this monday", "2026-11-30"),
        ("next Tuesday", "next tuesday"),
        ("24/11/2026", "2026-11-24"),
        ("11/12/2026", "11/12/2026"),
        ("5/5/2026", "2026-05-05"),
    ],
)
def test_a_date_is_read_where_only_one_day_can_be_meant(text: str, value: str) -> None:
    assert found(f"Come {text}, please.", "date") == [value]


def test_without_a_day_to_count_from_the_words_stay() -> None:
    assert [each.value for each in entities_of("tomorrow or Friday or May 5")] == [
        *("tomorrow", "friday", "--05-05")
    ]


def test_no_such_day_is_no_date() -> None:
    assert found("on 2026-02-30 or 31/31/2026 or June 31st", "date") == []


@pytest.mark.parametrize(
    ("kind", "old", "new", "agree"),
    [
        ("phone", "+15550102233", "5550102233", True),
        ("phone", "5550102233", "5550102234", False),
        ("phone", "0102233", "+445550102233", False),
        ("phone", "05550102233", "+495550102233", True),
        ("phone", "102233", "7102233", False),
        ("phone", "4155550102", "5550102", False),  # the area was not heard
        ("phone", "2125550102", "5550102", False),  # no country either, though 212 is one
        ("phone", "4155550102", "55550102", False),
        ("phone", "+14155550102", "5550102", False),
        ("phone", "+15550102233", "+5550102233", False),
        ("phone", "15550102233", "5550102233", True),
        ("phone", "447700900123", "07700900123", True),
        ("phone", "00447700900123", "7700900123", True),
        ("email", "a@example.com", "b@example.com", False),
        ("name", "jane doe", "doe", True),
        ("name", "jane doe", "john doe", False),
        ("date", "--11-24", "2026-11-24", True),
        ("date", "2025-11-24", "2026-11-24", False),
    ],
)
def test_two_agree_where_one_only_says_less(kind: Kind, old: str, new: str, agree: bool) -> None:
    left, right = Entity(kind, old, old), Entity(kind, new, new)
    assert same(left, right) is same(right, left) is agree


def test_what_agrees_is_paired_first_and_the_rest_in_order() -> None:
    old = entities_of("555 010 2233 or 555 010 9999, jane at example dot com")
    new = entities_of("555 010 8888 or 555 010 2233")
    pairs = compare(old, new)
    assert [
        (pair.kind, pair.old and pair.old.value, pair.new and pair.new.value, pair.agrees)
        for pair in pairs
    ] == [
        ("phone", "5550102233", "5550102233", True),
        ("phone", "5550109999", "5550108888", False),
        ("email", "jane@example.com", None, False),
    ]
    assert tally(pairs) == {"phone": (1, 2), "email": (0, 1)}


def test_what_is_said_twice_counts_once() -> None:
    text = "It is 555 010 2233. Again: five five five oh one oh two two three three."
    assert len(compare(entities_of(text), entities_of("555 010 2233"))) == 1


def test_where_it_was_said_is_known() -> None:
    text = "Well, my number is 555 010 2233, okay?"
    (number,) = entities_of(text)
    assert text[number.start : number.end] == number.said == "555 010 2233"


def test_an_argument_is_read_as_what_it_is_marked_to_be() -> None:
    assert entity("phone", "555.0102").value == "5550102"
    assert entity("phone", "0102").value == "0102"
    assert entity("name", "Doe, Jane").value == "doe jane"
    assert entity("date", "tomorrow", MONDAY).value == "2026-11-24"
