"""Leaves of Vapi and what they hang on, for tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from calls.models import DepartedNumber, Departure, OldStackRate, PhoneNumber
from tests.factories.base import default_organisation
from voiceplatform.base.models import Organisation


def make_departure(organisation: Organisation | None = None, **columns: Any) -> Departure:
    """Make a leave that is being prepared."""
    return Departure.objects.create(organisation=organisation or default_organisation(), **columns)


def make_departed_number(
    departure: Departure, number: PhoneNumber, **columns: Any
) -> DepartedNumber:
    """Make a number of a leave; nothing has been done with it unless told."""
    return DepartedNumber.objects.create(
        departure=departure, number=number, **{"before": {}, **columns}
    )


def make_old_rate(organisation: Organisation | None = None, **columns: Any) -> OldStackRate:
    """Make a rate that somebody entered."""
    return OldStackRate.objects.create(
        organisation=organisation or default_organisation(),
        **{"usd_per_minute": Decimal("0.13"), "note": "invoice of October", **columns},
    )
