"""What happens to revisions after they were made: publish a draft, discard it, bring one back.

Revisions never change and none is deleted; each of these writes moves a pointer of the assistant or
adds a revision, under the lock that numbers them. It must not know HTTP, calls or numbers.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from assistants.exceptions import RevisionRefused
from assistants.models import Assistant, AssistantRevision
from assistants.revision_rows import PreparedRevision, revision_insert, revision_prepare
from assistants.secret_places import with_secrets_of
from assistants.selectors import revision_tools
from assistants.services import (
    assistant_locked,
    assistant_now,
    revision_document,
    revision_go_live,
    revision_name,
    row_lock,
)
from voiceplatform.base.prepared import write_prepared
from voiceplatform.base.services import audit_write


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

    def prepare() -> tuple[Assistant, PreparedRevision | None, str]:
        seen = _open(assistant_now(assistant))
        _check_draft(seen, revision)
        draft, live = seen.draft_revision, seen.current_revision
        assert draft is not None
        if not ((live and live.number > draft.number) or _has_deleted_tools(draft)):
            return seen, None, revision_name(draft)
        again = revision_prepare(
            seen.organisation,
            revision_document(draft),
            source=draft.source,
            actor=actor,
            note=note or draft.note or f"The draft r{draft.number}",
            like=(draft,),
        )
        return seen, again, again.name

    def write(prepared: tuple[Assistant, PreparedRevision | None, str]) -> Assistant:
        seen, again, name = prepared
        locked = assistant_locked(seen)
        published = locked.draft_revision
        assert published is not None
        if again is not None:
            published = revision_insert(locked, again)
            if locked.imported_revision_id == revision.pk:
                locked.imported_revision = published
        locked.draft_revision = None
        revision_go_live(locked, published, name)
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

    return write_prepared(prepare, write, lock=lambda: row_lock(assistant))


@transaction.atomic
def draft_discard(*, assistant: Assistant, revision: AssistantRevision, actor: Any) -> Assistant:
    """Take the draft ``revision`` off the table; it stays in the history.

    Raises:
        RevisionRefused: ``revision`` is not the draft, or the assistant is deleted.
    """
    locked = _open(row_lock(assistant))
    _check_draft(locked, revision)
    locked.draft_revision = None
    locked.save()
    _audit(locked, actor, "discard_draft", revision)
    return locked


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

    def prepare() -> tuple[Assistant, PreparedRevision]:
        seen = _open(assistant_now(assistant))
        if to_revision.assistant_id != seen.pk:
            raise RevisionRefused("this revision belongs to another assistant.")
        if to_revision.pk == seen.current_revision_id:
            raise RevisionRefused(f"r{to_revision.number} answers calls already.")
        document = revision_document(to_revision)
        if seen.current_revision is not None:
            document = with_secrets_of(revision_document(seen.current_revision), document)
        prepared = revision_prepare(
            seen.organisation,
            document,
            source="revert",
            actor=actor,
            note=note or f"Back to r{to_revision.number}",
            like=(to_revision, seen.current_revision),
            only_tools={tool.pk for tool in revision_tools(to_revision)},
        )
        return seen, prepared

    def write(both: tuple[Assistant, PreparedRevision]) -> Assistant:
        seen, prepared = both
        locked = assistant_locked(seen)
        revision = revision_insert(locked, prepared)
        revision_go_live(locked, revision, prepared.name)
        locked.save()
        _audit(locked, actor, "revert", revision, to=to_revision.number, note=note)
        return locked

    return write_prepared(prepare, write, lock=lambda: row_lock(assistant))


def _open(assistant: Assistant) -> Assistant:
    if assistant.deleted_at is not None:
        raise RevisionRefused("this assistant is deleted.")
    return assistant


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
