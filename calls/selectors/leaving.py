"""Reads of leaves of Vapi: the open one, whether a number has gone, what is still due."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from calls.models import DepartedNumber, Departure, PhoneNumber
from voiceplatform.base.models import Organisation


def open_departure(organisation: Organisation) -> Departure | None:
    """Return the leave that is prepared, or that can still be undone."""
    rows = Departure.objects.for_organisation(organisation).filter(state__in=Departure.OPEN)
    found: Departure | None = rows.first()
    return found


def has_left(number: PhoneNumber) -> bool:
    """Tell whether the number has left Vapi: nothing may hand its calls back or move it there."""
    return _gone().filter(number=number).exists()


def numbers_left() -> QuerySet[Any, Any]:
    """Return the ids of all numbers that have left Vapi, for a subquery."""
    return _gone().values("number")


def _gone() -> QuerySet[DepartedNumber]:
    return DepartedNumber.objects.filter(cleared_at__isnull=False, undone_at__isnull=True)


def departures_with_dues(user: Any) -> QuerySet[Departure]:
    """Return the leaves of which a person still owes something, those due first."""
    rows: QuerySet[Departure] = Departure.objects.visible_to(user)
    return (
        rows.filter(state=Departure.State.LEFT)
        .filter(Q(token_done_at__isnull=True) | Q(key_done_at__isnull=True))
        .defer("sealed", "found", "accepted", "export")
        .select_related("organisation")
        .order_by("token_due_at")
    )
