"""Where a marked number's data may go: each term that is missing names itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.numbers.contract import Marks, Terms, why_not

pytestmark = pytest.mark.unit

ALL = Terms(region="eu", has_baa=True, has_dpa=True, zero_retention=True)
NOTHING = Terms(region="", has_baa=False, has_dpa=False, zero_retention=False)


def test_a_number_without_marks_may_go_anywhere() -> None:
    assert why_not(Marks(), NOTHING) == ""


def test_a_full_contract_takes_every_mark() -> None:
    assert why_not(Marks(health_data=True, eu_data=True), ALL) == ""
    assert why_not(Marks(eu_data=True), replace(ALL, region="eu-north")) == ""


@pytest.mark.parametrize(
    ("mark", "term", "value", "word"),
    [
        ("health_data", "has_baa", False, "BAA"),
        ("health_data", "zero_retention", False, "keeps"),
        ("eu_data", "region", "us", "region"),
        ("eu_data", "region", "", "region"),
        ("eu_data", "region", "europa-park", "region"),
        ("eu_data", "has_dpa", False, "DPA"),
    ],
)
def test_each_missing_term_forbids_its_mark_only(
    mark: str, term: str, value: object, word: str
) -> None:
    terms = replace(ALL, **{term: value})  # type: ignore[arg-type]  # one field of its own type
    other = {"health_data": "eu_data", "eu_data": "health_data"}[mark]
    assert word in why_not(Marks(**{mark: True}), terms)
    assert why_not(Marks(**{other: True}), terms) == ""
