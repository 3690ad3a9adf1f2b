"""Secrets of ours in other people's texts, in every form in which one is repeated."""

from __future__ import annotations

import json

import pytest

from tools.masking import Veil, masked

pytestmark = pytest.mark.unit

SECRET = 'top-"secret"/ü 1'


@pytest.mark.parametrize(
    "text",
    [
        f"saw {SECRET}",
        json.dumps({"a": SECRET}),
        json.dumps({"a": SECRET}, ensure_ascii=False),
        json.dumps({"a": json.dumps({"b": SECRET})}),
        "https://x/?q=top-%22secret%22/%C3%BC%201",
        "https://x/?q=top-%22secret%22%2F%C3%BC+1",
        "<b>top-&quot;secret&quot;/ü 1</b>",
    ],
)
def test_a_secret_is_hidden_in_each_form(text: str) -> None:
    assert "secret" not in masked(text, [SECRET])
    assert "secret" not in Veil([SECRET], whole_words=True).over(text)


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert masked("abcdefgh-tail abcdefgh", ["abcdefgh", "abcdefgh-tail"]) == "*** ***"


def test_a_short_secret_is_hidden_where_it_stands_alone() -> None:
    veil = Veil(["room", "longer-one"], whole_words=True)
    assert veil.over("room: bedrooms, longer-ones") == "***: bedrooms, ***s"
    assert Veil(["room"]).over("bedrooms") == "bed***s"


def test_values_are_veiled_in_names_and_texts_and_keep_their_shape() -> None:
    veil = Veil(["planted-one"])
    value = {"planted-one": ["planted-one", 1, None, {"a": "x planted-one"}]}
    assert veil.over_value(value) == {"***": ["***", 1, None, {"a": "x ***"}]}
    assert not Veil([]) and veil
