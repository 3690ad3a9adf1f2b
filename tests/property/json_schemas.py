"""Schemas with arguments that fit them: what the normaliser is fed with.

Owns the strategies. Few names and few values, so that keywords meet each other: a key of one
alternative is an undeclared key of the next. Whether arguments really fit is said by the judge,
the jsonschema library with the draft that the schema names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from tools.pointers import ENDLESS, reach

NAMES = ("a", "b", "c", "kind", "x-1")
TEXTS = ("", "a", "ab", "b", "card", "2026-01-01")
TYPES = ("string", "integer", "number", "boolean", "null", "object", "array")
DRAFTS: dict[str, Any] = {
    "": Draft202012Validator,
    "http://json-schema.org/draft-04/schema#": Draft4Validator,
    "http://json-schema.org/draft-07/schema#": Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": Draft202012Validator,
}
REFERENCES = ("#/$defs/one", "#/$defs/two", "#/definitions/one", "#", "#/properties/a", "#/none")

numbers = st.one_of(st.integers(-3, 6), st.sampled_from((0.5, 1.0, 2.5)))
scalars = st.one_of(st.sampled_from(TEXTS), numbers, st.booleans(), st.none())
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=2),
    st.dictionaries(st.sampled_from(NAMES), scalars, max_size=2),
)
name_lists = st.lists(st.sampled_from(NAMES), max_size=2, unique=True)


def _nullable(validator: Any) -> Any:
    """Return a validator class that knows OpenAPI's ``nullable``."""

    def wrapped(keyword: str) -> Any:
        standard = validator.VALIDATORS[keyword]

        def check(v: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            if not (instance is None and schema.get("nullable") is True):
                yield from standard(v, value, instance, schema) or ()

        return check

    return extend(validator, {key: wrapped(key) for key in ("type", "enum")})


_JUDGES = {name: _nullable(validator) for name, validator in DRAFTS.items()}


def fits(schema: Mapping[str, Any], arguments: Any) -> bool:
    """Tell whether ``arguments`` are valid for ``schema`` in the draft it names."""
    if reach(schema)[0] >= ENDLESS:
        return False  # the library would run out of stack
    try:
        return bool(_JUDGES[schema.get("$schema", "")](schema).is_valid(arguments))
    except (Unresolvable, AttributeError, TypeError):
        # A reference that leads nowhere; or true where old keywords of the library expect more.
        return False


def _sometimes(draw: Any, chance: int = 3) -> bool:
    return bool(draw(st.integers(0, chance)) == 0)


def _some(draw: Any, options: Mapping[str, st.SearchStrategy[Any]], most: int) -> dict[str, Any]:
    """Draw values for a few of the keywords."""
    keys = draw(st.lists(st.sampled_from(tuple(sorted(options))), max_size=most, unique=True))
    return {key: draw(options[key]) for key in keys}


@st.composite
def schemas(draw: Any, depth: int = 3) -> Any:
    """Draw a schema below the top level."""
    if depth <= 0:
        return draw(st.sampled_from(({}, True, False, {"type": "string"}, {"type": "integer"})))
    schema: dict[str, Any] = {}
    kinds = draw(st.lists(st.sampled_from(_USUAL), min_size=1, max_size=2, unique=True))
    for kind in kinds:
        schema |= _MAKERS[kind](draw, depth - 1)
    if _sometimes(draw, 8):
        schema["nullable"] = True
    if _sometimes(draw, 4):
        schema["description"] = draw(st.sampled_from(("Said.", "when", "x" * 1_500)))
    return schema


@functools.cache
def _below(depth: int) -> st.SearchStrategy[Any]:
    """Return the one strategy of a depth: making one costs more than drawing from it."""
    return schemas(depth=depth)


def _typed(draw: Any, _: int) -> dict[str, Any]:
    return {"type": draw(st.sampled_from(TYPES))}


def _type_list(draw: Any, _: int) -> dict[str, Any]:
    return {"type": draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True))}


def _enum(draw: Any, _: int) -> dict[str, Any]:
    return {"enum": draw(st.lists(values, min_size=1, max_size=4))}


def _const(draw: Any, _: int) -> dict[str, Any]:
    return {"const": draw(values)}


_STRING_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "minLength": st.integers(0, 2),
    "maxLength": st.integers(1, 4),
    "pattern": st.sampled_from(("^a", "b$", ".")),
    "format": st.sampled_from(("date", "phone", "uri")),
    "default": st.sampled_from(("a", "{{customer.number}}", None)),
    "value": st.sampled_from(("a", "{{call.id}}")),
}


