"""Which calls may be heard along: every condition by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calls.parity.shadow_ear import notice_given
from calls.parity.shadow_rules import Moment, Standing, most_everywhere, why_never, why_not_now

pytestmark = pytest.mark.unit

ALLOWED = Standing(
    has_policy=True,
    is_reviewed=True,
    processor="OpenAI",
    consent="none",
    has_assistant=True,
    has_connection=True,
    has_previous=True,
)
NOW = Moment(
    is_on=True,
    percent=50,
    most_here=2,
    run_is_open=True,
    wanted=10,
    taken=9,
    drawn=49.9,
    here=1,
    everywhere=19,
    live_calls=80,
    most_calls=200,
)


def test_a_number_whose_callers_need_not_be_asked_may_be_heard() -> None:
    assert why_never(ALLOWED) == ""
    assert why_never(replace(ALLOWED, consent="notice", notice="heard by OpenAI")) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"has_policy": False}, "no call policy"),
        ({"is_reviewed": False}, "not reviewed"),
        ({"processor": ""}, "does not name the second company"),
        ({"consent": "ask"}, "asks each caller"),
        ({"consent": "ask", "notice": "heard by OpenAI"}, "asks each caller"),
        ({"consent": "notice"}, "no words"),
        ({"consent": "notice", "notice": "recorded"}, "no words"),
        ({"has_assistant": False}, "no assistant"),
        ({"has_connection": False}, "no model connection"),
        ({"has_previous": False}, "no old stack"),
        ({"forbidden": "the data stays in the EU"}, "stays in the EU"),
        ({"masked": True}, "may keep nothing"),
    ],
)
def test_each_reason_forbids_it_and_names_its_fix(change: dict[str, Any], words: str) -> None:
    never = why_never(replace(ALLOWED, **change))
    assert words in never and "Fix: " in never


def test_nothing_at_all_is_no_leave() -> None:
    assert why_never(Standing())


def test_a_call_within_every_limit_is_taken() -> None:
    assert why_not_now(NOW) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"is_on": False},
        {"run_is_open": False},
        {"taken": 10},
        {"drawn": 50.0},
        {"here": 2},
        {"everywhere": 20},
        {"live_calls": 81},
        {"is_lost": True},
    ],
)
def test_each_limit_is_one(change: dict[str, Any]) -> None:
    assert why_not_now(replace(NOW, **change))


def test_a_small_instance_hears_one_call_along_and_leaves_half_of_it_to_its_callers() -> None:
    assert (most_everywhere(3), most_everywhere(200)) == (1, 20)
    small = replace(NOW, most_calls=3, live_calls=0, everywhere=0)
    assert why_not_now(small) == ""
    assert why_not_now(replace(small, live_calls=2)) == "our own calls need it"


def test_a_notice_is_its_words_whatever_stands_between_them() -> None:
    said = "Hello - this call is heard, by OpenAI too. How can I help?"
    assert notice_given("Heard by open", said) is False
    assert notice_given("this call is HEARD by OpenAI", said)
    assert notice_given("", said) is False
