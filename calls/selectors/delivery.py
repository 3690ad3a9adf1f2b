"""What is undelivered: figures for the admin's first page, the Outbox and each receiver.

Reads only, and nothing that is sealed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from calls.events.outbox import TEST_KIND
from calls.models import EventDestination, OutboxEvent

State = OutboxEvent.State


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a person means; what is not said does not matter.

    ``since`` is inclusive and ``until`` exclusive; both are of the moment an event was written.
    """

    organisation_id: uuid.UUID
    states: tuple[str, ...] = (State.DEAD,)
    since: datetime | None = None
    until: datetime | None = None
    kind: str = ""
    host: str = ""
    receiver_id: uuid.UUID | None = None
    ids: tuple[uuid.UUID, ...] = ()

    def rows(self) -> QuerySet[Any]:
        """Return the events, the oldest first."""
        rows = OutboxEvent.objects.for_organisation(self.organisation_id)
        rows = rows.filter(state__in=self.states).exclude(kind=TEST_KIND)
        wanted: Mapping[str, Any] = {
            "created_at__gte": self.since,
            "created_at__lt": self.until,
            "kind": self.kind,
            "destination_host": self.host,
            "receiver_id": self.receiver_id,
            "pk__in": self.ids,
        }
        return rows.filter(**{name: value for name, value in wanted.items() if value}).order_by(
            "created_at", "sequence"
        )


def undelivered(user: Any) -> Mapping[str, int]:
    """Return how many events wait, and how many were given up, of those the person may see."""
    rows = (
        OutboxEvent.objects.visible_to(user)
        .order_by()
        .filter(state__in=(State.PENDING, State.DEAD))
        .exclude(kind=TEST_KIND)
        .values_list("state")
        .annotate(total=Count("pk"))
    )
    counts = dict(rows)
    return {"waiting": counts.get(State.PENDING, 0), "given_up": counts.get(State.DEAD, 0)}


def undelivered_by_receiver(ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, int]:
    """Return how many events each receiver has not taken; those without any are missing."""
    rows = (
        OutboxEvent.objects.order_by()
        .filter(receiver_id__in=ids, state__in=(State.PENDING, State.DEAD))
        .exclude(kind=TEST_KIND)
        .values_list("receiver_id")
        .annotate(total=Count("pk"))
    )
    return dict(rows)


def switched_off(user: Any) -> list[EventDestination]:
    """Return the receivers that said that they are gone and were switched off for it."""
    rows = EventDestination.objects.visible_to(user).filter(
        enabled=False, switched_off_at__isnull=False
    )
    return list(rows.only("pk", "name", "url_host", "switched_off_at").order_by("name")[:20])
