"""What the answers of tool servers mean, form by form (vapi.md 4.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.wire.vapi_server import NO_RESULT, ToolAnswer, tool_results

pytestmark = pytest.mark.unit


def one(body: Any, status: int = 200, **options: bool) -> ToolAnswer:
    """Read the answer to the single call ``a``."""
    text = body if isinstance(body, str) else json.dumps(body)
    return tool_results(status, text, ["a"], **options)["a"]


def entry(**values: Any) -> dict[str, Any]:
    """Return a body with one result for ``a``."""
    return {"results": [{"toolCallId": "a", **values}]}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_v5_any_2xx_counts(status: int) -> None:
    assert one(entry(result="Booked"), status) == ToolAnswer("Booked")


@pytest.mark.parametrize("status", [302, 400, 404, 422, 500, 503])
def test_results_are_read_from_every_status(status: int) -> None:
    assert one(entry(result="Booked"), status).text == "Booked"
    assert one(entry(error="full"), status) == ToolAnswer("full", failed=True)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, ""),
        (200, "Booked for Monday"),
        (200, "<html>"),
        (200, "[]"),
        (200, "null"),
        (200, '{"ok": true}'),
        (200, '{"results": []}'),
        (200, '{"results": null}'),
        (200, '{"results": "Booked"}'),
        (200, '{"results": ["Booked"]}'),
        (200, '{"results": [{"toolCallId": "a"}]}'),
        (200, '{"results": [{"toolCallId": "a", "result": null}]}'),
        (200, '{"results": [{"toolCallId": "a", "result": ""}]}'),
        (200, '{"results": [{"toolCallId": "a", "result": " \\n "}]}'),
        (200, "[" * 100_000),
        (500, "oops"),
        (500, '{"result": "Booked"}'),
        (302, ""),
    ],
)
def test_v4_nothing_usable_is_worded_as_users_know_it(status: int, body: str) -> None:
    assert one(body, status) == ToolAnswer("No result returned.", failed=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"slots": ["10:00"], "ok": True}, '{"slots":["10:00"],"ok":true}'),
        ([1, "é"], '[1,"é"]'),
        (0, "0"),
        (False, "false"),
        (1.5, "1.5"),
        ({}, "{}"),
    ],
)
def test_what_is_no_text_is_dumped(value: Any, text: str) -> None:
    assert one(entry(result=value)) == ToolAnswer(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("one\ntwo", "one two"),
        ("one\r\n\r\n  two\n", "one two"),
        ("one \u2028 two", "one two"),
        ("  kept  inside ", "kept  inside"),
    ],
)
def test_v4_line_breaks_collapse(value: str, text: str) -> None:
    assert one(entry(result=value)).text == text
    assert one(entry(error=value)) == ToolAnswer(text, failed=True)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert one('{"results": [{"toolCallId": "a", "result": "x\\ud800y"}]}').text == "x?y"


def test_a_byte_order_mark_is_skipped() -> None:
    assert one("\ufeff" + json.dumps(entry(result="Booked"))).text == "Booked"


def test_results_may_be_a_single_object() -> None:
    assert one({"results": {"toolCallId": "a", "result": "Booked"}}).text == "Booked"


def test_v4_one_result_for_one_call_is_taken_whatever_its_id() -> None:
    for tool_call_id in ("other", None, 7, "a…"):
        found = one({"results": [{"toolCallId": tool_call_id, "result": "Booked"}]})
        assert found.text == "Booked"
        assert found.warning
    assert one({"results": [{"result": "Booked"}]}).warning


def test_the_right_id_wins_over_a_lone_guess() -> None:
    body = {"results": [{"toolCallId": "z", "result": "no"}, {"toolCallId": "a", "result": "yes"}]}
    assert one(body) == ToolAnswer("yes")


def test_two_foreign_results_are_nobody_s() -> None:
    body = {"results": [{"toolCallId": "y", "result": "1"}, {"toolCallId": "z", "result": "2"}]}
    assert one(body).text == NO_RESULT


def test_several_calls_are_matched_by_id_not_by_order() -> None:
    body = {
        "results": [
            {"toolCallId": "b", "name": "second", "result": "B"},
            {"toolCallId": "a", "error": "A is full"},
            {"toolCallId": "b", "result": "again"},
        ]
    }
    found = tool_results(200, json.dumps(body), ["a", "b", "c"])
    assert found == {
        "a": ToolAnswer("A is full", failed=True),
        "b": ToolAnswer("B"),
        "c": ToolAnswer(NO_RESULT, failed=True),
    }


def test_several_calls_never_guess() -> None:
    found = tool_results(200, '{"results": [{"toolCallId": "z", "result": "1"}]}', ["a", "b"])
    assert {answer.text for answer in found.values()} == {NO_RESULT}


@pytest.mark.parametrize("status", [200, 401, 500])
def test_an_error_at_the_top_is_every_call_s(status: int) -> None:
    found = tool_results(status, '{"error": "calendar\\ndown"}', ["a", "b"])
    assert set(found.values()) == {ToolAnswer("calendar down", failed=True)}


def test_an_error_object_is_dumped() -> None:
    assert one({"error": {"code": 7}}) == ToolAnswer('{"code":7}', failed=True)


def test_an_entry_error_beats_its_result() -> None:
    assert one(entry(result="Booked", error="full")) == ToolAnswer("full", failed=True)


@pytest.mark.parametrize("nothing", [None, False, 0, "", " "])
def test_an_error_that_says_no_is_none(nothing: Any) -> None:
    assert one(entry(result="Booked", error=nothing)) == ToolAnswer("Booked")
    assert one({"result": "Booked", "error": nothing}) == ToolAnswer("Booked")
    assert one({"results": [], "error": nothing}).text == NO_RESULT


def test_the_legacy_form_answers_a_single_call() -> None:
    assert one({"result": {"ok": 1}}) == ToolAnswer('{"ok":1}')
    assert one({"result": "Booked"}, 201).text == "Booked"
    assert one({"toolCallId": "a", "result": "Booked"}).text == "Booked"
    found = tool_results(200, '{"result": "Booked"}', ["a", "b"])
    assert {answer.text for answer in found.values()} == {NO_RESULT}


def test_other_objects_are_results_only_when_asked() -> None:
    assert one({"booked": True}).text == NO_RESULT
    assert one({"booked": True}, objects_are_results=True) == ToolAnswer('{"booked":true}')
    assert one({}, objects_are_results=True).text == NO_RESULT
    assert one({"results": []}, objects_are_results=True).text == NO_RESULT


def test_messages_are_an_object_several_or_a_sentence() -> None:
    said = {"type": "request-complete", "content": "All set."}
    assert one(entry(result="x", message=said)).messages == (said,)
    assert one(entry(result="x", message=[said, 3, said])).messages == (said, said)
    assert one(entry(result="x", message="All set.")).messages == (said,)
    assert one(entry(result="x", message="")).messages == ()
    assert one(entry(result="x", message=None)).messages == ()


def test_metadata_is_kept() -> None:
    assert one(entry(result="x", metadata={"id": 1})).metadata == {"id": 1}
    assert one(entry(result="x", metadata="no")).metadata is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["results", "result", "error", "toolCallId", "message", "metadata", "x"]
            ),
            children | st.sampled_from(["a", "b"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.integers(100, 599), st.text() | _JSON.map(json.dumps), st.lists(st.text(), max_size=3))
def test_every_call_has_one_line_of_text_whatever_came_back(
    status: int, body: str, others: list[str]
) -> None:
    asked = ["a", *others]
    found = tool_results(status, body, asked)
    assert set(found) == set(asked)
    for answer in found.values():
        assert answer.text.strip()
        assert not set(answer.text) & set("\r\n\u2028\u2029")
        answer.text.encode()
