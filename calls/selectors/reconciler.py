"""What the comparison with Twilio's list of calls says, for pages; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from calls.models import CarrierCheck, MissedCall

# Three comparisons that did not come: something is wrong, and a person should know.
LATE = timedelta(minutes=12)


def checks_for(user: Any) -> list[CarrierCheck]:
    """Return the comparisons of the accounts that the person may see, at most 200.

    ``missed_lately`` of each counts the calls of the last day that never reached this platform.
    """
    rows = CarrierCheck.objects.visible_to(user).select_related("account")
    since = timezone.now() - timedelta(days=1)
    missed = (
        MissedCall.objects.filter(account=OuterRef("account"), called_at__gte=since)
        .order_by()
        .values("account")
        .annotate(total=Count("pk"))
        .values("total")
    )
    return list(
        rows.only("account__name", "error", "checked_at").annotate(
            missed_lately=Coalesce(Subquery(missed), 0)
        )[:200]
    )


def missed_lately(checks: Sequence[Any]) -> int:
    """Return how many calls of the last day never reached this platform."""
    return sum(each.missed_lately for each in checks)


def checked_at(checks: Sequence[CarrierCheck]) -> datetime | None:
    """Return when the account that was compared longest ago was; None: one never was."""
    moments = [each.checked_at for each in checks]
    return None if None in moments else min(filter(None, moments), default=None)


def late_checks(checks: Sequence[CarrierCheck]) -> list[CarrierCheck]:
    """Return those whose list could not be had for a while."""
    before = timezone.now() - LATE
    late = (each for each in checks if each.checked_at is None or each.checked_at < before)
    return [each for each in late if each.error]
