"""Finds what a reference inside one JSON Schema points to, and how far references lead.

Owns the one form of ``$ref`` that is followed: a JSON pointer into the document itself. Nothing is
ever fetched, and anchors and identifiers are not looked up. Pure, standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

MISSING: Final = object()
ENDLESS: Final = 1_000_000
_LONGEST: Final = 50


def pointed(root: Any, reference: str) -> Any:
    """Return the schema that ``reference`` names within ``root``, else MISSING.

    A pointer into a part with an ``$id`` of its own leads nowhere: that part is another document.
    """
    if reference == "#":
        return root if isinstance(root, Mapping | bool) else MISSING
    if not reference.startswith("#/"):
        return MISSING
    node: Any = root
    for part in unquote(reference[2:]).split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isascii() and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return MISSING
        if isinstance(node, Mapping) and isinstance(node.get("$id"), str):
            return MISSING
    return node if isinstance(node, Mapping | bool) else MISSING


def nesting(value: Any) -> int:
    """Return how many objects and lists of a JSON value stand inside each other."""
    deepest, layer = 0, [value]
    while layer:
        inner: list[Any] = []
        for node in layer:
            if isinstance(node, Mapping):
                inner += node.values()
            elif isinstance(node, list):
                inner += node
        deepest += any(isinstance(node, Mapping | list) for node in layer)
        layer = inner
    return deepest


def reach(root: Any) -> tuple[int, int]:
    """Return how deep schemas of ``root`` apply to one value, and how many of them at most.

    Both are ENDLESS where references go round in a circle without entering the value, or are
    longer than 50 steps.
    """
    known: dict[int, tuple[int, int]] = {}

    def measured(node: Mapping[str, Any], level: int) -> tuple[int, int]:
        if level > _LONGEST:
            return ENDLESS, ENDLESS
        if id(node) not in known:
            known[id(node)] = ENDLESS, ENDLESS  # what it is when it is met again on the way
            inner = [measured(each, level + 1) for each in _applied(root, node)]
            deep = 1 + max((each[0] for each in inner), default=0)
            many = 1 + sum(each[1] for each in inner)
            known[id(node)] = min(deep, ENDLESS), min(many, ENDLESS)
        return known[id(node)]

    deepest, most, nodes = 0, 0, [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Mapping):
            deep, many = measured(node, 0)
            deepest, most = max(deepest, deep), max(most, many)
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return deepest, most


def _applied(root: Any, node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that judge the same value as ``node`` does."""
    every: list[Any] = [node.get(key) for key in ("if", "then", "else", "not")]
    for key in ("allOf", "anyOf", "oneOf"):
        members = node.get(key)
        every += members if isinstance(members, list) else []
    for key in ("dependentSchemas", "dependencies"):
        members = node.get(key)
        every += members.values() if isinstance(members, Mapping) else []
    reference = node.get("$ref")
    if isinstance(reference, str):
        every.append(pointed(root, reference))
    yield from (each for each in every if isinstance(each, Mapping))
