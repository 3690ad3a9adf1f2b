"""Writes of assistants: every change makes a new immutable revision, published or a draft.

Owns how a document becomes a revision with its tools; what happens to revisions later is in
``assistants.revisions``. It must not know HTTP, calls or numbers.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from assistants.exceptions import AssistantInUse
from assistants.models import Assistant, AssistantRevision, RevisionTool
from assistants.selectors import assistant_users, revision_tools
from assistants.wire import vapi_config
from tools.models import Tool
from tools.selectors import tools_by_id
from tools.services import tool_store
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import keep_secrets, redact
from voiceplatform.base.services import actor_label, audit_write

# Computed by the server; a client that sends an object back includes them (vapi.md 2.2).
_COMPUTED = frozenset(
    {
        *("id", "orgId", "createdAt", "updatedAt", "analyticsMetadata", "isDeleted"),
        *("isServerUrlSecretSet", "workflowIds", "latestVersion", "modelDeprecations"),
        "exportedFrom",  # what our own exports say of themselves
    }
)
# Columns of a revision that are read from its document under the same name.
_READ_COLUMNS = (
    *("instructions", "first_message", "first_message_mode", "first_message_interruptible"),
    *("end_call_message", "voice", "language", "model", "max_duration_seconds"),
    *("server_url", "server_secret"),
)


@transaction.atomic
def assistant_publish(
    *,
    organisation: Organisation,
    document: Mapping[str, Any],
    source: str,
    actor: Any,
    assistant: Assistant | None = None,
    assistant_id: uuid.UUID | None = None,
    created_at: dt.datetime | None = None,
    as_draft: bool = False,
    note: str = "",
) -> Assistant:
    """Make ``document`` the next revision, of a new assistant unless one is given.

    Secrets that ``document`` does not mention stay as they were; null clears them. Saved tools of
    another organisation are never linked.

    Args:
        document: a whole assistant in Vapi's form.
        source: ``import``, ``api``, ``admin`` or ``seed``; an import is remembered as what the last
            import brought.
        actor: a user, an API key, or None for the system.
        assistant_id: the id of a new assistant; Vapi's when it is imported.
        created_at: when a new assistant was made, if it was made elsewhere.
        as_draft: the revision answers no call until it is published; it replaces an earlier draft,
            whose revision stays in the history. Publishing leaves a draft where it is.
        note: why, in the author's words; at most 500 characters are kept.

    Returns:
        The assistant; the new revision is ``draft_revision`` for a draft, else
        ``current_revision``.
    """
    is_new = assistant is None
    if assistant is None:
        now = timezone.now()
        assistant = Assistant.objects.create(
            id=assistant_id or uuid.uuid4(),
            organisation=organisation,
            created_at=created_at or now,
            updated_at=now,
        )
    else:
        assistant = assistant_locked(assistant)
    revision = revision_store(
        assistant,
        document_to_store(document, assistant),
        source=source,
        actor=actor,
        note=note,
        like=(assistant.current_revision, assistant.draft_revision),
    )
    if source == "import":
        assistant.imported_revision = revision
    if as_draft:
        assistant.draft_revision = revision
        assistant.name = assistant.name or revision_name(revision)
    else:
        revision_go_live(assistant, revision)
    assistant.save()
    verb = "create" if is_new else "draft" if as_draft else "publish"
    audit_write(
        actor=actor,
        action=f"assistant.{verb}",
        organisation=organisation,
        target=assistant,
        details={"revision": revision.number, "source": source, "is_draft": as_draft},
    )
    return assistant


def assistant_locked(assistant: Assistant) -> Assistant:
    """Return ``assistant`` as it is now, locked until the transaction ends.

    Whoever numbers a revision holds this lock, so two of them get two numbers.
    """
    row: Assistant = Assistant.objects.select_for_update().get(pk=assistant.pk)
    for name in ("current_revision", "draft_revision"):
        if getattr(row, f"{name}_id"):
            setattr(row, name, AssistantRevision.objects.get(pk=getattr(row, f"{name}_id")))
    return row


def revision_store(
    assistant: Assistant,
    document: dict[str, Any],
    *,
    source: str,
    actor: Any,
    note: str,
    like: Sequence[AssistantRevision | None],
    only_tools: Collection[uuid.UUID] | None = None,
) -> AssistantRevision:
    """Insert the next revision of a locked assistant with exactly ``document``, and link its tools.

    Args:
        like: revisions whose inline tools are used again where they are the same.
        only_tools: link no other saved tools than these.
    """
    reading = vapi_config.read_assistant(document)
    newest = assistant.revisions.order_by("-number").values_list("number", flat=True).first()
    revision = AssistantRevision.objects.create(
        assistant=assistant,
        number=(newest or 0) + 1,
        created_by=actor if isinstance(actor, get_user_model()) else None,
        author=actor_label(actor)[:200],
        note=note.strip()[:500],
        source=source,
        **{column: getattr(reading, column) for column in _READ_COLUMNS},
        document=document,
        document_redacted=redact(document),
    )
    _link_tools(revision, like, reading, only_tools)
    return revision


def revision_go_live(assistant: Assistant, revision: AssistantRevision) -> None:
    """Let ``revision`` answer from the next call on; the caller saves ``assistant``."""
    assistant.current_revision = revision
    assistant.name = revision_name(revision)
    assistant.updated_at = timezone.now()


def revision_name(revision: AssistantRevision) -> str:
    """Return the assistant's name as ``revision`` has it."""
    return vapi_config.read_assistant(revision_document(revision)).name[:200]


