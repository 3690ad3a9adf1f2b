"""Phone numbers as the objects that REST and exports know: the row, and its companion document.

A row of ``PhoneNumber`` has the columns that answer calls; whatever else Vapi's object says
(server, hooks, squad, credentials) is kept, sealed, in a companion of the same id. A number that
cannot be served here (another provider, an unknown Twilio account) is a companion alone. Owns both
together; it changes nothing at Twilio and never a route. It must not know HTTP.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from assistants.models import Assistant, Squad, StoredResource
from assistants.resource_services import (
    resource_delete,
    resource_document,
    resource_is_current,
    resource_store,
)
from assistants.selectors import NUMBER_KIND, resource_list, squad_list
from calls.models import PhoneNumber, TwilioAccount
from calls.selectors.numbers import StoredNumber
from calls.services.handoffs import assistant_of_squad
from calls.services.move_rows import has_way_back
from voiceplatform.base.models import Organisation
from voiceplatform.base.phones import is_e164
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.redaction_moves import moves_refuse
from voiceplatform.base.rest import iso
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import audit_write

PROVIDERS: Final = ("twilio", "vapi", "vonage", "telnyx", "byo-phone-number")
_TAKEN: Final = "number is in use already; change that one"


class NumberRefused(ValueError):
    """The document cannot be stored; the text names the field. Correct it."""


class NumberInUse(Exception):
    """The number answers calls here, or calls of it are kept; the text says what to do first."""


def number_object(stored: StoredNumber) -> dict[str, Any]:
    """Return the number as Vapi shows it, without its secrets; the discriminator always stands."""
    first = stored.row or stored.companion
    assert first is not None
    said = dict(stored.companion.document_redacted) if stored.companion else {}
    return {
        "id": str(first.pk),
        "orgId": str(first.organisation_id),
        "createdAt": iso(first.created_at),
        "updatedAt": iso(first.updated_at),
        # Vapi's words; what cannot be served is not active.
        "status": "active" if stored.row else "blocked",
        **_with_columns(said, stored.row),
    }


def number_document(stored: StoredNumber) -> dict[str, Any]:
    """Return the whole document with its secrets and without computed fields."""
    said = resource_document(stored.companion) if stored.companion else {}
    return _with_columns(said, stored.row)


def _with_columns(said: dict[str, Any], row: PhoneNumber | None) -> dict[str, Any]:
    """Return ``said`` with what the row says now; the admin changes columns only."""
    if row is None:
        return said
    shown = {
        **said,
        "provider": "twilio",
        "number": row.number_e164,
        "twilioAccountSid": row.twilio_account.account_sid,
    }
    columns = {
        "name": (row.name, _text(said, "name")[:100]),
        "assistantId": (
            # Beside a squad it is only who answers without one.
            str(row.assistant_id) if row.assistant_id and not row.squad_id else "",
            _text(said, "assistantId").lower(),
        ),
        "squadId": (str(row.squad_id) if row.squad_id else "", _text(said, "squadId").lower()),
    }
    for key, (now, before) in columns.items():
        if now and now != before:
            shown[key] = now
        elif not now and before:
            del shown[key]
    return shown


@transaction.atomic
def number_create(
    *, organisation: Organisation, document: Mapping[str, Any], actor: Any
) -> StoredNumber:
    """Store a number; with a Twilio account that is known here it gets a row, on route ``vapi``.

    Raises:
        NumberRefused: a field is wrong, or the number is in use.
    """
    return _store(organisation, dict(document), actor, StoredNumber(None, None))


@transaction.atomic
def number_patch(*, stored: StoredNumber, patch: Mapping[str, Any], actor: Any) -> StoredNumber:
    """Replace each top-level field that ``patch`` names (vapi.md 0, rule 10).

    A number that was only kept gets its row once its Twilio account is known here.

    Raises:
        NumberRefused: a field is wrong, or changes what cannot change.
        NumberInUse: the number answers calls here and would lose what answers them.
        SecretMoved: a stored secret would go to another server.
        RowGone: it was deleted meanwhile.
    """
    locked = _locked(stored)
    before = number_document(locked)
    provider = patch.get("provider", before.get("provider"))
    if provider != before.get("provider"):
        raise NumberRefused(f"provider is {before.get('provider')} and cannot be changed")
    moves_refuse(patch, before)
    return _store(locked.organisation, {**before, **patch}, actor, locked)


@transaction.atomic
def number_delete(*, stored: StoredNumber, actor: Any) -> None:
    """Delete the number here; nothing changes at the carrier.

    Raises:
        NumberInUse: its route has left ``vapi``, or calls of it are kept.
        RowGone: it was deleted meanwhile.
    """
    stored = _locked(stored)  # its route may have been changed since it was read
    row = stored.row
    if row is not None and row.route != PhoneNumber.Route.VAPI:
        raise NumberInUse(
            f"{row.number_e164} answers calls here (route {row.route}). Fix: give it back first."
        )
    if row is not None and has_way_back(row):
        raise NumberInUse(
            f"{row.number_e164} was moved here at Twilio, and its row is the way back. Fix: put it "
            "back first (restore_number)."
        )
    target = row or stored.companion
    assert target is not None
    _audit(target, "delete", actor)
    if stored.companion is not None:
        resource_delete(resource=stored.companion, actor=actor)
    if row is not None:
        try:
            row.delete()
        except ProtectedError as error:
            raise NumberInUse(f"calls of {row.number_e164} are kept here") from error


def companion_store(
    *,
    organisation: Organisation,
    number_id: uuid.UUID,
    document: Mapping[str, Any],
    actor: Any,
    created_at: dt.datetime | None = None,
    dry_run: bool = False,
) -> bool:
    """Keep ``document`` beside the row of this id; False when it says nothing new.

    Raises:
        NumberRefused: the id belongs to something else.
    """
    companion = StoredResource.objects.filter(pk=number_id).first()
    if companion is not None and (
        companion.kind != NUMBER_KIND or companion.organisation_id != organisation.pk
    ):
        raise NumberRefused("this id is in use elsewhere")
    if companion is not None and resource_is_current(companion, document):
        return False
    if not dry_run:
        resource_store(
            organisation=organisation,
            kind=NUMBER_KIND,
            document=document,
            actor=actor,
            resource=companion,
            resource_id=number_id,
            created_at=created_at,
        )
    return True


def _store(
    organisation: Organisation, document: dict[str, Any], actor: Any, before: StoredNumber
) -> StoredNumber:
    _check_references(organisation, document)
    squad, assistant_id = _answers(organisation, document)
    row = before.row
    is_new = before.row is None and before.companion is None
    number_id = uuid.uuid4() if is_new else before.pk
    account = _account(organisation, document)
    if row is not None:
        _row_change(row, document, account, squad, assistant_id)
    elif account is not None:
        row = _row_make(organisation, number_id, document, account, squad, assistant_id)
    elif _is_kept_twice(organisation, document, number_id):
        raise NumberRefused(_TAKEN)
    companion_store(
        organisation=organisation,
        number_id=number_id,
        document=document,
        actor=actor,
        created_at=row.created_at if row else None,
    )
    companion = resource_list(organisation, NUMBER_KIND).get(pk=number_id)
    _audit(row or companion, "create" if is_new else "update", actor)
    return StoredNumber(row, companion)


def _check_references(organisation: Organisation, document: Mapping[str, Any]) -> None:
    """Refuse what is not here, and lock what is, so that nobody deletes it before this is stored.

    Raises:
        NumberRefused: there is no such assistant or squad.
    """
    for field, noun, model in (
        ("assistantId", "assistant", Assistant),
        ("squadId", "squad", Squad),
    ):
        text = _text(document, field)
        rows: Any = model._default_manager.select_for_update()
        here = rows.filter(
            pk__in=uuids_in([text]), organisation=organisation, deleted_at__isnull=True
        )
        if text and not here.values_list("pk", flat=True).first():
            raise NumberRefused(f"{field} names no {noun} here: {text}")


def _account(organisation: Organisation, document: Mapping[str, Any]) -> TwilioAccount | None:
    if document.get("provider") != "twilio":
        return None
    sid = _text(document, "twilioAccountSid")
    return TwilioAccount.objects.filter(organisation=organisation, account_sid=sid).first()


def _answers(
    organisation: Organisation, document: Mapping[str, Any]
) -> tuple[Squad | None, uuid.UUID | None]:
    """Return the squad of a number and its assistant; a squad's is that of its first member."""
    ids = uuids_in([_text(document, "squadId")])
    squad: Squad | None = squad_list(organisation).filter(pk__in=ids).first() if ids else None
    named = uuids_in([_text(document, "assistantId")])
    if named or squad is None:
        return squad, named[0] if named else None
    first = assistant_of_squad(squad)
    return squad, first.pk if first is not None else None


