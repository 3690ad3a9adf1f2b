"""Which arguments of a tool are critical: a single different one makes another deed of a call.

Owns the mark in a tool's document (under ``voiceplatform``, as all of our own) and what is taken as
critical where nobody has marked any: phone numbers, e-mail addresses, names, dates and ids, by the
names and formats of the tool's schema (design.md 7). Pure and total. Who compares two calls by it
is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tools.loose_json import as_list, as_object
from tools.pointers import pointed
from tools.switches import NAMESPACE

_MARK: Final = "criticalArguments"
_MAX_LEVELS: Final = 6
_MOST_NODES: Final = 1_000
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_WORDS: Final = frozenset(
    {
        *("phone", "mobile", "telephone", "tel", "cell", "cellphone", "msisdn", "callback"),
        *("email", "mail", "name", "firstname", "lastname", "surname", "fullname", "username"),
        *("date", "day", "time", "datetime", "when", "slot", "start", "end", "dob", "birthday"),
        *("birthdate", "iso", "id", "uuid", "guid", "identifier", "reference", "ref", "number"),
    }
)
_FORMATS: Final = frozenset(
    {"date", "date-time", "time", "email", "idn-email", "phone", "tel", "uuid"}
)


def argument_paths(parameters: Any) -> tuple[str, ...]:
    """Return the arguments that a schema names, each by its path: ``a``, ``a.b``, ``a[].b``."""
    return tuple(path for path, _ in _arguments(parameters))


def guessed_arguments(parameters: Any) -> tuple[str, ...]:
    """Return the arguments that are critical by their name or format."""
    return tuple(path for path, node in _arguments(parameters) if _is_telling(path, node))


def critical_arguments(document: Any, parameters: Any) -> tuple[str, ...]:
    """Return the paths of a tool's critical arguments, marked or guessed, in the schema's order.

    Args:
        parameters: the schema of the arguments, as ``document`` has it.
    """
    marked = as_object(as_object(document).get(NAMESPACE)).get(_MARK)
    if not isinstance(marked, list):
        return guessed_arguments(parameters)
    return tuple(path for path in argument_paths(parameters) if path in marked)


def mark_critical(
    document: Mapping[str, Any], paths: Sequence[str], parameters: Any
) -> dict[str, Any]:
    """Return ``document`` with these critical arguments; what is guessed anyway leaves no mark."""
    marks = dict(as_object(document.get(NAMESPACE)))
    if set(paths) == set(guessed_arguments(parameters)):
        marks.pop(_MARK, None)
    else:
        marks[_MARK] = [path for path in argument_paths(parameters) if path in paths]
    new = {name: value for name, value in document.items() if name != NAMESPACE}
    return new | {NAMESPACE: marks} if marks else new


def _arguments(parameters: Any) -> list[tuple[str, Mapping[str, Any]]]:
    found: dict[str, Mapping[str, Any]] = {}
    for path, node in _walk(parameters):
        found.setdefault(path, node)
    # An object or a list of them is known by what is inside.
    return [(path, node) for path, node in found.items() if not _is_parent(path, found)]


def _is_parent(path: str, found: Mapping[str, Any]) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[")) for other in found)


def _walk(root: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what a schema names, in its order, through references, lists and alternatives."""
    nodes: list[tuple[str, Any, int]] = [("", root, 0)]
    for _ in range(_MOST_NODES):
        if not nodes:
            return
        place, node, level = nodes.pop()
        if not isinstance(node, dict):
            continue
        if place and not place.endswith("[]"):
            yield place, node
        if level > _MAX_LEVELS:
            continue
        below = [
            (f"{place}.{name}" if place else name, child)
            for name, child in as_object(node.get("properties")).items()
        ]
        reference = node.get("$ref")
        if isinstance(reference, str):
            below.append((place, pointed(root, reference)))
        for keyword in ("allOf", "anyOf", "oneOf"):
            below += [(place, each) for each in as_list(node.get(keyword))]
        if place:
            below.append((f"{place}[]", node.get("items")))
        nodes += [(path, child, level + 1) for path, child in reversed(below)]


def _is_telling(path: str, node: Mapping[str, Any]) -> bool:
    if node.get("format") in _FORMATS:
        return True
    words = [word.lower() for word in _WORD.findall(path.rpartition(".")[2])]
    if not words:
        return False
    # `phone_number`, `guest_id`; in the middle only where it can be a text: `name_of_guest`.
    return words[-1] in _WORDS or (node.get("type") == "string" and not _WORDS.isdisjoint(words))
