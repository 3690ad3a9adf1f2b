"""What changed between two documents, and that no secret is told."""

from __future__ import annotations

import pytest

from assistants.diff import Change, Span, changes, pairs, with_gaps, word_spans

pytestmark = pytest.mark.unit


def test_equal_documents_differ_in_nothing() -> None:
    document = {"name": "A", "model": {"messages": [{"role": "system", "content": "Hi"}]}}
    assert changes(document, document) == []


def test_json_is_compared_by_key_path() -> None:
    old = {"voice": {"voiceId": "marin"}, "silenceTimeoutSeconds": 30, "a b": 1}
    new = {"voice": {"voiceId": "cedar"}, "maxDurationSeconds": 600, "a b": 1}
    assert changes(old, new) == [
        Change("$.voice.voiceId", "changed", "marin", "cedar"),
        Change("$.maxDurationSeconds", "added", new=600),
        Change("$.silenceTimeoutSeconds", "removed", old=30),
    ]


def test_one_and_true_are_two_values() -> None:
    assert [c.kind for c in changes({"n": 1, "m": 0}, {"n": True, "m": False})] == ["changed"] * 2


def test_a_prompt_is_compared_by_words() -> None:
    (change,) = changes(
        {"prompt": "You are polite and you book tables."},
        {"prompt": "You are brief and you book quiet tables."},
    )
    assert change.path == "$.prompt"
    assert change.words == (
        Span("same", "You are "),
        Span("removed", "polite"),
        Span("added", "brief"),
        Span("same", " and you book"),
        Span("added", " quiet"),
        Span("same", " tables."),
    )


def test_neighbouring_changed_words_are_one_stretch() -> None:
    spans = word_spans("we open at nine today\n", "we close by five today\n")
    assert [span.text for span in spans if span.kind == "removed"] == ["open at nine"]
    assert [span.text for span in spans if span.kind == "added"] == ["close by five"]


def test_a_rewritten_sentence_is_not_cut_into_confetti() -> None:
    spans = word_spans(
        "Open from nine to five, closed over lunch from noon to one.",
        "Open from eight to six, and Saturday from nine to noon.",
    )
    assert [span.text for span in spans] == [
        "Open from ",
        "nine to five, closed over lunch from noon to one",
        "eight to six, and Saturday from nine to noon",
        ".",
    ]


def test_unchanged_lines_far_from_a_change_are_left_out() -> None:
    lines = [f"Rule {number}\n" for number in range(20)]
    new = [*lines[:10], "A new rule\n", *lines[10:]]
    shown = with_gaps(word_spans("".join(lines), "".join(new)))
    assert shown == [
        Span("gap", lines=8),
        Span("same", "Rule 8\nRule 9\n"),
        Span("added", "A new rule\n"),
        Span("same", "Rule 10\nRule 11\n"),
        Span("gap", lines=8),
    ]


def test_a_rewritten_long_prompt_is_shown_whole_and_at_once() -> None:
    old, new = "word " * 20_000, "other " * 20_000
    assert [span.kind for span in word_spans(old, new)] == ["removed", "added"]


def test_list_elements_are_matched_by_identity_and_else_by_position() -> None:
    one, two = {"id": "1", "v": 1}, {"id": "2", "v": 2}
    assert pairs([one, two], [two, {"id": "3"}, one]) == [(1, 0), (None, 1), (0, 2)]
    assert pairs(["a", "b", "c"], ["a", "x", "c", "d"]) == [(0, 0), (1, 1), (2, 2), (None, 3)]
    assert pairs(["a", "b"], ["b"]) == [(0, None), (1, 0)]


def test_functions_are_matched_by_their_names_whatever_their_order() -> None:
    book = {"type": "function", "function": {"name": "book"}, "async": False}
    look = {"type": "function", "function": {"name": "look"}}
    found = changes({"tools": [book, look]}, {"tools": [look, book | {"async": True}]})
    assert found == [
        Change("$.tools", "moved"),
        Change("$.tools[1].async", "changed", False, True),
    ]


def test_a_secret_is_named_and_never_shown() -> None:
    old = {
        "server": {"url": "https://a.example/?token=old-token&x=1", "secret": "old-secret"},
        "serverUrlSecret": "gone-secret",
        "credentials": [{"provider": "11labs", "apiKey": "old-key"}],
    }
    new = {
        "server": {"url": "https://a.example/?token=new-token&x=1", "secret": "new-secret"},
        "serverUrlSecret": None,
        "credentials": [{"provider": "11labs", "apiKey": "new-key"}],
        "headers": {"Authorization": "Bearer first"},
    }
    found = changes(old, new)
    assert found == [
        Change("$.server.url", "secret", new="changed"),
        Change("$.server.secret", "secret", new="changed"),
        Change("$.serverUrlSecret", "secret", new="removed"),
        Change("$.credentials", "secret", new="changed"),
        Change("$.headers", "added", new={}),
    ]


def test_a_secret_that_is_set_says_so() -> None:
    found = changes({"server": {"secret": None}}, {"server": {"secret": "s3"}})
    assert found == [Change("$.server.secret", "secret", new="set")]


def test_thousands_of_like_lines_are_compared_at_once() -> None:
    same = "\n" * 10_000
    (change,) = changes({"p": f"one two three four\n{same}end"}, {"p": f"two\n{same}a b c d"})
    assert change.kind == "changed"
    (change,) = changes({"p": f"a b c d\n{same}is old"}, {"p": f"a b c d\n{same}is new"})
    assert [span.kind for span in change.words] == ["same", "removed", "added"]
    items = [1] * 10_000
    found = changes({"p": [3, *items, 4, 5]}, {"p": [2, *items, 4, 5, 6]})
    assert len(found) > 0
