"""Which fields of a tool's arguments are critical, and where their values are.

Pure. Owns the rule that marks fields from a JSON Schema, and how a path is written:
``guest.phone``, ``attendees[*].email``, ``["a.b"]`` for a name that holds a dot or a bracket. A
person may change every mark; the rule only saves work. How values compare is ``forms``'.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from calls.parity.forms import DEFAULT_REGION, Kind, normalise
from tools.pointers import MISSING, pointed

__all__ = [
    "DEFAULT_REGION",
    "Kind",
    "Marks",
    "joined",
    "leaves_of",
    "marks_of",
    "normalise",
    "path_problem",
    "values_at",
]

# The name of a tool, then of a field, e.g. {"book": {"guest.phone": "phone"}}.
Marks = Mapping[str, Mapping[str, Kind]]

_MOST_LEVELS: Final = 12
_MOST_SCHEMAS: Final = 2_000
_MOST_VALUES: Final = 500
_STEP: Final = re.compile(
    r"\.?(?:(?P<name>[^.\[\]\"]+)|\[(?P<index>[0-9]{1,4}|\*)\]|\[(?P<quoted>\"(?:[^\"\\]|\\.)*\")\])"
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W_]+")
_SAYS_DATE: Final = re.compile(r"\bISO\b|YYYY|\bHH:MM\b|\bMM/DD\b|\bDD[./]MM\b", re.IGNORECASE)
_SAYS_EMAIL: Final = re.compile(r"e-?mails?\b")
_SHORT_WORDS: Final = 6

_FORMATS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("email", "idn-email"), "email"),
    **dict.fromkeys(("phone", "tel", "e164", "phone-number"), "phone"),
    **dict.fromkeys(("date", "date-time", "time"), "date"),
    "uuid": "id",
}
_IDS: Final = frozenset("id ids uuid guid identifier".split())
_PHONES: Final = frozenset(
    "phone phones telephone telefon telefonnummer telefono tel mobile mobil cell handy callback "
    "whatsapp msisdn fax handynummer rufnummer".split()
)
_DATES: Final = frozenset(
    "date dates day time datetime dob birthday birthdate iso start end when until deadline expiry "
    "datum uhrzeit zeit termin fecha hora heure jour geburtsdatum checkin checkout".split()
)
# The last word that makes a name one of something that is counted or looked up by it.
_NUMBERED: Final = frozenset(
    "number nr no code reference ref vin iban ssn pin zip zipcode postcode plz sku plate".split()
)
_NAMES: Final = frozenset(
    "name names surname firstname lastname fullname nachname vorname nombre apellido nom prenom"
    " callername customername".split()
)
# The last word that makes a field say something about what was asked, not be it.
_ABOUT: Final = frozenset(
    "type types format status preference preferred reason kind confirmed verified consent zone "
    "timezone method count notes note choice country language currency label unit units "
    "provider".split()
)
_NO_CODES: Final = frozenset("country language currency error status area locale time".split())
_NO_PERSONS: Final = frozenset(
    "file event product tool function service company business property model city street field "
    "list calendar department location store brand item class course plan project host domain "
    "template campaign pipeline medication drug procedure insurance host room table display "
    "organization organisation facility clinic shop region state country".split()
)


def marks_of(parameters_schema: Any) -> dict[str, Kind]:
    """Return the critical fields of a tool's parameters, by rule: path to kind.

    By ``format`` first, then by the words of the name, then by a date's pattern in the description.
    Choices (``enum``, ``const``), booleans and objects are never marked. References are followed
    inside the schema only.
    """
    found: dict[str, Kind] = {}
    for path, name, schema in _all_leaves(parameters_schema):
        kind = _kind(name, schema)
        if kind is not None:
            found.setdefault(path, kind)
    return found


def leaves_of(parameters_schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the schema of each field that has a value of its own.

    A field that several branches of a schema name comes several times.
    """
    for path, _, schema in _all_leaves(parameters_schema):
        yield path, schema


def path_problem(path: str) -> str:
    """Return what is wrong with a path that a person wrote, and the fix; '' for a good one."""
    if _steps(path) is None:
        return f'"{path}" is no path. Fix: write it as guest.phone or attendees[*].email.'
    return ""


def values_at(arguments: Any, path: str) -> list[tuple[str, Any]]:
    """Return the values at a path with the place of each, e.g. ``("attendees[0].email", ...)``.

    Of a list that no index is given for, every element. What is missing gives nothing.
    """
    steps = _steps(path)
    if steps is None:
        return []
    found: list[tuple[str, Any]] = []
    _collect(arguments, steps, "", found)
    return found


