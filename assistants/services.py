"""Writes of assistants: every change makes a new immutable revision, published or a draft.

Owns how a document becomes the next revision; its rows are ``assistants.revision_rows``, what
happens to revisions later is ``assistants.revisions``. It must not know HTTP, calls or numbers.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from assistants.exceptions import AssistantInUse
from assistants.models import Assistant, AssistantRevision
from assistants.revision_rows import PreparedRevision, revision_insert, revision_prepare
from assistants.selectors import assistant_users, revision_tools
from assistants.wire import vapi_config
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import ChangedMeanwhile, RowGone, lock_live, write_prepared
from voiceplatform.base.redaction import keep_secrets
from voiceplatform.base.redaction_moves import moves_refuse
from voiceplatform.base.services import audit_write

# Computed by the server; a client that sends an object back includes them (vapi.md 2.2).
_COMPUTED = frozenset(
    {
        *("id", "orgId", "createdAt", "updatedAt", "analyticsMetadata", "isDeleted"),
        *("isServerUrlSecretSet", "workflowIds", "latestVersion", "modelDeprecations"),
        "exportedFrom",  # what our own exports say of themselves
    }
)


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
    restore: bool = False,
    as_read: bool = False,
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
        restore: one that had been deleted is back.
        as_read: only over ``assistant`` as it was read.

    Returns:
        The assistant; the new revision is ``draft_revision`` for a draft, else
        ``current_revision``.

    Raises:
        ChangedMeanwhile: with ``as_read``, somebody else published or deleted it.
    """
    if assistant is not None:
        return _next_revision(
            assistant,
            lambda now: dict(document),
            source=source,
            actor=actor,
            as_draft=as_draft,
            note=note,
            restore=restore,
            as_read=as_read,
        )

    def prepare() -> PreparedRevision:
        kept = document_to_store(document, None)
        return revision_prepare(organisation, kept, source=source, actor=actor, note=note, like=())

    def write(prepared: PreparedRevision) -> Assistant:
        now = timezone.now()
        made = Assistant.objects.create(
            id=assistant_id or uuid.uuid4(),
            organisation=organisation,
            created_at=created_at or now,
            updated_at=now,
        )
        _point(made, prepared, as_draft=as_draft)
        _audit(made, prepared.revision, "create", actor, as_draft)
        return made

    return write_prepared(prepare, write, lock=lambda: None)


def _next_revision(
    assistant: Assistant,
    change: Callable[[Assistant], dict[str, Any]],
    *,
    source: str,
    actor: Any,
    as_draft: bool = False,
    note: str = "",
    restore: bool = False,
    as_read: bool = False,
    only_live: bool = False,
    ends_draft: bool = False,
) -> Assistant:
    """Make a revision with the document that ``change`` makes of the assistant as it is now."""

    def prepare() -> tuple[Assistant, PreparedRevision]:
        now = assistant_now(assistant)
        if as_read and stamp(now) != stamp(assistant):
            raise ChangedMeanwhile
        if only_live and now.deleted_at is not None:
            raise RowGone(f"Assistant {now.pk} was not found.")
        prepared = revision_prepare(
            now.organisation,
            document_to_store(change(now), now),
            source=source,
            actor=actor,
            note=note,
            like=(now.current_revision, now.draft_revision),
        )
        return now, prepared

    def write(both: tuple[Assistant, PreparedRevision]) -> Assistant:
        seen, prepared = both
        locked = assistant_locked(seen)
        if restore:
            locked.deleted_at = None
        if ends_draft:
            locked.draft_revision = None
        _point(locked, prepared, as_draft=as_draft)
        _audit(locked, prepared.revision, "draft" if as_draft else "publish", actor, as_draft)
        return locked

    return write_prepared(prepare, write, lock=lambda: row_lock(assistant))


