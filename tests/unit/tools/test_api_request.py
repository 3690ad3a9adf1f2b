"""An ``apiRequest`` on paper: where it goes, what stands in its headers, what its answer means."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from assistants.prompt import render
from tests.unit.tools.test_dispatch import pieces, run
from tools.addresses import AddressRefused, filled_address, template_address
from tools.api_answers import api_answers
from tools.defaults import Render
from tools.servers import ToolServer
from tools.spec import ToolSpec
from tools.wire.api_request import filled_headers, read_api_request
from tools.wire.vapi_tool import body_schema, read_tool, write_tool
from voiceplatform.base.egress import destination

pytestmark = pytest.mark.unit

CALL = {"customer": {"number": "+15550100001"}, "base": "https://api.example.com/v1"}


def renders(**scope: Any) -> Render:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return lambda text: render(text, {**CALL, **scope}, now)


def filled(template: str, **arguments: Any) -> str:
    return filled_address(template, renders(), renders(**arguments))


@pytest.mark.parametrize(
    ("template", "order", "address"),
    [
        ("https://h.example/o/{{order}}", "A 7/ä?x=1#y", "https://h.example/o/A%207%2F%C3%A4%3Fx%3D1%23y"),
        ("https://h.example/o?q={{ order }}&z=1", "a&z=2", "https://h.example/o?q=a%26z%3D2&z=1"),
        ("https://h.example/{{customer.number}}", "", "https://h.example/%2B15550100001"),
        ("https://h.example/?q={{order | url_encode}}", "a b", "https://h.example/?q=a+b"),
        ("{{base}}/o/{{order}}", "7", "https://api.example.com/v1/o/7"),
        ("https://{{missing}}h.example/{{order}}", "%2e", "https://h.example/%252e"),
        ("https://h.example/{% if order == '7' %}seven{% endif %}", "7", "https://h.example/seven"),
        ("https://h.example/{% if order %}{{order}}{% endif %}", "a/b", "https://h.example/a%2Fb"),
        ("https://h.example/o/{{order}}", "a\r\nHost: evil", "https://h.example/o/a%0D%0AHost%3A%20evil"),
    ],
)  # fmt: skip
def test_a_value_stays_a_value(template: str, order: str, address: str) -> None:
    assert filled(template, order=order) == address
    assert destination(address).host in ("h.example", "api.example.com")


@pytest.mark.parametrize("order", ["..", "."])
def test_a_value_leads_no_step_up_the_path(order: str) -> None:
    with pytest.raises(AddressRefused):
        filled("https://h.example/o/{{order}}/cancel", order=order)


@pytest.mark.parametrize(
    "template",
    [
        "https://{{order}}/x",
        "https://{{order}}.h.example/x",
        "https://h.example{{order}}/x",
        "https://h.example:{{order}}/x",
        "{{order}}://h.example/x",
        "{{order}}",
        "{% if order %}https://{{order}}{% else %}https://h.example{% endif %}/x",
        "{% if order %}{% echo order %}/x{% else %}https://h.example/x{% endif %}",
        "https://h.example{% assign a = order %}{{ a }}/x",
    ],
)
@pytest.mark.parametrize(
    "order", ["evil.example", "@evil.example", "https://evil.example/", "8080"]
)
def test_no_argument_of_the_model_reaches_the_host(template: str, order: str) -> None:
    try:
        address = filled(template, order=order)
    except AddressRefused:
        return
    assert "evil" not in address.split("/x")[0] and "8080" not in address


def test_what_is_shown_names_the_places_and_not_the_values() -> None:
    assert template_address("{{base}}/o/{{order}}", renders(order="7")) == (
        "https://api.example.com/v1/o/{{order}}"
    )


@pytest.mark.parametrize(
    ("document", "method", "url", "headers"),
    [
        ({"url": "https://h"}, "POST", "https://h", {}),
        ({"url": "https://h", "method": "get"}, "GET", "https://h", {}),
        ({"url": "https://h", "method": "TRACE"}, "", "https://h", {}),
        ({"url": 7, "method": 7, "headers": []}, "", "", {}),
        (
            {
                "url": "u",
                "method": "PUT",
                "headers": {
                    "type": "object",
                    "properties": {
                        "X-Key": {"type": "string", "value": "k"},
                        "X-N": {"default": 7},
                        "X-None": {"type": "string"},
                        "Host": {"value": "evil"},
                        "bad name": {"value": "x"},
                    },
                },
            },
            "PUT",
            "u",
            {"X-Key": "k", "X-N": "7"},
        ),
        ({"url": "u", "headers": {"X-Plain": "p"}}, "POST", "u", {"X-Plain": "p"}),
        ({"url": "u", "headers": {"type": "string"}}, "POST", "u", {}),
    ],
)
def test_the_document_is_read(document: Any, method: str, url: str, headers: Any) -> None:
    found = read_api_request(document)
    assert (found.method, found.url, found.headers) == (method, url, headers)
    assert not found.headers or "k" not in repr(found)


def test_the_body_is_what_the_model_writes_whatever_the_function_says() -> None:
    """The schema of the body overwrites ``function.parameters``; nine tools share a function's
    name (corpus.md)."""
    body = {"type": "object", "properties": {"a": {"type": "string"}}}
    document = {
        "type": "apiRequest",
        "name": "bookAppointment",
        "function": {"name": "api_request_tool", "parameters": {"type": "object"}},
        "url": "https://h",
        "body": body,
    }
    reading = read_tool(document)
    assert (reading.name, reading.parameters) == ("bookAppointment", body)
    assert body_schema({"body": {"type": "string"}}) == {}
    changed = write_tool(
        document,
        {"name": "b", "parameters": {}, "server_url": "https://i", "timeout_seconds": 5},
    )
    assert read_tool(changed).server_url == read_api_request(changed).url == "https://i"
    assert (changed["name"], changed["timeoutSeconds"], "body" in changed) == ("b", 5, False)
    assert changed["function"] == document["function"] and "server" not in changed
    assert read_tool(write_tool(changed, {"server_secret": "s"})).server_secret == "s"


def test_no_value_begins_another_header() -> None:
    headers = {"X-A": "{{order}}", "X-B": "{{nothing}}", "X-C": "ł"}
    found = filled_headers(headers, renders(order="1\r\nX-Evil: 2\u2028"))
    assert found == {"X-A": "1 X-Evil: 2", "X-C": "ł".encode().decode("latin-1")}


@pytest.mark.parametrize(
    ("status", "text", "output", "failed"),
    [
        (200, '{ "a": [1,\n 2] }', '{"a":[1,2]}', False),
        (201, '"Booked"', '"Booked"', False),
        (200, "\ufeff[]", "[]", False),
        (204, "", "accepted (204), but nothing came back", True),
        (200, "<html>", "something other than JSON", True),
        (200, "[" * 100_000, "something other than JSON", True),
        (404, "<html>", "failed with status 404.", True),
        (422, '{"error": "full"}', 'failed with status 422. {"error":"full"}', True),
        (302, "{}", "failed with status 302.", True),
    ],
)
def test_an_answer_is_json_or_a_failure(status: int, text: str, output: str, failed: bool) -> None:
    answer = api_answers(status, text, ["a"])["a"]
    assert output in answer.text and answer.failed is failed
    assert "<html>" not in answer.text


async def test_the_request_has_its_method_and_only_some_have_a_body() -> None:
    seen: list[Any] = []

    def handle(request: Any) -> Any:
        seen.append((request.method, request.content, request.headers.get("content-type")))
        return httpx.Response(200, content=pieces(b"{}"))

    for method in ("GET", "PATCH"):
        await run(handle, ToolServer("https://h.example/x", method=method), {"a": ToolSpec("t")})
    (get, patch) = seen
    assert get == ("GET", b"", None)
    assert patch[0] == "PATCH" and patch[1] and patch[2] == "application/json"
