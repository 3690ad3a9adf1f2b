"""Writes of squads: one document in, the sealed document and its columns out (vapi.md 8.1).

Owns how a squad is stored, changed and deleted. It must not know HTTP, calls or numbers; a member
whose assistant is not here is the caller's to refuse or to report.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from assistants import stored_documents as documents
from assistants.exceptions import SquadInUse
from assistants.models import Squad
from assistants.selectors import squad_users
from voiceplatform.base.models import Organisation
from voiceplatform.base.prepared import lock_live


def squad_store(
    *,
    organisation: Organisation,
    document: Mapping[str, Any],
    actor: Any,
    squad: Squad | None = None,
    squad_id: uuid.UUID | None = None,
    created_at: dt.datetime | None = None,
    as_read: bool = False,
) -> Squad:
    """Make a squad from ``document``, or replace the document of ``squad``.

    Secrets that ``document`` does not mention stay as they were; null clears them. A squad that had
    been deleted is back.

    Args:
        document: a whole squad in Vapi's form; anything in it is kept.
        actor: a user, an API key, or None for the system.
        squad_id: the id of a new squad; Vapi's when it is imported.
        created_at: when a new squad was made, if it was made elsewhere.
        as_read: only over ``squad`` as it was read.

    Raises:
        ChangedMeanwhile: with ``as_read``, somebody else wrote to it.
    """
    verb = "create" if squad is None else "update"
    row = squad or Squad(id=documents.new_id(squad_id), organisation=organisation)
    return documents.store(
        row,
        lambda now: document,
        created_at=created_at,
        as_read=as_read,
        after=lambda stored: documents.audit(stored, "squad", verb, actor),
    )


def squad_document(squad: Squad) -> dict[str, Any]:
    """Return the whole document with its secrets."""
    return documents.document_of(squad)


def squad_is_current(squad: Squad, document: Mapping[str, Any]) -> bool:
    """Tell whether storing ``document`` over ``squad`` would change nothing."""
    stored = squad_document(squad)
    kept = documents.document_to_store(document, stored, documents.COMPUTED)
    return squad.deleted_at is None and kept == stored


def squad_patch(*, squad: Squad, patch: Mapping[str, Any], actor: Any) -> Squad:
    """Replace each top-level field that ``patch`` names (vapi.md 0, rule 10).

    Raises:
        SecretMoved: a stored secret would go to another server.
        RowGone: it was deleted meanwhile.
    """
    return documents.store(
        squad,
        lambda now: documents.patched(squad_document(now), patch),
        only_live=True,
        after=lambda stored: documents.audit(stored, "squad", "update", actor),
    )


@transaction.atomic
def squad_delete(*, squad: Squad, actor: Any) -> None:
    """Delete ``squad`` from every list.

    Raises:
        SquadInUse: a phone number answers with it.
        RowGone: it was deleted meanwhile.
    """
    lock_live(squad)
    users = squad_users(squad)
    if users:
        raise SquadInUse(
            f"squad {squad} answers {', '.join(users)}. Fix: give those another one first."
        )
    documents.retire(squad)
    documents.audit(squad, "squad", "delete", actor)
