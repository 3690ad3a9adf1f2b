"""Whether a past call may be used again: played, heard, or made a scenario of.

Owns the one rule: nothing of a caller who refused, nor of one who was asked and has not answered
(design.md 11), whether this platform asked or the old stack's log says so. Reads only.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Q, QuerySet

from calls.models import Call, ImportedCall
from calls.services.sequences import imported_of

# Until somebody who was asked has agreed, nothing of the call is heard.
_NO_CONSENT: Final = frozenset({Call.Consent.REFUSED, Call.Consent.PENDING})


def has_refused(call: Call) -> bool:
    """Tell whether the caller of a past call refused, or was asked and has not answered."""
    imported = imported_of(call)
    by_log = imported is not None and imported.consent == ImportedCall.Consent.REFUSED
    return by_log or call.policy_refused_at is not None or call.consent_state in _NO_CONSENT


def agreed(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Leave out of calls those of which ``has_refused`` is true."""
    found: QuerySet[Any] = rows.filter(policy_refused_at__isnull=True).exclude(
        Q(imported__isnull=False, imported__consent=ImportedCall.Consent.REFUSED)
        | Q(consent__isnull=False, consent__state__in=sorted(_NO_CONSENT))
    )
    return found
