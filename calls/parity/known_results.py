"""Which result of the old stack answers a tool call of ours, if any does.

Pure. Owns the ledger of a past call's tool calls: which were asked for, earlier or later than they
were. A call whose arguments mean something else has no known result: a replay stops there rather
than invent one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from calls.parity.fields import DEFAULT_REGION, Marks, normalise, values_at
from calls.parity.forms import as_said, plain_text
from calls.parity.past import PastTool, Script
from calls.parity.sequence import canonical_arguments

Alike = Callable[[str, Mapping[str, Any], Mapping[str, Any]], bool]
# ``here``: as in the past; ``early``: it came later there; ``echo``: asked for again where it stood
# after it was brought forward; ``again``: it has been answered before.
How = Literal["here", "early", "echo", "again"]
OPENING: Final = -1
# Fields that tell a person something; two models never write the same, and no tool looks it up.
_TOLD: Final = re.compile(
    r"note|notes|reason|summary|description|message|comment|details|remark|remarks|text",
    re.IGNORECASE,
)
_LONGEST_FACT: Final = 80
_MOST_WORDS: Final = 8


def alike_by(marks: Marks, region: str = DEFAULT_REGION) -> Alike:
    """Return the rule by which two calls of a tool ask the same, so that one result answers both.

    Critical fields are the same after normalisation, all else is the same JSON but for case and
    spaces; prose and fields that only tell a person something are not looked at. A field that is
    missing and one that is empty are the same. ``region``: where phone numbers without a country
    code belong.
    """

    def alike(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        marked = marks.get(name, {})
        for path, kind in marked.items():
            before = {
                place: normalise(kind, value, region) for place, value in values_at(old, path)
            }
            after = {place: normalise(kind, value, region) for place, value in values_at(new, path)}
            if _said(before) != _said(after):
                return False
        return _said(_rest(old, marked)) == _said(_rest(new, marked))

    return alike


def _said(values: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in values.items() if text}


def _rest(arguments: Mapping[str, Any], marked: Mapping[str, Any]) -> dict[str, str]:
    tops = {re.split(r"[.\[]", path)[0] for path in marked}
    found: dict[str, str] = {}
    for name, value in arguments.items():
        if name in tops or _TOLD.fullmatch(str(name)):
            continue
        if isinstance(value, str):
            text = plain_text(value)
            if len(text) > _LONGEST_FACT or len(text.split()) > _MOST_WORDS:
                continue
            found[str(name)] = text
        else:
            found[str(name)] = as_said(value) and plain_text(canonical_arguments(value))
    return found


@dataclass(slots=True)
class Known:
    """One tool call of the past. ``place`` counts the whole call's, ``exchange`` is where it is."""

    tool: PastTool
    place: int
    exchange: int
    asked_in: int | None = None
    echoed: bool = False


@dataclass(slots=True)
class KnownResults:
    """The tool calls of a script and what has become of each."""

    script: Script
    alike: Alike
    rows: list[Known] = field(init=False)

    def __post_init__(self) -> None:
        groups = [(OPENING, tuple(t for t in self.script.opening if isinstance(t, PastTool)))]
        groups += [(index, each.tools) for index, each in enumerate(self.script.exchanges)]
        self.rows = []
        for index, tools in groups:
            self.rows += [
                Known(tool, place, index) for place, tool in enumerate(tools, len(self.rows))
            ]

    def answer(
        self, name: str, arguments: Mapping[str, Any], exchange: int
    ) -> tuple[How, Known] | None:
        """Return what answers a call that is made in ``exchange``, and mark it as asked for."""
        same = [
            row
            for row in self.rows
            if row.tool.name == name and self.alike(name, row.tool.arguments, arguments)
        ]
        how, row = self._best(same, exchange)
        if row is None or row.tool.result is None:
            return None
        if how == "echo":
            row.echoed = True
        elif row.asked_in is None:
            row.asked_in = exchange
        return how, row

    @staticmethod
    def _best(rows: list[Known], exchange: int) -> tuple[How, Known | None]:
        here = [row for row in rows if row.exchange == exchange]
        for row in here:
            if row.asked_in is None:
                return "here", row
        for row in here:
            if row.asked_in is not None and row.asked_in < exchange and not row.echoed:
                return "echo", row
        for row in rows:
            if row.asked_in is None and row.exchange > exchange:
                return "early", row
        return "again", rows[0] if rows else None

    def named(self, name: str, exchange: int) -> Known | None:
        """Return the first call of that name in ``exchange`` that was not asked for yet."""
        found = (r for r in self.rows if r.exchange == exchange and r.tool.name == name)
        return next((row for row in found if row.asked_in is None), None)