def _string(draw: Any, _: int) -> dict[str, Any]:
    return {"type": "string", **_some(draw, _STRING_OPTIONS, 2)}


_NUMBER_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "minimum": st.integers(-3, 2),
    "maximum": st.integers(1, 6),
    "exclusiveMinimum": st.integers(-3, 2),
    "exclusiveMaximum": st.integers(1, 6),
    "multipleOf": st.sampled_from((1, 2, 0.5)),
}


def _number(draw: Any, _: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(("integer", "number")))
    return {"type": kind, **_some(draw, _NUMBER_OPTIONS, 2)}


@functools.cache
def _object_options(depth: int) -> dict[str, st.SearchStrategy[Any]]:
    inner = _below(depth)
    return {
        "type": st.just("object"),
        "required": name_lists,
        "additionalProperties": st.one_of(st.booleans(), inner),
        "patternProperties": st.dictionaries(st.sampled_from(("^x-", "a")), inner, max_size=1),
        "minProperties": st.integers(0, 2),
        "maxProperties": st.integers(2, 4),
        "propertyNames": st.builds(dict, maxLength=st.just(4)),
        "unevaluatedProperties": st.just(False),
    }


@functools.cache
def _properties(depth: int) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(NAMES), _below(depth), max_size=3)


def _object(draw: Any, depth: int) -> dict[str, Any]:
    return {"properties": draw(_properties(depth)), **_some(draw, _object_options(depth), 3)}


@functools.cache
def _array_options(depth: int) -> dict[str, st.SearchStrategy[Any]]:
    inner = _below(depth)
    return {
        "items": st.one_of(inner, st.lists(inner, max_size=2)),
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "additionalItems": inner,
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(1, 4),
        "uniqueItems": st.booleans(),
        "contains": inner,
    }


def _array(draw: Any, depth: int) -> dict[str, Any]:
    return {"type": "array", **_some(draw, _array_options(depth), 3)}


def _tuple(draw: Any, depth: int) -> dict[str, Any]:
    inner = _below(depth)
    firsts = draw(st.lists(inner, min_size=1, max_size=2))
    if draw(st.booleans()):
        return {"type": "array", "prefixItems": firsts, "items": draw(inner)}
    return {"type": "array", "items": firsts, "additionalItems": draw(inner)}


def _union(draw: Any, depth: int) -> dict[str, Any]:
    keyword = draw(st.sampled_from(("anyOf", "oneOf")))
    return {keyword: draw(st.lists(_below(depth), min_size=1, max_size=3))}


def _object_union(draw: Any, depth: int) -> dict[str, Any]:
    keyword = draw(st.sampled_from(("anyOf", "oneOf")))
    return {keyword: [_object(draw, depth) for _ in range(draw(st.integers(2, 3)))]}


def _all_of(draw: Any, depth: int) -> dict[str, Any]:
    return {"allOf": draw(st.lists(_below(depth), min_size=1, max_size=2))}


def _not(draw: Any, depth: int) -> dict[str, Any]:
    return {"not": draw(_below(depth))}


def _condition(draw: Any, depth: int) -> dict[str, Any]:
    made = {"if": draw(_below(depth))}
    for key in ("then", "else"):
        if _sometimes(draw, 1):
            made[key] = draw(_below(depth))
    return made


def _dependent(draw: Any, depth: int) -> dict[str, Any]:
    names = st.sampled_from(NAMES)
    lists = st.dictionaries(names, name_lists, max_size=2)
    more = st.dictionaries(names, _below(depth), max_size=1)
    keyword = draw(st.sampled_from(("dependentRequired", "dependentSchemas", "dependencies")))
    if keyword == "dependencies":
        return {keyword: draw(st.one_of(lists, more))}
    return {keyword: draw(lists if keyword == "dependentRequired" else more)}


def _reference(draw: Any, _: int) -> dict[str, Any]:
    return {"$ref": draw(st.sampled_from(REFERENCES))}


_MAKERS: dict[str, Any] = {
    "all_of": _all_of,
    "array": _array,
    "condition": _condition,
    "const": _const,
    "dependent": _dependent,
    "enum": _enum,
    "not": _not,
    "number": _number,
    "object": _object,
    "object_union": _object_union,
    "reference": _reference,
    "string": _string,
    "tuple": _tuple,
    "type_list": _type_list,
    "typed": _typed,
    "union": _union,
}
_USUAL = (*sorted(_MAKERS), "string", "number", "object", "array", "typed", "union", "enum")
_OLD_MEANINGS = ("const", "if", "contains", "propertyNames")


