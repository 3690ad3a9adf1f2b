"""What two calls did differently, worked out by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest

from calls.parity.differ import STRUCTURED, Difference, difference
from calls.parity.sequence import Outcomes
from tests.unit.parity.calls import call, tool

pytestmark = pytest.mark.unit


def _rows(found: Difference) -> list[tuple[str, str, str]]:
    return [
        (row.kind, row.old.name if row.old else "", row.new.name if row.new else "")
        for row in found.aligned
    ]


def _counts(found: Difference) -> tuple[str, str, str]:
    return "".join(found.omitted), "".join(found.extra), "".join(found.reordered)


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("", "", ("", "", "")),
        ("abc", "abc", ("", "", "")),
        ("abc", "ac", ("b", "", "")),
        ("ac", "abc", ("", "b", "")),
        ("abc", "acb", ("", "", "b")),  # a move is not one omitted and one extra
        ("abcd", "dabc", ("", "", "d")),
        ("abc", "cba", ("", "", "ab")),
        ("abc", "xyz", ("abc", "xyz", "")),
        ("abc", "", ("abc", "", "")),
        ("ab", "abb", ("", "b", "")),  # a second call is an extra one
        ("abab", "ab", ("ab", "", "")),
        ("abc", "bxa", ("c", "x", "a")),
        ("aab", "baa", ("", "", "b")),
    ],
)
def test_order_omitted_extra_and_reordered_are_counted_apart(
    old: str, new: str, counts: tuple[str, str, str]
) -> None:
    found = difference(call(old), call(new), {})
    assert _counts(found) == counts
    assert found.drifts is any(counts)


def test_calls_stand_side_by_side_like_a_diff() -> None:
    assert _rows(difference(call("abcd"), call("dabxc"), {})) == [
        ("reordered", "", "d"),
        ("same", "a", "a"),
        ("same", "b", "b"),
        ("extra", "", "x"),
        ("same", "c", "c"),
        ("reordered", "d", ""),
    ]


def test_calls_of_one_message_have_no_order_among_themselves() -> None:
    together = call(tool("a", message=1), tool("b", message=1), tool("c", message=1), "d")
    assert not difference(together, call("bcad"), {}).drifts
    assert not difference(call("cabd"), together, {}).drifts
    mirrored = call(tool("c", message=4), tool("a", message=4), tool("b", message=4), "d")
    assert not difference(together, mirrored, {}).drifts
    # But they all come before what was asked for later, and each must be there.
    assert difference(together, call("abdc"), {}).reordered
    assert _counts(difference(together, call("bad"), {})) == ("c", "", "")


def test_order_that_the_log_gives_is_kept() -> None:
    assert difference(call("ab"), call("ba"), {}).drifts
    apart = call(tool("a", message=1), tool("b", message=2))
    assert difference(apart, call("ba"), {}).drifts


def test_more_parallel_calls_than_can_be_tried_are_sorted() -> None:
    dice = random.Random(1)
    names = list("abcdefghij")
    left = call(*(tool(name, message=1) for name in names))
    dice.shuffle(names)
    right = call(*(tool(name, message=1) for name in names))
    assert not difference(left, right, {}).drifts
    assert _counts(difference(left, call(*right.tools[1:]), {}))[1:] == ("", "")


def test_a_failed_call_that_was_made_again_at_once_is_one_call() -> None:
    flaky = call(tool("a", "failed", x=1), tool("a", "failed", x=1.0), tool("a", x=1), "b")
    found = difference(flaky, call(tool("a", x=1), "b"), {})
    assert not found.drifts
    assert found.retries == (2, 0)


@pytest.mark.parametrize(
    "tools",
    [
        [tool("a", x=1), tool("a", x=1)],  # it went well: it may book twice
        [tool("a", "unknown", x=1), tool("a", x=1)],
        [tool("a", "failed", x=1), tool("a", x=2)],  # another try, not the same again
        [tool("a", "failed", message=1), tool("a", message=1)],  # asked for before it failed
    ],
)
def test_every_other_repeat_is_an_extra_call(tools: list[Any]) -> None:
    assert difference(call(tool("a", x=1)), call(*tools), {}).extra == ("a",)


def test_names_are_one_only_where_a_rule_says_so() -> None:
    old, new = call("a", tool("vapi_book slot")), call("a", tool("book_slot"))
    assert difference(old, new, {}).drifts
    rules = {"vapi_*": "", "vapi_book slot": "book_slot"}
    assert not difference(old, new, {}, renames=rules).drifts
    assert not difference(new, old, {}, renames=rules).drifts


MARKS: Any = {"book": {"phone": "phone", "guests[*].email": "email", "when": "date"}}


def test_critical_arguments_are_compared_after_normalisation() -> None:
    old = call(
        tool(
            "book",
            phone="(202) 555-0143",
            guests=[{"email": "A@x.com"}, {"email": "b@x.com"}],
            when="March 5, 2026",
            note="window seat",
        )
    )
    new = call(
        tool(
            "book",
            phone="+12025550143",
            guests=[{"email": "a@x.com"}, {"email": "c@x.com"}],
            when="2026-03-05",
            note="by the window",
        )
    )
    found = difference(old, new, MARKS)
    assert not found.drifts
    assert len(found.compared) == 4
    (wrong,) = found.arguments
    assert (wrong.tool, wrong.path, wrong.kind) == ("book", "guests[1].email", "email")
    assert (wrong.old, wrong.new) == ("b@x.com", "c@x.com")
    assert found.aligned[0].same_arguments is False  # the note is shown, and not judged


def test_missing_null_and_empty_are_one_and_a_field_nobody_filled_in_is_none() -> None:
    one = call(tool("book", phone=None, when="2026-03-05"))
    assert (
        difference(one, call(tool("book", phone="", when="5.3.2026")), MARKS).compared[0].path
        == "when"
    )
    assert len(difference(one, call(tool("book", when="2026-03-05")), MARKS).compared) == 1
    (wrong,) = difference(
        one, call(tool("book", phone="202-555-0143", when="2026-03-05")), MARKS
    ).arguments
    assert (wrong.old, wrong.new) == ("", "202-555-0143")


def test_a_list_that_is_longer_differs_in_what_it_has_more() -> None:
    one = call(tool("book", guests=[{"email": "a@x.com"}]))
    two = call(tool("book", guests=[{"email": "a@x.com"}, {"email": "b@x.com"}]))
    assert [each.path for each in difference(one, two, MARKS).arguments] == ["guests[1].email"]


def test_a_call_that_moved_is_still_compared_and_one_that_is_missing_is_not() -> None:
    book = tool("book", phone="2025550143")
    wrong = tool("book", phone="2025550134")
    found = difference(call("a", book, "b"), call(wrong, "a", "b"), MARKS)
    assert (found.reordered, len(found.arguments)) == (("book",), 1)
    assert difference(call("a", book), call("a"), MARKS).compared == ()


def test_repeats_of_a_tool_meet_the_repeat_with_the_same_fields() -> None:
    first, second = tool("book", when="2026-03-05"), tool("book", when="2026-03-06")
    found = difference(call(first, second), call(second), MARKS)
    assert (found.omitted, found.arguments) == (("book",), ())
    assert [row.kind for row in found.aligned] == ["omitted", "same"]


def test_phone_numbers_belong_to_the_stated_region() -> None:
    one, two = call(tool("book", phone="030 901820")), call(tool("book", phone="+49 30 901820"))
    assert difference(one, two, MARKS).arguments
    assert not difference(one, two, MARKS, region="DE").arguments


def _ended(**facts: Any) -> Any:
    return call("a", outcomes=Outcomes(**facts))


def test_how_a_call_came_out() -> None:
    found = difference(
        _ended(tools_ok=True, transferred=True), _ended(tools_ok=True, transferred=False), {}
    )
    assert [(each.fact, each.old, each.new) for each in found.outcome] == [
        ("transfer", "yes", "no")
    ]
    assert len(found.facts) == 2
    assert not found.drifts


def test_what_is_known_of_one_side_only_is_never_compared() -> None:
    found = difference(_ended(tools_ok=None, structured={"a": 1}), _ended(tools_ok=False), {})
    assert found.facts == ()


def test_the_reason_of_the_end_is_shown_and_not_judged() -> None:
    one = _ended(tools_ok=True, ended="customer-ended-call")
    assert not difference(one, _ended(tools_ok=True, ended="assistant-ended-call"), {}).outcome


def test_structured_data_is_compared_leaf_by_leaf_but_for_prose() -> None:
    one = {
        "booked": True,
        "city": "Berlin",
        "summary": "The caller wanted a table for two people at eight.",
        "slots": [{"at": "15:00"}],
        "guest": {"phone": "2025550143"},
        "empty": None,
    }
    two = {
        "booked": False,
        "city": " berlin ",
        "summary": "A table was asked for.",
        "slots": [{"at": "3 pm"}],
        "guest": {"phone": "+1 202 555 0143"},
    }
    marks: Any = {STRUCTURED: {"guest.phone": "phone"}}
    found = difference(_ended(structured=one), _ended(structured=two), marks)
    assert [each.fact for each in found.outcome] == ["booked", "slots[0].at"]
    assert len(found.facts) == 4
    marks[STRUCTURED]["slots[*].at"] = "date"
    assert [
        each.fact
        for each in difference(_ended(structured=one), _ended(structured=two), marks).outcome
    ] == ["booked"]


def test_a_call_that_was_cut_is_compared_as_far_as_it_went() -> None:
    whole = call("abcd")
    found = difference(whole, call("ab", cut=True), {})
    assert (found.drifts, found.cut, found.facts) == (False, True, ())
    assert difference(whole, call("ax", cut=True), {}).omitted == ("b",)
    assert not difference(call("abc", cut=True), call("ab", cut=True), {}).drifts
    assert not difference(call("ab", cut=True), whole, {}).drifts
    # It went further than the other call did, so nothing is missing on its side.
    assert difference(call("ab"), call("abc", cut=True), {}).extra == ("c",)


def test_a_call_that_was_cut_before_its_first_tool_says_nothing() -> None:
    assert difference(call("abc"), call("", cut=True), {}).says_nothing
    assert not difference(call(""), call(""), {}).says_nothing  # both ended without a tool
    assert not difference(call(""), call("a", cut=True), {}).says_nothing


def test_nothing_that_people_said_is_in_a_repr() -> None:
    old, new = (call(tool("book", phone=phone)) for phone in ("2025550143", "2025550134"))
    found = difference(old, new, MARKS)
    assert found.arguments
    assert "2025550" not in f"{found!r}{old!r}"
