"""Which calls at Twilio belonged to somebody who was erased here, told without knowing who.

Twilio's list names a call for days after it was erased; nobody may write it down again. What is
kept of it is a hash of Twilio's id, which says nothing of a person.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import Final

from django.utils import timezone

from calls.models import Erasure

# Longer than any list of Twilio's that is looked at.
REMEMBERED: Final = dt.timedelta(days=4)


def sid_hash(call_sid: str) -> str:
    """Return what a tombstone keeps of a call's id at Twilio."""
    return hashlib.sha256(call_sid.encode()).hexdigest()


def erased_sids(call_sids: Iterable[str]) -> frozenset[str]:
    """Return those of ``call_sids`` whose calls were erased within the last days."""
    recent = Erasure.objects.filter(at__gte=timezone.now() - REMEMBERED)
    known = {each for hashes in recent.values_list("sid_hashes", flat=True) for each in hashes}
    return frozenset(sid for sid in call_sids if sid_hash(sid) in known)
