"""Reads of calls whose logs were imported; writes nothing, opens nothing that is sealed."""

from __future__ import annotations

from typing import Final

from django.db.models import QuerySet

from assistants.models import Assistant
from calls.models import Call, ImportedCall, PhoneNumber
from voiceplatform.base.models import Organisation

SEALED: Final = ("facts", "structured", "recordings")


def past_calls(
    organisation: Organisation,
    *,
    assistant: Assistant | None = None,
    number: PhoneNumber | None = None,
) -> QuerySet[ImportedCall]:
    """Return the calls of the old stack whose logs are here, newest first, with their calls.

    Args:
        assistant: only those that the log says it answered; ``number``: only calls of this number.
    """
    rows: QuerySet[ImportedCall] = ImportedCall.objects.for_organisation(organisation)
    if assistant is not None:
        rows = rows.filter(assistant=assistant)
    if number is not None:
        rows = rows.filter(number=number)
    rows = rows.defer(*SEALED).select_related("call")
    return rows.order_by("-call__started_at", "-pk")


def with_spoken_parts(rows: QuerySet[ImportedCall]) -> QuerySet[ImportedCall]:
    """Fetch what was said and done along: two queries for any number of calls."""
    return rows.prefetch_related("call__turns", "call__tool_invocations")


def imported_of(call: Call) -> ImportedCall | None:
    """Return what a log says of a call, None when no log of it was imported."""
    if "imported" in call._state.fields_cache:
        cached: ImportedCall | None = call._state.fields_cache["imported"]
        return cached
    # What is sealed is opened when it is asked for, so that a lost key hides nothing else.
    rows = ImportedCall.objects.filter(call=call).defer(*SEALED)
    found: ImportedCall | None = rows.first()
    return found
