"""What a run measures, as fingerprints: so that no measure outlives what it was made of.

Owns which things of a session a person can change without a new revision: the definitions of its
tools, the model that answers, and the voice where callers hear it. A run keeps them as it began.
Addresses and secrets of tool servers are left out: where a call of a tool goes is not what was
measured, and a checksum of a secret is nothing to store. Reads only, and opens nothing sealed.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from assistants.models import AssistantRevision, Squad
from assistants.voice_table import realtime_voice
from calls.models import CriticalMarks, ParityRun, PhoneNumber, ProviderConnection
from calls.services.sessions import answering_model
from tools.loose_json import as_object
from tools.models import Tool

# The option of a run that holds them.
PINNED: Final = "measured"
_NO_PINS: Final = "what was measured then was not kept"
# What says where a tool goes, or which copy of its document this is; and what columns have.
_NOT_MEASURED: Final = frozenset(
    {
        *("id", "orgId", "createdAt", "updatedAt", "latestVersion", "exportedFrom"),
        *("server", "url", "headers", "credentialId", "authenticationPlan", "timeoutSeconds"),
        *("type", "name", "function", "async", "messages", "destinations"),
    }
)
_NAMED: Final[Mapping[str, str]] = {
    "model": "the model that answers",
    "dialect": "the kind of the model's connection",
    "voice": "the voice",
}
_COLUMNS: Final = ("type", "name", "description", "parameters", "is_async")
_SHOWN_TOOLS: Final = 3


def pins_of(revision_id: Any, number: PhoneNumber | None, *, model: str = "") -> dict[str, Any]:
    """Return what a session of a revision is made of now, as JSON without a secret; four queries.

    Args:
        number: whose connection answers; None: the organisation's default one.
        model: another model than the one that answers, as a run may ask for.
    """
    # What is sealed of a revision stays shut: a lost key must not stop a plan's tick.
    rows = AssistantRevision.objects.select_related("assistant")
    revision = rows.only("number", "model", "document_redacted", "assistant__organisation").get(
        pk=revision_id
    )
    owner = revision.assistant.organisation_id
    assert owner is not None, "every assistant has an organisation"
    connection = _connection(owner, number)
    return {
        "tools": _tool_pins(revision),
        "model": model or (answering_model(connection, revision.model) if connection else ""),
        "dialect": connection.dialect if connection is not None else "",
        "squad": _squad(number),
        "marks": _mark_pins(revision),
        "voice": realtime_voice(owner, as_object(revision.document_redacted).get("voice")),
    }


def _tool_pins(revision: AssistantRevision) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    rows = revision.tools.filter(deleted_at__isnull=True).order_by("revisiontool__position")
    for tool in rows.only(*_COLUMNS, "messages", "destinations", "document_redacted"):
        found.setdefault(tool.name, []).append(_checksum(_definition(tool)))
    return {name: "+".join(sums) for name, sums in found.items()}


def changed_since(run: ParityRun, now: Mapping[str, Any], *, with_marks: bool = True) -> str:
    """Return in words what of a run's session is another one than ``now``, '' when nothing is.

    The voice counts where our side was heard, in live calls; the model where one was asked.

    Args:
        with_marks: also what people decided on critical arguments; a run keeps those it began with.
    """
    pins = as_object(run.options.get(PINNED))
    if not pins:
        return _NO_PINS
    changed = _tools_changed(as_object(pins.get("tools")), as_object(now.get("tools")))
    for name, words in _NAMED.items():
        if name == "voice" and run.kind != ParityRun.Kind.LIVE:
            continue
        if name != "voice" and run.kind == ParityRun.Kind.REHEARSAL:
            continue
        if pins.get(name) != now.get(name):
            changed.append(f"{words} ({pins.get(name) or 'none'} → {now.get(name) or 'none'})")
    if (pins.get("squad") or "") != (now.get("squad") or ""):
        changed.append("the squad")
    if with_marks and (pins.get("marks") or {}) != (now.get("marks") or {}):
        changed.append("which arguments are critical")
    return " and ".join(changed)


def _tools_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = sorted({*before, *now})
    changed = [name for name in names if before.get(name) != now.get(name)]
    if not changed:
        return []
    told = [
        f"{name} (new)" if name not in before else f"{name} (gone)" if name not in now else name
        for name in changed[:_SHOWN_TOOLS]
    ]
    if len(changed) > _SHOWN_TOOLS:
        told.append(f"{len(changed) - _SHOWN_TOOLS} more")
    return [f"the tool{'s' if len(changed) > 1 else ''} {', '.join(told)}"]


def _mark_pins(revision: AssistantRevision) -> dict[str, str]:
    """Return a checksum of what people decided on the fields of each tool, by its name."""
    rows = CriticalMarks.objects.filter(
        revision__assistant=revision.assistant_id, revision__number__lte=revision.number
    )
    # Of each tool the newest: one that went back to the rule takes the place of those before it.
    made = dict(rows.order_by("revision__number").values_list("tool", "decisions"))
    return {tool: _checksum(decisions) for tool, decisions in made.items() if decisions}


def _squad(number: PhoneNumber | None) -> str:
    """Return a checksum of the squad that answers a number, '' where none does."""
    if number is None or number.squad_id is None:
        return ""
    rows = Squad.objects.filter(pk=number.squad_id, deleted_at__isnull=True)
    document = rows.values_list("document_redacted", flat=True).first()
    return "" if document is None else _checksum(document)


def _definition(tool: Tool) -> dict[str, Any]:
    document = {
        name: value
        for name, value in as_object(tool.document_redacted).items()
        if name not in _NOT_MEASURED
    }
    columns = {name: getattr(tool, name) for name in _COLUMNS}
    said = {"messages": tool.messages, "destinations": tool.destinations}
    return {**columns, **said, "document": document}


def _checksum(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _connection(owner: uuid.UUID, number: PhoneNumber | None) -> ProviderConnection | None:
    """Return the connection over which calls of the number go; its key is not read."""
    rows = ProviderConnection.objects.only("model", "dialect", "realtime_url")
    if number is not None and number.connection_id is not None:
        return rows.filter(pk=number.connection_id).first()
    return rows.filter(organisation=owner, is_default=True).first()
