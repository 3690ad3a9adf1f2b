"""What two calls did differently: the order of their tools, critical arguments, how they came out.

Pure. Owns the comparison of one pair, as docs/parity.md defines it and docs/adr/0042 decides it.
It must not judge: how many pairs may differ is ``measures``'. Everything is symmetric: with the
calls exchanged, omitted and extra are exchanged and every count is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from calls.parity.alignment import Aligned, align
from calls.parity.fields import DEFAULT_REGION, Marks, joined, normalise, values_at
from calls.parity.forms import Kind, as_said, plain_text
from calls.parity.renames import Renames, renamed
from calls.parity.sequence import (
    Outcomes,
    Sequence,
    ToolCall,
    canonical_arguments,
    last_tries,
)

# Marks of the structured data of a call stand under this name, beside those of its tools.
STRUCTURED: Final = "structured data"
# Longer texts are prose: two models never write the same.
_LONGEST_FACT: Final = 80
_MOST_WORDS: Final = 8
_MOST_LEVELS: Final = 10

RowKind = Literal["same", "omitted", "extra", "reordered"]


@dataclass(frozen=True, slots=True)
class ArgumentDifference:
    """One critical field of one tool call on both sides.

    ``path``: its place, e.g. ``attendees[0].email``. ``old`` and ``new`` as they were said, ''
    for missing, null and empty, which are one thing.
    """

    tool: str
    path: str
    kind: Kind
    old: str = field(repr=False)
    new: str = field(repr=False)
    differs: bool


@dataclass(frozen=True, slots=True)
class OutcomeDifference:
    """One fact about how the calls came out: ``tools``, ``transfer``, or a path of the data."""

    fact: str
    old: str = field(repr=False)
    new: str = field(repr=False)
    differs: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the two calls side by side.

    ``same``: both made the call at this place. ``reordered``: each made it, elsewhere; it has a
    row at each place, with one side empty.
    """

    kind: RowKind
    old: ToolCall | None
    new: ToolCall | None
    arguments: tuple[ArgumentDifference, ...] = ()
    same_arguments: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """What a pair differs in.

    ``omitted``, ``extra`` and ``reordered`` are names of tools. ``arguments`` and ``outcome`` hold
    what differs, ``compared`` and ``facts`` everything that was compared. ``retries``: repeats of
    a failed call that were taken as one, old and new. ``says_nothing``: one call was cut before
    its first tool, so that the pair is no evidence for anything.
    """

    omitted: tuple[str, ...]
    extra: tuple[str, ...]
    reordered: tuple[str, ...]
    compared: tuple[ArgumentDifference, ...]
    facts: tuple[OutcomeDifference, ...]
    aligned: tuple[Row, ...]
    retries: tuple[int, int] = (0, 0)
    cut: bool = False
    says_nothing: bool = False

    @property
    def drifts(self) -> bool:
        """Tell whether the ordered tool names differ."""
        return bool(self.omitted or self.extra or self.reordered)

    @property
    def arguments(self) -> tuple[ArgumentDifference, ...]:
        """Return the critical fields that differ."""
        return tuple(each for each in self.compared if each.differs)

    @property
    def outcome(self) -> tuple[OutcomeDifference, ...]:
        """Return the facts about the outcome that differ."""
        return tuple(each for each in self.facts if each.differs)

    @property
    def count(self) -> int:
        """Return how many things differ, each counted once."""
        tools = len(self.omitted) + len(self.extra) + len(self.reordered)
        return tools + len(self.arguments) + len(self.outcome)


def difference(
    old: Sequence,
    new: Sequence,
    marks: Marks,
    *,
    renames: Renames | None = None,
    region: str = DEFAULT_REGION,
) -> Difference:
    """Compare two calls of one scenario.

    Args:
        marks: the critical fields; what is not marked is shown and never judged.
        renames: names that mean the same, e.g. ``{"book slot": "book_slot", "vapi_*": ""}``: a
            name, or a beginning that ends in ``*``, and what stands for it. None is guessed.
        region: where phone numbers without a country code belong.
    """
    renames = renames or {}
    old_tools, old_retries = _without_retries(_named(old.tools, renames))
    new_tools, new_retries = _without_retries(_named(new.tools, renames))
    is_cut = old.cut or new.cut
    # A replay cuts both sides of one past call at the same moment; nothing is left to guess then.
    at_once = bool(old.cut_with) and old.cut_with == new.cut_with
    if is_cut and not at_once:
        most = min(
            len(tools)
            for tools, one in ((old_tools, old), (new_tools, new))
            if one.cut or old.cut == new.cut
        )
        old_tools, new_tools = old_tools[:most], new_tools[:most]
    prints = {id(tool): _print(tool, marks, region) for tool in (*old_tools, *new_tools)}
    aligned = align(old_tools, new_tools, lambda a, b: prints[id(a)] == prints[id(b)])
    compared: list[ArgumentDifference] = []
    rows = tuple(_rows(aligned, marks, region, compared))
    return Difference(
        omitted=tuple(tool.name for tool in aligned.omitted),
        extra=tuple(tool.name for tool in aligned.extra),
        reordered=tuple(before.name for before, _ in aligned.reordered),
        compared=tuple(compared),
        facts=() if is_cut else tuple(_facts(old.outcomes, new.outcomes, marks, region)),
        aligned=rows,
        retries=(old_retries, new_retries),
        cut=is_cut,
        says_nothing=is_cut and not old_tools and not new_tools,
    )


