"""Secrets of documents: found, left out, kept and cleared (design decision 13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceplatform.base.redaction import is_secret_name, keep_secrets, redact, redact_url

pytestmark = pytest.mark.unit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["server", "secret", "headers", "url", "key", "value", "id", "a"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "name",
    [
        *("secret", "serverUrlSecret", "apiKey", "twilioAuthToken", "twilioApiKey", "token"),
        *("twilioApiSecret", "password", "client_secret", "Authorization", "access-token"),
        *("ocpApimSubscriptionKey", "openAIKey", "slackWebhookUrl", "connectionString"),
    ],
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("maxTokens", "credentialId", "credentialIds", "isServerUrlSecretSet", "keyterms"),
        *("firstMessage", "promptTokens", "twilioAccountSid", "key"),
    ],
)
def test_names_that_only_look_like_secrets(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h.example/a", "https://***@h.example/a"),
        ("https://h/?a=1&token=x&b=", "https://h/?a=1&token=***&b="),
        ("wss://h/?API_KEY=x#f", "wss://h/?API_KEY=***#f"),
        ("https://h/?q=%7B%7Bname%7D%7D&x=a+b", "https://h/?q=%7B%7Bname%7D%7D&x=a+b"),
        ("https://h/{{ id }}?api_key=x", "https://h/{{ id }}?api_key=***"),
        ("https://h/?a={{ b }};token=x ", "https://h/?a={{ b }};token=*** "),
        ("https://h/#access_token=x", "https://h/#access_token=***"),
        ("call https://h/?token=x now", "call https://h/?token=x now"),
        ("mail me@h.example", "mail me@h.example"),
    ],
)
def test_urls_lose_passwords_and_tokens_only(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert keep_secrets(shown, url) == url


@pytest.mark.parametrize("piece", ["{{a}}", "{", "a", "{{a", "a@", "?", "&token=x;", "#"])
def test_no_text_takes_longer_than_reading_it(piece: str) -> None:
    text = "https://" + piece * 50_000 + " x"
    assert redact_url(text) == text


def test_a_number_and_a_list_of_fixed_values_are_secrets_too() -> None:
    document = {"apiKey": 98765, "token": True, "headers": {"Authorization": {"enum": ["x"]}}}
    assert redact(document) == {"token": True, "headers": {"Authorization": {}}}
    assert keep_secrets(redact(document), document) == document


def test_a_schema_property_called_token_is_no_secret() -> None:
    schema = {"properties": {"token": {"type": "string"}}, "required": ["token"]}
    assert redact(schema) == schema


def test_headers_of_both_forms_hide_credentials() -> None:
    assert redact({"headers": {"Authorization": "x", "X-Trace": "1"}}) == {
        "headers": {"X-Trace": "1"}
    }
    fixed = {"headers": {"properties": {"Authorization": {"type": "string", "value": "Bearer x"}}}}
    assert redact(fixed) == {"headers": {"properties": {"Authorization": {"type": "string"}}}}
    assert keep_secrets(redact(fixed), fixed) == fixed


def test_static_parameters_with_a_secret_name_hide_their_value() -> None:
    document = {"parameters": [{"key": "api_token", "value": "x"}, {"key": "unit", "value": "m"}]}
    assert redact(document)["parameters"] == [{"key": "api_token"}, {"key": "unit", "value": "m"}]
    assert keep_secrets(redact(document), document) == document


def test_null_clears_and_a_new_value_replaces() -> None:
    stored = {"server": {"secret": "old", "url": "https://h"}}
    assert keep_secrets({"server": {"secret": None}}, stored) == {"server": {"secret": None}}
    assert keep_secrets({"server": {"secret": "new"}}, stored) == {"server": {"secret": "new"}}
    assert keep_secrets({"server": None}, stored) == {"server": None}


def test_list_elements_are_matched_by_identity_not_by_place() -> None:
    stored = [
        {"type": "function", "function": {"name": "a"}, "server": {"secret": "sa"}},
        {"type": "function", "function": {"name": "b"}, "server": {"secret": "sb"}},
    ]
    shown = redact(stored)
    assert keep_secrets(shown[::-1], stored) == stored[::-1]
    other = [{"type": "function", "function": {"name": "c"}, "server": {}}]
    assert keep_secrets(other, stored) == other


@given(JSON)
def test_what_is_shown_can_be_sent_back_without_loss(document: Any) -> None:
    assert redact(redact(document)) == redact(document)
    keep_secrets(document, redact(document))


@given(JSON, JSON)
def test_never_raises_and_never_touches_its_arguments(new: Any, stored: Any) -> None:
    before = repr((new, stored))
    keep_secrets(new, stored)
    redact(new)
    assert repr((new, stored)) == before


def test_a_secret_header_outlives_a_version_without_any_headers() -> None:
    stored = {"url": "https://x.example", "headers": {"Authorization": "Bearer a", "X-Trace": "1"}}
    assert keep_secrets({"url": "https://x.example"}, stored) == {
        "url": "https://x.example",
        "headers": {"Authorization": "Bearer a"},
    }
    assert keep_secrets({"headers": None}, stored) == {"headers": None}
    assert keep_secrets({}, {"headers": {"X-Trace": "1"}}) == {}
