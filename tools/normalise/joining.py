"""One of several schemas: the union of their shapes.

Owns ``join``. Pure. What a union cannot keep apart, which alternative a value belongs to, is said
in words or lost; no value of any alternative is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tools.normalise.shape import (
    IMPOSSIBLE,
    NOTHING,
    STRICTER,
    Shape,
    distinct,
    identity,
)
from tools.normalise.words import phrase


def join(shapes: Sequence[Shape]) -> Shape:
    """Return a shape that allows at least what one of ``shapes`` allows."""
    live = [shape for shape in shapes if shape.types]
    if len(live) < 2:
        return live[0] if live else IMPOSSIBLE
    enum: tuple[Any, ...] | None = None
    if all(shape.enum is not None for shape in live):
        enum = distinct(value for shape in live for value in shape.enum or ())
    first = live[0]
    return Shape(
        types=frozenset().union(*(shape.types for shape in live)),
        enum=enum,
        items=_joined_items(live),
        limits=_joined_limits(live),
        description=" / ".join(dict.fromkeys(s.description for s in live if s.description)),
        words=tuple(word for word in first.words if all(word in s.words for s in live)),
        default=first.default if _same_defaults(live) else NOTHING,
        told=all(shape.told for shape in live),
        **_joined_objects(live),
    )


def _same_defaults(shapes: Sequence[Shape]) -> bool:
    if any(shape.default is NOTHING for shape in shapes):
        return False
    return len({identity(shape.default) for shape in shapes}) == 1


def _joined_items(shapes: Sequence[Shape]) -> Shape | None:
    of_arrays = [shape.items for shape in shapes if "array" in shape.types]
    if not of_arrays or any(items is None for items in of_arrays):
        return None
    return join([items for items in of_arrays if items is not None])


def _joined_limits(shapes: Sequence[Shape]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, (types, stricter) in STRICTER.items():
        limits = [shape.limits for shape in shapes if shape.types & types]
        if not limits or any(key not in each for each in limits):
            continue
        values = [each[key] for each in limits]
        if stricter is None:
            if len({identity(value) for value in values}) == 1:
                found[key] = values[0]
        else:
            found[key] = min(values) if stricter is max else max(values)
    return found


def _joined_objects(shapes: Sequence[Shape]) -> dict[str, Any]:
    objects = [shape for shape in shapes if "object" in shape.types]
    if not objects:
        return {}
    properties: dict[str, Shape] = {}
    for name in dict.fromkeys(name for shape in objects for name in shape.properties):
        declared = [shape.properties[name] for shape in objects if name in shape.properties]
        joined = _property_of_one(declared)
        # An alternative that does not mention a property lets it hold anything.
        open_elsewhere = any(name not in s.properties and not s.closed for s in objects)
        properties[name] = in_words_only(joined) if open_elsewhere else joined
    return {
        "properties": properties,
        "required": tuple(
            name for name in objects[0].required if all(name in s.required for s in objects)
        ),
        "closed": all(shape.closed for shape in objects),
    }


def _property_of_one(declared: Sequence[Shape]) -> Shape:
    """Join one property of several alternatives, and say what the union cannot."""
    joined = join(declared)
    if joined.enum is not None or all(shape == declared[0] for shape in declared):
        return joined
    lost = [shape for shape in declared if shape.enum is not None or shape.words]
    told = tuple(f"Depending on the case: {phrase(shape)}." for shape in lost)
    return replace(joined, words=tuple(dict.fromkeys((*joined.words, *told))))


def in_words_only(shape: Shape) -> Shape:
    """Return a shape that allows anything and says in words what is meant."""
    if shape.allows_anything():
        return shape
    said = replace(shape, description="", words=())
    words = (f"Meant: {phrase(said)}.", *shape.words)
    return Shape(description=shape.description, words=words)
