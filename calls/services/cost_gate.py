"""What plans are told of a number's price: whether a minute is dearer here and nobody accepted it.

Owns which forecast counts: the newest one of the number that says cheaper or dearer, for the model
that answers it now; where the number has none, that of its whole assistant. One that is too close
to say takes nothing back. Reads what is stored and prices nothing.
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
    return {
        pk: _dearer(row)
        for pk, row in counting_forecasts(number_ids).items()
        if row.verdict == CostForecast.Verdict.DEARER and not row.approved_by
    }


def cost_standing(number_id: uuid.UUID) -> tuple[bool, str]:
    """Return whether a plan lets the number through by its price, and how that stands in words."""
    row = counting_forecasts([number_id]).get(number_id)
    if row is None:
        return True, "no forecast says whether a minute is cheaper or dearer here"
    if row.verdict == CostForecast.Verdict.CHEAPER:
        when = f"{row.created_at:%Y-%m-%d}"
        return True, f"by the forecast of {when} a minute with {row.model} is cheaper here"
    if not row.approved_by:
        return False, f"{_dearer(row)}, and nobody has accepted it"
    return True, f"{_dearer(row)}; accepted by {row.approved_by}: {row.approval_note}"


def _dearer(row: CostForecast) -> str:
    return f"by the forecast of {row.created_at:%Y-%m-%d} a minute with {row.model} is dearer here"


def counting_forecasts(number_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, CostForecast]:
    """Return the forecast that counts for each number; three queries however many there are."""
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
    found: dict[uuid.UUID, CostForecast] = {}
    for number in numbers:
        model = _model_of(number, number.connection or usual.get(number.organisation_id))
        # The number's own calls say more of it than those of all numbers together.
        row = newest.get((number.pk, model)) or newest.get((number.assistant_id, model))
        if row is not None:
            found[number.pk] = row
    return found


def _usual(organisations: Collection[uuid.UUID]) -> dict[uuid.UUID, ProviderConnection]:
    """Return the default connections, without their keys: none is needed and one may not open."""
    rows = ProviderConnection.objects.filter(organisation__in=organisations, is_default=True)
    # An empty set is not asked for.
    found = rows.only("organisation", *_CONNECTION) if organisations else ()
    return {each.organisation_id: each for each in found}


def _newest(numbers: Collection[PhoneNumber]) -> dict[tuple[Any, str], CostForecast]:
    """Return the newest forecast that decides by whose it is, number or assistant, and model."""
    assistants = {number.assistant_id for number in numbers}
    rows = (
        CostForecast.objects.filter(
            Q(number__in=[number.pk for number in numbers])
            | Q(number__isnull=True, assistant__in=assistants - {None})
        )
        .exclude(verdict=CostForecast.Verdict.UNDECIDED)
        .order_by("-created_at")
        .only(
            *("number", "assistant", "model", "verdict", "created_at"),
            *("approved_by", "approval_note"),
        )
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
