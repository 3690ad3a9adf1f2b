"""From read files to drafts: which objects are imported under which id, and what is said of each.

Owns identity (Vapi's id, from the object or from a config-as-code state file, else one derived from
organisation, kind and name, so that a second import updates) and the refusals; what objects point
at is ``assistants.references``. Pure: same files, same drafts; it must not know what is stored.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final

from assistants.assistant_account import account_assistant
from assistants.circumstances import NOTHING_KNOWN, Circumstances
from assistants.findings import (
    INVALID,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    Finding,
    Notes,
    short,
    summarise_kept,
)
from assistants.kept_account import account_number, account_resource
from assistants.kinds import RESOURCE_KINDS, Kind, names_of, place_of
from assistants.legacy import tool_name, tool_today
from assistants.references import (
    Catalogue,
    Target,
    canonical_id,
    ids_pointed_at,
    link_findings,
    resolved,
    words_pointed_at,
)
from assistants.squad_account import account_squad
from assistants.tool_account import account_tool
from assistants.wire import vapi_config
from assistants.wire.files import FileReading, Found, step

_NAMESPACE: Final = uuid.UUID("6f1d8f0e-5a53-5c0e-9d0a-3a3f2f1f7c55")
MASKED: Final = (
    "Stars stand where the export had a secret. One that is stored stays; otherwise enter it under "
    "'Missing secrets' in the admin."
)
_MASK: Final = re.compile(r"[*•●]{3,}")
_TOOL_KEPT: Final[Mapping[str, str]] = {
    "orgId": "Replaced by the organisation that imports.",
    "updatedAt": "Replaced by the time of the import.",
}
_NOTHING_OF_OURS: Final = "not an assistant, tool, squad or number"
_NOT_IMPORTED: Final[Mapping[Kind, tuple[str, str]]] = {
    "call": ("ignored", f"{_NOTHING_OF_OURS}: the record of a call; nothing of it is stored"),
    "payload": ("ignored", f"{_NOTHING_OF_OURS}: a request that Vapi sent to a webhook"),
    "refusal": (
        "refused",
        "an error that Vapi answered, saved instead of the object. Fix: check the Vapi key (it "
        "must be the private one) and the id, then export it again",
    ),
    "unknown": (
        "refused",
        "no object of Vapi's API: it has neither a type nor any field of an assistant. Fix: export "
        "the object itself, as GET /tool/{id} or GET /assistant/{id} returns it",
    ),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """One object of an import: what would be stored, or why nothing is.

    ``verdict`` is empty for an object to store, else ``refused``, ``ignored`` or (the same object
    twice) ``unchanged``, with a reason.
    ``document`` is in today's form; ``original`` is what the file says and what findings speak of.
    """

    kind: Kind
    name: str
    file: str
    where: str
    object_id: str = ""
    created_at: str = ""
    document: Mapping[str, Any] | None = None
    original: Mapping[str, Any] | None = None
    verdict: str = ""
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)


def drafts_of(
    readings: Sequence[FileReading],
    *,
    organisation_id: uuid.UUID,
    is_folder: bool = True,
    around: Circumstances = NOTHING_KNOWN,
) -> tuple[Draft, ...]:
    """Return a draft of every object, and one for each file that holds none.

    Args:
        readings: in the order of the files' names, so that ids do not depend on chance.
        is_folder: the files were found in a folder, so one that is no export is ignored; a file
            that was named is refused.
        around: what of the organisation findings take into account.
    """
    drafts: list[Draft] = []
    taken: dict[str, Draft] = {}
    texts = _texts_by_folder(readings)
    states = {each.state_of: each for each in readings if each.state_of}
    for reading in readings:
        if reading.state_of:
            drafts.append(_ignored_state(reading))
        elif not reading.found:
            drafts.append(_draft_of_nothing(reading, is_folder=is_folder))
        for found in reading.found:
            known = _state_id(found, states)
            drafts.append(_draft(found, organisation_id, taken, texts, known, around))
    return _with_references(drafts, states.values())


def _ignored_state(reading: FileReading) -> Draft:
    words = f"the ids of environment {reading.state_of}, used for the objects of this import"
    reason = f"{_NOTHING_OF_OURS}: {words}"
    return Draft("unknown", "", reading.file, "$", verdict="ignored", reason=reason)


def _draft_of_nothing(reading: FileReading, *, is_folder: bool) -> Draft:
    draft = Draft("unknown", "", reading.file, "$", reason=reading.problem)
    if is_folder and not reading.is_ours:
        return replace(draft, verdict="ignored", reason=f"{_NOTHING_OF_OURS}: {reading.problem}")
    return refused(draft, reading.problem)


def refused(draft: Draft, reason: str) -> Draft:
    """Return ``draft`` as one that is not stored, with the reason as a finding on the whole."""
    findings = (Finding("$", INVALID, f"{reason[:1].upper()}{reason[1:]}"), *draft.findings)
    return replace(draft, verdict="refused", reason=reason, findings=findings)


def _texts_by_folder(readings: Iterable[FileReading]) -> dict[PurePosixPath, list[str]]:
    texts: dict[PurePosixPath, list[str]] = {}
    for reading in readings:
        if not reading.is_ours:
            texts.setdefault(PurePosixPath(reading.file).parent, []).append(reading.file)
    return texts


def _state_id(found: Found, states: Mapping[str, FileReading]) -> str:
    """Return Vapi's id of a config-as-code file, '' when no state file lists it."""
    if not states or found.where != "$":
        return ""
    folders = PurePosixPath(found.file).parts[:-1]
    mine = [each for name, each in states.items() if name in folders]
    if not mine and len(states) == 1:
        mine = list(states.values())
    path = place_of(found.file)[1]
    ids = [canonical_id(each.state_ids.get((found.kind, path))) for each in mine]
    return next(filter(None, ids), "")


