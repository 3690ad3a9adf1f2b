"""From read files to drafts: which objects are imported under which id, and what is said of each.

Owns identity (Vapi's id, else one derived from organisation, kind and name, so that a second import
updates), the links between objects of one import, and the refusals. Pure: same files, same drafts;
it must not know what is stored already.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final

from assistants.assistant_account import account_assistant
from assistants.findings import (
    INVALID,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    UNSUPPORTED,
    Finding,
    Notes,
    short,
    summarise_kept,
)
from assistants.legacy import tool_name, tool_today
from assistants.tool_account import account_tool
from assistants.wire import vapi_config
from assistants.wire.files import FileReading, Found, Kind, step

_NAMESPACE: Final = uuid.UUID("6f1d8f0e-5a53-5c0e-9d0a-3a3f2f1f7c55")
_MASK: Final = "***"
_TOOL_KEPT: Final[Mapping[str, str]] = {
    "orgId": "Replaced by the organisation that imports.",
    "updatedAt": "Replaced by the time of the import.",
}
_NUMBER_KEPT: Final[Mapping[str, str]] = {
    **_TOOL_KEPT,
    "twilioAuthToken": "Not stored: the Twilio account of this installation has its own.",
    "twilioApiKey": "Not stored: the Twilio account of this installation has its own.",
    "twilioApiSecret": "Not stored: the Twilio account of this installation has its own.",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """One object of an import: what would be stored, or why nothing is.

    ``verdict`` is empty for an object to store, else ``refused`` or ``ignored`` with a reason.
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
    readings: Sequence[FileReading], *, organisation_id: uuid.UUID, is_folder: bool = True
) -> tuple[Draft, ...]:
    """Return a draft of every object, and one for each file that holds none.

    Args:
        readings: in the order of the files' names, so that ids do not depend on chance.
        is_folder: the files were found in a folder, so one that is no export is ignored; a file
            that was named is refused.
    """
    drafts: list[Draft] = []
    taken: dict[str, Draft] = {}
    texts = {reading.file for reading in readings if not reading.is_ours}
    for reading in readings:
        if not reading.found:
            verdict = "ignored" if is_folder and not reading.is_ours else "refused"
            drafts.append(
                Draft("unknown", "", reading.file, "$", verdict=verdict, reason=reading.problem)
            )
        for found in reading.found:
            draft = _draft(found, organisation_id, taken, texts)
            drafts.append(draft)
    return _with_named_tools(drafts)


def wanted_tool_ids(drafts: Iterable[Draft]) -> frozenset[str]:
    """Return the ids of saved tools that the drafts point at, as the documents spell them."""
    return frozenset(
        tool_id
        for draft in drafts
        if draft.kind == "assistant" and not draft.verdict
        for tool_id in vapi_config.read_assistant(draft.document).tool_ids
    )


def with_missing_tools(drafts: Iterable[Draft], known_ids: Collection[str]) -> tuple[Draft, ...]:
    """Add a finding for every saved tool that neither the import nor ``known_ids`` holds."""
    drafts = tuple(drafts)
    here = {d.object_id for d in drafts if d.kind == "tool" and not d.verdict} | set(known_ids)
    return tuple(
        replace(draft, findings=draft.findings + tuple(_tool_links(draft, here)))
        if draft.kind == "assistant" and not draft.verdict
        else draft
        for draft in drafts
    )


def linked_tool_ids(draft: Draft, known_ids: Collection[str]) -> list[str]:
    """Return the saved tools that storing the draft links, in order, each once."""
    ids = (_uuid(each) for each in vapi_config.read_assistant(draft.document).tool_ids)
    return list(dict.fromkeys(each for each in ids if each in known_ids))


def without_stored_secrets(draft: Draft, merged: Mapping[str, Any]) -> Draft:
    """Drop findings on secrets that are missing in the file but stored already.

    Args:
        merged: the document as it will be stored, with the secrets that stay.
    """
    notes = Notes()
    if draft.kind == "assistant":
        account_assistant(merged, notes)
    else:
        account_tool(merged, notes, "$", assistant_has_server=None)
    missing = {finding.path for finding in notes.findings if finding.state == SECRET_MISSING}
    return replace(
        draft,
        findings=tuple(
            finding
            for finding in draft.findings
            if finding.state != SECRET_MISSING or finding.path in missing
        ),
    )


