"""Liquid in prompts and spoken sentences, as Vapi's LiquidJS renders it (vapi.md 2.10).

Owns the one renderer: its filters, its limits, its cache. A template is read once per text and
rendered for every call. Pure and total: whatever the text and the variables are, a string comes
back; what cannot be read renders as nothing and is named by ``problems``. It must not know which
variables a call has, and it never reads a file or the clock of the wall.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from io import StringIO
from itertools import chain
from typing import Any, Final

import liquid
from liquid import exceptions as liquid_errors
from liquid.ast import Node
from liquid.builtin.expressions.logical import ContainsExpression
from liquid.builtin.tags import for_tag, if_tag, unless_tag
from liquid.expression import Expression
from liquid.stream import TokenStream

from assistants.liquid_dates import clock_variables, dated, is_zone
from assistants.liquid_mending import mend

__all__ = ["clock_variables", "is_template", "names", "problems", "render"]

MAX_TEXT: Final = 200_000  # characters of a template; longer ones are not filled in
MAX_OUTPUT: Final = 200_000  # characters
_MAX_VALUE: Final = 50_000  # characters or items that a filter may take or give
_MAX_ARGUMENT: Final = 1_000  # characters of an argument that may be repeated many times
_MAX_LOOPS: Final = 10_000
_MAX_BITS: Final = 256
# Of this thread's work, not of the wall: a busy machine must not cut a prompt short.
_MAX_SECONDS: Final = 0.5
_MAX_LEVELS: Final = 8
_MAX_BRACKETS: Final = 100  # the library's time to read them grows with their square

# What the library's filters and nodes raise on values that they do not expect.
_FAULTS: Final = (
    liquid_errors.LiquidError,
    liquid_errors.LiquidInterrupt,
    liquid_errors.StopRender,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_ANY_ARGUMENT: Final = frozenset({"append", "prepend", "default", "concat", "push", "unshift"})
_STRINGS: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_FILTER: Final = re.compile(r"(?<!\|)\|(?!\|)\s*([A-Za-z_]\w*)")
_ZONE: Final = re.compile(
    r"\|\s*date\s*:\s*(?:\"[^\"]*\"|'[^']*')\s*,\s*(?:\"([^\"]*)\"|'([^']*)')"
)
_NOW_TEXT: Final = re.compile(r"\{\{-?\s*now\s*\|\s*date\b")
_OUTPUT: Final = re.compile(r"\{[{%][^{}]*[%}]\}")


class _Context(liquid.RenderContext):
    """One rendering: its moment, and how much work it may still do."""

    def __init__(self, template: liquid.BoundTemplate, **kwargs: Any) -> None:
        super().__init__(template, **kwargs)
        self.moment = dt.datetime.now(dt.UTC)
        self.until = time.thread_time() + _MAX_SECONDS

    def check(self) -> None:
        """Raise when the work has taken too long."""
        if time.thread_time() > self.until:
            raise liquid_errors.ResourceLimitError("it takes too long", token=None)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.check()
        super().raise_for_loop_limit(length)


class _Page(StringIO):
    """What is rendered so far; full at ``MAX_OUTPUT``."""

    def write(self, text: str, /) -> int:
        room = MAX_OUTPUT - self.tell()
        super().write(text[:room])
        if len(text) > room:
            raise liquid_errors.OutputStreamLimitError("it is too long", token=None)
        return len(text)


class _Object(dict[str, Any]):
    """An object among the variables; spoken of as a whole it is JSON, not Python."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False, default=str)


class _Lenient(Expression):
    """A condition that is false where its values cannot be compared, as in JavaScript."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def evaluate(self, context: liquid.RenderContext) -> object:
        try:
            return self.inner.evaluate(context)
        except liquid_errors.LiquidTypeError:
            return False

    def children(self) -> Iterable[Expression]:
        return [self.inner]


class _Span(Collection[int]):
    """A range that is asked for a member; Python would count up to one that is no whole number."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __contains__(self, value: object) -> bool:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return isinstance(value, int) and value in self.numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