def ids_wanted(drafts: Iterable[Draft]) -> dict[str, set[str]]:
    """Return, by kind, the ids that the drafts point at."""
    return ids_pointed_at((d.kind, d.document) for d in drafts if not d.verdict)


def assistant_names_wanted(drafts: Iterable[Draft]) -> set[str]:
    """Return what drafts point at as an assistant without giving an id: a file or a name."""
    return words_pointed_at(((d.kind, d.document) for d in drafts if not d.verdict), "assistant")


def with_assistants_by_name(
    drafts: Iterable[Draft], ids_by_name: Mapping[str, str]
) -> tuple[Draft, ...]:
    """Resolve references to assistants that are stored already, by their names.

    Args:
        ids_by_name: names that exactly one stored assistant has.
    """
    catalogue = Catalogue()
    for name, object_id in ids_by_name.items():
        catalogue.by_name["assistant", name] = [Target("assistant", object_id, name, "")]
    return tuple(_with_resolved(draft, catalogue) for draft in drafts)


def with_missing_tools(drafts: Iterable[Draft], known_ids: Collection[str]) -> tuple[Draft, ...]:
    """Add a finding for every reference; ``known_ids`` are of saved tools that are stored."""
    return with_links(drafts, {"tool": known_ids})


def with_links(drafts: Iterable[Draft], known: Mapping[str, Collection[str]]) -> tuple[Draft, ...]:
    """Add a finding for everything that a draft points at: it is here, or what to do about it.

    Args:
        known: by kind, the ids of stored objects among those that are wanted.
    """
    drafts = tuple(drafts)
    here: dict[str, set[str]] = {kind: set(ids) for kind, ids in known.items()}
    for draft in drafts:
        if not draft.verdict:
            here.setdefault(draft.kind, set()).add(draft.object_id)
    return tuple(draft if draft.verdict else _with_link_findings(draft, here) for draft in drafts)


def _with_link_findings(draft: Draft, here: Mapping[str, set[str]]) -> Draft:
    found = tuple(link_findings(draft.kind, draft.document, here))
    # The link's own finding is nearer to the field than a general one on the same place.
    spoken = {finding.path for finding in found if finding.state == MAPPED}
    others = tuple(f for f in draft.findings if f.path not in spoken or f.state != MAPPED)
    return replace(draft, findings=others + found)


def linked_tool_ids(draft: Draft, known_ids: Collection[str]) -> list[str]:
    """Return the saved tools that storing the draft links, in order, each once."""
    ids = (canonical_id(each) for each in vapi_config.read_assistant(draft.document).tool_ids)
    return list(dict.fromkeys(each for each in ids if each in known_ids))


def _draft(
    found: Found,
    organisation_id: uuid.UUID,
    taken: dict[str, Draft],
    texts: Mapping[PurePosixPath, Sequence[str]],
    state_id: str,
    around: Circumstances,
) -> Draft:
    value = _without_masks(found.value)
    draft = Draft(
        kind=found.kind,
        name=_name_of(found.kind, value),
        file=found.file,
        where=found.where,
        created_at=value["createdAt"] if isinstance(value.get("createdAt"), str) else "",
        original=found.value,
    )
    notes = Notes()
    for note in found.notes:
        notes.add("$", MAPPED if note.startswith("encoded") else LOSSY, f"The file: {note}.")
    if found.kind in _NOT_IMPORTED:
        verdict, reason = _NOT_IMPORTED[found.kind]
        draft = replace(draft, reason=reason, findings=tuple(notes.findings))
        return replace(draft, verdict=verdict) if verdict == "ignored" else refused(draft, reason)
    object_id = _identity(draft, value, organisation_id, taken, notes, state_id)
    earlier = taken.get(object_id)
    if earlier is not None:
        draft = replace(draft, object_id=object_id)
        place = f"{earlier.file} {earlier.where}"
        if earlier.kind == draft.kind and earlier.original == found.value:
            return replace(draft, verdict="unchanged", reason=f"the same object as in {place}")
        return refused(draft, f"{place} has another object with this id. Fix: import one of them")
    document: Mapping[str, Any] = value
    if found.kind == "assistant":
        account_assistant(value, notes, around)
        _account_companion(draft, notes, texts)
    elif found.kind == "tool":
        document = tool_today(value)
        if document != value:
            notes.add("$", MAPPED, f"An old form of a tool, read as type {document['type']}.")
        account_tool(document, notes, "$", assistant_has_server=None)
        notes.mark("$.id", "$.createdAt")
        if document != value:
            notes.mark("$.parameters", "$.strict", "$.serverUrl", "$.serverUrlSecret")
        summarise_kept(value, notes, _TOOL_KEPT)
    elif found.kind == "squad":
        account_squad(value, notes)
    elif found.kind in RESOURCE_KINDS:
        account_resource(found.kind, value, notes)
    else:
        account_number(value, notes)
    _account_masks(found.value, notes)
    draft = replace(
        draft,
        object_id=object_id,
        document=document,
        findings=tuple(notes.findings),
        marks=notes.marks,
    )
    taken[object_id] = draft
    return draft