def _link_tools(
    revision: AssistantRevision,
    like: Sequence[AssistantRevision | None],
    reading: vapi_config.AssistantReading,
    only: Collection[uuid.UUID] | None,
) -> None:
    """Link inline tools first, then saved ones (vapi.md 2.3); unknown ids are left out."""
    organisation = revision.assistant.organisation
    linked = [tool for each in like if each is not None for tool in revision_tools(each)]
    earlier = list({tool.pk: tool for tool in linked if tool.is_inline}.values())
    tools: list[Tool] = []
    known = {
        key: tool
        for key, tool in tools_by_id(organisation, reading.tool_ids).items()
        if only is None or tool.pk in only
    }
    saved_types = {tool.type for tool in known.values()}
    for document in reading.inline_tools:
        if document.keys() == {"type"} and document["type"] in saved_types:
            continue  # a switch such as endCallFunctionEnabled beside the saved tool it stands for
        same = next((tool for tool in earlier if tool.document == document), None)
        if same is not None:
            earlier.remove(same)
        tools.append(
            same
            or tool_store(organisation=organisation, document=document, actor=None, is_inline=True)
        )
    tools += [known[key] for key in (_canonical(i) for i in reading.tool_ids) if key in known]
    unique = dict.fromkeys(tool.pk for tool in tools)
    RevisionTool.objects.bulk_create(
        RevisionTool(revision=revision, tool_id=tool_id, position=position)
        for position, tool_id in enumerate(unique)
    )


def document_to_store(document: Mapping[str, Any], assistant: Assistant | None) -> dict[str, Any]:
    """Return what publishing ``document`` would store: no computed fields, kept secrets."""
    kept = {name: value for name, value in document.items() if name not in _COMPUTED}
    previous = assistant.current_revision if assistant else None
    merged: dict[str, Any] = keep_secrets(kept, revision_document(previous)) if previous else kept
    return merged


def assistant_is_current(
    assistant: Assistant, document: Mapping[str, Any], tool_ids: Sequence[str]
) -> bool:
    """Tell whether publishing ``document`` would change nothing.

    Args:
        tool_ids: the saved tools that would be linked, in order.
    """
    revision = assistant.current_revision
    if revision is None or assistant.deleted_at is not None:
        return False
    linked = [str(tool.pk) for tool in revision_tools(revision) if not tool.is_inline]
    same = document_to_store(document, assistant) == revision_document(revision)
    return same and linked == list(tool_ids)


