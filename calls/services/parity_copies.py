"""What the pairs of runs hold of calls, and how it goes when the calls' own words have gone.

Owns the copies in ``ParityCall``, and in ``RunDial`` what a scripted caller said: words, and
arguments and answers of tools. A pair is of a past call, or of one that its run placed. Which tools
were called, in which order, stays, and so do the measures of a run that has ended: nobody's words
are in them. When something has been kept long enough is ``retention``'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Q, QuerySet

from calls.models import ParityCall, RunDial
from calls.parity.sequence import SequenceUnreadable, sequence_dump, sequence_load
from tools.loose_json import as_object
from voiceplatform.base.fields import DecryptionError

# Of what a runner found besides, these name no value that anybody said.
_KEPT = ("cut", "cut_words", "cut_exchange", "exchanges", "model", "tokens", "reach")


def copies_of_words(calls: Sequence[Any]) -> QuerySet[ParityCall]:
    """Return the pairs that hold what was said in these calls."""
    return ParityCall.objects.filter(_of(calls), transcript__isnull=False)


def copies_of_scripts(calls: Sequence[Any]) -> QuerySet[RunDial]:
    """Return the placed calls that hold what their callers said in them, or took from these."""
    of_these = Q(call__in=calls) | Q(parity_call__source_call__in=calls)
    return RunDial.objects.filter(of_these, heard__isnull=False)


def copies_of_bodies(calls: Sequence[Any]) -> QuerySet[ParityCall]:
    """Return the pairs that hold arguments or answers of tools of these calls.

    Only of runs that have ended: one that goes on compares them still.
    """
    return ParityCall.objects.filter(_of(calls), run__finished_at__isnull=False).filter(
        Q(sequence__isnull=False) | Q(extras__isnull=False)
    )


def _of(calls: Sequence[Any]) -> Q:
    # Not by a join: a place that was called twice would be found twice.
    placed = RunDial.objects.filter(call__in=calls).values("parity_call")
    return Q(source_call__in=calls) | Q(pk__in=placed)


def bodies_strip(rows: QuerySet[Any]) -> None:
    """Take every argument and answer out of pairs; what no key opens goes whole."""
    for pk in list(rows.values_list("pk", flat=True)):
        one = ParityCall.objects.filter(pk=pk)
        try:
            row = one.get()
            sequence, extras = _stripped(row.sequence), as_object(row.extras)
            kept = {name: extras[name] for name in _KEPT if name in extras}
            if extras.get("old"):
                kept["old"] = _stripped(extras["old"])
        except (DecryptionError, SequenceUnreadable):
            one.update(sequence=None, extras=None)
            continue
        except ParityCall.DoesNotExist:
            continue
        one.update(sequence=sequence, extras=kept or None)


def _stripped(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    sequence = sequence_load(stored)
    tools = tuple(replace(tool, arguments={}, result=None) for tool in sequence.tools)
    outcomes = replace(sequence.outcomes, structured=None)
    return sequence_dump(replace(sequence, tools=tools, outcomes=outcomes))
