"""The rows of nets: one for each number, and one for each time a part was needed.

Owns how a firing is written once. What is set up at Twilio is ``net_probes``'s to look at, what
really happened ``net_facts``'s to learn.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.db import transaction
from django.utils import timezone

from calls.models import NetFiring, NumberNet, PhoneNumber

Part = Literal["a", "b", "c", "d"]
Kind = Literal["real", "drill"]
Outcome = Literal["held", "failed", "unknown"]
_PAGE = 200


def net_of(number: PhoneNumber) -> NumberNet:
    """Return the row of a number's net; it is made when there is none."""
    row = NumberNet.objects.filter(number=number).first()
    if row is None:
        row, _ = NumberNet.objects.get_or_create(
            number=number, defaults={"organisation_id": number.organisation_id}
        )
    return row


def nets_complete() -> int:
    """Make the rows of numbers that have none; return how many."""
    lacking = list(
        PhoneNumber.objects.filter(net__isnull=True).values_list("pk", "organisation_id")[:_PAGE]
    )
    NumberNet.objects.bulk_create(
        [NumberNet(number_id=pk, organisation_id=owner) for pk, owner in lacking],
        ignore_conflicts=True,
    )
    return len(lacking)


def net_fired(
    *,
    number: PhoneNumber,
    part: Part,
    kind: Kind,
    words: str,
    call_sid: str = "",
    outcome: Outcome = "unknown",
    fired_at: datetime | None = None,
    seconds: float | None = None,
) -> NetFiring:
    """Record that a part of a number's net was needed, once for each call.

    Args:
        words: what happened, without a phone number or an address.
        call_sid: Twilio's id of the call that needed it; '' counts every time.
        fired_at: aware; now when absent.
        seconds: until somebody else had the caller, where it was measured.
    """
    columns = {
        "organisation_id": number.organisation_id,
        "words": words[:300],
        "outcome": outcome,
        "fired_at": fired_at or timezone.now(),
        "seconds": seconds,
    }
    if not call_sid:
        fresh: NetFiring = NetFiring.objects.create(number=number, part=part, kind=kind, **columns)
        return fresh
    with transaction.atomic():
        row, is_new = NetFiring.objects.get_or_create(
            number=number, part=part, kind=kind, call_sid=call_sid, defaults=columns
        )
        if not is_new and row.outcome == NetFiring.Outcome.UNKNOWN and outcome != "unknown":
            # What became of the caller may be known later than that the part was needed.
            row.outcome, row.words = outcome, words[:300]
            row.save(update_fields=("outcome", "words"))
    return row
