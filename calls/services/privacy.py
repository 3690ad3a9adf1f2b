"""What may be kept of a call, by its organisation's rules and its assistant's compliance plan.

Owns which rule holds for a call and the reading of compliance mode. Whoever stores or shows what
was said asks here before it does. Whether the caller agrees to be heard is
``live_listen.may_listen``'s to say. Writes nothing but the masks over a call's variables, once it
is over.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

import structlog
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.wire.vapi_compliance import keeps_no_words
from calls.models import Call, RedactionRule
from calls.privacy.custom import CustomPatternError
from calls.privacy.keeping import EVERYTHING, NOTHING, Keeping, Shown
from calls.privacy.patterns import BIRTH, CARD, EMAIL, PHONE, SSN, Redactor
from voiceplatform.base.fields import DecryptionError

_KIND_OF = {
    "phone_numbers": PHONE,
    "email_addresses": EMAIL,
    "payment_cards": CARD,
    "social_security_numbers": SSN,
    "birth_dates": BIRTH,
}

log = structlog.get_logger(__name__)


def keeping_for(call: Call) -> Keeping:
    """Return what is kept of ``call``: by its assistant's own rule, else its organisation's.

    Nothing of a caller who was asked and has not agreed, or not yet (design.md 11).
    """
    if lacks_consent(call) or is_compliant(call.revision):
        return NOTHING
    today = timezone.now().date()
    return _keeping_by(rule_for(call, today), today)


def _keeping_by(rule: RedactionRule | None, today: dt.date) -> Keeping:
    if rule is None:
        return EVERYTHING
    kinds = tuple(kind for column, kind in _KIND_OF.items() if getattr(rule, column))
    return _keeping(kinds, tuple(map(str, rule.custom_patterns)), today.year)


def keeping_of(call_id: str, revision_id: Any = None) -> Keeping:
    """Return what is kept of a call that is known by its id; everything of none.

    Args:
        revision_id: the assistant that has just taken it over, where that is not stored yet.
    """
    call = _call_with(call_id, revision_id)
    return keeping_for(call) if call is not None else EVERYTHING


def _call_with(call_id: str, revision_id: Any) -> Call | None:
    call: Call | None = Call.objects.select_related("revision").filter(pk=call_id).first()
    if call is not None and revision_id and str(revision_id) != str(call.revision_id):
        call.revision = AssistantRevision.objects.filter(pk=revision_id).first()
    return call


def shown_for(call: Call) -> Shown:
    """Return what those who listen to ``call`` may get, by what is kept of it.

    Sound cannot be masked: where anything is, nobody hears it unless the rule says so.
    """
    if lacks_consent(call):
        return Shown(NOTHING, "the caller has not agreed to be listened to")
    today = timezone.now().date()
    rule = rule_for(call, today)
    try:
        keeping = NOTHING if is_compliant(call.revision) else _keeping_by(rule, today)
    except DecryptionError:
        return Shown(NOTHING, "no key opens what the assistant says about privacy")
    if keeping is EVERYTHING or (rule is not None and rule.listening_allowed):
        return Shown(keeping)
    if rule is not None and keeping.words:
        return Shown(keeping, "a redaction rule holds for this call, and sound cannot be masked")
    return Shown(keeping, "the assistant is in compliance mode: nobody may listen")


def shown_of(call_id: str, revision_id: Any) -> Shown:
    """Return what those who listen to a call may get while ``revision_id`` has it.

    Of a call that is gone: nothing.
    """
    call = _call_with(call_id, revision_id)
    return shown_for(call) if call is not None else Shown(NOTHING, "the call has been erased")


def rule_for(call: Call, day: dt.date) -> RedactionRule | None:
    """Return the rule that holds on ``day`` for calls like ``call``, None without one."""
    assistant_id = call.revision.assistant_id if call.revision is not None else None
    begun = RedactionRule.objects.filter(organisation=call.organisation_id, effective_from__lte=day)
    own: RedactionRule | None = None
    if assistant_id is not None:
        own = begun.filter(assistant_id=assistant_id).order_by("-effective_from").first()
    return own or begun.filter(assistant__isnull=True).order_by("-effective_from").first()


@lru_cache(maxsize=64)
def _keeping(kinds: tuple[str, ...], custom: tuple[str, ...], year: int) -> Keeping:
    if not kinds and not custom:
        return EVERYTHING
    try:
        return Keeping(Redactor(kinds, custom, year=year))
    except CustomPatternError as error:
        # The form refuses such a pattern. What it was to hide is not known, so nothing is kept.
        log.error("redaction_pattern_unusable", error=str(error))
        return NOTHING


def lacks_consent(call: Call) -> bool:
    """Tell whether the caller was asked and did not agree, or has not answered yet."""
    return call.consent_state in {Call.Consent.PENDING, Call.Consent.REFUSED}


def is_compliant(revision: AssistantRevision | None) -> bool:
    """Tell whether an assistant's plan forbids to keep anything that is said (vapi.md 2)."""
    # One that was never a document of Vapi's has no such plan.
    document = revision.document if revision is not None else None
    return document is not None and keeps_no_words(document)


def variables_settle(call: Call) -> None:
    """Mask the variables of a call that is over, whose row the caller saves.

    What results of tools set is masked when it is stored; what a handoff changed since, or a rule
    that came during the call would hide, is masked here.
    """
    keeping = keeping_for(call)
    if keeping is EVERYTHING:
        return
    if call.variable_values:
        call.variable_values = keeping.variables(call.variable_values)
    for row in call.activations.filter(variables__isnull=False):
        row.variables = keeping.variables(row.variables)
        row.save(update_fields=["variables"])
    if call.activation is not None:
        call.activation.refresh_from_db(fields=["variables"])
