"""What an import says about one place of a document, and the account of every leaf.

Owns the vocabulary (design.md 3) and the arithmetic of JSON paths. Pure. A finding's words never
hold a value that may be secret: names, ids, models and voices only.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from assistants.wire.files import step

MAPPED: Final = "mapped"
LOSSY: Final = "mapped-lossy"
AUDIBLE: Final = "caller-audible"
KEPT: Final = "kept"
UNSUPPORTED: Final = "unsupported"
SECRET_MISSING: Final = "secret-missing"  # noqa: S105 - the name of a state
INVALID: Final = "invalid"
STATES: Final = (MAPPED, LOSSY, AUDIBLE, KEPT, UNSUPPORTED, SECRET_MISSING, INVALID)

_VARIABLE: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}|\{%-?\s*(.*?)\s*-?%\}", re.DOTALL)
_PLACEHOLDER: Final = re.compile(
    r"\$\{[^}]*\}|<<[^>]*>>|<[A-Z][A-Z0-9_ -]+>|\{\{[^}]*\}\}|\bYOUR_[A-Z_]+|\bREPLACE_[A-Z_]+"
    r"|\*{3,}|[•●]{3,}"
)
_WORDS: Final = 60
_EVERYWHERE: Final[Mapping[str, str]] = {
    "exportedFrom": "Says which state our export was made from; compared with it, not stored.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a person should know: where, how far it works, and what happens in a call."""

    path: str
    state: str
    message: str


@dataclass(slots=True)
class Notes:
    """Collects findings of one object in the order they are made.

    ``marks`` are places whose state needs no words, e.g. an id that is kept as it is.
    """

    findings: list[Finding] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, state: str, message: str) -> None:
        """Add a finding; of two on the same path both stay."""
        self.findings.append(Finding(path, state, message))

    def mark(self, *paths: str, state: str = MAPPED) -> None:
        """Give places a state without saying anything about them."""
        self.marks |= dict.fromkeys(paths, state)


def leaves(value: Any, path: str = "$") -> Iterator[str]:
    """Yield the path of every scalar and of every empty container."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from leaves(child, step(path, key))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from leaves(child, step(path, index))
    else:
        yield path


def account(
    document: Mapping[str, Any], findings: Iterable[Finding], marks: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return (path, state) of every leaf: the state of what speaks of it most closely.

    What nothing speaks of is ``kept``; of two findings on one path the first counts. A finding on
    the whole document speaks of no leaf.
    """
    known: dict[str, str] = {}
    for finding in findings:
        known.setdefault(finding.path, finding.state)
    known = {**marks, **known}
    return [(path, _state_of(path, known)) for path in leaves(document)]


def _state_of(path: str, known: Mapping[str, str]) -> str:
    cut = len(path)
    while cut > 1:
        if path[:cut] in known:
            return known[path[:cut]]
        cut = max(path.rfind(".", 0, cut), path.rfind("[", 0, cut))
    return KEPT


def pack_leaves(listed: Iterable[tuple[str, str]]) -> str:
    """Return the states of leaves in a compact text; ``unpack_leaves`` reads it."""
    lines = "\n".join(f"{STATES.index(state)}{path}" for path, state in listed)
    # A key may hold half of a surrogate pair, which UTF-8 has no place for.
    raw = lines.encode("utf-8", "backslashreplace")
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii") if lines else ""


def unpack_leaves(packed: str) -> list[tuple[str, str]]:
    """Return what ``pack_leaves`` packed, in document order."""
    text = zlib.decompress(base64.b64decode(packed)).decode("utf-8") if packed else ""
    return [(line[1:], STATES[int(line[0])]) for line in text.split("\n") if line]


def summarise_kept(document: Mapping[str, Any], notes: Notes, known: Mapping[str, str]) -> None:
    """Add one ``kept`` finding for each top-level field with leaves that no finding speaks of.

    Args:
        known: fields, e.g. ``metadata``, with the sentence that says why nothing is lost.
    """
    spoken = {finding.path for finding in notes.findings} | notes.marks.keys()
    for key, value in document.items():
        path = step("$", key)
        rest = [leaf for leaf in leaves(value, path) if not _is_spoken(leaf, spoken)]
        if not rest:
            continue
        if key in known or key in _EVERYWHERE:
            notes.add(path, KEPT, known.get(key) or _EVERYWHERE[key])
        elif key.startswith("_"):
            notes.add(path, KEPT, "A comment. Stored and returned; it never reaches the model.")
        elif rest == [path]:
            notes.add(path, KEPT, "Stored and returned as it is; it changes nothing in a call.")
        else:
            names = ", ".join(leaf[len(path) :].lstrip(".") for leaf in rest[:4])
            more = f" and {len(rest) - 4} more" if len(rest) > 4 else ""
            notes.add(
                path,
                KEPT,
                f"Stored and returned as it is, without effect in a call: {names}{more}."[:400],
            )


def _is_spoken(path: str, spoken: set[str]) -> bool:
    cut = len(path)
    while cut > 1:
        if path[:cut] in spoken:
            return True
        cut = max(path.rfind(".", 0, cut), path.rfind("[", 0, cut))
    return False


def variables(text: str) -> list[str]:
    """Return the names of Liquid variables and tags in ``text``, each once."""
    found = (one or two for one, two in _VARIABLE.findall(text))
    return list(dict.fromkeys(short(name) for name in found if name))


def has_placeholder(text: str) -> bool:
    """Tell whether ``text`` holds something that was to be filled in before use."""
    return bool(_PLACEHOLDER.search(text))


def short(text: str) -> str:
    """Return ``text`` in one line of at most 60 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _WORDS else line[: _WORDS - 1] + "…"


def several(names: Iterable[str], most: int = 4) -> str:
    """Return ``a, b, c and 2 more``."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
