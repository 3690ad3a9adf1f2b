"""Phone numbers of a Vapi export: they start on route ``vapi``, whatever the export says.

Owns how Vapi's phone number object becomes a row (vapi.md 7.1). It changes nothing at Twilio. What
the row has no column for is kept in the number's companion, sealed; credentials in it are not used,
because the account here has its own. A number that cannot be served here (another provider, a
Twilio account that is not known) is kept as a companion alone, as REST does.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Final

from assistants.findings import LOSSY, UNSUPPORTED, Finding
from assistants.models import Assistant, Squad, StoredResource
from assistants.resource_services import computed_fields, resource_document
from assistants.selectors import NUMBER_KIND, squad_list
from calls.models import PhoneNumber, TwilioAccount
from calls.selectors.numbers import number_by_id, number_kept
from calls.services.consent_import import policy_give
from calls.services.handoffs import assistant_of_squad
from calls.services.number_documents import (
    PROVIDERS,
    NumberRefused,
    companion_store,
    number_document,
)
from calls.services.number_routes import previous_set
from calls.services.previous_targets import VAPI_TARGET
from voiceplatform.base.models import Organisation
from voiceplatform.base.phones import is_e164
from voiceplatform.base.redaction import keep_secrets
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import audit_write

_OTHER_PROVIDER: Final = (
    "Stored and returned as blocked: only numbers of Twilio can be served here, so its calls stay "
    "where they are. Fix: port it to your Twilio account, then import it from there."
)
_OTHER_ACCOUNT: Final = (
    "Stored and returned as blocked: its Twilio account is not known here, so its calls stay where "
    "they are. Fix: add the account under Twilio accounts in the admin, then import again."
)
_CONTESTED: Final = (
    "Both sides changed {} since the last import, so the number keeps what it was given here. Fix: "
    "look at the number in the admin, and change it there if Vapi's is right."
)
_ELSEWHERE: Final = "this number or its id is in use elsewhere. Fix: remove `id` or that one"


def number_import(
    *,
    organisation: Organisation,
    document: Mapping[str, Any],
    number_id: uuid.UUID,
    created_at: dt.datetime | None,
    actor: Any,
    dry_run: bool,
    arriving: frozenset[str],
) -> tuple[str, str | Finding]:
    """Create or update one number and return (outcome, reason or finding).

    Route, policy and ceilings of a known number are never changed by an import, nor are the name
    and the assistant that it was given in the admin.
    """
    document = {**document, "provider": document.get("provider") or "twilio"}
    if document["provider"] not in PROVIDERS:
        return "refused", f"its provider is none of {', '.join(PROVIDERS)}. Fix: correct `provider`"
    number_e164 = _text(document, "number") or _text(document, "twilioPhoneNumber")
    row = PhoneNumber.objects.filter(number_e164=number_e164).first() if number_e164 else None
    account = _account(organisation, document)
    is_ours = row is not None and row.organisation_id == organisation.pk
    if account is None and not is_ours:
        return _kept(
            organisation=organisation,
            document=document,
            number_id=number_id,
            number=number_e164,
            created_at=created_at,
            actor=actor,
            dry_run=dry_run,
        )
    if account is None:
        return "refused", (
            "it is served here with a Twilio account, and the file names another provider or "
            "account. Fix: correct `provider` and `twilioAccountSid`"
        )
    if not is_e164(number_e164):
        return "refused", "its number is not in the form +15550100001. Fix: correct `number`"
    kept = number_kept(organisation, number_id, number_e164) if row is None else None
    number_id = kept.pk if kept else number_id
    owner = row or PhoneNumber.objects.filter(pk=number_id).first()
    if owner is not None and (owner.organisation_id != organisation.pk or row is None):
        return "refused", _ELSEWHERE
    if row is not None and _is_current(row, document):
        return "unchanged", ""
    wanted = _assistant_id(document)
    columns = {
        "name": _text(document, "name")[:100],
        "twilio_account_id": account.pk,
        "previous_asks": _asks_at_vapi(document),
        # What came before in this import is stored by now, unless it was refused.
        "assistant_id": wanted
        if _is_here(organisation, wanted, arriving if dry_run else frozenset())
        else None,
    }
    if _text(document, "squadId"):
        columns |= _squad_columns(organisation, document, columns["assistant_id"], dry_run)
    ours, contested = _chosen_here(row, document) if row else ((), ())
    try:
        is_news = companion_store(
            organisation=organisation,
            number_id=row.pk if row else number_id,
            document=document,
            actor=actor,
            created_at=created_at,
            dry_run=dry_run,
        )
    except NumberRefused as error:
        return "refused", f"{error}. Fix: remove `id` or that one"
    if row is None:
        if not dry_run:
            row = PhoneNumber.objects.create(
                id=number_id,
                organisation=organisation,
                number_e164=number_e164,
                route=PhoneNumber.Route.VAPI,
                **columns,
            )
            policy_give(row, actor=actor)
            # Until a move has read what Twilio has: what Vapi writes to every number (vapi.md 7.2).
            previous_set(row, VAPI_TARGET)
            if created_at is not None:
                PhoneNumber.objects.filter(pk=row.pk).update(created_at=created_at)
            _audit(row, actor, "create")
        return "updated" if kept else "created", ""
    if columns["assistant_id"] is None:
        del columns["assistant_id"]  # what was chosen here stays
    columns = {name: value for name, value in columns.items() if name not in ours}
    changed = [name for name, value in columns.items() if getattr(row, name) != value]
    fields = ", ".join(f"`{field}`" for field in contested)
    why = Finding("$", LOSSY, _CONTESTED.format(fields)) if contested else ""
    if not changed and not is_news:
        return "unchanged", why
    if not dry_run:
        for name in changed:
            setattr(row, name, columns[name])
        row.save(update_fields=[*changed, "updated_at"])
        _audit(row, actor, "update")
    return "updated", why


def _squad_columns(
    organisation: Organisation, document: Mapping[str, Any], assistant_id: Any, dry_run: bool
) -> dict[str, Any]:
    """Return the columns of a number that a squad answers; {} where the squad is not here."""
    ids = uuids_in([_text(document, "squadId")])
    squad: Squad | None = squad_list(organisation).filter(pk__in=ids).first() if ids else None
    if squad is None or dry_run:
        return {}
    first = None if assistant_id else assistant_of_squad(squad)
    found = {"squad_id": squad.pk}
    return {**found, "assistant_id": first.pk} if first is not None else found


def _chosen_here(
    row: PhoneNumber, document: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that were changed in the admin, and the fields that Vapi changed as well.

    The companion has what the last import brought: the admin changes columns only.
    """
    stored = number_by_id(row.organisation, row.pk)
    if stored is None or stored.companion is None:
        return (), ()
    brought = resource_document(stored.companion)
    before = {
        "assistantId": _assistant_id(brought),
        "name": _text(brought, "name")[:100],
    }
    now = {"assistantId": _assistant_id(document), "name": _text(document, "name")[:100]}
    columns = {"assistantId": "assistant_id", "name": "name"}
    # An empty column is no choice: its assistant may not have been here when the number came.
    ours = [
        field
        for field, name in columns.items()
        if getattr(row, name) and getattr(row, name) not in (before[field], now[field])
    ]
    contested = tuple(field for field in ours if now[field] != before[field])
    return tuple(columns[field] for field in ours), contested


