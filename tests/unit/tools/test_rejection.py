"""Which function calls are refused because of what was said (vapi.md 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tools.rejection import Said, has_conditions, needs_liquid, rejects, unreadable

pytestmark = pytest.mark.unit

TALK = (
    Said("assistant", "Hello, what can I do?"),
    Said("user", "I want to book."),
    Said("assistant", "For when?"),
    Said("user", "Never mind. Goodbye."),
    Said("assistant", "Goodbye!"),
)


def regex(pattern: str, **fields: Any) -> dict[str, Any]:
    """Return a condition on words."""
    return {"type": "regex", "regex": pattern, **fields}


def group(operator: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    """Return a group of conditions."""
    return {"type": "group", "operator": operator, "conditions": list(conditions)}


def judged(*conditions: Any, said: Sequence[Said] = TALK) -> bool:
    """Judge a plan of some conditions."""
    return rejects({"conditions": list(conditions)}, said)


def test_the_documented_example_lets_a_call_end_only_after_a_goodbye() -> None:
    plan = regex(
        r"(?i)\b(bye|goodbye|farewell|see you later|take care)\b",
        target={"position": -1, "role": "user"},
        negate=True,
    )
    assert judged(plan) is False
    assert judged(plan, said=TALK[:3]) is True


def test_all_conditions_must_hold_and_a_plan_without_any_refuses_nothing() -> None:
    yes, no = regex("Goodbye"), regex("Tuesday")
    assert (judged(yes), judged(yes, yes), judged(yes, no)) == (True, True, False)
    assert [rejects(plan, TALK) for plan in ({}, {"conditions": []}, None, 5)] == [False] * 4
    assert has_conditions({"conditions": [yes]})
    assert not has_conditions({"conditions": {}})


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        (None, "Goodbye!"),
        ({}, "Goodbye!"),
        ({"role": "user"}, "^Never mind"),
        ({"role": "user", "position": 0}, "book"),
        ({"role": "assistant", "position": -2}, "For when"),
        ({"position": 1}, "book"),
        ({"role": "nobody", "position": "last"}, "Goodbye!"),
    ],
)
def test_a_target_names_a_message(target: Any, pattern: str) -> None:
    assert judged(regex(pattern, target=target)) is True


def test_a_message_that_is_not_there_holds_nothing() -> None:
    assert judged(regex("x", target={"position": 9})) is False
    assert judged(regex("x", target={"position": 9}, negate=True)) is True
    assert judged(regex("x", target={"position": float("inf")})) is False
    assert judged(regex("."), said=()) is False


def test_groups_are_read_with_their_operator_and_inside_each_other() -> None:
    yes, no = regex("Goodbye"), regex("Tuesday")
    assert judged(group("OR", no, yes)) is True
    assert judged(group("AND", no, yes)) is False
    assert judged(group("OR", no, group("AND", yes, yes))) is True
    assert judged(group("AND")) is judged(group("OR")) is False
    deep = yes
    for _ in range(30):
        deep = group("AND", deep)
    assert judged(deep) is False


def test_liquid_holds_where_it_renders_true_and_not_without_a_renderer() -> None:
    plan = {"conditions": [{"type": "liquid", "liquid": "{{ x }}"}]}
    assert needs_liquid(plan)
    assert needs_liquid({"conditions": [group("OR", regex("x"), plan["conditions"][0])]})
    assert not needs_liquid({"conditions": [regex("x")]})
    assert rejects(plan, TALK) is False
    for rendered, refused in ((" true\n", True), ("false", False), ("True", False), ("", False)):
        assert rejects(plan, TALK, lambda text, said, r=rendered: r) is refused


def test_what_cannot_be_read_refuses_nothing_and_is_named() -> None:
    for condition in (regex("("), regex("(", negate=True), {"type": "new"}, {}, None, regex(5)):
        assert judged(condition) is False
    plan = {"conditions": [regex("("), group("OR", regex(r"(a)\1"), regex("fine"))]}
    assert unreadable(plan) == [
        "the pattern ends too early",
        "references to groups are not matched",
    ]
    assert unreadable({"conditions": [regex("fine")]}) == unreadable(None) == []
