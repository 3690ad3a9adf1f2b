"""A revision and its inline tools as rows: made and sealed before a transaction, inserted inside.

Owns which tools a document links. Who may make a revision, and what it means for the assistant, is
``assistants.services`` and ``assistants.revisions``.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from assistants.models import Assistant, AssistantRevision, RevisionTool
from assistants.selectors import revision_tools
from assistants.wire import vapi_config
from tools.models import Tool
from tools.selectors import tool_list
from tools.services import inline_tools_store, tool_of
from voiceplatform.base.fields import seal_ahead
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import ChangedMeanwhile
from voiceplatform.base.redaction import redact
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import actor_label

# Columns of a revision that are read from its document under the same name.
_READ_COLUMNS = (
    *("instructions", "first_message", "first_message_mode", "first_message_interruptible"),
    *("end_call_message", "voice", "language", "model", "max_duration_seconds"),
    *("server_url", "server_secret"),
)


@dataclass(frozen=True, slots=True)
class PreparedRevision:
    """A revision that is not stored yet; ``name`` is the assistant's as the document has it.

    ``saved`` are the saved tools that the document names and that were here.
    """

    revision: AssistantRevision
    name: str
    new_tools: tuple[Tool, ...]
    tool_ids: tuple[uuid.UUID, ...]
    named: tuple[str, ...]
    saved: Mapping[uuid.UUID, str]


def revision_prepare(
    organisation: Organisation,
    document: dict[str, Any],
    *,
    source: str,
    actor: Any,
    note: str,
    like: Sequence[AssistantRevision | None],
    only_tools: Collection[uuid.UUID] | None = None,
) -> PreparedRevision:
    """Make the rows of a revision with exactly ``document``; nothing is stored.

    Args:
        like: revisions whose inline tools are used again where they are the same.
        only_tools: link no other saved tools than these.
    """
    reading = vapi_config.read_assistant(document)
    revision = AssistantRevision(
        created_by=actor if isinstance(actor, get_user_model()) else None,
        author=actor_label(actor)[:200],
        note=note.strip()[:500],
        source=source,
        **{column: getattr(reading, column) for column in _READ_COLUMNS},
        document=document,
        document_redacted=redact(document),
    )
    seal_ahead(revision)
    saved = _saved(organisation, reading.tool_ids)
    linked = {key: kind for key, kind in saved.items() if only_tools is None or key in only_tools}
    inline, new = _inline_tools(organisation, reading.inline_tools, like, set(linked.values()))
    wanted = (*inline, *(key for key in map(_uuid, reading.tool_ids) if key in linked))
    return PreparedRevision(
        revision=revision,
        name=reading.name[:200],
        new_tools=new,
        tool_ids=tuple(dict.fromkeys(key for key in wanted if key is not None)),
        named=tuple(reading.tool_ids),
        saved=saved,
    )


def _inline_tools(
    organisation: Organisation,
    documents: Iterable[Mapping[str, Any]],
    like: Sequence[AssistantRevision | None],
    saved_types: Collection[str],
) -> tuple[list[uuid.UUID], tuple[Tool, ...]]:
    """Return the ids of inline tools in the order of the document, and those that are new."""
    linked = [tool for each in like if each is not None for tool in revision_tools(each)]
    earlier = list({tool.pk: tool for tool in linked if tool.is_inline}.values())
    ids: list[uuid.UUID] = []
    new: list[Tool] = []
    for document in documents:
        if document.keys() == {"type"} and document["type"] in saved_types:
            continue  # a switch such as endCallFunctionEnabled beside the saved tool it stands for
        same = next((tool for tool in earlier if tool.document == document), None)
        if same is not None:
            earlier.remove(same)
        else:
            same = tool_of(organisation, document, is_inline=True)
            new.append(same)
        ids.append(same.pk)
    return ids, tuple(new)


def revision_insert(assistant: Assistant, prepared: PreparedRevision) -> AssistantRevision:
    """Store ``prepared`` as the next revision of a locked assistant, and link its tools.

    Inline tools come first, then saved ones (vapi.md 2.3); unknown ids are left out.

    Raises:
        ChangedMeanwhile: a tool that the document names was made or deleted since.
    """
    if _saved(assistant.organisation, prepared.named) != prepared.saved:
        raise ChangedMeanwhile
    newest = assistant.revisions.order_by("-number").values_list("number", flat=True).first()
    revision = prepared.revision
    revision.assistant = assistant
    revision.number = (newest or 0) + 1
    revision.save(force_insert=True)
    inline_tools_store(prepared.new_tools)
    RevisionTool.objects.bulk_create(
        RevisionTool(revision=revision, tool_id=tool_id, position=position)
        for position, tool_id in enumerate(prepared.tool_ids)
    )
    return revision


def _saved(organisation: Organisation, ids: Iterable[str]) -> dict[uuid.UUID, str]:
    """Return the types of the saved tools among ``ids``."""
    rows = tool_list(organisation).filter(pk__in=uuids_in(ids))
    return dict(rows.values_list("pk", "type"))


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