def _kept(
    *,
    organisation: Organisation,
    document: Mapping[str, Any],
    number_id: uuid.UUID,
    number: str,
    created_at: dt.datetime | None,
    actor: Any,
    dry_run: bool,
) -> tuple[str, str | Finding]:
    """Keep a number that cannot be served here."""
    why = _OTHER_ACCOUNT if document["provider"] == "twilio" else _OTHER_PROVIDER
    known = number_kept(organisation, number_id, number)
    number_id = known.pk if known else number_id
    if PhoneNumber.objects.filter(pk=number_id).exists():
        return "refused", _ELSEWHERE
    try:
        is_news = companion_store(
            organisation=organisation,
            number_id=number_id,
            document=document,
            actor=actor,
            created_at=created_at,
            dry_run=dry_run,
        )
    except NumberRefused as error:
        return "refused", f"{error}. Fix: remove `id` or that one"
    if is_news and not dry_run:
        companion = StoredResource.objects.defer("content").get(pk=number_id)
        _audit(companion, actor, "update" if known else "create")
    return ("updated" if known else "created") if is_news else "unchanged", (
        Finding("$", UNSUPPORTED, why)
    )


def _is_current(row: PhoneNumber, document: Mapping[str, Any]) -> bool:
    """Tell whether ``document`` is what an export of the number says, secrets apart."""
    stored = number_by_id(row.organisation, row.pk)
    if stored is None:
        return False
    shown = number_document(stored)
    computed = computed_fields(NUMBER_KIND)
    said = {name: value for name, value in document.items() if name not in computed}
    is_same: bool = keep_secrets(said, shown) == shown
    return is_same


def _account(organisation: Organisation, document: Mapping[str, Any]) -> TwilioAccount | None:
    if document["provider"] != "twilio":
        return None
    sid = _text(document, "twilioAccountSid")
    return TwilioAccount.objects.filter(organisation=organisation, account_sid=sid).first()


def _asks_at_vapi(document: Mapping[str, Any]) -> bool:
    """Tell whether Vapi asks a server who answers the number's calls (vapi.md 5.3)."""
    return not any(_text(document, key) for key in ("assistantId", "squadId", "workflowId"))


def _audit(target: PhoneNumber | StoredResource, actor: Any, verb: str) -> None:
    audit_write(
        actor=actor, action=f"phonenumber.{verb}", organisation=target.organisation, target=target
    )


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _assistant_id(document: Mapping[str, Any]) -> uuid.UUID | None:
    try:
        return uuid.UUID(_text(document, "assistantId"))
    except ValueError:
        return None


def _is_here(
    organisation: Organisation, wanted: uuid.UUID | None, arriving: frozenset[str]
) -> bool:
    if wanted is None:
        return False
    rows = Assistant.objects.filter(pk=wanted, organisation=organisation, deleted_at__isnull=True)
    return str(wanted) in arriving or rows.exists()
