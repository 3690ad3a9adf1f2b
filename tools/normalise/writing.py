"""From a shape to the flat schema that a session is given.

Owns the vocabulary that is sent (openai_realtime.md 6) and its size. Pure. Every key it writes is
read back as the same shape, so writing twice changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from tools.normalise import words
from tools.normalise.shape import (
    LIMITS,
    NOTHING,
    NUMBER,
    Shape,
    identity,
    is_sendable,
    sentences,
    speaks_of,
    type_of,
)

MAX_DESCRIPTION: Final = 1_000  # vapi.md trap 30
MAX_CHARACTERS: Final = 48_000
_OBJECT: Final = frozenset({"object"})


class Writer:
    """Writes one schema; ``is_cut`` says whether it had room for all of it."""

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS
        self.is_cut = False

    def write(self, shape: Shape) -> dict[str, Any]:
        """Return a shape of objects as a whole schema."""
        return self._node(replace(shape, types=_OBJECT, enum=None, default=NOTHING))

    def _node(self, shape: Shape) -> dict[str, Any]:
        if not shape.types:
            shape = Shape(description=shape.description, words=("Leave it out.",))
        said = list(shape.words)
        node: dict[str, Any] = {}
        kind = _kind(shape)
        if shape.enum is not None and is_sendable(shape.enum):
            node["enum"] = list(shape.enum)
        elif shape.enum is not None:
            said.insert(0, f"One of: {words.values(shape.enum)}.")
        elif words.is_mixed(shape) and not shape.told:
            said.insert(0, f"May be {words.types_of(shape.types)}.")
        elif shape.types == {"null"}:
            said.insert(0, "Always null.")
        if kind:
            node = {"type": kind, **node}
        description = words.cut(sentences(shape.description, *said), MAX_DESCRIPTION)
        if description:
            node = {**node, "description": description}
        node |= {
            key: shape.limits[key]
            for key in LIMITS
            if key in shape.limits and speaks_of(key, shape.types)
        }
        if shape.default is not NOTHING and _may_be(shape, shape.default):
            node["default"] = shape.default
        self._left -= len(json.dumps(node))
        if "object" in shape.types and (kind == "object" or _says_of_objects(shape)):
            node |= self._object(shape)
        if "array" in shape.types and (kind == "array" or shape.items is not None):
            node["items"] = {} if shape.items is None else self._node(shape.items)
        return node

    def _object(self, shape: Shape) -> dict[str, Any]:
        wanted = dict(shape.properties)
        if not shape.closed:
            wanted |= {name: Shape() for name in shape.required if name not in wanted}
        properties: dict[str, Any] = {}
        for name, child in wanted.items():
            self._left -= len(name) + 8
            if self._left <= 0:
                self.is_cut = True
                break
            properties[name] = self._node(child)
        written: dict[str, Any] = {"properties": properties}
        required = [name for name in dict.fromkeys(shape.required) if name in properties]
        if required:
            written["required"] = required
        if shape.closed and len(properties) == len(wanted):
            written["additionalProperties"] = False
        return written


def _says_of_objects(shape: Shape) -> bool:
    return bool(shape.properties or shape.required or shape.closed)


def _kind(shape: Shape) -> str:
    """Return the one type of a shape, '' when it has several or only null."""
    if shape.types and shape.types <= NUMBER:
        if shape.types != {"integer"}:
            return "number"
        # 1.0 is a whole number to JSON Schema, though not to every reader of it.
        return "number" if any(isinstance(v, float) for v in shape.enum or ()) else "integer"
    if len(shape.types) == 1 and shape.types != {"null"}:
        return next(iter(shape.types))
    return ""


def _may_be(shape: Shape, value: Any) -> bool:
    if type_of(value) not in shape.types:
        return False
    known = shape.enum
    return known is None or identity(value) in {identity(each) for each in known}