def _tool_links(draft: Draft, here: Collection[str]) -> Iterable[Finding]:
    model = (draft.document or {}).get("model")
    entry = model if isinstance(model, Mapping) else {}
    ids = entry.get("toolIds")
    for index, tool_id in enumerate(ids if isinstance(ids, list) else ()):
        path = f"$.model.toolIds[{index}]"
        canonical = _uuid(tool_id)
        if canonical in here:
            yield Finding(path, MAPPED, "Linked to the saved tool.")
        elif canonical:
            yield Finding(
                path,
                INVALID,
                f"The saved tool {canonical} is not here, so the assistant works without it. "
                f"Fix: fetch GET https://api.vapi.ai/tool/{canonical} with your Vapi key into a "
                "file and import it together with this one.",
            )
        else:
            shown = short(tool_id) if isinstance(tool_id, str) else "This"
            yield Finding(
                path,
                INVALID,
                f"{shown!r} is neither the id of a tool nor a tool file in the imported folder. "
                "Fix: import the whole folder, tools included.",
            )
    refs = entry.get("toolRefs")
    for index, ref in enumerate(refs if isinstance(refs, list) else ()):
        known = isinstance(ref, Mapping) and _uuid(ref.get("toolId")) in here
        words = "Linked; the pinned version is not followed." if known else "Names no tool here."
        yield Finding(f"$.model.toolRefs[{index}]", LOSSY if known else INVALID, words)


