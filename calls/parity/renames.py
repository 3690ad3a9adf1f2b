"""Names of tools that a person says are one, as the two stacks call them.

Pure. Owns how such rules are written, and which rule a name follows. Nothing is guessed: without a
rule two names are two tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# A name, or a beginning that ends in ``*``, and what stands for it.
Renames = Mapping[str, str]

MOST_RENAMES: Final = 200
_LONGEST: Final = 200


class RenameWrong(ValueError):
    """A line is no rule; the message names it and the fix."""


def renamed(name: str, renames: Renames) -> str:
    """Return the one name of a tool: the longest rule that fits, or the name itself."""
    if name in renames:
        return renames[name]
    rules = [rule for rule in renames if rule.endswith("*") and name.startswith(rule[:-1])]
    if not rules:
        return name
    rule = max(rules, key=len)
    return renames[rule] + name[len(rule) - 1 :]


def renames_read(lines: Iterable[str]) -> dict[str, str]:
    """Return the rules of lines such as ``book slot = book_slot`` or ``vapi_* =``.

    Lines without a word are left out; of two rules for one name the last one holds.

    Raises:
        RenameWrong: a line names no tool, or is no rule.
    """
    found: dict[str, str] = {}
    for line in filter(str.strip, lines):
        name, sign, other = (part.strip() for part in line.partition("="))
        if not sign or not name.strip("*") or "*" in name[:-1] or "*" in other:
            raise RenameWrong(
                f"{line.strip()!r} names no tool. Fix: e.g. 'vapi_*=' or 'book slot=book_slot'."
            )
        if max(len(name), len(other)) > _LONGEST:
            raise RenameWrong(f"{name[:40]!r}… is too long. Fix: up to {_LONGEST} characters.")
        found[name] = other
    if len(found) > MOST_RENAMES:
        raise RenameWrong(
            f"{len(found)} rules are too many. Fix: up to {MOST_RENAMES}; a beginning with * "
            "stands for many names."
        )
    return found
