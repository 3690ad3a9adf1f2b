"""A document as sections of fields, each with its value, its state and what was found there.

Owns how findings are put beside the fields that they speak of; states and words are ``findings``'s,
looks are the page's. Pure; documents come redacted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assistants.findings import (
    AUDIBLE,
    INVALID,
    KEPT,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    UNSUPPORTED,
    Finding,
)
from assistants.wire.files import step

WORST_FIRST: Final = (INVALID, SECRET_MISSING, AUDIBLE, UNSUPPORTED, LOSSY, KEPT, MAPPED)
MOST_ROWS: Final = 2000
_VALUE_CHARACTERS: Final = 240
_TOKEN: Final = re.compile(r'\.[^.\[\]]+|\[\d+\]|\["(?:[^"\\]|\\.)*"\]')


@dataclass(slots=True)
class Row:
    """One field: ``label`` is its path below the section, '' for the section's own value."""

    label: str
    path: str
    state: str
    value: str = ""
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """One top-level field with everything below it, in the document's order."""

    title: str
    state: str = MAPPED
    rows: list[Row] = field(default_factory=list)
    finding_count: int = 0

    @property
    def needs_a_look(self) -> bool:
        """Tell whether something in it is worth opening it for."""
        return self.state not in (MAPPED, KEPT)


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole document; ``left_out`` counts rows beyond what one page shows."""

    whole: tuple[Finding, ...]
    sections: tuple[Section, ...]
    left_out: int = 0


def tree(
    leaves: Sequence[tuple[str, str]], values: Mapping[str, str], findings: Iterable[Finding]
) -> Tree:
    """Put leaves and findings into sections.

    A finding on a container stands before its first leaf, one on a field that the document does
    not have at the end of its section.

    Args:
        leaves: (JSON path, state) in document order.
        values: what to show of each leaf, by path (``values_of``).
    """
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    whole = by_path.pop("$", [])
    sections: dict[str, Section] = {}
    shown = 0
    for path, state in leaves:
        tokens = _TOKEN.findall(path[1:])
        section = sections.setdefault(_title(tokens), Section(_title(tokens)))
        prefix = "$"
        for token in tokens[:-1]:
            prefix += token
            if prefix in by_path:
                found = by_path.pop(prefix)
                _add(section, Row(_label(prefix), prefix, _worst(found), "", found))
                shown += 1
        found = by_path.pop(path, [])
        section.state = _worse(section.state, state)
        shown += 1
        if shown <= MOST_ROWS or found:
            _add(section, Row(_label(path), path, state, values.get(path, ""), found))
    for path, found in by_path.items():
        title = _title(_TOKEN.findall(path[1:]))
        section = sections.setdefault(title, Section(title))
        _add(section, Row(_label(path), path, _worst(found), "", found))
    return Tree(tuple(whole), tuple(sections.values()), max(0, shown - MOST_ROWS))


def _add(section: Section, row: Row) -> None:
    section.rows.append(row)
    section.finding_count += len(row.findings)
    for state in (row.state, *(finding.state for finding in row.findings)):
        section.state = _worse(section.state, state)


def _title(tokens: Sequence[str]) -> str:
    return _plain(tokens[0]) if tokens else "(whole)"


def _plain(token: str) -> str:
    if token.startswith("."):
        return token[1:]
    return str(json.loads(token[1:-1])) if token.startswith('["') else token


def _label(path: str) -> str:
    tokens = _TOKEN.findall(path[1:])
    return "".join(tokens[1:]).removeprefix(".")


def _worse(one: str, other: str) -> str:
    return min(one, other, key=_rank)


def _rank(state: str) -> int:
    return WORST_FIRST.index(state) if state in WORST_FIRST else len(WORST_FIRST)


def _worst(findings: Sequence[Finding]) -> str:
    return min((finding.state for finding in findings), key=_rank)


def values_of(document: Any) -> dict[str, str]:
    """Return what to show of every leaf of a redacted document, by its path; long texts are cut."""
    found: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("$", document)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, Mapping) and node:
            waiting += [(step(path, key), child) for key, child in node.items()]
        elif isinstance(node, list) and node:
            waiting += [(step(path, index), child) for index, child in enumerate(node)]
        else:
            text = node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)
            cut = len(text) > _VALUE_CHARACTERS
            found[path] = f"{text[: _VALUE_CHARACTERS - 1]}…" if cut else text
    return found
