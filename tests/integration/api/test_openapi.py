"""``/schema`` and ``/docs``: open to all, silent about organisations, complete, offline."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests import factories
from voiceplatform import api_docs
from voiceplatform.base.rest import ApiView

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

METHODS = ("get", "post", "patch", "delete")


def rest_views(patterns: Any = None, prefix: str = "") -> list[tuple[str, type[ApiView]]]:
    """Return every path that a REST view of ours answers."""
    found: list[tuple[str, type[ApiView]]] = []
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            found += rest_views(entry.url_patterns, route)
        elif isinstance(entry, URLPattern):
            view = getattr(entry.callback, "view_class", None)
            if isinstance(view, type) and issubclass(view, ApiView):
                found.append(("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route), view))
    return found


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return path, method and operation of the whole document."""
    return [
        (path, method, operation)
        for path, entry in api_docs.schema_document()["paths"].items()
        for method, operation in entry.items()
    ]


def test_the_schema_needs_no_key_and_says_nothing_of_an_organisation() -> None:
    organisation = factories.make_organisation("Acme Dental")
    assistant = factories.make_assistant(organisation)
    answer = Client().get("/schema")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    text = answer.content.decode()
    assert json.loads(text)["openapi"] == "3.1.0"
    for word in ("Acme", str(organisation.pk), str(assistant.pk), "127.0.0.1", "testserver"):
        assert word not in text
    assert Client().post("/schema").status_code == 405


def test_every_rest_view_is_described_with_every_method() -> None:
    said = {(path, method) for path, method, _ in operations()}
    wanted = {
        (path, method)
        for path, view in rest_views()
        for method in METHODS
        if getattr(view, method, None)
    }
    assert len(wanted) > 10
    assert sorted(wanted - said) == []


def test_every_operation_names_its_refusals_its_body_and_its_scope() -> None:
    ids = set()
    for path, method, operation in operations():
        where = f"{method} {path}"
        refusals = {status for status in operation["responses"] if status >= "300"}
        expected = {"401", "403", "429"}
        if "{" in path:
            expected.add("404")
        if method in ("post", "patch"):
            assert operation["requestBody"]["required"], where
            expected |= {"400", "413", "415"}
        if method == "delete":
            expected.add("409")
        assert expected <= refusals, where
        assert re.search(r"scope `\w+`", operation["description"]), where
        assert operation["summary"], where
        assert operation["security"] == [{"key": []}], where
        assert operation["operationId"] not in ids, where
        ids.add(operation["operationId"])
        for status in refusals:
            body = operation["responses"][status]["content"]["application/json"]["schema"]
            assert body == {"$ref": "#/components/schemas/Error"}, where
        assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_bodies_are_open_objects_with_the_checked_fields() -> None:
    shapes = api_docs.schema_document()["components"]["schemas"]
    tool = shapes["NewToolShape"]
    assert tool["additionalProperties"] is True
    assert tool["required"] == ["type"]
    assert tool["properties"]["async"] == {"type": ["boolean", "null"]}
    server = shapes["ServerShape"]["properties"]["timeoutSeconds"]
    assert (server["minimum"], server["maximum"]) == (1, 300)


def test_docs_load_nothing_from_elsewhere_under_a_strict_policy() -> None:
    answer = Client().get("/docs")
    assert answer.status_code == 200
    page = answer.content.decode()
    links = re.findall(r'(?:src|href|data-schema)="([^"]+)"', page)
    assert len(links) >= 4
    assert all(link.startswith("/") and not link.startswith("//") for link in links)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
    for link in links:
        if link.startswith("/static/"):
            assert b"".join(Client().get(link)).strip(), link  # type: ignore[arg-type]
