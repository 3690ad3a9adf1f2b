"""The flag by which one call of ours is not answered, on purpose: a drill of a number's net.

Owns setting, reading and clearing it. It names the caller, counts for one call and ends by the
clock, so that whoever dies leaves a number that answers. A call costs no query of its own for it:
the net's row comes with the number's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from calls.models import NumberNet
from voiceplatform.base.phones import normalised

# A call rings within a few seconds; a busy account queues calls (one a second, twilio.md 8.1).
FLAG: Final = timedelta(seconds=60)


def flag_set(net: NumberNet, *, token: str, caller: str, now: datetime | None = None) -> bool:
    """Have the next call from ``caller`` not answered; False while another drill goes on.

    Args:
        token: who sets it, and alone may clear it.
        caller: a number of ours, E.164.
    """
    now = now or timezone.now()
    free = Q(drill_until__isnull=True) | Q(drill_until__lte=now) | Q(drill_token=token)
    return bool(
        NumberNet.objects.filter(free, pk=net.pk, is_test=True).update(
            drill_token=token,
            drill_caller=caller,
            drill_until=now + FLAG,
            drill_call_sid="",
            drill_failed_at=None,
        )
    )


def flag_clear(net_id: int, token: str) -> None:
    """Take the flag off; harmless when it has ended or is somebody else's by now."""
    NumberNet.objects.filter(pk=net_id, drill_token=token).update(
        drill_token="", drill_caller="", drill_until=None
    )


def drill_takes(net: NumberNet | None, *, call_sid: str, caller: str) -> bool:
    """Tell whether a call is the drill's, which is not answered; a repeat is not answered again."""
    now = timezone.now()
    if net is None or net.drill_until is None or net.drill_until <= now:
        return False
    if normalised(caller) != net.drill_caller:
        return False
    if net.drill_call_sid:
        return net.drill_call_sid == call_sid
    rows = NumberNet.objects.filter(pk=net.pk, drill_token=net.drill_token, drill_until__gt=now)
    if rows.filter(drill_call_sid="").update(drill_call_sid=call_sid, drill_failed_at=now):
        return True
    # The same webhook, twice at once: the other one has it.
    return bool(rows.filter(drill_call_sid=call_sid).exists())
