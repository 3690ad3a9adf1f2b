"""What a shape allows, in words that a model understands.

Owns the sentences that stand in a description where a schema would have said it. Pure. Every
phrase is short: models read the beginning of a long description best, and each one is billed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tools.normalise.shape import ALL, NUMBER, Shape

_MAX_PHRASE: Final = 240
_MAX_SENTENCE: Final = 700
_MAX_VALUES: Final = 20
_MAX_VALUE: Final = 60
_LEVELS: Final = 3

_NAMES: Final = (
    ("string", "text"),
    ("number", "a number"),
    ("boolean", "true or false"),
    ("object", "an object"),
    ("array", "a list"),
    ("null", "null"),
)


def literal(value: Any) -> str:
    """Return a JSON value as it is written, cut to 60 characters."""
    try:
        return cut(json.dumps(value, ensure_ascii=False), _MAX_VALUE)
    except (RecursionError, ValueError, TypeError):
        return "a nested value"


def cut(text: str, most: int) -> str:
    """Return ``text`` with at most ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def one_of(texts: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} or {texts[-1]}"


def all_of(texts: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def values(enum: Iterable[Any]) -> str:
    """Return ``"a", "b" or null``, at most 20 of them."""
    every = list(enum)
    shown = [literal(value) for value in every[:_MAX_VALUES]]
    if len(every) > _MAX_VALUES:
        return f"{', '.join(shown)} and {len(every) - _MAX_VALUES} more"
    return one_of(shown)


def types_of(types: frozenset[str]) -> str:
    """Return ``text, a number or null``."""
    return one_of([_name(key) for key in _keys(types)])


def _keys(types: frozenset[str]) -> list[str]:
    return [key for key, _ in _NAMES if key in types or (key == "number" and types & NUMBER)]


def _name(key: str) -> str:
    return dict(_NAMES)[key]


def phrase(shape: Shape, levels: int = _LEVELS) -> str:
    """Return what ``shape`` allows, e.g. ``text (date)`` or ``an object with "to" (text)``."""
    said = _phrase(shape, levels)
    about = " ".join((shape.description, *shape.words)).strip().rstrip(".")
    return cut(f"{said} ({about})" if about else said, _MAX_PHRASE)


def _phrase(shape: Shape, levels: int) -> str:
    if not shape.types:
        return "nothing"
    if shape.enum is not None:
        return values(shape.enum)
    if shape.types == ALL:
        inner = _object(shape, levels)
        return f"an object with {inner}" if inner else "any value"
    return one_of([_typed(key, shape, levels) for key in _keys(shape.types)])


def _typed(key: str, shape: Shape, levels: int) -> str:
    name = "a whole number" if key == "number" and "fraction" not in shape.types else _name(key)
    limits = _limits(key, shape)
    if key == "object":
        inner = _object(shape, levels)
        return f"{name} with {inner}" if inner else name
    if key == "array" and shape.items is not None and levels > 0:
        name = f"{name} of: {phrase(shape.items, levels - 1)}"
    return f"{name} ({limits})" if limits else name


def _limits(key: str, shape: Shape) -> str:
    words = {
        "string": (
            ("format", ""),
            ("minLength", "characters >= "),
            ("maxLength", "characters <= "),
        ),
        "number": (
            ("minimum", ">= "),
            ("exclusiveMinimum", "> "),
            ("maximum", "<= "),
            ("exclusiveMaximum", "< "),
            ("multipleOf", "a multiple of "),
        ),
        "array": (("minItems", "items >= "), ("maxItems", "items <= ")),
    }.get(key, ())
    return ", ".join(f"{said}{shape.limits[k]}" for k, said in words if k in shape.limits)


def _object(shape: Shape, levels: int) -> str:
    """Return what an object holds, e.g. ``"kind" is "card" and optionally "note" (text)``."""
    if levels <= 0:
        return ""
    needed = list(dict.fromkeys(shape.required))
    rest = [name for name in shape.properties if name not in needed]
    said = [_property(name, shape.properties.get(name), levels) for name in needed]
    fixed = [name for name in rest if shape.properties[name].enum is not None]
    said += [_property(name, shape.properties[name], levels) for name in fixed]
    free = [_property(name, shape.properties[name], levels) for name in rest if name not in fixed]
    if free:
        said.append(f"optionally {all_of(free)}")
    return all_of(said)


def _property(name: str, shape: Shape | None, levels: int) -> str:
    if shape is None or (shape.allows_anything() and not (shape.description or shape.words)):
        return literal(name)
    if not shape.types:
        return f"no {literal(name)}"
    if shape.enum is not None and len(shape.enum) == 1:
        return f"{literal(name)} is {literal(shape.enum[0])}"
    return f"{literal(name)} ({phrase(shape, levels - 1)})"


def alternative(shape: Shape, *, is_object: bool) -> str:
    """Return one alternative of a union; only what it holds when it is sure to be an object."""
    inner = _object(shape, _LEVELS - 1) if is_object and shape.enum is None else ""
    if not inner:
        return phrase(shape)
    about = shape.description.strip().rstrip(".")
    return cut(f"{inner} ({about})" if about else inner, _MAX_PHRASE)


def choice(shapes: Sequence[Shape], *, are_objects: bool) -> str:
    """Return the sentence on a union, e.g. ``One of: "account" (text); or: "name" (text).``"""
    told = dict.fromkeys(alternative(shape, is_object=are_objects) for shape in shapes)
    return cut(f"One of: {'; or: '.join(told)}.", _MAX_SENTENCE)


def is_mixed(shape: Shape) -> bool:
    """Tell whether a shape allows several types, though not all, so that no one type says it."""
    return len(_keys(shape.types)) > 1 and shape.types != ALL
