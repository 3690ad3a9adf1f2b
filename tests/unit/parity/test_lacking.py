"""A pass is withheld where too much of a run is lacking, by a stated rule."""

from __future__ import annotations

import pytest

from calls.parity.lacking import Lacks, too_few_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        (Lacks(76), ""),
        (Lacks(76, missing=4), ""),  # exactly 5% of 80
        (Lacks(76, missing=5), "5 of 81 pairs could not be compared"),
        (Lacks(0), ""),
        (Lacks(0, missing=1), "1 of 1 pairs could not be compared"),
        (Lacks(80, cut=40), ""),
        (Lacks(80, cut=41), "41 of 80 pairs were cut"),
        (Lacks(80, cut=30, empty=19), ""),  # 49 of 99
        (Lacks(80, cut=31, empty=20), "51 of 100 pairs were cut"),
        (Lacks(200, unplayed=1), "1 pairs were not played"),
    ],
)
def test_a_pass_is_withheld_where_too_much_is_lacking(lacks: Lacks, says: str) -> None:
    assert lacks.withholds.startswith(says) and bool(lacks.withholds) == bool(says)


def test_too_few_pairs_are_told_of_before_a_run_begins() -> None:
    assert too_few_words(76, has_marks=True) == ""
    assert too_few_words(50, has_marks=False) == (
        "50 pairs can fail and never pass: without one difference it takes 76"
    )
    assert too_few_words(75, has_marks=True).endswith("it takes 76, and 387 critical fields")


def test_what_is_lacking_is_told_with_its_counts() -> None:
    assert Lacks(10).told == ""
    assert Lacks(10, missing=2, empty=1, cut=3, unplayed=4).told == (
        "2 could not be compared, 1 were cut before their first tool, "
        "3 were compared in their beginning only, 4 were not played"
    )