def _identity(
    draft: Draft,
    value: Mapping[str, Any],
    organisation_id: uuid.UUID,
    taken: Mapping[str, Draft],
    notes: Notes,
    state_id: str,
) -> str:
    given = value.get("id")
    object_id = canonical_id(given)
    if object_id:
        return object_id
    if state_id:
        notes.add("$", MAPPED, "It keeps Vapi's id, which the state file beside it names.")
        return state_id
    if given is not None:
        notes.add("$.id", INVALID, "Not a UUID, so it cannot be kept; one is made instead.")
    place = f"{draft.file}{draft.where}"
    for key in (draft.name, place):
        object_id = str(uuid.uuid5(_NAMESPACE, f"{organisation_id}:{draft.kind}:{key}"))
        if key and object_id not in taken:
            break
        if key and taken[object_id].original == draft.original:
            break
    words = "name" if key == draft.name else "place in the imported files"
    if given is None:
        notes.add(
            "$.id",
            LOSSY,
            f"The export has no id. One was derived from its {words}, so that importing it again "
            "updates this object; rename it and a new one is made.",
        )
    return object_id


def _name_of(kind: Kind, value: Mapping[str, Any]) -> str:
    if kind == "tool":
        today = tool_today(value)
        return tool_name(today) or str(today["type"])
    return names_of(value, ("name", "number", "twilioPhoneNumber", "sipUri"))


def _is_mask(value: Any) -> bool:
    return isinstance(value, str) and bool(_MASK.fullmatch(value.strip()))


def _without_masks(value: Mapping[str, Any]) -> dict[str, Any]:
    """Drop values that somebody masked: absent secrets are kept, stars would replace them."""

    def clean(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: clean(child) for key, child in node.items() if not _is_mask(child)}
        return [clean(child) for child in node] if isinstance(node, list) else node

    return {key: clean(child) for key, child in value.items() if not _is_mask(child)}


def _masked(node: Any, path: str = "$") -> Iterator[str]:
    """Yield the paths of what ``_without_masks`` drops."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            if _is_mask(child):
                yield step(path, key)
            else:
                yield from _masked(child, step(path, key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _masked(child, step(path, index))


def _account_masks(value: Mapping[str, Any], notes: Notes) -> None:
    """Say of every masked value that it is missing, instead of the guess about its server."""
    masked = list(_masked(value))
    notes.findings = [
        finding
        for finding in notes.findings
        if finding.state != SECRET_MISSING
        or not any(path.startswith(f"{finding.path}.") for path in masked)
    ]
    for path in masked:
        notes.add(path, SECRET_MISSING, MASKED)


def _account_companion(
    draft: Draft, notes: Notes, texts: Mapping[PurePosixPath, Sequence[str]]
) -> None:
    """Name the text file beside a document without a prompt that probably holds it."""
    if not any(f.path == "$.model.messages" and f.state == INVALID for f in notes.findings):
        return
    own = PurePosixPath(draft.file)
    beside = sorted(
        PurePosixPath(text).name
        for text in texts.get(own.parent, ())
        if PurePosixPath(text).stem == own.stem
        or any(word in PurePosixPath(text).stem.lower() for word in ("prompt", "instruction"))
    )
    if beside:
        notes.add(
            "$",
            INVALID,
            f"{short(beside[0])} beside it looks like its prompt; it is not read by itself. "
            "Fix: paste its text into model.messages as a system message.",
        )


def _with_references(drafts: Sequence[Draft], states: Iterable[FileReading]) -> tuple[Draft, ...]:
    """Replace file names and names (config as code) by the ids of the objects they mean."""
    catalogue = Catalogue(state_ids={k: v for each in states for k, v in each.state_ids.items()})
    for draft in drafts:
        if draft.object_id and not draft.verdict:
            catalogue.add(Target(draft.kind, draft.object_id, draft.name, draft.file))
    return tuple(_with_resolved(draft, catalogue) for draft in drafts)


def _with_resolved(draft: Draft, catalogue: Catalogue) -> Draft:
    if draft.verdict or draft.document is None:
        return draft
    document = resolved(draft.kind, draft.document, draft.file, catalogue)
    return draft if document is draft.document else replace(draft, document=document)
