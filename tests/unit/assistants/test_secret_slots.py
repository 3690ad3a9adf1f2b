"""Which secrets a document lacks, and where a value that is entered goes."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.secret_slots import Slot, host_of, secret_at, slots, with_value

pytestmark = pytest.mark.unit

URL = "https://Tools.Example/hook"


def tool(**server: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f"}, "server": {"url": URL, **server}}


def only(document: Any, **options: Any) -> Slot:
    (slot,) = slots(document, **options)
    return slot


@pytest.mark.parametrize(
    ("server", "header", "state"),
    [
        ({}, "X-Vapi-Secret", "perhaps"),
        ({"secret": ""}, "X-Vapi-Secret", "perhaps"),
        ({"secret": "s3cret"}, "X-Vapi-Secret", "set"),
        ({"secret": "***"}, "X-Vapi-Secret", "missing"),
        ({"secret": "sk-****abcd"}, "X-Vapi-Secret", "missing"),
        ({"secret": "${SECRET:TOOLS}"}, "X-Vapi-Secret", "missing"),
        ({"secret": "YOUR_SECRET"}, "X-Vapi-Secret", "missing"),
        ({"headers": {"Authorization": "Bearer abc"}}, "Authorization", "set"),
        ({"headers": {"Authorization": "Bearer ***"}}, "Authorization", "missing"),
        ({"headers": {"X-Api-Key": "<YOUR_KEY>"}}, "X-Api-Key", "missing"),
        ({"headers": {"Authorization": "Bearer {{ token }}"}}, "Authorization", "set"),
        ({"credentialId": "c-1"}, "", "missing"),
        ({"credentialId": "c-1", "secret": "s"}, "X-Vapi-Secret", "set"),
        ({"credentialId": "c-1", "headers": {"Authorization": "Bearer a"}}, "Authorization", "set"),
    ],
)
def test_v16_a_server_s_secret_is_set_missing_or_perhaps_none(
    server: dict[str, Any], header: str, state: str
) -> None:
    slot = only(tool(**server))
    assert (slot.header, slot.state, slot.host) == (header, state, "tools.example")


def test_what_is_no_secret_asks_for_none() -> None:
    assert slots({"server": {"url": f"{URL}?token=abc"}}) == []
    assert slots({"server": {"timeoutSeconds": 5}}) == []
    assert slots({"function": {"parameters": {"properties": {"server": {"url": URL}}}}}) == []
    assert only(tool(headers={"X-Trace": "1"})).header == "X-Vapi-Secret"


def test_every_server_of_an_assistant_is_found() -> None:
    document = {
        "server": {"url": "https://a.example"},
        "model": {"tools": [tool(), {"type": "endCall"}]},
        "members": [{"assistant": {"serverUrl": "https://b.example:8443"}}],
    }
    assert [(slot.path, slot.host) for slot in slots(document)] == [
        ("$.server.secret", "a.example"),
        ("$.model.tools[0].server.secret", "tools.example"),
        ("$.members[0].assistant.serverUrlSecret", "b.example:8443"),
    ]


def test_an_import_s_word_makes_perhaps_certain() -> None:
    for document in ({"server": {"url": URL}}, {"serverUrl": URL}):
        assert only(document, told=["$.isServerUrlSecretSet"]).state == "missing"
    inner = {"model": {"tools": [tool()]}}
    assert only(inner, told=["$.isServerUrlSecretSet", "$.server"]).state == "perhaps"
    assert only(inner, told=["$.model.tools[0].server.secret"]).state == "missing"


@pytest.mark.parametrize("headers", [{}, {"headers": {"X-Trace": "1"}}])
def test_a_header_that_an_import_dropped_is_asked_for_again(headers: dict[str, Any]) -> None:
    document = tool(**headers)
    told = ["$.server.headers.Authorization", '$.server.headers["X Odd"]', "$.server.headersX.y"]
    found = slots(document, told)
    assert [(slot.header, slot.state) for slot in found] == [
        ("Authorization", "missing"),
        ("X Odd", "missing"),
    ]
    filled = with_value(document, found[0], "Bearer v")
    assert filled["server"]["headers"] == {
        **headers.get("headers", {}),
        "Authorization": "Bearer v",
    }
    assert [slot.state for slot in slots(filled, told)] == ["set", "missing"]


def test_a_secret_in_the_old_place_counts_for_a_server_in_the_new_form() -> None:
    document = {"server": {"url": URL}, "serverUrlSecret": "old"}
    slot = only(document)
    assert (slot.state, secret_at(document, slot)) == ("set", "old")
    document = {"serverUrl": URL, "server": {"secret": "new"}}
    assert secret_at(document, only(document)) == "new"


@pytest.mark.parametrize(
    ("document", "value", "expected"),
    [
        ({"server": {"url": URL}}, "v", {"server": {"url": URL, "secret": "v"}}),
        ({"serverUrl": URL}, "v", {"serverUrl": URL, "serverUrlSecret": "v"}),
        (
            {"server": {"url": URL, "headers": {"Authorization": "Bearer ${T}"}}},
            "v",
            {"server": {"url": URL, "headers": {"Authorization": "Bearer v"}}},
        ),
        (
            {"server": {"url": URL, "headers": {"Authorization": "Bearer ***"}}},
            "v",
            {"server": {"url": URL, "headers": {"Authorization": "Bearer v"}}},
        ),
        (
            {"server": {"url": URL, "headers": {"X-Key": "***"}}},
            r"a\1",
            {"server": {"url": URL, "headers": {"X-Key": r"a\1"}}},
        ),
        (
            {"server": {"url": URL, "credentialId": "c"}},
            "v",
            {"server": {"url": URL, "credentialId": "c", "headers": {"Authorization": "Bearer v"}}},
        ),
    ],
)
def test_a_value_goes_where_the_secret_was(
    document: dict[str, Any], value: str, expected: dict[str, Any]
) -> None:
    before = repr(document)
    filled = with_value(document, only(document), value)
    assert filled == expected
    assert repr(document) == before
    assert only(filled).state == "set"


def test_a_credential_is_sent_in_the_header_that_was_chosen() -> None:
    document = {"server": {"url": URL, "credentialId": "c"}}
    filled = with_value(document, only(document), "v", header="X-Api-Key")
    assert filled["server"]["headers"] == {"X-Api-Key": "v"}


def test_an_api_request_has_its_secrets_in_a_schema() -> None:
    request: dict[str, Any] = {"type": "apiRequest", "url": URL, "credentialId": "c"}
    filled = with_value(request, only(request), "v")
    assert filled["headers"] == {
        "properties": {"Authorization": {"type": "string", "value": "Bearer v"}}
    }
    masked = {
        "type": "apiRequest",
        "url": URL,
        "headers": {"properties": {"Authorization": {"type": "string", "value": "***"}}},
    }
    slot = only(masked)
    assert slot.state == "missing"
    new = with_value(masked, slot, "Bearer v")
    assert new["headers"]["properties"]["Authorization"]["value"] == "Bearer v"


@pytest.mark.parametrize("url", ["", "x", "ftp://a", "https://", "http://[", "https://a:99999"])
def test_no_address_has_no_host(url: str) -> None:
    assert host_of(url) == ""


def test_neither_depth_nor_wrong_types_raise() -> None:
    deep: Any = {"server": {"url": URL}}
    for _ in range(3000):
        deep = {"a": deep}
    assert slots(deep) == []
    for odd in (None, 3, "x", [], [[]], {"server": 3}, {"server": {"url": 5, "headers": []}}):
        assert slots(odd) == []
