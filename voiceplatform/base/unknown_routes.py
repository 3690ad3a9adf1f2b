"""Counting the Vapi routes that scripts ask for and this platform does not have.

Owns the rows of ``UnknownRoute``: one per organisation, method and form of the path, at most
``MAX_ROUTES`` of them; must not know HTTP.
"""

from __future__ import annotations

import re
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from voiceplatform.base.models import Organisation, UnknownRoute

# A script that walks through ids of a form we do not recognise must not fill the table.
MAX_ROUTES: Final = 200
METHODS: Final = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})
_MAX_PARTS: Final = 8
# A word of a route: `eval`, `v2`, `knowledge-base`, `daily.co`. Whatever else stands there, most of
# all a digit further in, is an id or could be personal.
_WORD: Final = re.compile(r"(v\d{1,2}|[A-Za-z]+([._-][A-Za-z]+)*)")
_MAX_WORD: Final = 40


def route_form(path: str) -> str:
    """Return ``path`` with ids replaced, e.g. ``/campaign/{id}/contacts``."""
    parts = [part for part in path.split("/") if part]
    words = [
        part if len(part) <= _MAX_WORD and _WORD.fullmatch(part) else "{id}"
        for part in parts[:_MAX_PARTS]
    ]
    more = ["…"] if len(parts) > _MAX_PARTS else []
    return ("/" + "/".join(words + more))[:200]


def unknown_route_count(*, organisation: Organisation, method: str, path: str) -> bool:
    """Count one request; False when it is not counted because the list is full.

    One UPDATE for a route that is known already; a new one costs a transaction of three statements.
    """
    if method not in METHODS:
        return False
    route, now = route_form(path), timezone.now()
    rows = UnknownRoute.objects.for_organisation(organisation)
    known = rows.filter(method=method, route=route)
    if known.update(count=F("count") + 1, last_at=now):
        return True
    if rows.count() >= MAX_ROUTES:
        return False
    try:
        with transaction.atomic():
            UnknownRoute.objects.create(
                organisation=organisation, method=method, route=route, count=1, last_at=now
            )
    except IntegrityError:  # another process was first
        known.update(count=F("count") + 1, last_at=now)
    return True
