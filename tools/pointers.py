"""Finds what a reference inside one JSON Schema points to; pure, standard library only.

Owns the one form of ``$ref`` that is followed: a JSON pointer into the document itself. Nothing is
ever fetched, and anchors and identifiers are not looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

MISSING: Final = object()


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