def _row_make(
    organisation: Organisation,
    number_id: uuid.UUID,
    document: Mapping[str, Any],
    account: TwilioAccount,
    squad: Squad | None,
    assistant_id: uuid.UUID | None,
) -> PhoneNumber:
    number_e164 = _text(document, "number")
    if not is_e164(number_e164):
        raise NumberRefused("number must be in the form +15550100001")
    try:
        with transaction.atomic():
            return PhoneNumber.objects.create(
                id=number_id,
                organisation=organisation,
                number_e164=number_e164,
                name=_text(document, "name")[:100],
                twilio_account=account,
                assistant_id=assistant_id,
                squad=squad,
                route=PhoneNumber.Route.VAPI,
            )
    except IntegrityError as error:
        raise NumberRefused(_TAKEN) from error


def _row_change(
    row: PhoneNumber,
    document: Mapping[str, Any],
    account: TwilioAccount | None,
    squad: Squad | None,
    assistant_id: uuid.UUID | None,
) -> None:
    number_e164 = _text(document, "number")
    if account is None:
        raise NumberRefused("twilioAccountSid names no Twilio account here")
    if not is_e164(number_e164):
        raise NumberRefused("number must be in the form +15550100001")
    serves = row.route in (PhoneNumber.Route.DIRECT, PhoneNumber.Route.CANARY)
    moves = number_e164 != row.number_e164 or account.pk != row.twilio_account_id
    if serves and (assistant_id is None or moves):
        raise NumberInUse(
            f"{row.number_e164} answers calls here (route {row.route}), so it keeps its number, "
            "its account and an assistant. Fix: give it back first."
        )
    row.number_e164, row.twilio_account = number_e164, account
    row.name = _text(document, "name")[:100]
    row.assistant_id, row.squad = assistant_id, squad
    try:
        with transaction.atomic():
            row.save(
                update_fields=[
                    *("number_e164", "twilio_account", "name", "assistant", "squad"),
                    "updated_at",
                ]
            )
    except IntegrityError as error:
        raise NumberRefused(_TAKEN) from error


