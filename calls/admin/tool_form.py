"""The form of a tool's arguments, made from its JSON Schema; and what its values say as JSON.

Owns which field stands for which schema and the words of what is wrong with a value. The schema is
the one that a model may see: an argument that the platform fills in is no field. Whether the
arguments are what the tool takes is judged by ``tools.schema``, as in a call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from tools.defaults import fill_defaults, filling_of
from tools.offered import judging_schema, offered_schema
from tools.pointers import pointed
from tools.schema import argument_problems

MOST_FIELDS: Final = 60
WHOLE: Final = "arguments"
_LEFT_OUT: Final = "left out"
_TYPES: Final = {"object": dict, "array": list}
_TYPE_WORDS: Final = {"object": "an object such as {}", "array": "a list such as []"}


class JsonText(forms.CharField):
    """A JSON value of one type, or of any, as text; empty is left out."""

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def to_python(self, value: Any) -> Any:
        """Read the text.

        Raises:
            ValidationError: it is no JSON, or of another type.
        """
        text = super().to_python(value)
        if not text:
            return None
        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not valid JSON: {error}.") from error
        wanted = _TYPES.get(self.kind)
        if wanted is not None and not isinstance(read, wanted):
            raise forms.ValidationError(f"This must be {_TYPE_WORDS[self.kind]}.")
        return read


class ArgumentsForm(forms.Form):
    """One field for each argument; ``as_json`` is what a model would have written."""

    def __init__(self, data: Any = None, *, schema: Mapping[str, Any]) -> None:
        """Make the fields of ``schema``, the one that the tool's author wrote."""
        super().__init__(data)
        self._judge = judging_schema(schema)
        schema = offered_schema(schema)
        self.names: dict[str, str] = {}
        properties = schema.get("properties")
        required = schema.get("required")
        needed = required if isinstance(required, list) else []
        for name, node in properties.items() if isinstance(properties, Mapping) else ():
            filling = filling_of(schema, node)
            if len(self.names) >= MOST_FIELDS or (filling is not None and filling.is_hidden):
                continue
            # A name of a field is a name in HTML; an argument may be called anything.
            key = f"argument-{len(self.names)}"
            self.names[key] = name
            self.fields[key] = _field(name, _resolved(schema, node), is_needed=name in needed)
        if not self.names:
            self.fields[WHOLE] = JsonText(
                "object",
                required=False,
                label="Arguments",
                help_text="A JSON object, such as {}. Its schema names no single argument.",
                widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
            )

    def clean(self) -> dict[str, Any]:
        """Judge the arguments as a call does; what concerns one field stands beside it."""
        cleaned = super().clean() or {}
        if not self.errors:
            given = fill_defaults(self._judge, self.arguments(), str)
            for problem in argument_problems(self._judge, given):
                self.add_error(*self._place_of(problem))
        return cleaned

    def _place_of(self, problem: str) -> tuple[str | None, str]:
        path = problem.partition(": ")[0]
        for key, name in self.names.items():
            if path == name or path.startswith((f"{name}.", f"{name}[")):
                return key, problem
            if problem == f"arguments: {name!r} is a required property":
                return key, "The tool needs this."
        return None, problem

    def arguments(self) -> dict[str, Any]:
        """Return the values that were given, by argument."""
        if WHOLE in self.fields:
            return dict(self.cleaned_data.get(WHOLE) or {})
        given = {name: self.cleaned_data.get(key) for key, name in self.names.items()}
        return {name: value for name, value in given.items() if value not in (None, "")}

    def as_json(self) -> str:
        """Return the arguments as JSON text."""
        return json.dumps(self.arguments(), ensure_ascii=False)


def _resolved(root: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    for _ in range(10):
        if not isinstance(node, Mapping) or not isinstance(node.get("$ref"), str):
            break
        node = pointed(root, node["$ref"])
    return node if isinstance(node, Mapping) else {}


def _type_of(node: Mapping[str, Any]) -> str:
    kind = node.get("type")
    kinds = [each for each in kind if each != "null"] if isinstance(kind, list) else [kind]
    return kinds[0] if len(kinds) == 1 and isinstance(kinds[0], str) else ""


def _field(name: str, node: Mapping[str, Any], *, is_needed: bool) -> forms.Field:
    kind = _type_of(node)
    shared: dict[str, Any] = {
        # What is missing is said in the words of the schema's judge, as a model would read it.
        "required": False,
        "label": f"{name} *" if is_needed else name,
        "help_text": _help(node, kind),
    }
    choices = node.get("enum")
    if isinstance(choices, list) and choices:
        options = [(json.dumps(each), _shown(each)) for each in choices if each is not None]
        return forms.TypedChoiceField(
            choices=[("", f"({_LEFT_OUT})"), *options],
            coerce=json.loads,
            empty_value=None,
            widget=UnfoldAdminSelectWidget,
            **shared,
        )
    if kind == "boolean":
        return forms.TypedChoiceField(
            choices=[("", f"({_LEFT_OUT})"), ("true", "yes"), ("false", "no")],
            coerce=json.loads,
            empty_value=None,
            widget=UnfoldAdminSelectWidget,
            **shared,
        )
    line = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})
    if kind == "integer":
        return forms.IntegerField(
            error_messages={"invalid": "Enter a whole number."}, widget=line, **shared
        )
    if kind == "number":
        return forms.FloatField(
            error_messages={"invalid": "Enter a number."}, widget=line, **shared
        )
    if kind == "string":
        return forms.CharField(widget=line, **shared)
    return JsonText(kind, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), **shared)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _help(node: Mapping[str, Any], kind: str) -> str:
    parts = [str(node["description"])] if isinstance(node.get("description"), str) else []
    if kind in ("object", "array", ""):
        parts.append(f"As JSON, {_TYPE_WORDS.get(kind, 'any value; texts in quotes')}.")
    if "default" in node:
        parts.append(f"Left out, it is {_shown(node['default'])}.")
    if isinstance(node.get("format"), str):
        parts.append(f"Form: {node['format']}.")
    return " ".join(parts)
