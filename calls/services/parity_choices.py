"""What a run may be made of: past calls that can be played again, and runs to compare with.

Reads only. Which past calls are taken is decided by when they were, never by how they went.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from assistants.models import Assistant
from calls.models import Call, ParityRun, PhoneNumber, Turn


def past_calls(
    *, assistant: Assistant, number: PhoneNumber | None, kind: str, most: int
) -> list[Call]:
    """Return the newest past calls of a number, or of all numbers that the assistant answers.

    Only calls whose words were kept; for ``rehear`` only those whose sound is stored here.
    """
    words = Turn.objects.filter(call=OuterRef("pk"), role="user")
    rows = Call.objects.filter(
        organisation=assistant.organisation, status=Call.Status.ENDED
    ).filter(Q(number=number) if number is not None else Q(number__assistant=assistant))
    if kind == ParityRun.Kind.REHEAR:
        rows = rows.filter(recording__state="stored")
    # The old stack's calls are what is measured against; where there are none, our own.
    old = list(rows.filter(Exists(words), stack=Call.Stack.VAPI).order_by("-created_at")[:most])
    return old or list(rows.filter(Exists(words)).order_by("-created_at")[:most])


def calls_to_extract(assistant: Assistant, most: int = 50) -> QuerySet[Any]:
    """Return the newest past calls that a scenario can be taken from."""
    words = Turn.objects.filter(call=OuterRef("pk"), role="user")
    mine = Q(number__assistant=assistant) | Q(revision__assistant=assistant)
    rows: QuerySet[Any] = Call.objects.filter(
        mine, Exists(words), organisation=assistant.organisation, status=Call.Status.ENDED
    )
    return rows.select_related("number").order_by("-created_at")[:most]


def runs_to_compare(run: ParityRun, most: int = 30) -> QuerySet[Any]:
    """Return finished runs of the same assistant, the newest first."""
    rows: QuerySet[Any] = ParityRun.objects.filter(
        assistant=run.assistant_id, state=ParityRun.State.DONE
    )
    return (
        rows.exclude(pk=run.pk)
        .select_related("revision__assistant")
        .defer("measures", "options")
        .order_by("-created_at")[:most]
    )
