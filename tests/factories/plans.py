"""Rows of plans."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from calls.models import MigrationPlan, PhoneNumber, PlanEntry
from calls.numbers.plan import Plan
from calls.services.plans import plan_create
from tests.factories.base import default_organisation, next_number
from tests.factories.telephony import make_number
from voiceplatform.base.models import Organisation


def make_plan(
    organisation: Organisation | None = None,
    *,
    numbers: Sequence[PhoneNumber] | None = None,
    name: str = "",
    **fields: Any,
) -> MigrationPlan:
    """Make a drafted plan, one number a day; ``fields`` are those of ``Plan``."""
    organisation = organisation or default_organisation()
    if numbers is None:
        numbers = [make_number(organisation, route=PhoneNumber.Route.VAPI)]
    usual: dict[str, Any] = {
        "waves": tuple((str(number.pk),) for number in numbers),
        "first_day": dt.date(2026, 1, 1),
    }
    return plan_create(
        organisation=organisation,
        name=name or f"Plan {next_number()}",
        plan=Plan("", **(usual | fields)),
        actor=None,
    )


def make_plan_entry(plan: MigrationPlan, **columns: Any) -> PlanEntry:
    """Make one line of a plan's record."""
    defaults: dict[str, Any] = {
        "at": plan.created_at,
        "kind": "number held",
        "words": "held by parity",
        "who": f"plan:{plan.pk}",
        "why": "parity: parity is undecided",
        "number": plan.places.get(position=1).number,
    }
    return PlanEntry.objects.create(
        plan=plan, organisation=plan.organisation, **{**defaults, **columns}
    )
