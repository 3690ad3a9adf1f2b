"""Vapi's tool messages: how they are read, and which of them applies (vapi.md 3.3)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tools.messages import (
    MAX_CHARACTERS,
    Kind,
    ToolMessage,
    arguments_of,
    chosen,
    delays,
    is_empty,
    read_messages,
    with_fillers,
)
from tools.spec import ToolSpec

pytestmark = pytest.mark.unit


def start(text: str | None, **fields: Any) -> dict[str, Any]:
    """Return a message for the start of a call."""
    content = {} if text is None else {"content": text}
    return {"type": "request-start", **content, **fields}


def when(operator: str, value: Any, param: str = "n") -> list[dict[str, Any]]:
    """Return one condition."""
    return [{"operator": operator, "param": param, "value": value}]


def texts(messages: tuple[ToolMessage, ...]) -> list[str]:
    """Return the words of messages."""
    return [each.text for each in messages]


def test_a_message_is_read_with_all_it_says() -> None:
    (read,) = read_messages(
        [
            {
                "type": "request-complete",
                "content": " Booked, {{name}}. ",
                "role": "assistant",
                "endCallAfterSpokenEnabled": True,
                "conditions": when("eq", "1"),
            }
        ],
        fill=lambda text: text.replace("{{name}}", "Ann"),
    )
    assert (read.kind, read.text, read.ends_call) == ("complete", "Booked, Ann.", True)
    assert [dataclasses.astuple(each) for each in read.conditions] == [("eq", "n", "1")]


def test_contents_are_picked_by_the_language_of_the_call() -> None:
    contents = [
        {"type": "text", "text": "Moment", "language": "de"},
        {"type": "text", "text": "Instant", "language": "fr-CA"},
    ]
    for language, words in (("de", "Moment"), ("de-AT", "Moment"), ("fr-CA", "Instant")):
        assert texts(read_messages([start(None, contents=contents)], language=language)) == [words]
    other = read_messages([start("One moment", contents=contents)], language="es")
    assert texts(other) == ["One moment"]
    assert texts(read_messages([start(None, contents=contents)], language="es")) == ["Moment"]


def test_an_unknown_type_is_one_for_a_failure_and_what_has_no_words_is_left_out() -> None:
    odd = [
        {"type": "whatever", "content": "Oh"},
        {"type": "request-complete"},
        7,
        None,
        [start("x")],
    ]
    (read,) = read_messages(odd)
    assert (read.kind, read.text) == ("failed", "Oh")
    assert [each.kind for each in read_messages("Done.")] == ["complete"]
    assert read_messages(None) == read_messages({"type": "request-failed"}) == ()


@pytest.mark.parametrize("value", [{}, 5, "x", [[]], {"content": 3}, {"contents": {"text": 1}}])
def test_any_json_is_read(value: Any) -> None:
    for entries in (value, [value], [{"type": "request-start", "conditions": value}]):
        for each in read_messages(entries):
            assert isinstance(each.text, str)


def test_long_words_are_cut_where_vapi_ends() -> None:
    (read,) = read_messages([start("x" * 2_000)])
    assert len(read.text) == MAX_CHARACTERS


def test_t6_without_words_for_the_start_there_is_a_filler_in_the_language_of_the_call() -> None:
    assert "Hold on a sec." in texts(with_fillers((), "en"))
    assert "Einen Moment." in texts(with_fillers((), "de-DE"))
    # "Default" in the dashboard: the message is there and has no words.
    bare = with_fillers(read_messages([start(None, blocking=True)]), "en")
    assert all(each.filler and each.blocking for each in bare)
    assert len(bare) == 5
    # '' is silence, and a language that we have no words for is no reason to speak English.
    assert texts(with_fillers(read_messages([start("")]), "en")) == [""]
    assert with_fillers((), "ja") == with_fillers((), "") == ()


def test_a_message_whose_conditions_hold_comes_before_those_without_any() -> None:
    messages = read_messages(
        [start("Always."), start("Many.", conditions=when("gte", "10"))],
    )

    def said(**arguments: Any) -> str:
        found = chosen(messages, "start", arguments, "c1")
        return found.text if found else "-"

    assert [said(n=12), said(n="12"), said(n=9), said()] == ["Many.", "Many.", "Always.", "Always."]
    only = read_messages([start("Many.", conditions=when("gt", 10))])
    assert chosen(only, "start", {"n": 1}, "c1") is None


@pytest.mark.parametrize(
    ("operator", "value", "given", "holds"),
    [
        ("eq", "5", 5, True),
        ("eq", "5.0", "5", True),
        ("eq", "true", True, True),
        ("eq", "yes", "no", False),
        ("neq", "yes", "no", True),
        ("neq", "yes", None, True),
        ("gt", "5", 5, False),
        ("gte", "5", 5, True),
        ("lt", 5, "4", True),
        ("lte", "x", 4, False),
        ("like", "5", 5, False),
        ("eq", [1], [1], True),
    ],
)
def test_values_are_compared_loosely(operator: str, value: Any, given: Any, holds: bool) -> None:
    messages = read_messages([start("x", conditions=when(operator, value))])
    assert (chosen(messages, "start", {"n": given}, "c1") is not None) is holds


def test_all_conditions_of_a_message_must_hold() -> None:
    both = [*when("eq", "1", "a"), *when("eq", "2", "b")]
    messages = read_messages([start("x", conditions=both)])
    assert chosen(messages, "start", {"a": 1, "b": 2}, "c") is not None
    assert chosen(messages, "start", {"a": 1, "b": 3}, "c") is None


def test_variants_are_all_used_and_one_call_always_has_the_same() -> None:
    messages = read_messages([start(str(number)) for number in range(4)])

    def pick(seed: str) -> str:
        found = chosen(messages, "start", {}, seed)
        assert found is not None
        return found.text

    picked = [pick(f"call_{number}") for number in range(60)]
    assert set(picked) == {"0", "1", "2", "3"}
    assert picked == [pick(f"call_{number}") for number in range(60)]


def test_each_timing_is_a_stage_and_equal_ones_are_variants() -> None:
    late: Kind = "delayed"
    messages = [
        ToolMessage(late, "Still at it.", after_ms=4_000),
        ToolMessage(late, "A bit more.", after_ms=9_000),
        ToolMessage(late, "Not long now.", after_ms=9_000),
        ToolMessage("start", "Hello."),
    ]
    stages = delays(messages, {}, "c1")
    assert [after_ms for after_ms, _ in stages] == [4_000, 9_000]
    assert stages[0][1] == "Still at it."
    assert {delays(messages, {}, str(n))[1][1] for n in range(20)} == {
        "A bit more.",
        "Not long now.",
    }
    (odd,) = read_messages([{"type": "request-response-delayed", "content": "x"}])
    assert odd.after_ms == 0


def test_arguments_that_are_no_object_meet_no_condition() -> None:
    assert arguments_of('{"n": 1}') == {"n": 1}
    assert arguments_of("[1]") == arguments_of("{") == {}
    assert [is_empty(each) for each in ("", " null ", "false", "ok")] == [True, True, True, False]


def test_a_tool_comes_back_from_json_with_its_messages() -> None:
    spec = ToolSpec(
        "book",
        messages=read_messages([start("x", blocking=True, conditions=when("eq", 1))]),
        rejection={"conditions": [{"type": "regex", "regex": "x"}]},
    )
    value = json.loads(json.dumps(dataclasses.asdict(spec)))
    assert ToolSpec.from_json(value) == spec
    for name in ("messages", "rejection"):
        del value[name]  # as it was stored before there were any
    assert ToolSpec.from_json(value) == ToolSpec("book")