@st.composite
def tool_schemas(draw: Any) -> dict[str, Any]:
    """Draw the parameters of a tool: mostly objects with a few properties."""
    schema: dict[str, Any] = _object(draw, 2)
    for kind in draw(
        st.lists(
            st.sampled_from(
                ["object_union", "union", "all_of", "condition", "dependent", "reference", "not"]
            ),
            max_size=1,
            unique=True,
        )
    ):
        schema |= _MAKERS[kind](draw, 2)
    schema["$defs"] = {key: draw(_below(2)) for key in ("one", "two")}
    schema["definitions"] = {"one": draw(_below(1))}
    draft = draw(st.sampled_from(sorted(DRAFTS)))
    if draft:
        schema["$schema"] = draft
    if "draft-04" in draft:
        _for_draft_4(schema)
    return schema


def _for_draft_4(node: Any) -> None:
    """Write what draft 4 writes differently; drop what it gives no meaning to."""
    if isinstance(node, list):
        for each in node:
            _for_draft_4(each)
    if not isinstance(node, dict):
        return
    for key in _OLD_MEANINGS:
        node.pop(key, None)
    if isinstance(node.get("items"), bool):
        del node["items"]  # no schema in draft 4; the library trips over it
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if not isinstance(node.get(key, False), bool):
            node[bound] = node[key]
            node[key] = True
    for each in node.values():
        _for_draft_4(each)


def arguments_for(draw: Any, schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Draw a value that is likely to fit ``schema``."""
    if depth > 5 or not isinstance(schema, dict) or not schema:
        return draw(values)
    chosen: dict[str, Any] = dict(schema)
    target = _target(schema.get("$ref"), root)
    if isinstance(target, dict) and _sometimes(draw, 1):
        return arguments_for(draw, target, root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            picked = draw(st.sampled_from(schema[keyword]))
            chosen = _merged(chosen, picked)
    for each in schema.get("allOf", ()):
        chosen = _merged(chosen, each)
    for keyword in ("then", "else"):
        if keyword in schema and _sometimes(draw, 1):
            chosen = _merged(chosen, schema[keyword])
    if "const" in chosen:
        return chosen["const"]
    if chosen.get("enum"):
        return draw(st.sampled_from(chosen["enum"]))
    kinds = chosen.get("type")
    kind = draw(st.sampled_from(kinds)) if isinstance(kinds, list) else kinds
    if kind == "object" or (kind is None and "properties" in chosen):
        return _object_for(draw, chosen, root, depth)
    if kind == "array":
        return _array_for(draw, chosen, root, depth)
    if kind in ("integer", "number"):
        return draw(st.integers(-3, 6) if kind == "integer" else numbers)
    simple = {"string": st.sampled_from(TEXTS), "boolean": st.booleans(), "null": st.none()}
    return draw(simple.get(kind, values))


def _target(reference: Any, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for part in str(reference or "#/none").removeprefix("#").split("/")[1:]:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _merged(a: dict[str, Any], b: Any) -> dict[str, Any]:
    if not isinstance(b, dict):
        return a
    both = a | b
    if isinstance(a.get("properties"), dict) and isinstance(b.get("properties"), dict):
        both["properties"] = a["properties"] | b["properties"]
    both["required"] = [*a.get("required", ()), *b.get("required", ())]
    return both


def _object_for(draw: Any, schema: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    needed = list(schema.get("required") or ())
    wanted = [name for name in properties if name in needed or _sometimes(draw, 1)]
    made = {n: arguments_for(draw, properties.get(n, {}), root, depth + 1) for n in wanted}
    for name in needed:
        made.setdefault(name, draw(values))
    if schema.get("additionalProperties") is not False and _sometimes(draw, 1):
        made.setdefault(draw(st.sampled_from(NAMES)), draw(values))
    return made


def _array_for(draw: Any, schema: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    items = schema.get("items", {})
    firsts = items if isinstance(items, list) else schema.get("prefixItems", [])
    made = [arguments_for(draw, each, root, depth + 1) for each in firsts]
    rest = schema.get("additionalItems", {}) if isinstance(items, list) else items
    many = draw(st.integers(0, 2)) + (schema.get("minItems", 0) if not firsts else 0)
    return made + [arguments_for(draw, rest, root, depth + 1) for _ in range(many)]


@st.composite
def schemas_with_arguments(draw: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw a tool's schema and objects of arguments, most of which fit it."""
    schema = draw(tool_schemas())
    as_object = {**schema, "type": "object"}
    every = [arguments_for(draw, as_object, schema) for _ in range(5)]
    return schema, [
        each if isinstance(each, dict) else _object_for(draw, schema, schema, 0) for each in every
    ]
