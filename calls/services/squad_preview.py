"""What each member of a squad would be as a session, without a call: for ``render_session``.

Owns a member's assistant with the member's overrides and the squad's on top, as a call has it
(``assistants.squad_members``). Nothing here decides who speaks when. Writes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistants.findings import INVALID, Finding
from assistants.overrides import destination_tools, overridden, with_tools
from assistants.selectors import assistant_list, squad_list
from assistants.services import revision_document
from assistants.squad_services import squad_document
from assistants.wire.vapi_squad import SquadMember, assistant_ids, squad_members
from calls.services.session_preview import (
    PreviewProblem,
    SessionPreview,
    preview_document,
    tools_of_document,
)
from calls.wire.realtime import Dialect
from tools.loose_json import as_list, as_object, as_text
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import uuids_in


@dataclass(frozen=True, slots=True)
class MemberPreview:
    """A member with its opening; None where its assistant is not here, as ``finding`` says."""

    member: SquadMember
    preview: SessionPreview | None
    finding: Finding | None = None


def preview_squad(
    document: Mapping[str, Any],
    *,
    organisation: Organisation,
    variables: Mapping[str, Any],
    dialect: Dialect | None = None,
) -> list[MemberPreview]:
    """Return the members of a squad in order; the first one answers a call (vapi.md 8.1)."""
    named = assistant_list(organisation).filter(pk__in=uuids_in(assistant_ids(document)))
    saved = {str(each.pk): each for each in named}
    members = squad_members(document, {key: each.name for key, each in saved.items()})
    found = []
    for index, (member, item) in enumerate(
        zip(members, as_list(document.get("members")), strict=True)
    ):
        place = as_object(item)
        stored = saved.get(as_text(place.get("assistantId")).lower())
        revision = stored.current_revision if stored else None
        own = revision_document(revision) if revision else as_object(place.get("assistant"))
        if not own:
            why = f"The assistant {member.name[:60]!r} is not stored here. Fix: import it too."
            found.append(MemberPreview(member, None, Finding(f"$.members[{index}]", INVALID, why)))
            continue
        layers = (place.get("assistantOverrides"), document.get("membersOverrides"))
        whole, more = overridden(own, map(as_object, layers))
        handing_on = destination_tools(place)
        whole = with_tools(whole, handing_on) if handing_on else whole
        tools, missing = tools_of_document(whole, organisation)
        preview = preview_document(
            whole,
            tools,
            organisation=organisation,
            variables={**variables, **more},
            dialect=dialect,
            findings=missing,
        )
        found.append(MemberPreview(member, preview))
    return found


def preview_stored_squad(
    *,
    organisation: Organisation,
    squad_id: uuid.UUID,
    variables: Mapping[str, Any],
    dialect: Dialect | None = None,
) -> list[MemberPreview]:
    """Return the members of a stored squad.

    Raises:
        PreviewProblem: there is no such squad.
    """
    squad = squad_list(organisation).filter(pk=squad_id).first()
    if squad is None:
        raise PreviewProblem(f"there is no assistant or squad {squad_id}. Fix: see /admin/.")
    return preview_squad(
        squad_document(squad), organisation=organisation, variables=variables, dialect=dialect
    )
