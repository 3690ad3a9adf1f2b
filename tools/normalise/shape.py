"""What values a schema allows, as far as Realtime can be told: the value between reader and writer.

Owns ``Shape`` and ``meet`` (two schemas hold at once); ``joining`` has the other operation. Pure. A
shape never forbids a value that its schema allows; where the exact answer cannot be written down,
it errs to the wider side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

# "number" is two of them, so that integer and number meet and join exactly.
TYPES: Final = ("string", "integer", "fraction", "boolean", "object", "array", "null")
ALL: Final = frozenset(TYPES)
NUMBER: Final = frozenset({"integer", "fraction"})
NOTHING: Final = object()
MAX_ENUM: Final = 250
MAX_ENUM_CHARACTERS: Final = 6_000

# keyword -> (types it speaks of, which of two values is the stricter one)
STRICTER: Final[Mapping[str, tuple[frozenset[str], Any]]] = {
    "minimum": (NUMBER, max),
    "exclusiveMinimum": (NUMBER, max),
    "maximum": (NUMBER, min),
    "exclusiveMaximum": (NUMBER, min),
    "multipleOf": (NUMBER, None),
    "minLength": (frozenset({"string"}), max),
    "maxLength": (frozenset({"string"}), min),
    "format": (frozenset({"string"}), None),
    "minItems": (frozenset({"array"}), max),
    "maxItems": (frozenset({"array"}), min),
}
LIMITS: Final = tuple(STRICTER)


@dataclass(frozen=True, slots=True)
class Shape:
    """Allowed values; the default allows everything.

    A property that is not in ``properties`` may hold anything, unless the shape is ``closed``.
    ``words`` are sentences on what the other fields cannot say. ``told`` says that they name the
    types already.
    """

    types: frozenset[str] = ALL
    enum: tuple[Any, ...] | None = None
    properties: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    closed: bool = False
    items: Shape | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    words: tuple[str, ...] = ()
    default: Any = NOTHING
    told: bool = False

    def allows_anything(self) -> bool:
        """Tell whether every value fits, whatever is said about it in words."""
        return (
            self.types == ALL
            and self.enum is None
            and not (self.properties or self.required or self.closed or self.limits)
            and self.items is None
        )


ANY: Final = Shape()
ARGUMENTS: Final = Shape(types=frozenset({"object"}))
IMPOSSIBLE: Final = Shape(types=frozenset())


def speaks_of(limit: str, types: frozenset[str]) -> bool:
    """Tell whether a keyword limits values of one of ``types``."""
    return bool(STRICTER[limit][0] & types)


def type_of(value: Any) -> str:
    """Return the member of TYPES that a JSON value is of; 1.0 is an integer, true is not."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "fraction"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def identity(value: Any) -> Any:
    """Return something hashable that is equal for equal JSON values: 1 is 1.0, but not true."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type_of(value), value)
    if isinstance(value, int | float):
        return ("number", value)
    if isinstance(value, list):
        return ("array", tuple(identity(each) for each in value))
    if isinstance(value, Mapping):
        return ("object", frozenset((key, identity(each)) for key, each in value.items()))
    return ("other", id(value))


def distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return ``values`` each once, in their order."""
    kept: dict[Any, Any] = {}
    for value in values:
        kept.setdefault(identity(value), value)
    return tuple(kept.values())


def is_sendable(enum: Sequence[Any]) -> bool:
    """Tell whether an ``enum`` of these values can stand in a session.

    Only text, numbers and booleans, not too many: null and objects are told in words.
    """
    characters = 0
    for value in enum:
        if not isinstance(value, str | bool | int | float):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        characters += len(value) if isinstance(value, str) else 8
    return len(enum) <= MAX_ENUM and characters <= MAX_ENUM_CHARACTERS


def tightened(shape: Shape) -> Shape:
    """Return ``shape`` with its types and its enum agreeing with each other."""
    if shape.enum is None:
        return shape
    enum = tuple(value for value in shape.enum if type_of(value) in shape.types)
    return replace(shape, enum=enum, types=frozenset(type_of(value) for value in enum))


def sentences(*texts: str) -> str:
    """Return texts as one, each once and all but the last ended by a full stop."""
    kept: list[str] = []
    for text in texts:
        if text and text not in kept:
            kept.append(text)
    return " ".join(
        text if text is kept[-1] or text.endswith((".", "!", "?", ":", ";", "…")) else f"{text}."
        for text in kept
    )


def meet(a: Shape, b: Shape) -> Shape:
    """Return a shape that allows at least what both allow."""
    if a == ANY or b == ANY:
        return b if a == ANY else a
    enum = a.enum if b.enum is None else b.enum
    if a.enum is not None and b.enum is not None:
        there = {identity(value) for value in b.enum}
        enum = tuple(value for value in a.enum if identity(value) in there)
    items = a.items or b.items
    if a.items is not None and b.items is not None:
        items = meet(a.items, b.items)
    return tightened(
        Shape(
            types=a.types & b.types,
            enum=enum,
            properties=_properties_of_both(a, b),
            required=tuple(dict.fromkeys((*a.required, *b.required))),
            closed=a.closed or b.closed,
            items=items,
            limits={
                key: _stricter(key, a.limits, b.limits)
                for key in LIMITS
                if key in a.limits or key in b.limits
            },
            description=sentences(a.description, b.description),
            words=tuple(dict.fromkeys((*a.words, *b.words))),
            default=b.default if a.default is NOTHING else a.default,
            told=a.told or b.told,
        )
    )


def _properties_of_both(a: Shape, b: Shape) -> dict[str, Shape]:
    both: dict[str, Shape] = {}
    for name in dict.fromkeys((*a.properties, *b.properties)):
        one, other = a.properties.get(name), b.properties.get(name)
        if one is not None and other is not None:
            both[name] = meet(one, other)
        elif one is not None and not b.closed:
            both[name] = one
        elif other is not None and not a.closed:
            both[name] = other
    return both


def _stricter(key: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
    if key not in a or key not in b:
        return a.get(key, b.get(key))
    choose = STRICTER[key][1]
    return a[key] if choose is None else choose(a[key], b[key])
