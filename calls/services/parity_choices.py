"""What a run may be made of: past calls that can be played again, and runs to compare with.

Reads only. Which past calls are taken is decided by when they were, never by how they went.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from assistants.models import Assistant, AssistantRevision
from calls.models import Call, ParityRun, PhoneNumber, Turn
from calls.parity.differ import difference
from calls.parity.lacking import enough_pairs
from calls.parity.scenario import expected_sequence
from calls.parity.scenario_reading import ScenarioWrong, scenario_read
from calls.services.critical_marks import marks_for
from calls.services.past_consent import agreed


def pairs_enough(documents: Mapping[str, Mapping[str, Any]], revision: AssistantRevision) -> int:
    """Return how many pairs of these scenarios pass a rehearsal in which nothing differs.

    One that cannot be read counts as one without critical fields: who begins the run is told.
    """
    marks = marks_for(revision)
    fields = []
    for name, document in documents.items():
        try:
            scenario = scenario_read(document, name)
        except ScenarioWrong:
            fields.append(0)
            continue
        expected = expected_sequence(scenario, key="", stack="direct")
        fields.append(len(difference(expected, expected, marks).compared))
    return enough_pairs(fields)


def past_calls(
    *, assistant: Assistant, number: PhoneNumber | None, kind: str, most: int
) -> list[Call]:
    """Return the newest past calls of a number, or of all numbers that the assistant answers.

    Only calls whose words were kept; for ``rehear`` only those whose sound is stored here.
    """
    words = Turn.objects.filter(call=OuterRef("pk"), role="user")
    # A call whose log was imported hangs on no number; its own row says whose it was.
    whose = (
        Q(number=number) | Q(imported__number=number)
        if number is not None
        else Q(number__assistant=assistant)
        | Q(imported__assistant=assistant)
        | Q(imported__number__assistant=assistant)
    )
    rows: QuerySet[Any] = Call.objects.filter(
        whose,
        Exists(words),
        organisation=assistant.organisation,
        status=Call.Status.ENDED,
        is_test__isnull=True,
    )
    # Nothing of a caller who refused is played again; the runner asks once more.
    rows = agreed(rows)
    if kind == ParityRun.Kind.REHEAR:
        rows = rows.filter(recording__state="stored")
        rows = rows.exclude(Q(imported__isnull=False, imported__has_times=False))
    rows = rows.annotate(was_at=Coalesce("started_at", "created_at")).order_by("-was_at", "-pk")
    # The old stack's calls are what is measured against; where there are none, our own.
    return list(rows.filter(stack=Call.Stack.VAPI)[:most]) or list(rows[:most])


def calls_to_extract(assistant: Assistant, most: int = 50) -> QuerySet[Any]:
    """Return the newest past calls that a scenario can be taken from."""
    words = Turn.objects.filter(call=OuterRef("pk"), role="user").exclude(text="")
    mine = Q(number__assistant=assistant) | Q(revision__assistant=assistant)
    # A call whose log was imported hangs on no number and no revision.
    mine |= Q(imported__assistant=assistant) | Q(imported__number__assistant=assistant)
    rows: QuerySet[Any] = Call.objects.filter(
        mine,
        Exists(words),
        organisation=assistant.organisation,
        status=Call.Status.ENDED,
        is_test__isnull=True,
    )
    return agreed(rows).select_related("number").order_by("-created_at")[:most]


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
