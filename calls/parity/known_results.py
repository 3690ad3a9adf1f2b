"""Which result of the old stack answers a tool call of ours, if any does.

Pure. Owns the ledger of a past call's tool calls: which were asked for, earlier or later than they
were. A call whose arguments mean something else has no known result: a replay stops there rather
than invent one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from calls.parity.past import PastTool, Script

Alike = Callable[[str, Mapping[str, Any], Mapping[str, Any]], bool]
# ``here``: as in the past; ``early``: it came later there; ``echo``: asked for again where it stood
# after it was brought forward; ``again``: it has been answered before.
How = Literal["here", "early", "echo", "again"]
OPENING: Final = -1


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