class _Searched(Expression):
    """What ``contains`` looks into."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def evaluate(self, context: liquid.RenderContext) -> object:
        value = self.inner.evaluate(context)
        return _Span(value) if isinstance(value, range) else value

    def children(self) -> Iterable[Expression]:
        return [self.inner]


def _lenient(condition: Expression) -> Expression:
    parts = [condition]
    while parts:
        part = parts.pop()
        parts += part.children()
        if isinstance(part, ContainsExpression):
            part.left = _Searched(part.left)
    return _Lenient(condition)


def _with_lenient_conditions(node: Any) -> Any:
    if isinstance(node, if_tag.IfNode | unless_tag.UnlessNode):
        node.condition = _lenient(node.condition)
        for alternative in node.alternatives:
            alternative.expression = _lenient(alternative.expression)
    return node


class _If(if_tag.IfTag):
    def parse(self, stream: TokenStream) -> Node:
        node: Node = _with_lenient_conditions(super().parse(stream))
        return node


class _Unless(unless_tag.UnlessTag):
    def parse(self, stream: TokenStream) -> Node:
        node: Node = _with_lenient_conditions(super().parse(stream))
        return node


class _ForNode(for_tag.ForNode):
    def render_to_output(self, context: liquid.RenderContext, buffer: Any) -> int:
        try:
            return super().render_to_output(context, buffer)
        except liquid_errors.LiquidTypeError:
            return 0  # what is no list has no items


class _For(for_tag.ForTag):
    node_class = _ForNode


class _Environment(liquid.Environment):
    loop_iteration_limit = _MAX_LOOPS
    local_namespace_limit = 2_000_000
    output_stream_limit = 4 * MAX_OUTPUT
    suppress_blank_control_flow_blocks = False
    shorthand_indexes = True
    logical_not_operator = True

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in ("include", "render"):
            del self.tags[name]  # a prompt has no other files
        for tag in (_If, _Unless, _For):
            self.add_tag(tag)
        for name, function in {**self.filters, **_JAVASCRIPT}.items():
            self.add_filter(name, _guarded(name, function))


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that bounds what goes in and out, and never raises but to end everything."""

    def call(value: Any, *arguments: Any, context: _Context, **named: Any) -> Any:
        context.check()
        longest = _MAX_VALUE if name in _ANY_ARGUMENT else _MAX_ARGUMENT
        if _size(value) > _MAX_VALUE or any(_size(each) > longest for each in arguments):
            return ""
        if getattr(function, "with_context", False):
            named["context"] = context
        if getattr(function, "with_environment", False):
            named["environment"] = context.env
        try:
            return _bounded(function(value, *arguments, **named))
        except liquid_errors.ResourceLimitError:
            raise
        except _FAULTS:
            return ""

    call.with_context = True  # type: ignore[attr-defined]  # how the library is told to pass it
    return call


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | range | dict) else 0


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return ""
    if isinstance(value, str | list):
        return value[:_MAX_VALUE]
    return list(value)[:_MAX_VALUE] if isinstance(value, Iterator | tuple) else value


def _with_moment(function: Callable[..., Any]) -> Callable[..., Any]:
    function.with_context = True  # type: ignore[attr-defined]  # as above
    return function


@_with_moment
def _date(value: Any, form: Any = None, zone: Any = None, *, context: _Context) -> Any:
    return dated(value, form, zone, context.moment)


def _dated_as(form: str) -> Callable[..., Any]:
    @_with_moment
    def call(value: Any, *_: Any, context: _Context) -> Any:
        return dated(value, form, None, context.moment)

    return call


def _json(value: Any, indent: Any = None) -> str:
    width = min(indent, 8) if isinstance(indent, int) else None
    text = None if isinstance(value, liquid.Undefined) else value
    return json.dumps(text, ensure_ascii=False, default=str, indent=width)


def _integer(value: Any) -> int:
    return int(float(value))


def _sentence(value: Any, connector: str = "and") -> str:
    words = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    if len(words) < 3:
        return f" {connector} ".join(words)
    return f"{', '.join(words[:-1])}, {connector} {words[-1]}"


def _uniq(value: Any, key: Any = None) -> list[Any]:
    """Return each item once; the library compares every item with every other."""
    items = value if isinstance(value, list | tuple | range | Iterator) else [value]
    found: dict[str, Any] = {}
    for item in items:
        part = item if key is None else item.get(key) if isinstance(item, dict) else None
        found.setdefault(json.dumps(part, default=str, sort_keys=True), item)
    return list(found.values())


# Filters that LiquidJS has and the library does not, or has differently.
_JAVASCRIPT: Final[Mapping[str, Callable[..., Any]]] = {
    "date": _date,
    "date_to_xmlschema": _dated_as("%Y-%m-%dT%H:%M:%S%:z"),
    "date_to_rfc822": _dated_as("%a, %d %b %Y %H:%M:%S %z"),
    "date_to_string": _dated_as("%d %b %Y"),
    "date_to_long_string": _dated_as("%d %B %Y"),
    "json": _json,
    "jsonify": _json,
    "inspect": _json,
    "raw": lambda value: value,
    "to_integer": _integer,
    "number_of_words": lambda value, *_: len(str(value).split()),
    "normalize_whitespace": lambda value: " ".join(str(value).split()),
    "array_to_sentence_string": _sentence,
    "push": lambda value, item: [*value, item],
    "unshift": lambda value, item: [item, *value],
    "uniq": _uniq,
    "pop": lambda value: list(value)[:-1],
    "shift": lambda value: list(value)[1:],
}
# Unknown filters let their value through, as LiquidJS does by default.
_ENVIRONMENT: Final = _Environment(strict_filters=False)


