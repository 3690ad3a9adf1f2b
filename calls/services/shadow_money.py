"""What hearing calls along costs a run, and what of its limit is left.

Owns the sums. Whether a call is taken is ``calls.parity.shadow_rules``' to say, what a call spends
its machine's. It writes one figure: what calls have cost that became no pair.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from calls.models import ParityCall, ParityRun, ShadowCall
from calls.parity.shadow_rules import estimate_usd, left_usd

# Whoever hears a call along says so this often at least; who does not is taken to be dead.
ALIVE: Final = dt.timedelta(seconds=90)
# In the options of a run: USD of calls in which nobody spoke, and such, as text.
NO_PAIRS_USD: Final = "no_pairs_usd"


def open_shadows(now: dt.datetime) -> Q:
    """Return which rows hold a place at this moment: awaited, or heard by somebody who lives."""
    return Q(state=ShadowCall.State.OFFERED, token_expires_at__gt=now) | Q(
        state=ShadowCall.State.HEARING, alive_at__gt=now - ALIVE
    )


def spent_usd(run: ParityRun) -> Decimal:
    """Return what a run's calls have cost, those that became no pair too."""
    return sum(_costs(run), Decimal(str(run.options.get(NO_PAIRS_USD) or 0)))


def call_estimate(run: ParityRun) -> Decimal:
    """Return what one call of a run is taken to cost, in USD."""
    return estimate_usd(_costs(run))


def left_for_another(run: ParityRun, now: dt.datetime) -> Decimal:
    """Return what one call more may cost, 0 where none may be taken; USD."""
    return _left(run, run.shadows.filter(open_shadows(now)).count())


def left_for(row: ShadowCall) -> Decimal:
    """Return what a call that is about to be heard may cost; USD."""
    others = row.run.shadows.filter(open_shadows(timezone.now())).exclude(pk=row.pk)
    return _left(row.run, others.count())


def no_pair_cost(run_id: object, cost_usd: Decimal) -> None:
    """Book what a call has cost that is no pair of its run; in a transaction."""
    with transaction.atomic():
        run = ParityRun.objects.select_for_update(of=("self",)).get(pk=run_id)
        sum_usd = Decimal(str(run.options.get(NO_PAIRS_USD) or 0)) + cost_usd
        run.options = {**run.options, NO_PAIRS_USD: str(sum_usd)}
        run.save(update_fields=["options"])


def _left(run: ParityRun, under_way: int) -> Decimal:
    return left_usd(run.cost_limit_usd, spent_usd(run), under_way, call_estimate(run))


def _costs(run: ParityRun) -> list[Decimal]:
    rows = run.calls.filter(stack=ParityCall.Stack.DIRECT)
    return [Decimal(each) for each in rows.values_list("cost_usd", flat=True)]
