"""Revisions that nobody published: an assistant as a squad or a handoff has it, with overrides.

A call is held by a revision, so a document that is made of several becomes one as well. It is a row
like any other but never current: no number answers with it. Owns finding or making it, and the
assistants that exist only inside another document, which are in no list. Who is meant is the
caller's affair.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from assistants.models import Assistant, AssistantRevision
from assistants.revision_rows import PreparedRevision, revision_insert, revision_prepare
from assistants.selectors import revision_tools
from assistants.services import revision_document, row_lock
from assistants.wire.vapi_config import read_assistant
from tools.selectors import tool_list
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import write_prepared
from voiceplatform.base.selectors import uuids_in

SOURCE: Final = "squad"
# The newest ones that are compared; overrides change rarely, and each of them in turn.
_MOST_COMPARED: Final = 12


def derived_revision(
    assistant: Assistant, document: Mapping[str, Any], *, note: str = ""
) -> AssistantRevision:
    """Return the revision of ``assistant`` with exactly ``document``; make it if there is none.

    The current one is returned where it says the same.

    Args:
        note: why it is there, for the list of revisions.
    """
    whole = dict(document)
    current = assistant.current_revision
    if current is not None and revision_document(current) == whole:
        return current
    rows = assistant.revisions.filter(source=SOURCE).order_by("-number")[:_MOST_COMPARED]
    others = list(rows.prefetch_related("revisiontool_set__tool"))
    for row in others:
        if row.document == whole and _links_all(row, whole):
            return row

    def prepare() -> PreparedRevision:
        like = (*others[:1], current)
        return revision_prepare(
            assistant.organisation, whole, source=SOURCE, actor=None, note=note, like=like
        )

    def write(prepared: PreparedRevision) -> AssistantRevision:
        return revision_insert(row_lock(assistant), prepared)

    return write_prepared(prepare, write, lock=lambda: row_lock(assistant))


def _links_all(revision: AssistantRevision, document: Mapping[str, Any]) -> bool:
    """Tell whether every saved tool of the document that is here now was so when it was made."""
    linked = {tool.pk for tool in revision_tools(revision)}
    missing = set(uuids_in(read_assistant(document).tool_ids)) - linked
    here = tool_list(revision.assistant.organisation)
    return not (missing and here.filter(pk__in=missing).exists())


def inline_assistant(
    organisation: Organisation, owner: uuid.UUID, name: str, document: Mapping[str, Any]
) -> AssistantRevision:
    """Return the revision of an assistant that is written inside another document.

    Args:
        owner: the id of what it stands in; with ``name`` it tells one from another.
    """
    key = uuid.uuid5(owner, f"{organisation.pk}:{name}")
    now = timezone.now()
    with transaction.atomic():
        # Deleted from the beginning: it is in no list, and no number can be given to it by hand.
        assistant, _ = Assistant.objects.get_or_create(
            id=key,
            defaults={
                "organisation": organisation,
                "name": name[:200],
                "created_at": now,
                "updated_at": now,
                "deleted_at": now,
            },
        )
    revision = derived_revision(assistant, document, note=f"Inside another object: {name}"[:500])
    if assistant.current_revision_id != revision.pk:
        # A number whose squad begins with it has it for its assistant.
        Assistant.objects.filter(pk=key).update(current_revision=revision)
    return revision
