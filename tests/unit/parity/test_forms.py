"""One form for each kind of value: what is the same, what is not, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.forms import Kind, as_said, normalise, region_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "written",
    [
        "+12025550143",
        "+1 (202) 555-0143",
        "202-555-0143",
        "202.555.0143",
        "1 202 555 0143",
        "(202) 555 0143",
        2025550143,
        12025550143,
        "tel:+1-202-555-0143",
        " 2025550143 ",
    ],
)
def test_a_phone_number_is_the_same_however_it_is_written(written: Any) -> None:
    assert normalise("phone", written) == "+12025550143"


def test_a_phone_number_without_a_country_belongs_to_the_region_that_is_stated() -> None:
    assert normalise("phone", "030 901820", "DE") == "+4930901820"
    assert normalise("phone", "030 901820", "DE") != normalise("phone", "030 901820", "AT")


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("202-555-0143 ext. 12", "+12025550143;ext=12"),
        ("911", "911"),  # no number of that region: its digits
        ("call me", "call me"),
        ("555-0143", "5550143"),
        ("\u0662\u0660\u0662 555 0143", "+12025550143"),  # digits of another script
    ],
)
def test_what_is_no_whole_number_keeps_its_digits(written: str, form: str) -> None:
    assert normalise("phone", written) == form


def test_a_wrong_digit_is_a_difference() -> None:
    assert normalise("phone", "202-555-0143") != normalise("phone", "202-555-0134")


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("email", "Bob@Example.COM", "bob@example.com"),
        ("email", "Bob <bob@example.com>", "bob@example.com"),
        ("email", "mailto:bob@example.com", "bob@example.com."),
        ("email", "a@x.com; b@y.com", "A@x.com, B@Y.com"),
        ("name", "José  García", "jose garcia"),
        ("name", "O\u2019Brien", "OBrien"),
        ("name", "Anne-Marie", "Anne Marie"),
        ("name", "MÜLLER", "Muller"),
        ("name", "Straße", "STRASSE"),
        ("name", "J. R. Smith", "J R Smith"),
        ("number", "12.50", 12.5),
        ("number", "-0", 0),
        ("number", 1e3, "1000"),
        ("id", 12.0, "12"),
        ("id", " AB-12 ", "AB-12"),
        ("text", "  Two  words ", "two WORDS"),
    ],
)
def test_what_means_the_same_compares_equal(kind: Kind, one: Any, two: Any) -> None:
    assert normalise(kind, one) == normalise(kind, two) != ""


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("email", "bob@example.com", "bop@example.com"),
        ("email", "bob@example.com", "bob@example.co"),
        ("name", "Smith John", "John Smith"),
        ("name", "Müller", "Mueller"),
        ("name", "\u304c", "\u304b"),  # ga and ka: the sign is part of the letter
        ("name", "Jon", "John"),
        ("id", "ab-12", "AB-12"),
        ("id", "007", "7"),
        ("number", "12.5", "12.05"),
        ("date", "03/04/2026", "2026-03-04"),
        ("date", "tomorrow", "2026-03-04"),
        ("date", "March 5", "2026-03-05"),
        ("date", "2026-03-05", "2026-03-05T15:00"),
        ("date", "2026-03-05T15:00", "2026-03-05T15:00Z"),
    ],
)
def test_what_may_mean_something_else_stays_different(kind: Kind, one: Any, two: Any) -> None:
    assert normalise(kind, one) != normalise(kind, two)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("2026-03-05", "2026-03-05"),
        ("20260305", "2026-03-05"),
        ("2026/3/5", "2026-03-05"),
        ("March 5th, 2026", "2026-03-05"),
        ("Thursday, March 5, 2026", "2026-03-05"),
        ("the 5th of March 2026", "2026-03-05"),
        ("5. März 2026", "2026-03-05"),
        ("5 de marzo de 2026", "2026-03-05"),
        ("5 août 2026", "2026-08-05"),
        ("5.3.2026", "2026-03-05"),  # dots: the day comes first
        ("25/12/2026", "2026-12-25"),
        ("12/25/2026", "2026-12-25"),
        ("03/03/2026", "2026-03-03"),
        ("February 29", "--02-29"),
        ("2026-03-05T15:30:00", "2026-03-05T15:30"),
        ("2026-03-05 15:30", "2026-03-05T15:30"),
        ("2026-03-05T15:30:05.250", "2026-03-05T15:30:05.250000"),
        ("2026-03-05T15:30:00+01:00", "2026-03-05T14:30Z"),
        ("2026-03-05T14:30:00.000Z", "2026-03-05T14:30Z"),
        ("March 5, 2026 at 3:30 PM", "2026-03-05T15:30"),
        ("5. März 2026 um 15:30 Uhr", "2026-03-05T15:30"),
        ("3pm", "15:00"),
        ("3 p.m.", "15:00"),
        ("12 am", "00:00"),
        ("12:15 pm", "12:15"),
        ("noon", "12:00"),
        ("15:30:00", "15:30"),
        # Left alone:
        ("February 30, 2026", "february 30, 2026"),
        ("2026-13-05", "2026-13-05"),
        ("March or May 5, 2026", "march or may 5, 2026"),
        ("the 5th", "the 5th"),
        ("25:00", "25:00"),
        ("next Tuesday", "next tuesday"),
        ("3/4/26", "3/4/26"),
        ("0001-01-01T00:00+14:00", "0001-01-01t00:00+14:00"),
    ],
)
def test_dates_and_times(written: str, form: str) -> None:
    assert normalise("date", written) == form


@pytest.mark.parametrize("nothing", [None, "", "   ", {}, []])
@pytest.mark.parametrize("kind", ["phone", "email", "name", "date", "id", "number", "text"])
def test_missing_null_and_empty_are_one_thing(kind: Kind, nothing: Any) -> None:
    assert normalise(kind, nothing) == ""


@pytest.mark.parametrize("something", [False, 0, "0", "null", "none"])
def test_what_is_said_is_not_nothing(something: Any) -> None:
    assert as_said(something) != ""


def test_whatever_a_model_sends_has_a_form() -> None:
    for kind in ("phone", "email", "name", "date", "id", "number", "text"):
        for value in (
            {"a": [1, {"b": float("nan")}]},
            [None],
            "\ud800",
            "9" * 5_000,
            True,
            1e400,
            "<@>",
            "\u00b2",
            "'",
            "1e999999",
            "a" * 1_999,
            "2026-99",
        ):
            assert isinstance(normalise(kind, value), str)


@pytest.mark.parametrize(
    ("number", "region"),
    [
        ("+12025550143", "US"),
        ("+4930901820", "DE"),
        ("+447700900123", "GB"),
        ("", "US"),
        ("+14165550143", "CA"),
    ]
    + [("+883510012345", "US"), ("anonymous", "US")],
)
def test_the_region_of_a_number(number: str, region: str) -> None:
    assert region_of(number) == region


@pytest.mark.parametrize("kind", ["phone", "email", "name", "date", "id", "number", "text"])
def test_an_accent_is_the_same_in_one_character_or_in_two(kind: Kind) -> None:
    assert normalise(kind, "caf\u00e9-12") == normalise(kind, "cafe\u0301-12")
