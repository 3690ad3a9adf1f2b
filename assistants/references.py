"""Where Vapi's objects point at one another, and what each such place means in this import.

Owns the places (vapi.md 8; the same as Vapi's config-as-code tool knows) and how a reference is
resolved: an id, a file of the config-as-code layout (the nearest one), a name. Pure; it knows
nothing of what is stored but what it is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from assistants.findings import INVALID, LOSSY, MAPPED, Finding, short
from assistants.kinds import Kind, place_of
from assistants.wire.files import step

Pattern = tuple[tuple[str, ...], Kind]

_HANDOFF: Final[tuple[Pattern, ...]] = (
    (("destinations", "*", "assistantId"), "assistant"),
    (("destinations", "*", "squadId"), "squad"),
)
_FILES: Final[tuple[Pattern, ...]] = ((("knowledgeBases", "*", "fileIds", "*"), "file"),)
_ASSISTANT: Final[tuple[Pattern, ...]] = (
    (("model", "toolIds", "*"), "tool"),
    (("model", "toolRefs", "*", "toolId"), "tool"),
    (("toolIds", "*"), "tool"),
    (("artifactPlan", "structuredOutputIds", "*"), "structured-output"),
    (("hooks", "*", "do", "*", "toolId"), "tool"),
    *((("model", "tools", "*", *rest), kind) for rest, kind in (*_HANDOFF, *_FILES)),
    *((("tools:append", "*", *rest), kind) for rest, kind in (*_HANDOFF, *_FILES)),
)
_PLACES: Final[Mapping[str, tuple[Pattern, ...]]] = {
    "assistant": _ASSISTANT,
    "tool": (*_HANDOFF, *_FILES),
    "squad": (
        (("members", "*", "assistantId"), "assistant"),
        (("members", "*", "assistantDestinations", "*", "assistantId"), "assistant"),
        *((("members", "*", "assistant", *rest), kind) for rest, kind in _ASSISTANT),
        *((("members", "*", "assistantOverrides", *rest), kind) for rest, kind in _ASSISTANT),
        *((("membersOverrides", *rest), kind) for rest, kind in _ASSISTANT),
    ),
    "phone-number": ((("assistantId",), "assistant"), (("squadId",), "squad")),
    "structured-output": ((("assistantIds", "*"), "assistant"),),
    "eval/simulation/scenario": (
        (("evaluations", "*", "structuredOutputId"), "structured-output"),
    ),
    "eval/simulation": (
        (("personalityId",), "eval/simulation/personality"),
        (("scenarioId",), "eval/simulation/scenario"),
    ),
    "eval/simulation/suite": ((("simulationIds", "*"), "eval/simulation"),),
}
_WORDS: Final[Mapping[str, str]] = {
    "tool": "saved tool",
    "structured-output": "structured output",
    "eval/simulation": "simulation",
    "eval/simulation/personality": "personality",
    "eval/simulation/scenario": "scenario",
}


@dataclass(frozen=True, slots=True)
class Target:
    """An object of the import that others may point at."""

    kind: str
    object_id: str
    name: str
    file: str


@dataclass(slots=True)
class Catalogue:
    """Everything of an import that can be pointed at, found by the words people write.

    ``state_ids`` has Vapi's ids of (kind, path) as a state file lists them.
    """

    by_path: dict[tuple[str, str], list[Target]] = field(default_factory=dict)
    by_name: dict[tuple[str, str], list[Target]] = field(default_factory=dict)
    state_ids: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def add(self, target: Target) -> None:
        """Make ``target`` known by its file and its name."""
        path = PurePosixPath(target.file)
        for word in {place_of(target.file)[1], path.name, path.stem}:
            self.by_path.setdefault((target.kind, word), []).append(target)
        if target.name:
            self.by_name.setdefault((target.kind, target.name), []).append(target)

    def resolve(self, kind: str, text: str, file: str) -> str:
        """Return the id that ``text`` means in ``file``, '' when nothing here is meant.

        Of several files of one name the nearest counts: environments have the same names.
        """
        for found in (self.by_path.get((kind, text)), self.by_name.get((kind, text))):
            if found:
                return max(found, key=lambda target: _shared(target.file, file)).object_id
        return canonical_id(self.state_ids.get((kind, text)))


def reference_text(value: Any) -> str:
    """Return a reference without the comment that config as code allows after it."""
    return value.split("##")[0].strip() if isinstance(value, str) else ""


def canonical_id(value: Any) -> str:
    """Return the canonical form of a UUID, '' for anything else."""
    if not isinstance(value, str):
        return ""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return ""


def resolved(
    kind: str, document: Mapping[str, Any], file: str, catalogue: Catalogue
) -> Mapping[str, Any]:
    """Return ``document`` with every reference that means something here replaced by its id."""
    if kind == "structured-output" and isinstance(document.get("assistant_ids"), list):
        # The config-as-code tool writes this one key in its own spelling.
        rest = {key: value for key, value in document.items() if key != "assistant_ids"}
        document = {**rest, "assistantIds": document["assistant_ids"]}
    whole: Any = document
    for pattern, wanted in _PLACES.get(kind, ()):
        whole = _rewritten(whole, pattern, _resolver(wanted, file, catalogue))
    found: Mapping[str, Any] = whole
    return found


def references_changed(
    kind: str, document: Mapping[str, Any], change: Callable[[str, Any], Any]
) -> Mapping[str, Any]:
    """Return ``document`` with every reference replaced by what ``change`` makes of it.

    Args:
        change: called with the kind that is pointed at and the reference.
    """
    whole: Any = document
    for pattern, wanted in _PLACES.get(kind, ()):
        whole = _rewritten(whole, pattern, partial(change, wanted))
    found: Mapping[str, Any] = whole
    return found


def _resolver(wanted: str, file: str, catalogue: Catalogue) -> Callable[[Any], Any]:
    def resolve(value: Any) -> Any:
        text = reference_text(value)
        if not text or canonical_id(value):
            return value
        return canonical_id(text) or catalogue.resolve(wanted, text, file) or value

    return resolve


def _rewritten(node: Any, pattern: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """Return ``node`` with what the pattern points at changed; the very node when nothing was."""
    if not pattern:
        return change(node)
    key, rest = pattern[0], pattern[1:]
    if key == "*":
        if not isinstance(node, list):
            return node
        children = [_rewritten(child, rest, change) for child in node]
        same = all(new is old for new, old in zip(children, node, strict=True))
        return node if same else children
    if not isinstance(node, Mapping) or key not in node:
        return node
    child = _rewritten(node[key], rest, change)
    return node if child is node[key] else {**node, key: child}


def references(kind: str, document: Mapping[str, Any] | None) -> Iterator[tuple[str, Kind, Any]]:
    """Yield (JSON path, kind pointed at, value) of every reference in ``document``."""
    for pattern, wanted in _PLACES.get(kind, ()):
        for path, value in _found(document or {}, pattern, "$"):
            yield path, wanted, value


def _found(node: Any, pattern: Sequence[str], path: str) -> Iterator[tuple[str, Any]]:
    if not pattern:
        yield path, node
    elif pattern[0] == "*":
        for index, child in enumerate(node if isinstance(node, list) else ()):
            yield from _found(child, pattern[1:], step(path, index))
    elif isinstance(node, Mapping) and pattern[0] in node:
        yield from _found(node[pattern[0]], pattern[1:], step(path, pattern[0]))


def link_findings(
    kind: str, document: Mapping[str, Any] | None, here: Mapping[str, set[str]]
) -> Iterator[Finding]:
    """Say of every reference whether what it points at is here.

    Args:
        here: the ids of each kind that the import or the database holds.
    """
    for path, wanted, value in references(kind, document):
        if value is None or value == "":
            continue
        word = _WORDS.get(wanted, wanted.rpartition("/")[2])
        canonical = canonical_id(value)
        if canonical and canonical in here.get(wanted, ()):
            if path.startswith("$.model.toolRefs"):
                yield Finding(path, LOSSY, "Linked; the pinned version is not followed.")
            else:
                yield Finding(path, MAPPED, f"Linked to the {word}.")
        elif wanted == "file":
            yield Finding(path, INVALID, _absent_file(canonical))
        elif canonical:
            yield Finding(path, INVALID, _absent(kind, wanted, word, canonical))
        else:
            shown = short(value) if isinstance(value, str) else "This"
            yield Finding(
                path,
                INVALID,
                f"{shown!r} is neither an id nor the name or file of one {word} in the imported "
                f"folder. Fix: import the whole folder, {_folder(wanted)} included.",
            )


def _absent(kind: str, wanted: str, word: str, object_id: str) -> str:
    consequence = {
        ("assistant", "tool"): ", so the assistant works without it",
        ("phone-number", "assistant"): ", so the number is not linked to it",
        ("phone-number", "squad"): ", so the number is not linked to it",
        ("squad", "assistant"): ", so the squad is kept with a member that does not exist",
    }.get((kind, wanted), "")
    return (
        f"The {word} {object_id} is not here{consequence}. "
        f"Fix: fetch GET https://api.vapi.ai/{wanted}/{object_id} with your Vapi key into a "
        "file and import it together with this one, or import with --from-api."
    )


def _absent_file(object_id: str) -> str:
    if not object_id:
        return "No id of a file, so nothing is looked up there. Fix: name a file by its id."
    return (
        f"The file {object_id} is not here: an export has only its id. The tool answers without "
        "it. Fix: download it from Vapi and upload it under this id, in the admin under Files or "
        f"with POST /file and the form field id={object_id}."
    )


def _folder(wanted: str) -> str:
    last = wanted.rpartition("/")[2].replace("-", " ")
    return f"{last[:-1]}ies" if last.endswith("y") else f"{last}s"


def _shared(one: str, other: str) -> int:
    """Return how many leading folders two files share."""
    count = 0
    for a, b in zip(PurePosixPath(one).parts, PurePosixPath(other).parts, strict=False):
        if a != b:
            break
        count += 1
    return count


def ids_pointed_at(
    documents: Iterable[tuple[str, Mapping[str, Any] | None]],
) -> dict[str, set[str]]:
    """Return, by kind, the canonical ids that documents point at."""
    found: dict[str, set[str]] = {}
    for kind, document in documents:
        for _, wanted, value in references(kind, document):
            canonical = canonical_id(value)
            if canonical:
                found.setdefault(wanted, set()).add(canonical)
    return found


def words_pointed_at(
    documents: Iterable[tuple[str, Mapping[str, Any] | None]], wanted: str
) -> set[str]:
    """Return the references to one kind that are no ids and are still unresolved."""
    return {
        reference_text(value)
        for kind, document in documents
        for _, each, value in references(kind, document)
        if each == wanted and isinstance(value, str) and value and not canonical_id(value)
    }
