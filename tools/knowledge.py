"""The knowledge bases of a ``query`` tool, and what a model is offered to ask them. Pure.

Exports name files by id and carry no schema (vapi.md 3.5; corpus.md, tools). Where files are and
what is in them is not known here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tools.loose_json import as_list, as_object, as_text

_DESCRIPTION: Final = "Look something up in the documents"
_MOST_DESCRIPTION: Final = 900
_QUERY: Final = "query"
_PROPERTY: Final[Mapping[str, Any]] = {
    "type": "string",
    "description": "What to look up: the telling words of the question, in the documents' language",
}
_NAMES: Final = (_QUERY, "question", "search", "q", "text")


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """Some files of a tool, and what its author says is in them."""

    name: str = ""
    description: str = ""
    provider: str = ""
    file_ids: tuple[str, ...] = ()


def knowledge_bases(document: Any) -> tuple[KnowledgeBase, ...]:
    """Read ``knowledgeBases`` of a tool; ids in their canonical form, what is none is left out."""
    return tuple(
        KnowledgeBase(
            name=as_text(base.get("name")),
            description=as_text(base.get("description")),
            provider=as_text(base.get("provider")),
            file_ids=tuple(filter(None, map(_canonical, as_list(base.get("fileIds"))))),
        )
        for base in map(as_object, as_list(as_object(document).get("knowledgeBases")))
    )


def _canonical(value: Any) -> str:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else ""
    except ValueError:
        return ""


def knowledge_file_ids(document: Any) -> tuple[str, ...]:
    """Return the ids of all files that a tool looks things up in, each once."""
    bases = knowledge_bases(document)
    return tuple(dict.fromkeys(each for base in bases for each in base.file_ids))


def knowledge_description(document: Any) -> str:
    """Return what a model is told of a tool without a description: what its documents hold."""
    told = [
        ": ".join(filter(None, (base.name, base.description))) for base in knowledge_bases(document)
    ]
    listed = "; ".join(filter(None, told))
    words = f"{_DESCRIPTION} ({listed})." if listed else f"{_DESCRIPTION}."
    return words[:_MOST_DESCRIPTION]


def query_argument(parameters: Mapping[str, Any]) -> str:
    """Return the name of the argument that is the question, '' where a schema has none."""
    properties = as_object(parameters.get("properties"))
    return next((name for name in _NAMES if name in properties), "")


def query_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with an argument for the question."""
    if query_argument(parameters):
        return dict(parameters)
    return {
        **parameters,
        "type": "object",
        "properties": {**as_object(parameters.get("properties")), _QUERY: dict(_PROPERTY)},
        "required": [*as_list(parameters.get("required")), _QUERY],
    }
