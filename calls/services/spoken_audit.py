"""The audit of searches in what was said: who looked for which words, and saw words of which calls.

The words are masked like a transcript before they are stored, by every pattern there is. An erasure
takes them away where a call of the erased caller was found (``calls.services.erasure``).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from django.utils import timezone

from calls.models import Call
from calls.privacy.patterns import KINDS, Redactor
from voiceplatform.base.models import AuditEntry, Organisation
from voiceplatform.base.services import audit_write

SEARCHED: Final = "transcript.search"
MOST_IDS: Final = 100


def search_audit(
    *,
    actor: Any,
    words: str,
    calls: Iterable[Call],
    organisations: Iterable[Organisation],
    through: str,
) -> None:
    """Record a search, in each organisation of which a call was found.

    Args:
        calls: those whose words, or whose hit, the person is shown; at most ``MOST_IDS`` are named.
        organisations: where the person looked; where nothing was found that is recorded there.
        through: the door, e.g. ``admin``.
    """
    found: dict[uuid.UUID | None, list[str]] = {}
    for call in calls:
        found.setdefault(call.organisation_id, []).append(str(call.pk))
    masked = Redactor(KINDS, year=timezone.now().year).text(words)
    for organisation in organisations:
        ids = found.get(organisation.pk, [])
        if found and not ids:
            continue
        audit_write(
            actor=actor,
            action=SEARCHED,
            organisation=organisation,
            details={
                "words": masked,
                "through": through,
                "count": len(ids),
                "calls": ids[:MOST_IDS],
            },
        )


def searches_that_found(
    organisation: Organisation, calls: Collection[uuid.UUID]
) -> Iterator[AuditEntry]:
    """Yield the entries of searches that found one of ``calls``."""
    wanted = {str(call_id) for call_id in calls}
    entries = AuditEntry.objects.filter(organisation=organisation, action=SEARCHED)
    for entry in entries.only("pk", "details").order_by("pk").iterator(chunk_size=500):
        if wanted.intersection(entry.details.get("calls", ())):
            yield entry
