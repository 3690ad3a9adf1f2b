"""Which fields a person made critical, or not, where the rule says otherwise.

Pure. Owns what a decision is, how decisions and the rule of ``fields`` make the marks of a tool,
and what is read of a stored decision. Only what differs from the rule is kept, so a field that a
later revision adds is marked by rule. Who may decide, and where it is stored, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from calls.parity.fields import leaves_of, marks_of, path_problem
from calls.parity.forms import Kind

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
# A decision that takes a mark of the rule away.
NOT_CRITICAL: Final = ""
MOST_FIELDS: Final = 300
LONGEST_PATH: Final = 300

# A path to a kind, or to NOT_CRITICAL.
Decisions = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a tool as a page shows it.

    ``type`` is the schema's word, '' where it says none or the schema has no such field. ``rule``
    is what the rule says, ``kind`` what holds; None: not critical.
    """

    path: str
    type: str
    rule: Kind | None
    kind: Kind | None
    is_in_schema: bool = True

    @property
    def is_decided(self) -> bool:
        """Tell whether a person decided otherwise than the rule."""
        return self.kind != self.rule


def fields_of(schema: Any, decisions: Decisions, *, has_rule: bool = True) -> tuple[Field, ...]:
    """Return the fields of a tool's parameters in the schema's order, then those it lacks.

    Args:
        has_rule: False where nothing is marked by rule, as in structured data.
    """
    rule = marks_of(schema) if has_rule else {}
    marks = decided(rule, decisions)
    types: dict[str, str] = {}
    for path, leaf in leaves_of(schema):
        if len(types) >= MOST_FIELDS:
            break
        types.setdefault(path, _type(leaf))
    found = [Field(path, word, rule.get(path), marks.get(path)) for path, word in types.items()]
    lacking = [path for path in marks if path not in types]
    found += [Field(path, "", rule.get(path), marks[path], path in rule) for path in lacking]
    return tuple(found)


def decided(rule: Mapping[str, Kind], decisions: Decisions) -> dict[str, Kind]:
    """Return the critical fields: those of the rule, but where a person decided otherwise."""
    marks = {path: kind for path, kind in rule.items() if path not in decisions}
    marks |= {path: kind for path, kind in read_decisions(decisions).items() if kind}  # type: ignore[misc]
    return marks


def decisions_for(rule: Mapping[str, Kind], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be kept so that ``wanted`` holds; what follows the rule is left out."""
    return {path: kind for path, kind in wanted.items() if kind != rule.get(path, NOT_CRITICAL)}


def read_decisions(stored: Any) -> dict[str, str]:
    """Return the decisions of a stored value; what is none is left out."""
    if not isinstance(stored, Mapping):
        return {}
    return {
        path: kind
        for path, kind in stored.items()
        if isinstance(path, str) and (kind == NOT_CRITICAL or kind in KINDS)
    }


def decision_problem(path: str, kind: str) -> str:
    """Return what is wrong with a decision that a person made, and the fix; '' for a good one."""
    if len(path) > LONGEST_PATH:
        return f'"{path[:40]}…" is longer than {LONGEST_PATH} characters. Fix: choose its parent.'
    if kind != NOT_CRITICAL and kind not in KINDS:
        return f'"{kind}" is no kind of field. Fix: choose one of {", ".join(KINDS)}.'
    return path_problem(path)


def _type(leaf: Mapping[str, Any]) -> str:
    if "enum" in leaf or "const" in leaf:
        return "choice"
    types = leaf.get("type")
    return " or ".join(map(str, types)) if isinstance(types, list) else str(types or "")