def _is_kept_twice(
    organisation: Organisation, document: Mapping[str, Any], number_id: uuid.UUID
) -> bool:
    number = _text(document, "number")
    same = resource_list(organisation, NUMBER_KIND).filter(document_redacted__number=number)
    return bool(number) and same.exclude(pk=number_id).exists()


def _locked(stored: StoredNumber) -> StoredNumber:
    """Return the number as it is now, locked until the transaction ends.

    Raises:
        RowGone: it is not there any more.
    """
    rows = PhoneNumber.objects.select_for_update(of=("self",)).filter(pk=stored.pk)
    rows = rows.select_related("twilio_account", "organisation")
    companions = StoredResource.objects.select_for_update(of=("self",)).filter(
        pk=stored.pk, kind=NUMBER_KIND, deleted_at__isnull=True
    )
    row = rows.first()
    companion = companions.select_related("organisation").first()
    if row is None and companion is not None:
        row = rows.first()  # it was made while the lock of its companion was waited for
    if row is None and companion is None:
        raise RowGone(f"Phone number {stored.pk} was not found.")
    return StoredNumber(row, companion)


def _audit(target: PhoneNumber | StoredResource, verb: str, actor: Any) -> None:
    audit_write(
        actor=actor, action=f"phonenumber.{verb}", organisation=target.organisation, target=target
    )


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""