def _point(assistant: Assistant, prepared: PreparedRevision, *, as_draft: bool) -> None:
    """Store the revision and let the locked assistant point at it."""
    revision = revision_insert(assistant, prepared)
    if revision.source == "import":
        assistant.imported_revision = revision
    if as_draft:
        assistant.draft_revision = revision
        assistant.name = assistant.name or prepared.name
    else:
        revision_go_live(assistant, revision, prepared.name)
    assistant.save()


def _audit(
    assistant: Assistant, revision: AssistantRevision, verb: str, actor: Any, is_draft: bool
) -> None:
    audit_write(
        actor=actor,
        action=f"assistant.{verb}",
        organisation=assistant.organisation,
        target=assistant,
        details={"revision": revision.number, "source": revision.source, "is_draft": is_draft},
    )


def assistant_now(assistant: Assistant) -> Assistant:
    """Return ``assistant`` as it is now with its revisions; nothing is locked."""
    rows = Assistant.objects.select_related("organisation", "current_revision", "draft_revision")
    row: Assistant = rows.get(pk=assistant.pk)
    return row


def stamp(assistant: Assistant) -> tuple[Any, ...]:
    """Return what tells two states of an assistant apart."""
    return assistant.current_revision_id, assistant.draft_revision_id, assistant.deleted_at


def assistant_locked(seen: Assistant) -> Assistant:
    """Lock the row of ``seen`` until the transaction ends, and return it with its revisions.

    Whoever numbers a revision holds this lock, so two of them get two numbers.

    Raises:
        ChangedMeanwhile: it is not as it was seen.
    """
    row = row_lock(seen)
    if stamp(row) != stamp(seen):
        raise ChangedMeanwhile
    row.organisation = seen.organisation
    row.current_revision, row.draft_revision = seen.current_revision, seen.draft_revision
    return row


def row_lock(assistant: Assistant) -> Assistant:
    row: Assistant = Assistant.objects.select_for_update().get(pk=assistant.pk)
    return row


def revision_go_live(assistant: Assistant, revision: AssistantRevision, name: str) -> None:
    """Let ``revision`` answer from the next call on, under ``name``; the caller saves."""
    assistant.current_revision = revision
    assistant.name = name
    assistant.updated_at = timezone.now()


def revision_name(revision: AssistantRevision) -> str:
    """Return the assistant's name as ``revision`` has it."""
    return vapi_config.read_assistant(revision_document(revision)).name[:200]


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


def assistant_patch(
    *, assistant: Assistant, patch: Mapping[str, Any], actor: Any, source: str = "api"
) -> Assistant:
    """Publish a revision in which each top-level field of ``patch`` replaces the old one.

    Raises:
        SecretMoved: a stored secret would go to another server.
        RowGone: it was deleted meanwhile.
    """

    def change(now: Assistant) -> dict[str, Any]:
        stored = revision_document(now.current_revision) if now.current_revision else {}
        moves_refuse(patch, stored)
        return {**stored, **patch}

    return _next_revision(assistant, change, source=source, actor=actor, only_live=True)


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

    Raises:
        RowGone: it was deleted meanwhile.
    """

    def change(now: Assistant) -> dict[str, Any]:
        base = (now.draft_revision if from_draft else None) or now.current_revision
        document = vapi_config.write_assistant(revision_document(base) if base else {}, changes)
        if changes.get("server_secret") == "":
            # A secret that is merely absent would be kept, so both of its places say null.
            document["serverUrlSecret"] = None
            if isinstance(document.get("server"), dict):
                document["server"] = {**document["server"], "secret": None}
        return document

    return _next_revision(
        assistant,
        change,
        source="admin",
        actor=actor,
        as_draft=as_draft,
        note=note,
        only_live=True,
        ends_draft=from_draft and not as_draft,
    )


@transaction.atomic
def assistant_delete(*, assistant: Assistant, actor: Any) -> None:
    """Delete ``assistant`` from every list; past calls keep pointing at its revisions.

    Raises:
        AssistantInUse: a phone number answers with it.
        RowGone: it was deleted meanwhile.
    """
    lock_live(assistant)
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