def _draft(
    found: Found, organisation_id: uuid.UUID, taken: dict[str, Draft], texts: Collection[str]
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
        if found.kind == "squad":
            _account_squad(value, notes)
        return replace(draft, verdict=verdict, reason=reason, findings=tuple(notes.findings))
    object_id = _identity(draft, value, organisation_id, taken, notes)
    earlier = taken.get(object_id)
    if earlier is not None:
        same = earlier.original == found.value
        return replace(
            draft,
            object_id=object_id,
            verdict="ignored" if same else "refused",
            reason=f"the same object as in {earlier.file} {earlier.where}"
            if same
            else f"{earlier.file} {earlier.where} has another object with this id. "
            "Fix: import one of them.",
        )
    document: Mapping[str, Any] = value
    if found.kind == "assistant":
        account_assistant(value, notes)
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
    else:
        _account_number(value, notes)
    draft = replace(draft, object_id=object_id, document=document, findings=tuple(notes.findings))
    taken[object_id] = draft
    return draft


_NOT_IMPORTED: Final[Mapping[Kind, tuple[str, str]]] = {
    "squad": (
        "ignored",
        "squads arrive with a later version; its assistants are imported when they stand in files "
        "of their own",
    ),
    "call": ("ignored", "the record of a call, not a setting; nothing of it is stored"),
    "payload": (
        "refused",
        "a request that Vapi sent to a webhook, not an export. Fix: export the object itself, as "
        "GET /assistant/{id} or GET /tool/{id} returns it",
    ),
    "unknown": (
        "refused",
        "no object of Vapi's API: it has neither a type nor any field of an assistant. Fix: export "
        "the object itself, as GET /tool/{id} or GET /assistant/{id} returns it",
    ),
}


def _identity(
    draft: Draft,
    value: Mapping[str, Any],
    organisation_id: uuid.UUID,
    taken: Mapping[str, Draft],
    notes: Notes,
) -> str:
    given = value.get("id")
    object_id = _uuid(given)
    if object_id:
        return object_id
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


def _uuid(value: Any) -> str:
    """Return the canonical form of a UUID, '' for anything else."""
    if not isinstance(value, str):
        return ""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return ""


def _name_of(kind: Kind, value: Mapping[str, Any]) -> str:
    if kind == "tool":
        today = tool_today(value)
        return tool_name(today) or str(today["type"])
    for key in ("name", "number", "twilioPhoneNumber"):
        if isinstance(value.get(key), str) and value[key].strip():
            return str(value[key])
    return ""


def _without_masks(value: Mapping[str, Any]) -> dict[str, Any]:
    """Drop values that somebody masked: absent secrets are kept, stars would replace them."""

    def clean(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: clean(child) for key, child in node.items() if child != _MASK}
        return [clean(child) for child in node] if isinstance(node, list) else node

    return {key: clean(child) for key, child in value.items() if child != _MASK}


def _account_companion(draft: Draft, notes: Notes, texts: Collection[str]) -> None:
    """Name the text file beside a document without a prompt that probably holds it."""
    if not any(f.path == "$.model.messages" and f.state == INVALID for f in notes.findings):
        return
    own = PurePosixPath(draft.file)
    beside = sorted(
        PurePosixPath(text).name
        for text in texts
        if PurePosixPath(text).parent == own.parent
        and (
            PurePosixPath(text).stem == own.stem
            or any(word in PurePosixPath(text).stem.lower() for word in ("prompt", "instruction"))
        )
    )
    if beside:
        notes.add(
            "$",
            INVALID,
            f"{short(beside[0])} beside it looks like its prompt; it is not read by itself. "
            "Fix: paste its text into model.messages as a system message.",
        )


def _account_squad(value: Mapping[str, Any], notes: Notes) -> None:
    members = value.get("members")
    for index, member in enumerate(members if isinstance(members, list) else ()):
        if isinstance(member, Mapping) and isinstance(member.get("assistant"), Mapping):
            notes.add(
                f"$.members[{index}].assistant",
                UNSUPPORTED,
                "An assistant inside the squad; it is not imported. Fix: put it into a file of its "
                "own to import it.",
            )
    notes.add("$.members", UNSUPPORTED, "Not stored; a number answers with one assistant.")


def _account_number(value: Mapping[str, Any], notes: Notes) -> None:
    kept = ("id", "number", "name", "provider", "twilioPhoneNumber", "twilioAccountSid")
    notes.mark(*(step("$", key) for key in (*kept, "createdAt", "status")))
    if value.get("assistantId"):
        notes.add("$.assistantId", MAPPED, "Linked when that assistant is here.")
    for key in ("squadId", "workflowId", "fallbackDestination", "hooks", "server", "serverUrl"):
        if value.get(key):
            notes.add(step("$", key), UNSUPPORTED, "Not taken over; calls stay on Vapi meanwhile.")
    if value.get("serverUrlSecret"):
        notes.add("$.serverUrlSecret", SECRET_MISSING, "Not stored: numbers have no server here.")
    summarise_kept(value, notes, _NUMBER_KEPT)


def _with_named_tools(drafts: Sequence[Draft]) -> tuple[Draft, ...]:
    """Replace file names in ``toolIds`` (config as code) by the ids of the tools in those files."""
    tools = [draft for draft in drafts if draft.kind == "tool" and not draft.verdict]
    return tuple(
        _with_tool_names(draft, tools) if draft.kind == "assistant" and draft.document else draft
        for draft in drafts
    )


def _with_tool_names(draft: Draft, tools: Sequence[Draft]) -> Draft:
    document = draft.document or {}
    model = document.get("model")
    ids = model.get("toolIds") if isinstance(model, Mapping) else None
    if not isinstance(ids, list) or not isinstance(model, Mapping):
        return draft
    resolved = [_named_tool(entry, draft, tools) for entry in ids]
    if resolved == ids:
        return draft
    return replace(draft, document={**document, "model": {**model, "toolIds": resolved}})


def _named_tool(entry: Any, draft: Draft, tools: Sequence[Draft]) -> Any:
    """Return the id of the tool whose file, else name, is ``entry``; the nearest file wins."""
    if not isinstance(entry, str) or _uuid(entry):
        return entry
    stem = PurePosixPath(entry).name
    for same in (
        [tool for tool in tools if stem in _stems(tool.file)],
        [tool for tool in tools if tool.name == entry],
    ):
        if same:
            return max(same, key=lambda tool: _shared(tool.file, draft.file)).object_id
    return entry


def _stems(file: str) -> tuple[str, str]:
    return PurePosixPath(file).name, PurePosixPath(file).stem


def _shared(one: str, other: str) -> int:
    """Return how many leading folders two files share."""
    count = 0
    for a, b in zip(PurePosixPath(one).parts, PurePosixPath(other).parts, strict=False):
        if a != b:
            break
        count += 1
    return count
