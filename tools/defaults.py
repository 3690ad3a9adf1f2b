"""Values that a tool's schema gives for arguments the model leaves out.

Owns which arguments are filled in, and with what, before they are checked and posted. Pure: the
renderer of templates comes in as a function. The model is never shown a template, it would say it
(corpus.md, surprise 6; vapi.md 2.10 and 3.2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tools.pointers import pointed

Render = Callable[[str], str]

_MAX_LEVELS: Final = 12
_PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Filling:
    """What an argument is filled with; ``is_hidden`` when the model is not to see the value."""

    value: Any
    is_hidden: bool


def has_template(value: Any) -> bool:
    """Tell whether Liquid stands in a text or anywhere inside a value."""
    nodes = [value]
    while nodes:
        node = nodes.pop()
        if isinstance(node, str):
            if "{{" in node or "{%" in node:
                return True
        elif isinstance(node, Mapping):
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return False


def filling_of(root: Any, node: Any) -> Filling | None:
    """Return what a property's schema says it is when it is left out.

    ``value`` is Vapi's own keyword (vapi.md trap 13). A null says nothing.
    """
    for each in (node, _referred(root, node)):
        if not isinstance(each, Mapping):
            continue
        if each.get("value") is not None:
            return Filling(each["value"], is_hidden=True)
        default = each.get("default")
        if default is not None:
            return Filling(default, is_hidden=has_template(default))
        if has_template(each.get("const")):
            return Filling(each["const"], is_hidden=True)
    return None


def fill_defaults(schema: Any, arguments: Mapping[str, Any], render: Render) -> dict[str, Any]:
    """Return ``arguments`` with every one that was left out and that the schema has a value for.

    Literal defaults are filled in as Vapi does, templates after ``render``. What does not fit its
    own schema's type or enum is not filled in; neither is a required argument whose template
    renders to nothing, so that the model hears that it is missing and asks the caller. Objects
    inside objects and lists are filled too, alternatives of a union are not.
    """
    return _filled(schema, schema, arguments, render, 0)


def render_values(value: Any, render: Render) -> Any:
    """Return ``value`` with every text in it that holds a template rendered."""
    if isinstance(value, str):
        return render(value) if has_template(value) else value
    if isinstance(value, list):
        return [render_values(each, render) for each in value]
    if isinstance(value, Mapping):
        return {key: render_values(each, render) for key, each in value.items()}
    return value


def _filled(
    root: Any, schema: Any, arguments: Mapping[str, Any], render: Render, level: int
) -> dict[str, Any]:
    filled = dict(arguments)
    if level > _MAX_LEVELS:
        return filled
    for part in _parts(root, schema, 0):
        required = part.get("required")
        properties = part.get("properties")
        if not isinstance(properties, Mapping):
            continue
        for name, node in properties.items():
            if name in filled:
                filled[name] = _filled_inside(root, node, filled[name], render, level + 1)
                continue
            filling = filling_of(root, node)
            if filling is None:
                continue
            value = render_values(filling.value, render)
            if has_template(filling.value):
                value = _as_declared(node, value)
                needed = isinstance(required, list) and name in required
                if needed and isinstance(value, str) and not value.strip():
                    continue
            if _fits(node, value):
                filled[name] = value
    return filled


def _filled_inside(root: Any, node: Any, value: Any, render: Render, level: int) -> Any:
    if isinstance(value, dict):
        return _filled(root, node, value, render, level)
    if isinstance(value, list) and isinstance(node, Mapping) and level <= _MAX_LEVELS:
        items = node.get("items")
        return [_filled_inside(root, items, each, render, level + 1) for each in value]
    return value


def _parts(root: Any, node: Any, level: int) -> Iterator[Mapping[str, Any]]:
    """Yield a schema, what it refers to and what its ``allOf`` adds: all that always holds."""
    if not isinstance(node, Mapping) or level > _MAX_LEVELS:
        return
    yield node
    yield from _parts(root, _referred(root, node), level + 1)
    members = node.get("allOf")
    for member in members if isinstance(members, list) else ():
        yield from _parts(root, member, level + 1)


def _referred(root: Any, node: Any) -> Any:
    reference = node.get("$ref") if isinstance(node, Mapping) else None
    return pointed(root, reference) if isinstance(reference, str) else None


def _as_declared(node: Any, value: Any) -> Any:
    """Return rendered text as the number or boolean that the schema asks for, if it is one."""
    types = _types(node)
    if not isinstance(value, str) or "string" in types:
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return read if types and _is_of(types, read) else value


def _types(node: Any) -> tuple[str, ...]:
    declared = node.get("type") if isinstance(node, Mapping) else None
    every = declared if isinstance(declared, list) else [declared]
    return tuple(each for each in every if isinstance(each, str) and each in _PYTHON_TYPES)


def _is_of(types: tuple[str, ...], value: Any) -> bool:
    if isinstance(value, bool):
        return "boolean" in types
    return any(isinstance(value, _PYTHON_TYPES[each]) for each in types if each != "boolean")


def _fits(node: Any, value: Any) -> bool:
    types = _types(node)
    if types and not _is_of(types, value):
        return False
    enum = node.get("enum") if isinstance(node, Mapping) else None
    return not isinstance(enum, list) or not enum or has_template(enum) or value in enum