def _named(tools: tuple[ToolCall, ...], renames: Renames) -> tuple[ToolCall, ...]:
    if not renames:
        return tools
    return tuple(
        ToolCall(
            name=renamed(tool.name, renames),
            arguments=tool.arguments,
            outcome=tool.outcome,
            at_ms=tool.at_ms,
            result=tool.result,
            tool_call_id=tool.tool_call_id,
            message=tool.message,
        )
        for tool in tools
    )


def _without_retries(tools: tuple[ToolCall, ...]) -> tuple[tuple[ToolCall, ...], int]:
    kept = last_tries(tools)
    return kept, len(tools) - len(kept)


def _arguments(tool: ToolCall) -> str:
    return canonical_arguments(tool.arguments)


def _print(tool: ToolCall, marks: Marks, region: str) -> tuple[Any, ...]:
    """Return what repeats of one tool are told apart by: marked values, or all arguments."""
    marked = marks.get(tool.name)
    if not marked:
        return (_arguments(tool),)
    return tuple(
        (place, normalise(kind, value, region))
        for path, kind in sorted(marked.items())
        for place, value in values_at(tool.arguments, path)
        if normalise(kind, value, region)
    )


def _rows(
    aligned: Aligned, marks: Marks, region: str, compared: list[ArgumentDifference]
) -> Iterator[Row]:
    moved = {id(before): after for before, after in aligned.reordered}
    moved_there = {id(after) for _, after in aligned.reordered}
    for before, after in aligned.rows:
        other = moved.get(id(before)) if before is not None else None
        if before is not None and (after is not None or other is not None):
            partner = after if after is not None else other
            assert partner is not None
            found = tuple(_compared(before, partner, marks, region))
            compared += found
            is_alike = _arguments(before) == _arguments(partner)
            yield Row("same" if after is not None else "reordered", before, after, found, is_alike)
        elif before is not None:
            yield Row("omitted", before, None)
        else:
            yield Row("reordered" if id(after) in moved_there else "extra", None, after)


def _compared(
    old: ToolCall, new: ToolCall, marks: Marks, region: str
) -> Iterator[ArgumentDifference]:
    """Yield the critical fields of one call on both sides; a field nobody filled in is none."""
    for path, kind in sorted(marks.get(old.name, {}).items()):
        before = dict(values_at(old.arguments, path))
        after = dict(values_at(new.arguments, path))
        for place in dict.fromkeys((*before, *after)):
            one = normalise(kind, before.get(place), region)
            two = normalise(kind, after.get(place), region)
            if one or two:
                said = as_said(before.get(place)), as_said(after.get(place))
                yield ArgumentDifference(old.name, place, kind, *said, one != two)


def _facts(old: Outcomes, new: Outcomes, marks: Marks, region: str) -> Iterator[OutcomeDifference]:
    """Yield what is known of both calls; what is known of one only is never compared."""
    for fact, before, after in (
        ("tools", old.tools_ok, new.tools_ok),
        ("transfer", old.transferred, new.transferred),
    ):
        if before is not None and after is not None:
            yield OutcomeDifference(fact, _yes(before), _yes(after), before != after)
    if old.structured is None or new.structured is None:
        return
    kinds = {
        place: kind
        for path, kind in marks.get(STRUCTURED, {}).items()
        for one in (old, new)
        for place, _ in values_at(one.structured, path)
    }
    left, right = dict(_flat(old.structured)), dict(_flat(new.structured))
    for place in sorted({*left, *right}):
        before, after = left.get(place), right.get(place)
        if place in kinds:
            one, two = (normalise(kinds[place], each, region) for each in (before, after))
        elif _is_prose(before) or _is_prose(after):
            continue
        else:
            one, two = (plain_text(as_said(each)) for each in (before, after))
        if one or two:
            yield OutcomeDifference(place, as_said(before), as_said(after), one != two)


def _flat(value: Any, place: str = "", levels: int = _MOST_LEVELS) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and levels:
        for name, child in value.items():
            yield from _flat(child, joined(place, str(name)), levels - 1)
    elif isinstance(value, list) and value and levels:
        for at, child in enumerate(value):
            yield from _flat(child, f"{place}[{at}]", levels - 1)
    else:
        yield place, value


def _is_prose(value: Any) -> bool:
    said = value if isinstance(value, str) else ""
    return len(said) > _LONGEST_FACT or len(said.split()) > _MOST_WORDS


def _yes(value: bool) -> str:
    return "yes" if value else "no"
