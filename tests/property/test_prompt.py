"""Liquid is total: any text with any variables renders within its limits, and loses no word."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistants.prompt import MAX_OUTPUT, problems, render

pytestmark = pytest.mark.property

NOW = dt.datetime(2026, 11, 22, 15, 4, tzinfo=dt.UTC)
WORDS = st.sampled_from(
    [
        *("{{", "}}", "{%", "%}", "{{-", "-%}", "{", "}", "|", "'", '"', "%", "-", "\n", " "),
        *("if", "elsif", "else", "endif", "unless", "endunless", "for", "i in", "endfor"),
        *("case", "when", "endcase", "raw", "endraw", "comment", "endcomment", "assign"),
        *("capture", "liquid", "name", "a.b", "(1..9)", "==", ">", "contains", "now", "date:"),
        *("'%c'", "join:", "times:"),
        *("split:", "replace:", "9", "99999999", "x = 3", "[0]", ":", ",", "break", "include", "é"),
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=30).map(" ".join)
JOINED = st.lists(WORDS, max_size=30).map("".join)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
VARIABLES = st.dictionaries(
    st.one_of(st.sampled_from(["name", "a.b", "a", "x"]), st.text()), VALUES
)


@given(text=st.one_of(TEXTS, JOINED), variables=VARIABLES)
def test_rendering_never_raises(text: str, variables: dict[str, Any]) -> None:
    assert len(render(text, variables, NOW)) <= MAX_OUTPUT
    assert all(isinstance(words, str) and words for words in problems(text))


@given(
    broken=st.lists(WORDS, max_size=5).map(" ".join),
    before=st.text("abc ,.\n", max_size=9),
    after=st.text("xyz ,.\n", max_size=9),
)
def test_one_broken_output_loses_nothing_around_it(broken: str, before: str, after: str) -> None:
    if "}}" in broken or "{" in broken or "-" in broken or "%" in broken:
        return
    said = render(f"{before}{{{{ {broken} }}}}{after}", {}, NOW)
    assert said.startswith(before)
    assert said.endswith(after)


@given(text=st.text("ab{}%$<> \n'\"", max_size=30))
def test_text_without_liquid_is_untouched(text: str) -> None:
    if "{{" not in text and "{%" not in text:
        assert render(text, {}, NOW) is text
