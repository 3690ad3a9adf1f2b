"""What only a person can say of a Twilio account: its profile, and its outgoing calls a second.

Owns the entered half of ``AccountFacts``; the other half is the check's, and neither writes over
the other. Who entered it when is kept beside it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.models import AccountFacts
from voiceplatform.base.services import audit_write


class LimitsChanged(Exception):
    """Somebody else entered something since the form was shown; show it again."""


def account_limits_enter(
    *,
    facts: AccountFacts,
    profile: str,
    calls_per_second: int | None,
    actor: Any,
    shown_at: dt.datetime | None,
    now: dt.datetime | None = None,
) -> AccountFacts:
    """Store what a person read in Twilio's console, with the date of today.

    Args:
        shown_at: ``entered_at`` as the person saw it.

    Raises:
        ValueError: the text names the field.
        LimitsChanged: it was entered anew meanwhile.
    """
    if profile not in AccountFacts.Profile.values:
        raise ValueError("profile: choose one of the list.")
    if calls_per_second is not None and not 1 <= calls_per_second <= 1000:
        raise ValueError("calls_per_second: enter 1 to 1000, or leave it empty.")
    with transaction.atomic():
        row: AccountFacts = AccountFacts.objects.select_for_update().get(pk=facts.pk)
        if row.entered_at != shown_at:
            raise LimitsChanged("The limits of this account were entered anew.")
        row.profile, row.calls_per_second = profile, calls_per_second
        row.entered_at = now or timezone.now()
        row.entered_by = actor if getattr(actor, "pk", None) else None
        row.save(update_fields=["profile", "calls_per_second", "entered_at", "entered_by"])
        audit_write(
            actor=actor,
            action="accountfacts.enter",
            organisation=row.organisation,
            target=row,
            details={"profile": profile, "calls_per_second": calls_per_second},
        )
    return row
