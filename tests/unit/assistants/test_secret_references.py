"""Secrets leave an exported file as references and come back from ``secrets.env``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistants.findings import Finding
from assistants.secret_references import (
    SecretsFileProblem,
    missing_findings,
    read_secrets,
    secrets_line,
    still_missing,
    with_references,
    with_values,
)

pytestmark = pytest.mark.unit

DOCUMENT: dict[str, Any] = {
    "name": "A",
    "serverUrlSecret": "s1",
    "server": {
        "url": "https://u:p@hooks.example.com/x?token=t%201&lang=en&sig=q#f",
        "secret": "s2",
        "headers": {"X-Api-Key": "s3", "X-Site": "north"},
    },
    "credentials": [{"provider": "11labs", "apiKey": "s4"}],
    "model": {
        "tools": [
            {"type": "function", "function": {"name": "book it"}, "server": {"secret": "s5"}},
            {"type": "endCall", "server": {"secret": None}},
        ],
        "messages": [{"role": "system", "content": "Say ${SECRET:NOTHING} aloud"}],
    },
}


def test_every_secret_leaves_a_reference_named_after_its_place() -> None:
    template, values = with_references(DOCUMENT, "ASSISTANT_A")
    assert template["serverUrlSecret"] == "${SECRET:ASSISTANT_A_SERVERURLSECRET}"
    assert template["server"] == {
        "url": "https://${SECRET:ASSISTANT_A_SERVER_URL}@hooks.example.com/x"
        "?token=${SECRET:ASSISTANT_A_SERVER_URL_2}&lang=en&sig=${SECRET:ASSISTANT_A_SERVER_URL_3}#f",
        "secret": "${SECRET:ASSISTANT_A_SERVER_SECRET}",
        "headers": {
            "X-Api-Key": "${SECRET:ASSISTANT_A_SERVER_HEADERS_X_API_KEY}",
            "X-Site": "north",
        },
    }
    assert template["credentials"] == "${SECRET_JSON:ASSISTANT_A_CREDENTIALS}"
    book, end = template["model"]["tools"]
    assert book["server"]["secret"] == "${SECRET:ASSISTANT_A_MODEL_TOOLS_BOOK_IT_SERVER_SECRET}"
    assert end["server"]["secret"] is None
    assert values["ASSISTANT_A_SERVER_URL"] == "u:p"
    assert with_values(template, values) == (DOCUMENT, [])


ADDRESSES = ["h/p?token=x", "https://u:p@h/;key=y?n=/b?sig=2", "a:b@c/", "https://h/?a=%3Fkey%3Dq"]
NAMES = ["server", "headers", "key", "value", "name", "properties", "credentials", "apiKey"]
NAMES += ["token", "items", "anyOf", "type", "default", "enum", "dependentRequired", "description"]
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "***", "object", *ADDRESSES]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=4)
    ),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_whatever_leaves_as_a_reference_comes_back(document: Any) -> None:
    template, values = with_references(document, "A")
    assert with_values(template, values) == (document, [])


def test_a_place_that_is_no_secret_is_never_filled() -> None:
    """A hostile file must not carry a secret into a prompt, a name or a host."""
    template = {
        "name": "${SECRET:A}",
        "model": {"messages": [{"role": "system", "content": "${SECRET:A}"}]},
        "server": {"url": "https://evil.example/${SECRET:A}?lang=${SECRET:A}"},
    }
    assert with_values(template, {"A": "the secret"}) == (template, [])


def test_a_reference_without_a_value_keeps_what_is_stored() -> None:
    template = {
        "server": {"url": "https://a.example/?token=${SECRET:T}", "secret": "${SECRET:S}"},
        "credentials": "${SECRET_JSON:C}",
    }
    document, unresolved = with_values(template, {"C": "no JSON"})
    assert document == {"server": {"url": "https://a.example/?token=***"}}
    assert unresolved == [
        ("$.server.url", "T"),
        ("$.server.secret", "S"),
        ("$.credentials", "C"),
    ]


def test_what_is_missing_is_told_until_something_is_stored() -> None:
    (finding,) = missing_findings([("$.server.secret", "S")])
    assert finding.state == "secret-missing" and "S=…" in finding.message
    assert still_missing(finding, {"server": {"url": "https://a.example"}})
    assert not still_missing(finding, {"server": {"secret": "stored"}})
    (masked,) = missing_findings([("$.server.url", "T")])
    assert still_missing(masked, {"server": {"url": "https://a.example/?token=***"}})
    assert not still_missing(masked, {"server": {"url": "https://a.example/?token=1"}})
    assert not still_missing(Finding("$.x", "secret-missing", "Another one."), {})


@pytest.mark.parametrize(
    "value", ["plain", "with = and #", ' "quoted" ', "two\nlines", '"', "ünï", "a b"]
)
def test_a_line_of_the_secrets_file_reads_back(value: str) -> None:
    assert read_secrets(f"# a comment\n\n{secrets_line('A_1', value)}\n") == {"A_1": value}


def test_an_empty_value_supplies_nothing() -> None:
    assert read_secrets("A=\nexport B = 2\n") == {"B": "2"}


@pytest.mark.parametrize("line", ["no equals sign", "lower=1", 'A="hush-hush', "=x"])
def test_a_bad_line_is_named_and_not_quoted(line: str) -> None:
    with pytest.raises(SecretsFileProblem, match="line 2") as caught:
        read_secrets(f"OK=1\n{line}\n")
    assert "hush" not in str(caught.value)
