"""JavaScript's patterns in bounded time; the answers in the table are Node's own."""

from __future__ import annotations

import pytest

from tools.js_pattern import MAX_TEXT, PatternError, found_in

pytestmark = pytest.mark.unit

GOODBYE = r"(?i)\b(bye|goodbye|farewell|see you later|take care)\b"


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (GOODBYE, "Okay, GOODBYE then.", True),
        (GOODBYE, "The byelaws say so.", False),
        ("", "", True),
        ("^yes$", "yes", True),
        ("^yes$", "yes\n", False),
        ("(?m)^yes$", "no\nyes", True),
        ("a.c", "a\nc", False),
        ("(?s)a.c", "a\nc", True),
        (r"\d{3}-\d{4}", "call 555-1234", True),
        (r"\d", "٣", False),
        (r"\w", "ü", False),
        (r"\s", "\u00a0", True),
        (r"(?i)ÄRGER", "ärger", True),
        (r"(?=.*book)(?!.*cancel)^", "please book it", True),
        (r"^(?=.*book)(?!.*cancel)", "book, no, cancel", False),
        (r"(?<=foo)bar", "foobar", True),
        (r"(?<!foo)bar", "foobar", False),
        (r"(?<word>a)b", "ab", True),
        ("a{2,3}b", "aab", True),
        ("^a{2,3}b", "aaaab", False),
        ("a{,2}", "a{,2}", True),
        ("a{2", "a{2", True),
        ("(ab)+c", "ababc", True),
        ("(a*)*b", "b", True),
        ("(|a)+c", "aac", True),
        ("[]", "x", False),
        ("[^]", "\n", True),
        (r"[\d-x]", "-", True),
        (r"[a\]b]", "]", True),
        (r"[^a-c]+$", "abc", False),
        (r"(?i)[a-c]", "B", True),
        (r"\u0041\x42\cJ", "AB\n", True),
        (r"\Bx", "ax", True),
        (r"(?i:y)es", "Yes", True),
        (r"(?i:y)es", "YES", False),
        ("a|b|", "", True),
        (r"a??b*?c", "c", True),
    ],
)
def test_a_pattern_finds_what_javascript_finds(pattern: str, text: str, found: bool) -> None:
    assert found_in(pattern, text) is found


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a**", "*", "[a", r"a\1", r"(?<a>x)\k<a>", "(?>a)", "[b-a]", "a{3,2}", "\\"],
)
def test_what_cannot_be_read_or_remembered_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        found_in(pattern, "aaaa")


def test_no_pattern_takes_long() -> None:
    """Patterns on which a backtracking engine needs longer than the universe is old."""
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*)*x", "(a*)*b", ".*.*.*.*.*y"):
        assert found_in(pattern, "a" * 400 + "!") is False


def test_too_much_work_is_no_answer() -> None:
    for pattern in ("(a{90}){90}", "x" * 2_000, "(" * 60 + ")" * 60):
        with pytest.raises(PatternError):
            found_in(pattern, "a" * 50)
    with pytest.raises(PatternError):
        found_in("(?<=(a?){300}b)c", "ab" * 900 + "c")


def test_of_a_long_message_the_end_counts() -> None:
    assert found_in("^x", "x" * 3 + "a" * MAX_TEXT) is False
    assert found_in("bye$", "a" * MAX_TEXT + "bye") is True