def joined(place: str, name: str) -> str:
    """Return the place of ``name`` inside ``place``."""
    if not name or re.search(r"[.\[\]\"]", name):
        return f"{place}[{json.dumps(name)}]"
    return f"{place}.{name}" if place else name


def _collect(value: Any, steps: list[str | int], place: str, found: list[tuple[str, Any]]) -> None:
    if len(found) >= _MOST_VALUES:
        return
    if isinstance(value, list) and not (steps and isinstance(steps[0], int)):
        for at, child in enumerate(value):
            _collect(child, steps, f"{place}[{at}]", found)
        return
    if not steps:
        found.append((place, value))
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if isinstance(value, list) and step < len(value):
            _collect(value[step], rest, f"{place}[{step}]", found)
    elif isinstance(value, Mapping) and step in value:
        _collect(value[step], rest, joined(place, step), found)


def _steps(path: str) -> list[str | int] | None:
    """Return the names and indexes of a path; ``[*]`` is implied, so it leaves nothing."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            return None
        if found["quoted"] is not None:
            try:
                steps.append(json.loads(found["quoted"]))
            except ValueError:
                return None
        elif found["name"] is not None:
            steps.append(found["name"])
        elif found["index"] != "*":
            steps.append(int(found["index"]))
        at = found.end()
    return steps if any(isinstance(step, str) for step in steps) else None


def _all_leaves(schema: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    return _leaves(schema, schema, "", "", [_MOST_SCHEMAS], 0)


def _leaves(
    root: Any, schema: Any, path: str, name: str, budget: list[int], level: int
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (path, own name, schema) of everything that is no object and no list."""
    budget[0] -= 1
    if budget[0] < 0 or level > _MOST_LEVELS or not isinstance(schema, Mapping):
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = pointed(root, reference) if isinstance(root, Mapping) else MISSING
        yield from _leaves(root, target, path, name, budget, level + 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(keyword)
        for branch in branches if isinstance(branches, list) else ():
            yield from _leaves(root, branch, path, name, budget, level + 1)
    properties = schema.get("properties")
    items = schema.get("items")
    if isinstance(properties, Mapping):
        for own, child in properties.items():
            yield from _leaves(root, child, joined(path, str(own)), str(own), budget, level + 1)
    if isinstance(items, Mapping):
        yield from _leaves(root, items, f"{path}[*]", name, budget, level + 1)
    if path and not isinstance(properties, Mapping) and not isinstance(items, Mapping):
        yield path, name, schema


def _kind(name: str, schema: Mapping[str, Any]) -> Kind | None:
    types = schema.get("type")
    known = set(map(str, types if isinstance(types, list) else (types,) if types else ()))
    if "enum" in schema or "const" in schema or (known and not known & {*_TEXTUAL, *_NUMERIC}):
        return None
    by_format = _FORMATS.get(str(schema.get("format")))
    if by_format is not None:
        return by_format
    kind = _by_name([word.casefold() for word in _WORD.findall(_HUMP.sub(" ", name))])
    if kind is None:
        kind = _by_description(str(schema.get("description") or ""))
    # A number is no name, no address and no date; it may be one of something, or be dialled.
    is_text = not known or bool(known & _TEXTUAL)
    return kind if is_text or kind in ("id", "phone") else None


_TEXTUAL: Final = frozenset({"string"})
_NUMERIC: Final = frozenset({"integer", "number"})


def _by_description(text: str) -> Kind | None:
    """Return what a description names: a date's pattern, or an address in a few words."""
    if _SAYS_DATE.search(text):
        return "date"
    words = text.casefold().split()
    is_short = len(words) <= _SHORT_WORDS
    return "email" if is_short and any(_SAYS_EMAIL.match(word) for word in words) else None


def _by_name(words: list[str]) -> Kind | None:
    if not words or words[-1] in _ABOUT:
        return None
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _IDS:
        return "id"
    if any(word in _PHONES or word.endswith("phone") for word in words):
        return "phone"
    joined = "".join(words)
    if "email" in joined or "mail" in words:
        return "email"
    if any(word in _DATES for word in words):
        return "date" if before != "duration" and last != "duration" else None
    if last in _NUMBERED and before not in _NO_CODES:
        return "id"
    if last in _NAMES and before not in _NO_PERSONS:
        return "name"
    return None
