"""Secrets of documents: found, left out, kept and cleared (design decision 13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceplatform.base.redaction import MASK, is_secret_name, keep_secrets, redact, redact_url
from voiceplatform.base.redaction_urls import url_parts, url_secrets

pytestmark = pytest.mark.unit

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "token", "h/p?token=x", "https://u:p@h/;key=y", "a:b@c/"])
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("server", "secret", "headers", "url", "key", "value", "id", "a", "name"),
                    *("properties", "credentials", "apiKey", "token", "items", "anyOf", "type"),
                    *("default", "enum", "dependentRequired", "description", "Authorization"),
                ]
            )
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
        ("h.example/a?token=x&b=1", "h.example/a?token=***&b=1"),
        ("h.example:8443/a;token=x", "h.example:8443/a;token=***"),
        ("/a?token=x", "/a?token=***"),
        ("https://h/a;token=x;v=1/b;v=2?c=3", "https://h/a;token=***;v=1/b;v=2?c=3"),
        ("https://h/token=x/b", "https://h/token=***/b"),
        ("https://h/?next=/a?token=x&b=1", "https://h/?next=/a?token=***&b=1"),
        ("https://h/?to=//i%3Ftoken%3Dx%26b%3D1", "https://h/?to=//i%3Ftoken%3D***%26b%3D1"),
        ("u:p@h.example/a", "u:***@h.example/a"),
        ("sip:desk:p@h.example", "sip:desk:***@h.example"),
        ("sip:desk@h.example:5060;transport=tls", "sip:desk@h.example:5060;transport=tls"),
        (r"^\?token=[a-z]+$", r"^\?token=[a-z]+$"),
        ("is it a token? yes;key=1", "is it a token? yes;key=1"),
        ("data:audio/wav;base64,key=", "data:audio/wav;base64,key="),
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


@pytest.mark.parametrize(
    "name", ["credentials", "password", "token", "secret", "apiKey", "headers"]
)
def test_the_names_of_arguments_are_no_secrets(name: str) -> None:
    described = {"type": "string", "description": "Which one?", "enum": ["a", "b"], "minLength": 1}
    parts = {"type": "object", "properties": {"id": {"type": ["integer", "null"]}}}
    schemas: tuple[dict[str, Any], ...] = (
        {"type": "object", "properties": {name: described}, "required": [name]},
        {"properties": {name: {"anyOf": [described, parts], "$ref": "#/$defs/x"}}},
        {"$defs": {name: described}, "patternProperties": {name: parts}},
        {"dependentRequired": {name: ["b"]}, "dependentSchemas": {name: parts}},
        {"properties": {"a": {"type": "array", "items": {"properties": {name: parts}}}}},
        {"properties": {name: {"title": "free of a type"}, "properties": parts}},
        {"properties": {name: True}},
    )
    for schema in schemas:
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        assert redact(tool) == tool
        assert keep_secrets(redact(tool), tool) == tool


def test_a_value_that_a_schema_fixes_for_a_secret_is_one() -> None:
    fixed: dict[str, Any] = {"default": "s-1", "const": 5, "value": ["s"], "enum": ["s-2"]}
    fixed |= {"example": "s-3", "examples": ["s-4"], "x-value": {"deep": "s-5"}}
    described = {"type": "string", "description": "The key"}
    schema = {"properties": {"apiKey": {**described, **fixed}, "unit": {"default": "m"}}}
    shown = {"properties": {"apiKey": described, "unit": {"default": "m"}}}
    assert redact(schema) == shown
    assert keep_secrets(shown, schema) == schema
    nested = {"properties": {"token": {"anyOf": [{"const": "s"}], "items": {"default": "s"}}}}
    assert redact(nested) == {"properties": {"token": {"anyOf": [{}], "items": {}}}}
    # What stands where a schema belongs, and defaults of whole objects.
    assert redact({"properties": {"token": "s", "a": {"default": {"token": "s", "b": 1}}}}) == {
        "properties": {"a": {"default": {"b": 1}}}
    }


@pytest.mark.parametrize(
    "value",
    [5, 1.5, ["s"], [[1]], {"a": "s"}, {"type": "bearer", "kind": 1}, {"a": [{"b": "s"}]}],
)
def test_a_secret_need_not_be_text(value: Any) -> None:
    document = {"apiKey": value, "n": {"refresh-token2": value}, "headers": {"X-Auth": value}}
    assert redact(document) == {"n": {}, "headers": {}}
    assert keep_secrets(redact(document), document) == document
    pair = {"parameters": [{"key": "api_token", "value": value}]}
    assert redact(pair) == {"parameters": [{"key": "api_token"}]}
    # A new one replaces it whole.
    assert keep_secrets({"apiKey": {"b": "t"}}, document)["apiKey"] == {"b": "t"}


@pytest.mark.parametrize("value", [None, True, False, [], {}, [[]], {"a": None}])
def test_what_says_nothing_is_shown(value: Any) -> None:
    document = {"apiKey": value, "credentials": value, "properties": {"token": {"default": value}}}
    assert redact(document) == document


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


def test_a_renamed_element_keeps_the_secret_of_the_same_address_only() -> None:
    def tool(name: str, url: str, **server: str) -> dict[str, Any]:
        return {"type": "function", "function": {"name": name}, "server": {"url": url, **server}}

    stored = [tool("a", "https://a.example/?token=1", secret="sa"), tool("b", "https://b.example")]
    renamed = [tool("z", "https://a.example/?token=***"), tool("b", "https://b.example")]
    kept = [tool("z", "https://a.example/?token=1", secret="sa"), tool("b", "https://b.example")]
    assert keep_secrets(renamed, stored) == kept
    elsewhere = [tool("z", "https://z.example"), tool("b", "https://b.example")]
    assert keep_secrets(elsewhere, stored) == elsewhere
    # The place of another one, which moved, is nobody's.
    added = [tool("z", "https://a.example/?token=***"), tool("a", "https://a.example/?token=***")]
    assert "secret" not in keep_secrets(added, stored)[0]["server"]


def test_a_secret_in_what_an_element_is_known_by_is_kept() -> None:
    stored = [{"name": "https://h/?token=1", "apiKey": "k"}, {"headers": [{"key": "a", "v": 1}]}]
    assert keep_secrets(redact(stored), stored) == stored
    assert keep_secrets(redact(stored)[:1], stored) == stored[:1]


def test_long_lists_are_matched_in_time_that_grows_with_them() -> None:
    stored = [{"id": str(index), "secret": "s"} for index in range(5_000)]
    assert keep_secrets(redact(stored)[::-1], stored) == stored[::-1]
    alike = [{"secret": index} for index in range(20_000)]
    assert keep_secrets(redact(alike), alike) == alike


@given(JSON)
def test_what_is_shown_can_be_sent_back_without_loss(document: Any) -> None:
    shown = redact(document)
    assert redact(shown) == shown
    assert keep_secrets(shown, document) == document
    keep_secrets(document, shown)


@given(JSON | st.text(alphabet="ab:/?#;=&@%3DF{} *token", max_size=40))
def test_pieces_of_an_address_join_to_it(text: Any) -> None:
    address = str(text)
    parts = url_parts(address)
    assert "".join(part for part, _ in parts) == address
    shown = redact_url(address)
    assert shown == "".join(MASK if is_secret else part for part, is_secret in parts)
    assert redact_url(shown) == shown


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("https://***@h/a?v=2&token=***&key=***", "https://u:p@h/a?v=2&token=t&key=k"),
        ("https://h/b?key=***", "https://h/b?key=k"),
        ("https://***@h/b?key=***&sig=***&token=new", "https://u:p@h/b?key=k&sig=***&token=new"),
        ("https://***@H/b/{{ id }}?token=***#x", "https://u:p@H/b/{{ id }}?token=t#x"),
        ("https://***@evil/a?token=***&key=***", "https://***@evil/a?token=***&key=***"),
        ("https://h@evil/a?token=***", "https://h@evil/a?token=***"),
        ("https://h;a@evil/a?token=***", "https://h;a@evil/a?token=***"),
        ("http://***@h/a?token=***", "http://***@h/a?token=***"),
        ("***", "***"),
    ],
)
def test_an_address_that_was_edited_keeps_its_secrets_at_its_host(sent: str, kept: str) -> None:
    stored = "https://u:p@h/a?token=t&key=k&v=1"
    assert keep_secrets({"url": sent}, {"url": stored}) == {"url": kept}
    assert keep_secrets("h/p?v=2&token=***", "h/p?token=t") == "h/p?v=2&token=t"


def test_what_is_secret_in_an_address_is_listed_as_a_server_may_repeat_it() -> None:
    found = url_secrets("https://us%40er:p%2Fw@h.example/a;key=k-1?token=a%20b+c&x=1#code=z-1")
    assert {"p/w", "p%2Fw", "us@er", "k-1", "a%20b+c", "a b c", "a b+c", "z-1"} <= found
    assert "1" not in found
    assert not url_secrets("https://h.example/?x=1")


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
