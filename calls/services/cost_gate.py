"""What plans are told of a number's price: whether a minute is dearer here and nobody accepted it.

Owns which forecast counts: the newest one of the number or of its whole assistant, for the model
that answers the number now. Reads what is stored and prices nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.db.models import Q

from calls.models import CostForecast, PhoneNumber, ProviderConnection
from calls.money.rates import listed_name
from calls.services.sessions import answering_model

_CONNECTION = ("model", "dialect", "realtime_url")


def dearer_words(number_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return what is dearer here, in words, of the numbers of which nobody has accepted it.

    Three queries however many numbers there are. A number without a forecast is not in it.
    """
    numbers = list(
        PhoneNumber.objects.filter(pk__in=number_ids)
        .select_related("connection", "assistant__current_revision")
        .only(
            *("organisation", "assistant__current_revision__model", "connection"),
            *(f"connection__{name}" for name in _CONNECTION),
        )
    )
    usual = _usual({each.organisation_id for each in numbers if each.connection is None})
    newest = _newest(numbers)
    found: dict[uuid.UUID, str] = {}
    for number in numbers:
        model = _model_of(number, number.connection or usual.get(number.organisation_id))
        rows = [
            newest[key]
            for key in ((number.pk, model), (number.assistant_id, model))
            if key in newest
        ]
        row = max(rows, key=lambda each: each.created_at, default=None)
        if row is None or row.verdict != CostForecast.Verdict.DEARER or row.approved_by:
            continue
        found[number.pk] = (
            f"by the forecast of {row.created_at:%Y-%m-%d} a minute with {row.model} is dearer here"
        )
    return found


def _usual(organisations: Collection[uuid.UUID]) -> dict[uuid.UUID, ProviderConnection]:
    """Return the default connections, without their keys: none is needed and one may not open."""
    rows = ProviderConnection.objects.filter(organisation__in=organisations, is_default=True)
    # An empty set is not asked for.
    found = rows.only("organisation", *_CONNECTION) if organisations else ()
    return {each.organisation_id: each for each in found}


def _newest(numbers: Collection[PhoneNumber]) -> dict[tuple[Any, str], CostForecast]:
    """Return the newest forecast by whose it is, a number or an assistant, and model."""
    assistants = {number.assistant_id for number in numbers}
    rows = (
        CostForecast.objects.filter(
            Q(number__in=[number.pk for number in numbers])
            | Q(number__isnull=True, assistant__in=assistants - {None})
        )
        .order_by("-created_at")
        .only("number", "assistant", "model", "verdict", "approved_by", "created_at")
    )
    found: dict[tuple[Any, str], CostForecast] = {}
    now_of = {number.pk: number.assistant_id for number in numbers}
    for row in rows:
        # A number that has another assistant now is not what was priced.
        if row.number_id is None or now_of[row.number_id] == row.assistant_id:
            found.setdefault((row.number_id or row.assistant_id, listed_name(row.model)), row)
    return found


def _model_of(number: PhoneNumber, connection: ProviderConnection | None) -> str:
    revision = number.assistant.current_revision if number.assistant is not None else None
    named = revision.model if revision is not None else ""
    return listed_name(answering_model(connection, named) if connection is not None else named)
