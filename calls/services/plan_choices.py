"""Which numbers a new plan may take: those that are ready, and those that no plan holds.

Reads only. What ready means is the page “Readiness”; whether a number may take a step is asked of
its gates again each time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from calls.models import Call, PhoneNumber
from voiceplatform.base.models import Organisation

_RECENT = dt.timedelta(days=30)


def numbers_free(organisation: Organisation) -> QuerySet[Any]:
    """Return the numbers that no plan which is on holds."""
    rows = PhoneNumber.objects.for_organisation(organisation).defer("previous_target")
    return rows.exclude(plan_places__holds=True)


def numbers_ready(organisation: Organisation) -> list[PhoneNumber]:
    """Return the numbers on Vapi that nothing blocks, by the newest look at them."""
    colours = ("green", "amber")
    rows = numbers_free(organisation).filter(
        route=PhoneNumber.Route.VAPI, readiness__colour__in=colours
    )
    return list(rows.order_by("number_e164"))


def quietest_first(numbers: Sequence[PhoneNumber]) -> list[PhoneNumber]:
    """Return numbers by their calls of the last 30 days, the fewest first."""
    calls = Call.objects.filter(
        number__in=[number.pk for number in numbers], created_at__gte=timezone.now() - _RECENT
    )
    counts = dict(calls.order_by().values_list("number").annotate(Count("pk")))
    return sorted(numbers, key=lambda number: (counts.get(number.pk, 0), number.number_e164))
