"""What happens to revisions after they were made: publish a draft, discard it, bring one back.

Revisions never change and none is deleted; each of these writes moves a pointer of the assistant or
adds a revision, under the lock that numbers them. It must not know HTTP, calls or numbers.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from assistants.exceptions import RevisionRefused
from assistants.models import Assistant, AssistantRevision
from assistants.secret_places import with_secrets_of
from assistants.selectors import revision_tools
from assistants.services import (
    assistant_locked,
    revision_document,
    revision_go_live,
    revision_store,
)
from voiceplatform.base.services import audit_write


@transaction.atomic
def revision_publish(
    *, assistant: Assistant, revision: AssistantRevision, actor: Any, note: str = ""
) -> Assistant:
    """Let the draft ``revision`` answer from the next call on.

    The number of what answers only grows: where a newer revision was published after the draft was
    saved, or a tool of the draft was deleted since, the draft is published as a new revision with
    the same document.

    Args:
        note: why; kept with a new revision and in the audit.

    Raises:
        RevisionRefused: ``revision`` is not the draft, or the assistant is deleted.
    """
    locked = _open(assistant)
    _check_draft(locked, revision)
    published = locked.draft_revision
    assert published is not None
    live = locked.current_revision
    if (live and live.number > published.number) or _has_deleted_tools(published):
        published = revision_store(
            locked,
            revision_document(published),
            source=published.source,
            actor=actor,
            note=note or published.note or f"The draft r{published.number}",
            like=(published,),
        )
        if locked.imported_revision_id == revision.pk:
            locked.imported_revision = published
    locked.draft_revision = None
    revision_go_live(locked, published)
    locked.save()
    _audit(
        locked,
        actor,
        "publish",
        published,
        draft=revision.number,
        source=published.source,
        note=note,
    )
    return locked


@transaction.atomic
def draft_discard(*, assistant: Assistant, revision: AssistantRevision, actor: Any) -> Assistant:
    """Take the draft ``revision`` off the table; it stays in the history.

    Raises:
        RevisionRefused: ``revision`` is not the draft, or the assistant is deleted.
    """
    locked = _open(assistant)
    _check_draft(locked, revision)
    locked.draft_revision = None
    locked.save()
    _audit(locked, actor, "discard_draft", revision)
    return locked


@transaction.atomic
def revision_revert(
    *, assistant: Assistant, to_revision: AssistantRevision, actor: Any, note: str = ""
) -> Assistant:
    """Publish a new revision whose document is that of ``to_revision``.

    Secrets are those of today, see ``secret_places.with_secrets_of``: a cleared one stays cleared.
    The saved tools are those that ``to_revision`` linked, but for deleted ones. A draft stays.

    Args:
        note: why; empty names the revision that came back.

    Raises:
        RevisionRefused: it answers calls already, is another assistant's, or the assistant is
            deleted.
    """
    locked = _open(assistant)
    if to_revision.assistant_id != locked.pk:
        raise RevisionRefused("this revision belongs to another assistant.")
    if to_revision.pk == locked.current_revision_id:
        raise RevisionRefused(f"r{to_revision.number} answers calls already.")
    document = revision_document(to_revision)
    if locked.current_revision is not None:
        document = with_secrets_of(revision_document(locked.current_revision), document)
    revision = revision_store(
        locked,
        document,
        source="revert",
        actor=actor,
        note=note or f"Back to r{to_revision.number}",
        like=(to_revision, locked.current_revision),
        only_tools={tool.pk for tool in revision_tools(to_revision)},
    )
    revision_go_live(locked, revision)
    locked.save()
    _audit(locked, actor, "revert", revision, to=to_revision.number, note=note)
    return locked


def _open(assistant: Assistant) -> Assistant:
    locked = assistant_locked(assistant)
    if locked.deleted_at is not None:
        raise RevisionRefused("this assistant is deleted.")
    return locked


def _check_draft(locked: Assistant, revision: AssistantRevision) -> None:
    if locked.draft_revision_id == revision.pk:
        return
    waits = f"; r{locked.draft_revision.number} waits now" if locked.draft_revision else ""
    raise RevisionRefused(f"r{revision.number} is no longer the draft{waits}.")


def _has_deleted_tools(revision: AssistantRevision) -> bool:
    return any(tool.deleted_at is not None for tool in revision_tools(revision))


def _audit(
    assistant: Assistant, actor: Any, verb: str, revision: AssistantRevision, **details: Any
) -> None:
    audit_write(
        actor=actor,
        action=f"assistant.{verb}",
        organisation=assistant.organisation,
        target=assistant,
        details={"revision": revision.number, **details},
    )
