"""What a model may see of a tool's arguments: everything but the secrets that the schema fixes.

Owns both schemas of a tool: the one that a session is made of, where a secret value is never told
and its argument is marked as filled in (vapi.md trap 13: ``value``), and the one by which the
model's arguments are filled in and judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.defaults import filling_of
from voiceplatform.base.redaction import MASK, is_secret_name, redact


def judging_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with the only value that a secret may have as one that is filled in.

    The model cannot know it, and whoever judges its arguments would name what was expected.
    """
    judging: dict[str, Any] = _filling(dict(schema))
    return judging


def _filling(node: Any) -> Any:
    if isinstance(node, list):
        return [_filling(child) for child in node]
    if not isinstance(node, Mapping):
        return node
    new = {name: _filling(child) for name, child in node.items()}
    properties = new.get("properties")
    for name, child in properties.items() if isinstance(properties, Mapping) else ():
        if is_secret_name(name) and isinstance(child, Mapping):
            new["properties"][name] = _with_only_value(child)
    return new


def _with_only_value(node: Mapping[str, Any]) -> dict[str, Any]:
    enum = node.get("enum")
    is_one = isinstance(enum, list) and len(enum) == 1
    only = node["const"] if node.get("const") is not None else enum[0] if is_one and enum else None
    if only is None:
        return dict(node)
    loose = {name: value for name, value in node.items() if name not in ("const", "enum")}
    return {"value": only, **loose}


def offered_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``schema`` without secrets, with a mark on each argument that lost one."""
    root, shown = judging_schema(schema), redact(dict(schema))
    marked: dict[str, Any] = _marked(root, root, shown, shown)
    return marked


def _marked(root: Any, node: Any, shown_root: Any, shown: Any) -> Any:
    if isinstance(shown, list) and isinstance(node, list):
        pairs = zip(node, shown, strict=True)
        return [_marked(root, child, shown_root, said) for child, said in pairs]
    if not (isinstance(shown, Mapping) and isinstance(node, Mapping)):
        return shown
    new = {name: _marked(root, node.get(name), shown_root, said) for name, said in shown.items()}
    properties, said_of = node.get("properties"), shown.get("properties")
    if isinstance(properties, Mapping) and isinstance(said_of, Mapping):
        for name, said in said_of.items():
            before, after = filling_of(root, properties.get(name)), filling_of(shown_root, said)
            is_lost = before is not None and (after is None or after.value != before.value)
            if is_lost and isinstance(said, Mapping):
                new["properties"][name] = {**new["properties"][name], "value": MASK}
    return new
