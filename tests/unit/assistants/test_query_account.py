"""What an import says of ``query`` tools: what is searched, and which files are not here."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.findings import INVALID, LOSSY, MAPPED, UNSUPPORTED, Notes
from assistants.query_account import account_query
from assistants.references import link_findings
from tools.knowledge import knowledge_bases, knowledge_file_ids
from tools.wire.vapi_tool import read_tool

pytestmark = pytest.mark.unit

HERE = "11111111-1111-4111-8111-111111111111"
GONE = "22222222-2222-4222-8222-222222222222"


def tool(*bases: Any, **more: Any) -> dict[str, Any]:
    return {"type": "query", "function": {"name": "look"}, "knowledgeBases": list(bases), **more}


def said(document: dict[str, Any]) -> dict[str, str]:
    notes = Notes()
    account_query(document, notes, "$")
    return {finding.path: finding.state for finding in notes.findings}


def test_a_tool_with_files_searches_them() -> None:
    assert said(tool({"provider": "google", "fileIds": [HERE]})) == {"$.type": LOSSY}


@pytest.mark.parametrize("bases", [[], [{"fileIds": []}], [{"fileIds": ["menu.pdf"]}], [None, 5]])
def test_a_tool_without_files_is_said_to_find_nothing(bases: list[Any]) -> None:
    assert said(tool(*bases))["$.knowledgeBases"] == INVALID


def test_other_providers_and_models_are_not_asked() -> None:
    found = said(tool(None, {"provider": "acme", "model": "gemini", "fileIds": [HERE]}))
    assert found["$.knowledgeBases[1].provider"] == UNSUPPORTED
    assert found["$.knowledgeBases[1].model"] == UNSUPPORTED


@pytest.mark.parametrize(
    ("kind", "wrap", "at"),
    [
        ("tool", lambda each: each, "$"),
        ("assistant", lambda each: {"model": {"tools": [each]}}, "$.model.tools[0]"),
    ],
)
def test_every_file_is_said_to_be_here_or_how_to_bring_it(kind: str, wrap: Any, at: str) -> None:
    document = wrap(tool({"fileIds": [HERE, GONE, "menu.pdf"]}))
    found = list(link_findings(kind, document, {"file": {HERE}}))
    place = f"{at}.knowledgeBases[0].fileIds"
    assert [(each.path, each.state) for each in found] == [
        (f"{place}[0]", MAPPED),
        (f"{place}[1]", INVALID),
        (f"{place}[2]", INVALID),
    ]
    assert f"id={GONE}" in found[1].message


def test_a_document_is_read_whatever_it_holds() -> None:
    odd = tool(5, {"fileIds": "x"}, {"fileIds": [None, HERE.upper(), HERE]}, name="n")
    assert knowledge_file_ids(odd) == (HERE,)
    assert len(knowledge_bases(odd)) == 3
    assert knowledge_file_ids({"knowledgeBases": {}}) == ()
    own = tool(function={"name": "f", "description": "D", "parameters": SEARCH})
    assert (read_tool(own).description, read_tool(own).parameters) == ("D", SEARCH)


SEARCH = {"type": "object", "properties": {"question": {"type": "string"}}}
