"""From a JSON Schema of any draft to a shape, and what was lost on the way.

Owns the meaning of every keyword: drafts 4 to 2020-12, OpenAPI's ``nullable`` and Vapi's ``value``.
Pure and total within its bounds; a value of the wrong type is read as if it were absent. Where
drafts disagree, it takes the reading that allows more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tools.defaults import filling_of, has_template
from tools.normalise import words
from tools.normalise.joining import join
from tools.normalise.keywords import (
    FORMATS,
    is_finite,
    limits_of,
    list_at,
    object_at,
    text_at,
    types_named,
)
from tools.normalise.shape import (
    ANY,
    ARGUMENTS,
    IMPOSSIBLE,
    NOTHING,
    Shape,
    distinct,
    is_sendable,
    meet,
    tightened,
)
from tools.pointers import MISSING, pointed

MAX_LEVELS: Final = 10  # of objects and lists inside each other, as OpenAI's structured outputs
MAX_STEPS: Final = 40  # of keywords inside each other
MAX_WORK: Final = 2_500  # schemas looked at
MAX_NOTES: Final = 40
_VALUES_A_SCHEMA: Final = 50  # values of an enum that cost what one schema costs
FILLED: Final = "Leave it out unless the caller gives another: it is filled in."

_OLD_DRAFT: Final = re.compile(r"draft-0[3-7]\b")
_IN_WORDS: Final = "told to the model in words; a call that breaks it goes back to be corrected."

Path = tuple[str | int, ...]


class TooMuch(Exception):
    """A schema is too large to be read; give up on its details."""


@dataclass(frozen=True, slots=True)
class Note:
    """What became of one place of a schema.

    ``path`` leads to it from the schema's root; ``is_lost`` when the model is not shown all of it.
    """

    path: Path
    message: str
    is_lost: bool = True


@dataclass(frozen=True, slots=True)
class _At:
    """Where the reader is; ``is_filled`` where a value left out would be filled in."""

    path: Path = ()
    level: int = 0
    steps: int = 0
    references: tuple[str, ...] = ("#",)
    is_filled: bool = True
    is_foreign: bool = False

    def inside(self, *path: str | int, **changes: Any) -> _At:
        return replace(self, path=(*self.path, *path), steps=self.steps + 1, **changes)


@dataclass(slots=True)
class Reader:
    """Reads one document; collects notes."""

    root: Any
    notes: list[Note] = field(default_factory=list)
    _work: int = 0

    def read(self) -> Shape:
        """Return the shape of the whole document.

        Raises:
            TooMuch: it is larger than MAX_WORK allows.
        """
        return self._read(self.root, _At())

    def _note(self, at: _At, message: str, *, is_lost: bool = True) -> None:
        note = Note(at.path, message, is_lost)
        if note not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(note)

    def _count(self, many: int = 1) -> None:
        self._work += many
        if self._work > MAX_WORK:
            raise TooMuch

    def _read(self, node: Any, at: _At) -> Shape:
        self._count()
        if not isinstance(node, Mapping):
            if not isinstance(node, bool):
                self._note(at, "No JSON Schema, so anything is allowed here.")
            return IMPOSSIBLE if node is False else ANY
        if at.level > MAX_LEVELS or at.steps > MAX_STEPS:
            if node.keys() - {"description"}:
                self._note(at, "Nested too deeply; the model is not told what goes here.")
            return Shape(description=text_at(node, "description"))
        if at.steps and self._is_of_its_own(node):
            at = replace(at, is_foreign=True)
        reference = node.get("$ref")
        if isinstance(reference, str) and self._ignores_siblings():
            return meet(self._annotations(node, at), self._referred(reference, at))
        shape = self._own(node, at)
        if not at.steps:
            shape = meet(ARGUMENTS, shape)  # so that its alternatives are read as objects
        if isinstance(reference, str):
            shape = meet(shape, self._referred(reference, at))
        if isinstance(node.get("$dynamicRef", node.get("$recursiveRef")), str):
            self._note(at, "A dynamic reference; the model is not told what it leads to.")
        for index, member in enumerate(list_at(node, "allOf")):
            shape = meet(shape, self._read(member, at.inside("allOf", index)))
        for keyword in ("anyOf", "oneOf"):
            if list_at(node, keyword):
                shape = self._one_of(shape, keyword, list_at(node, keyword), at)
        shape = self._conditions(shape, node, at)
        if node.get("nullable") is True and shape.types and "null" not in shape.types:
            shape = self._or_null(shape, at)
        return shape

    def _ignores_siblings(self) -> bool:
        # Up to draft 7 nothing beside $ref counts.
        declared = self.root.get("$schema") if isinstance(self.root, Mapping) else None
        return isinstance(declared, str) and bool(_OLD_DRAFT.search(declared))

    def _is_of_its_own(self, node: Mapping[str, Any]) -> bool:
        """Tell whether pointers inside ``node`` begin at ``node`` itself."""
        old = self._ignores_siblings() and isinstance(node.get("id"), str)
        return old or isinstance(node.get("$id"), str)

    def _annotations(self, node: Mapping[str, Any], at: _At) -> Shape:
        said: list[str] = []
        default = node.get("default")
        shown: Any = NOTHING
        if default is not None:
            if isinstance(default, str | bool | int | float) and not has_template(default):
                shown = default if is_finite(default) else NOTHING
            elif default and not has_template(default):
                said.append(f"If left out: {words.literal(default)}.")
        if node.get("required") is True:
            said.append("Required.")  # draft 3, and a common slip
        examples = [*list_at(node, "examples"), *([node["example"]] if "example" in node else [])]
        if examples and not has_template(examples):
            said.append(f"For example {words.values(examples[:5])}.")
        return Shape(
            description=text_at(node, "description") or text_at(node, "title"),
            words=tuple(said),
            default=shown,
        )

    def _own(self, node: Mapping[str, Any], at: _At) -> Shape:
        """Read the keywords that need no other schema, and those of objects and lists."""
        about = self._annotations(node, at)
        types = types_named(node.get("type"))
        enum: tuple[Any, ...] | None = None
        every = [node["const"]] if "const" in node else list_at(node, "enum")
        self._count(len(every) // _VALUES_A_SCHEMA)
        if every and has_template(every):
            if not (at.is_filled and "const" in node):
                self._note(at, "A template among its values; the model is not shown them.")
        elif every:
            enum = distinct(every)
        shape = tightened(replace(about, types=types, enum=enum, limits=limits_of(node)))
        if shape.enum and not is_sendable(shape.enum):
            self._note(at, f"Its values (null, objects or very many) are {_IN_WORDS}")
        elif words.is_mixed(shape) and shape.enum is None:
            self._note(at, f"That it may be {words.types_of(types)} is {_IN_WORDS}")
        said = [*shape.words, *self._constraints(node, at)]
        if "object" in types:
            shape = self._object(shape, node, at, said)
        if "array" in types:
            shape = replace(shape, items=self._items(node, at, said))
        return replace(shape, words=tuple(dict.fromkeys(said)))

    def _constraints(self, node: Mapping[str, Any], at: _At) -> list[str]:
        """Return sentences for what Realtime has no keyword for."""
        said: list[str] = []
        lost: list[str] = []
        if text_at(node, "pattern"):
            said.append(f"Pattern: {words.cut(text_at(node, 'pattern'), 120)}")
            self._note(at, "The pattern is told to the model in words; your server checks it.")
        form = text_at(node, "format")
        if form and form not in FORMATS:
            said.append(f"Format: {words.cut(form, 60)}.")
        for key, before, after in (
            ("minProperties", "At least", "keys."),
            ("maxProperties", "At most", "keys."),
            ("minContains", "At least", "such items."),
            ("maxContains", "At most", "such items."),
        ):
            if isinstance(node.get(key), int) and not isinstance(node[key], bool):
                said.append(f"{before} {node[key]} {after}")
                lost.append(key)
        if node.get("uniqueItems") is True:
            said.append("No item twice.")
            lost.append("uniqueItems")
        if node.get("unevaluatedProperties") is False:
            said.append("No other keys.")
            lost.append("unevaluatedProperties")
        for key, before in (
            ("not", "Not allowed: "),
            ("contains", "At least one item is "),
            ("propertyNames", "Each key is "),
        ):
            if isinstance(node.get(key), Mapping):
                # What no value of any kind fits is not worth a word.
                inner = self._aside(node[key], at.inside(key))
                said.append(f"{before}{words.phrase(inner)}.")
                lost.append(key)
        for key in ("dependentRequired", "dependencies"):
            for name, needed in object_at(node, key).items():
                if isinstance(needed, list) and needed:
                    others = words.all_of([words.literal(each) for each in needed])
                    said.append(f"With {words.literal(name)} goes {others}.")
                    lost.append(key)
        if lost:
            self._note(at, f"{words.all_of(list(dict.fromkeys(lost)))}: {_IN_WORDS}")
        return said

    def _aside(self, node: Any, at: _At) -> Shape:
        """Read a schema for its words alone; its own losses are part of the sentence."""
        before = len(self.notes)
        shape = self._read(node, replace(at, is_filled=False))
        del self.notes[before:]
        return shape

    def _object(self, shape: Shape, node: Mapping[str, Any], at: _At, said: list[str]) -> Shape:
        required = [name for name in list_at(node, "required") if isinstance(name, str)]
        properties: dict[str, Shape] = {}
        for name, child in object_at(node, "properties").items():
            here = at.inside("properties", name, level=at.level + 1)
            properties[name] = self._read(child, here)
            filling = filling_of(self.root, child)
            if filling is None or not filling.is_hidden:
                continue
            properties[name] = replace(properties[name], default=NOTHING)
            if at.is_filled:
                self._note_filled(here, child)
                properties[name] = meet(properties[name], Shape(words=(FILLED,)))
                required = [each for each in required if each != name]
            else:
                self._note(here, "Its value is not filled in: it stands in one alternative only.")
        patterns = object_at(node, "patternProperties")
        for pattern, child in patterns.items():
            inner = self._aside(child, at.inside("patternProperties", pattern))
            said.append(f"Keys like {words.cut(pattern, 60)}: {words.phrase(inner)}.")
        rest = node.get("additionalProperties")
        if isinstance(rest, Mapping) and rest:
            inner = self._aside(rest, at.inside("additionalProperties"))
            said.append(f"Further keys: {words.phrase(inner)}.")
        if patterns or (isinstance(rest, Mapping) and rest):
            self._note(at, f"What further keys may hold is {_IN_WORDS}")
        return replace(
            shape,
            properties=properties,
            required=tuple(dict.fromkeys(required)),
            closed=rest is False and not patterns,
        )

    def _note_filled(self, at: _At, child: Any) -> None:
        key = next((k for k in ("value", "default", "const") if child.get(k) is not None), "$ref")
        self._note(
            at.inside(key),
            "Filled in when the model leaves the argument out; the model is not shown the value.",
            is_lost=False,
        )

    def _items(self, node: Mapping[str, Any], at: _At, said: list[str]) -> Shape | None:
        inside = replace(at, level=at.level + 1)
        items = node.get("items")
        old = isinstance(items, list)
        firsts = items if isinstance(items, list) else list_at(node, "prefixItems")
        rest = node.get("additionalItems") if old else items
        others = None
        if isinstance(rest, Mapping | bool):
            where = "additionalItems" if old else "items"
            others = self._read(rest, inside.inside(where))
        if not firsts:
            return others
        where = "items" if old else "prefixItems"
        each = [self._read(one, inside.inside(where, i)) for i, one in enumerate(firsts)]
        said.append(f"In this order: {', '.join(words.phrase(one) for one in each[:12])}.")
        self._note(at, f"The order of its items is {_IN_WORDS}")
        if others is None:
            return None
        self._count(len(each))
        return join([*each, others])

    def _one_of(self, shape: Shape, keyword: str, members: Sequence[Any], at: _At) -> Shape:
        read = [
            self._read(member, at.inside(keyword, index, is_filled=False))
            for index, member in enumerate(members)
        ]
        fitting = [each for each in read if self._meet(shape, each).types]
        if len(fitting) < 2:
            return meet(shape, fitting[0]) if fitting else IMPOSSIBLE
        null = [each for each in fitting if each.types == frozenset({"null"})]
        others = [each for each in fitting if each.types != frozenset({"null"})]
        if null and len(others) == 1:
            return self._or_null(meet(shape, others[0]), at)
        bare = [replace(each, description="", words=(), default=NOTHING) for each in fitting]
        merged = join([self._meet(shape, each) for each in bare])
        if merged.enum is not None and not any(s.description or s.words for s in fitting):
            return merged
        only_objects = all(self._meet(shape, each).types == {"object"} for each in fitting)
        told = words.choice(fitting, are_objects=only_objects)
        self._note(
            at,
            f"The alternatives ({keyword}) are merged into one and {_IN_WORDS}",
        )
        return replace(
            merged, words=tuple(dict.fromkeys((*merged.words, told))), told=not only_objects
        )

    def _conditions(self, shape: Shape, node: Mapping[str, Any], at: _At) -> Shape:
        if "if" in node and ("then" in node or "else" in node):
            condition = self._aside(node["if"], at.inside("if"))
            branches = [
                self._read(node.get(key, True), at.inside(key, is_filled=False))
                for key in ("then", "else")
            ]
            said = f"If {words.alternative(condition, is_object=True)}: "
            said += words.alternative(branches[0], is_object=True)
            if "else" in node:
                said += f"; otherwise: {words.alternative(branches[1], is_object=True)}"
            shape = self._either(shape, branches, f"{said}.")
            self._note(at, f"What goes with what (if, then, else) is {_IN_WORDS}")
        for keyword in ("dependentSchemas", "dependencies"):
            for name, child in object_at(node, keyword).items():
                if isinstance(child, list):
                    continue
                there = self._read(child, at.inside(keyword, name, is_filled=False))
                said = words.alternative(there, is_object=True)
                shape = self._either(shape, [there, ANY], f"With {words.literal(name)}: {said}.")
                self._note(at, f"What goes with {words.literal(name)} is {_IN_WORDS}")
        return shape

    def _either(self, shape: Shape, branches: Sequence[Shape], said: str) -> Shape:
        bare = [replace(each, description="", words=(), default=NOTHING) for each in branches]
        merged = join([self._meet(shape, each) for each in bare])
        return replace(merged, words=tuple(dict.fromkeys((*merged.words, said))))

    def _or_null(self, shape: Shape, at: _At) -> Shape:
        self._note(at, f"That it may be null is {_IN_WORDS}")
        enum = None if shape.enum is None else distinct((*shape.enum, None))
        return replace(shape, types=shape.types | {"null"}, enum=enum, told=False)

    def _meet(self, a: Shape, b: Shape) -> Shape:
        self._count(1 + len(a.properties) + len(b.properties))
        return meet(a, b)

    def _referred(self, reference: str, at: _At) -> Shape:
        target = MISSING if at.is_foreign else pointed(self.root, reference)
        if target is MISSING:
            self._note(
                at,
                f"The reference {words.literal(reference)} leads nowhere in this schema; "
                "the model is not told what goes here.",
            )
            return ANY
        if reference in at.references:
            self._note(at, "It contains itself; the model is shown one level of it.")
            if not isinstance(target, Mapping) or isinstance(target.get("$ref"), str):
                return ANY
            types = types_named(target.get("type"))
            if target.get("nullable") is True:
                types |= {"null"}
            return Shape(types=types, description=text_at(target, "description"))
        return self._read(
            target,
            replace(at, steps=at.steps + 1, references=(*at.references, reference)),
        )