def _canonical(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""


def revision_document(revision: AssistantRevision) -> dict[str, Any]:
    """Return the whole document with its secrets; made from the columns when none was stored."""
    if revision.document is not None:
        return dict(revision.document)
    names = (
        *("instructions", "first_message", "first_message_mode", "end_call_message", "voice"),
        *("language", "model", "max_duration_seconds", "server_url", "server_secret"),
    )
    changes = {name: getattr(revision, name) for name in names}
    saved = [str(tool.pk) for tool in revision_tools(revision) if not tool.is_inline]
    changes |= {
        "name": revision.assistant.name,
        "first_message_interruptible": revision.first_message_interruptible,
        "tool_ids": saved,
    }
    return vapi_config.write_assistant({}, changes)


@transaction.atomic
def assistant_patch(
    *, assistant: Assistant, patch: Mapping[str, Any], actor: Any, source: str = "api"
) -> Assistant:
    """Publish a revision in which each top-level field of ``patch`` replaces the old one."""
    locked = assistant_locked(assistant)
    stored = revision_document(locked.current_revision) if locked.current_revision else {}
    return assistant_publish(
        organisation=locked.organisation,
        document={**stored, **patch},
        source=source,
        actor=actor,
        assistant=locked,
    )


@transaction.atomic
def assistant_edit(
    *,
    assistant: Assistant,
    changes: Mapping[str, Any],
    actor: Any,
    from_draft: bool = False,
    as_draft: bool = False,
    note: str = "",
) -> Assistant:
    """Make a revision with fields that a person changed in the admin.

    Keys of ``changes`` are fields of ``vapi_config.AssistantReading``; an empty ``server_url`` or
    ``server_secret`` clears it.

    Args:
        from_draft: what was changed is the draft, if there is one; publishing it ends the draft.
        as_draft: keep the result as the draft instead of publishing it.
    """
    locked = assistant_locked(assistant)
    base = (locked.draft_revision if from_draft else None) or locked.current_revision
    document = vapi_config.write_assistant(revision_document(base) if base else {}, changes)
    if changes.get("server_secret") == "":
        # A secret that is merely absent would be kept, so both of its places say null.
        document["serverUrlSecret"] = None
        if isinstance(document.get("server"), dict):
            document["server"] = {**document["server"], "secret": None}
    if from_draft and not as_draft:
        Assistant.objects.filter(pk=locked.pk).update(draft_revision=None)
    return assistant_publish(
        organisation=locked.organisation,
        document=document,
        source="admin",
        actor=actor,
        assistant=locked,
        as_draft=as_draft,
        note=note,
    )


@transaction.atomic
def assistant_delete(*, assistant: Assistant, actor: Any) -> None:
    """Delete ``assistant`` from every list; past calls keep pointing at its revisions.

    Raises:
        AssistantInUse: a phone number answers with it.
    """
    users = assistant_users(assistant)
    if users:
        raise AssistantInUse(
            f"assistant {assistant} answers {', '.join(users)}. Fix: give those another one first."
        )
    Assistant.objects.filter(pk=assistant.pk).update(deleted_at=timezone.now())
    audit_write(
        actor=actor,
        action="assistant.delete",
        organisation=assistant.organisation,
        target=assistant,
    )


def assistant_create(
    *,
    organisation: Organisation,
    changes: Mapping[str, Any],
    actor: Any,
    as_draft: bool = False,
    note: str = "",
) -> Assistant:
    """Make the first revision of an assistant that a person wrote in the admin."""
    return assistant_publish(
        organisation=organisation,
        document=vapi_config.write_assistant({}, changes),
        source="admin",
        actor=actor,
        as_draft=as_draft,
        note=note,
    )
