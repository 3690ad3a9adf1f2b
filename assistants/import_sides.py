"""What the last import brought of tools, squads and resources, and which side changed since.

Owns the comparison behind "nothing is overwritten silently" (assistants have revisions for what is
stored here in ``ImportedObject``) and the choice of a person where both sides changed. How a row is
stored is its service's; it must not know files or pages.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction

from assistants.export import EXPORTED_FROM, fingerprint
from assistants.models import ImportedObject, Squad, StoredResource
from assistants.resource_services import computed_fields, resource_document, resource_store
from assistants.squad_services import squad_document, squad_store
from tools.models import Tool
from tools.services import tool_document, tool_store
from voiceplatform.base.fields import seal_ahead
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import keep_secrets, redact
from voiceplatform.base.services import audit_write

_GONE: Final = "{} was deleted here. Fix: keep ours, or import it again to bring it back."


class ChoiceRefused(Exception):
    """What an import brought cannot be taken; the text says why and what to do."""


def changed_sides(
    *,
    brought: Mapping[str, Any] | None,
    now: Mapping[str, Any],
    new: Mapping[str, Any],
    exported_from: Any = None,
) -> tuple[bool, bool]:
    """Tell whether we, and whether the file, changed an object since the last import.

    A secret that was entered here is no change: exports never contain any (vapi.md trap 16).
    Without an earlier import the file is followed.

    Args:
        brought: what the last import brought, None when there was none.
        now: what is stored.
        new: what the file says, without computed fields.
        exported_from: what a file of our own export says of the state it was made from.
    """
    if brought is None or (exported_from and exported_from == fingerprint(now)):
        return False, True
    ours = redact(now) != redact(keep_secrets(brought, now))
    theirs = keep_secrets(new, brought) != brought
    return ours, theirs


def imported_object(kind: str, object_id: uuid.UUID) -> ImportedObject | None:
    """Return what the last import brought of an object."""
    return ImportedObject.objects.filter(kind=kind, object_id=object_id).first()


def bare(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``document`` without what the server computes."""
    computed = computed_fields(kind)
    return {name: value for name, value in document.items() if name not in computed}


def sides_of(
    known: ImportedObject | None,
    *,
    kind: str,
    now: Mapping[str, Any],
    document: Mapping[str, Any],
    original: Mapping[str, Any],
) -> tuple[bool, bool]:
    """Tell whether we, and whether the file, changed an object that is stored as ``now``."""
    return changed_sides(
        brought=known.document if known else None,
        now=bare(kind, now),
        new=bare(kind, document),
        exported_from=original.get(EXPORTED_FROM),
    )


def imported_remember(
    known: ImportedObject | None,
    *,
    organisation: Organisation,
    kind: str,
    object_id: uuid.UUID,
    document: Mapping[str, Any],
    name: str,
    waits: bool,
) -> None:
    """Note what an import brought; nothing is written when that is noted already.

    ``document`` keeps only the secrets that the file has, so that taking it later never brings an
    old secret back over one that was entered meanwhile.
    """
    brought = bare(kind, document)
    known = known or imported_object(kind, object_id)
    if known is not None and known.waits == waits and known.document == brought:
        return
    row = known or ImportedObject(kind=kind, object_id=object_id)
    row.organisation, row.name = organisation, name[:200]
    row.document, row.waits = brought, waits
    seal_ahead(row)
    row.save()


def imported_row(imported: ImportedObject) -> Tool | Squad | StoredResource | None:
    """Return the row that ``imported`` speaks of, None when it is not here any more."""
    model: Any = {"tool": Tool, "squad": Squad}.get(imported.kind, StoredResource)
    rows = model.objects.filter(pk=imported.object_id, organisation=imported.organisation_id)
    found: Tool | Squad | StoredResource | None = rows.filter(deleted_at__isnull=True).first()
    return found


def row_document(row: Tool | Squad | StoredResource) -> dict[str, Any]:
    """Return the whole document of a row with its secrets."""
    if isinstance(row, Tool):
        return {"type": row.type, **tool_document(row)}
    return squad_document(row) if isinstance(row, Squad) else resource_document(row)


def imported_take(*, imported: ImportedObject, actor: Any) -> None:
    """Replace our version by what the last import brought; secrets it lacks stay ours.

    Raises:
        ChoiceRefused: somebody chose already, or the object was deleted.
        ToolTypeIsFixed: the tool has another type at Vapi.
    """
    waiting = _waiting(imported)
    row = imported_row(waiting)
    if row is None:
        raise ChoiceRefused(_GONE.format(waiting))
    # First the row, in the service's own short transaction: should the process die before the
    # choice is noted, it is asked for once more and changes nothing.
    common: dict[str, Any] = {"organisation": waiting.organisation, "actor": actor}
    if isinstance(row, Tool):
        tool_store(**common, document=waiting.document, tool=row)
    elif isinstance(row, Squad):
        squad_store(**common, document=waiting.document, squad=row)
    else:
        resource_store(**common, document=waiting.document, kind=row.kind, resource=row)
    _decided(waiting, actor, "take")


def imported_keep_ours(*, imported: ImportedObject, actor: Any) -> None:
    """Leave our version as it is; the next import asks again only if Vapi's changed once more.

    Raises:
        ChoiceRefused: somebody chose already.
    """
    _decided(_waiting(imported), actor, "keep_ours")


def _waiting(imported: ImportedObject) -> ImportedObject:
    rows = ImportedObject.objects.select_related("organisation")
    waiting: ImportedObject | None = rows.filter(pk=imported.pk, waits=True).first()
    if waiting is None:
        raise ChoiceRefused(f"Somebody chose already for {imported}.")
    return waiting


@transaction.atomic
def _decided(waiting: ImportedObject, actor: Any, verb: str) -> None:
    # Only these columns: an import may bring something newer at the same moment.
    ImportedObject.objects.filter(pk=waiting.pk, updated_at=waiting.updated_at).update(waits=False)
    audit_write(
        actor=actor,
        action=f"import.{verb}",
        organisation=waiting.organisation,
        target=waiting,
        details={"kind": waiting.kind, "id": str(waiting.object_id)},
    )
