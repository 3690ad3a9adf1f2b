"""What a provider lets a connection use of a model in a minute: as seen in calls, or entered.

Owns both kinds of rows. What calls see is written when a stream is over, off the audio path, and at
most once a minute for each connection and model. What staff enter stands beside it,
and the newer of the two holds. It must not ask a provider.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from calls.models import ModelLimit, ProviderConnection
from voiceplatform.base.services import audit_write

EVERY: Final = dt.timedelta(seconds=60)
_MOST: Final = 2**62


def limits_seen(
    *,
    connection_id: uuid.UUID | str,
    model: str,
    rate_limits: Mapping[str, Any],
    now: dt.datetime | None = None,
) -> int:
    """Store what ``rate_limits.updated`` said; return how many rows were written.

    At most one write a minute for each connection, model and name: what comes sooner is dropped.

    Args:
        rate_limits: what ``calls.bridge.rate_limits.readings`` made of the event, by name.
    """
    now = now or timezone.now()
    written = 0
    for name in ModelLimit.Name.values:
        if name not in rate_limits:
            continue
        key = {
            "connection_id": connection_id,
            "model": model[:80],
            "name": name,
            "source": ModelLimit.Source.LIVE,
        }
        said = rate_limits[name]
        columns = {"limit": said["limit"], "remaining": said.get("remaining"), "seen_at": now}
        changed = ModelLimit.objects.filter(**key, seen_at__lte=now - EVERY).update(**columns)
        if not changed and not ModelLimit.objects.filter(**key).exists():
            changed = _first(key, columns)
        written += changed
    return written


def _first(key: Mapping[str, Any], columns: Mapping[str, Any]) -> int:
    owner = ProviderConnection.objects.filter(pk=key["connection_id"]).values_list(
        "organisation_id", flat=True
    )
    organisation_id = owner.first()
    if organisation_id is None:  # deleted while the call was on
        return 0
    with transaction.atomic():
        _, is_new = ModelLimit.objects.get_or_create(
            **key, defaults={**columns, "organisation_id": organisation_id}
        )
    return int(is_new)


def limit_enter(
    *,
    connection: ProviderConnection,
    model: str,
    name: str,
    limit: int,
    actor: Any,
    now: dt.datetime | None = None,
) -> ModelLimit:
    """Store a limit that a person read on the provider's page, in place of what was entered before.

    Args:
        name: ``tokens`` or ``requests``, of one minute.

    Raises:
        ValueError: the text names the field.
    """
    if name not in ModelLimit.Name.values:
        raise ValueError("name: choose tokens or requests.")
    if not 1 <= limit <= _MOST:
        raise ValueError("limit: enter what the provider allows in a minute, 1 or more.")
    if not model.strip():
        raise ValueError("model: enter the model's name, as the connection has it.")
    with transaction.atomic():
        row, _ = ModelLimit.objects.update_or_create(
            connection=connection,
            model=model.strip()[:80],
            name=name,
            source=ModelLimit.Source.ENTERED,
            defaults={
                "organisation_id": connection.organisation_id,
                "limit": limit,
                "remaining": None,
                "seen_at": now or timezone.now(),
                "entered_by": actor if getattr(actor, "pk", None) else None,
            },
        )
        audit_write(
            actor=actor,
            action="modellimit.enter",
            organisation=connection.organisation,
            target=row,
            details={"model": row.model, "name": name, "limit": limit},
        )
    return row


def limits_in_force(rows: Iterable[ModelLimit]) -> dict[str, ModelLimit]:
    """Return, by name, the newest of the rows of one connection and model."""
    newest: dict[str, ModelLimit] = {}
    for row in rows:
        other = newest.get(row.name)
        if other is None or row.seen_at > other.seen_at:
            newest[row.name] = row
    return newest
