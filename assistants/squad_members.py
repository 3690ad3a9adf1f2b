"""The members of a squad as a call meets them: whose words, tools and voice, under which name.

Owns what a member is once all overrides are laid over its assistant (vapi.md 8.1: assistant, then
the member's overrides, then the squad's) and how one is found by name or id. It must not know
calls; which member speaks is decided above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistants.derived import derived_revision, inline_assistant
from assistants.models import Assistant, AssistantRevision, Squad
from assistants.overrides import destination_tools, overridden, with_tools
from assistants.selectors import assistant_list
from assistants.services import revision_document
from assistants.squad_services import squad_document
from assistants.wire.vapi_config import read_assistant
from tools.loose_json import as_list, as_object, as_text
from voiceplatform.base.selectors import uuids_in


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its whole document, and the variables that its overrides set.

    ``assistant`` is the saved one it is made of, None where it is written inside the squad.
    """

    name: str
    assistant: Assistant | None
    document: Mapping[str, Any]
    variables: Mapping[str, Any]

    def is_called(self, word: str) -> bool:
        """Tell whether a destination means this member."""
        own = str(self.assistant.pk) if self.assistant is not None else ""
        return bool(word) and word in (self.name, own, own.upper())


def members_of(squad: Squad) -> list[Member]:
    """Return the members in order; one whose assistant is not here, or not published, is left out.

    The first one answers calls (vapi.md 8.1).
    """
    whole = squad_document(squad)
    entries = [as_object(each) for each in as_list(whole.get("members"))]
    ids = [as_text(each.get("assistantId")).lower() for each in entries]
    rows = assistant_list(squad.organisation).filter(pk__in=uuids_in(ids))
    saved = {str(row.pk): row for row in rows}
    found: list[Member] = []
    for entry, key in zip(entries, ids, strict=True):
        assistant = saved.get(key)
        revision = assistant.current_revision if assistant is not None else None
        base = revision_document(revision) if revision else as_object(entry.get("assistant"))
        if not base:
            continue
        layers = (entry.get("assistantOverrides"), whole.get("membersOverrides"))
        document, variables = overridden(base, map(as_object, layers))
        tools = destination_tools(entry)
        found.append(
            Member(
                name=(assistant.name if revision and assistant else "")
                or as_text(document.get("name")),
                assistant=assistant if revision else None,
                document=with_tools(document, tools) if tools else document,
                variables=variables,
            )
        )
    return found


def member_revision(squad: Squad, member: Member) -> AssistantRevision:
    """Return the revision that a call with ``member`` is held by; it is made when it is new."""
    if member.assistant is not None:
        note = f"As a member of the squad {squad}"[:500]
        return derived_revision(member.assistant, member.document, note=note)
    return inline_assistant(squad.organisation, squad.pk, member.name, member.document)


def longest_seconds(members: list[Member]) -> int:
    """Return how long a call of the squad may last: the maximum of its members (vapi.md 2.2)."""
    return max(
        (read_assistant(member.document).max_duration_seconds for member in members), default=0
    )