class _Compiled:
    """A text that has been read: its template, or None when it stays as it is."""

    __slots__ = ("problems", "template")

    def __init__(self, template: liquid.BoundTemplate | None, found: tuple[str, ...]) -> None:
        self.template, self.problems = template, found


def is_template(text: str) -> bool:
    """Tell whether ``text`` holds anything to fill in."""
    return "{{" in text or "{%" in text


def render(text: str, variables: Mapping[str, Any], now: dt.datetime) -> str:
    """Return ``text`` with its variables filled in; undefined ones are empty.

    Args:
        variables: JSON values by name; they win over those of the clock. A key with dots is found
            by its path too.
        now: the moment that ``"now" | date`` means.
    """
    if not is_template(text):
        return text
    template = _compiled(text).template
    if template is None:
        return text
    context = _Context(template, globals=_scope(variables, now))
    context.moment = now
    page = _Page()
    for node in template.nodes:
        try:
            node.render(context, page)
        except liquid_errors.OutputStreamLimitError:
            break
        except _FAULTS:
            continue  # this piece renders empty; the others are still wanted
    return page.getvalue()


def problems(text: str) -> list[str]:
    """Return what in ``text`` cannot be filled in, each with its line, in words for its author."""
    return list(_compiled(text).problems) if is_template(text) else []


def names(text: str) -> list[str]:
    """Return the variables that ``text`` asks for, with their paths, each once, in order."""
    template = _compiled(text).template if is_template(text) else None
    if template is None:
        return []
    try:
        # Not ``global_variable_paths``: it puts them through a set, in another order each run.
        found = chain.from_iterable(template.analyze().globals.values())
        in_order = sorted(found, key=lambda variable: variable.span.index)
    except _FAULTS:
        return []
    return [name for name in dict.fromkeys(map(str, in_order)) if name]


@lru_cache(maxsize=256)
def _compiled(text: str) -> _Compiled:
    if len(text) > MAX_TEXT:
        return _Compiled(None, (f"longer than {MAX_TEXT} characters; it is not filled in",))
    mended = mend(text, _fault)
    found = (*mended.problems, *_doubts(text))
    if mended.template is None:
        return _Compiled(None, found)
    try:
        return _Compiled(_ENVIRONMENT.from_string(mended.template), found)
    except liquid_errors.LiquidError as error:
        return _Compiled(None, (*found, f"it cannot be read ({error.message}), so it stays"))


@lru_cache(maxsize=2048)
def _fault(piece: str) -> str:
    if _STRINGS.sub("", piece).count("(") > _MAX_BRACKETS:
        return "too many brackets"
    try:
        _ENVIRONMENT.from_string(piece)
    except liquid_errors.LiquidError as error:
        return str(error.message) or "not Liquid"
    return ""


def _doubts(text: str) -> Iterator[str]:
    """Yield what can be read and yet does not do what its author meant."""
    for token in dict.fromkeys(_OUTPUT.findall(text)):
        for name in dict.fromkeys(_FILTER.findall(_STRINGS.sub("''", token))):
            if name not in _ENVIRONMENT.filters:
                yield f"the filter {name[:40]!r} is unknown; its value is used as it is"
        for one, two in _ZONE.findall(token):
            zone = one or two
            if zone and not is_zone(zone):
                yield f"{zone[:40]!r} is no time zone; UTC is used"
    if _NOW_TEXT.search(text):
        yield (
            "now is a text already, so the date filter leaves it as it is, in UTC. "
            'Write "now" in quotes'
        )


def _scope(variables: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    # The library has a `today` of its own, from the clock of the wall.
    scope: dict[str, Any] = {**clock_variables(now), "today": None}
    scope |= {str(key): _plain(value, _MAX_LEVELS) for key, value in variables.items()}
    for key in [key for key in scope if "." in key]:
        _nest(scope, key.split("."), scope[key])
    return scope


def _nest(scope: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    node = scope
    for name in parents:
        child = node.get(name)
        if not isinstance(child, dict):
            child = node[name] = _Object()
        node = child
    node.setdefault(last, value)


def _plain(value: Any, levels: int) -> Any:
    """Return a value as JavaScript would print it; anything that is no JSON becomes text."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    if not levels:
        return ""
    if isinstance(value, Mapping):
        return _Object({str(key): _plain(child, levels - 1) for key, child in value.items()})
    if isinstance(value, list | tuple):
        return [_plain(child, levels - 1) for child in value]
    return str(value)
