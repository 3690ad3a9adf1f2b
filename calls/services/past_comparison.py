"""Past calls of an assistant on both stacks, compared without pairs.

Owns which calls count: of the old stack those whose logs were imported, of ours those that ended,
each the newest of some days. Reads only; what the comparison means is ``calls.parity.comparison``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Final

from assistants.models import Assistant
from calls.models import Call
from calls.parity.comparison import PastCompared, compare_past
from calls.parity.logs.sequencing import tool_calls
from calls.parity.sequence import Sequence, Stack
from calls.selectors.past_calls import past_calls, with_spoken_parts
from calls.services.sequences import entries_of
from tools.names import legal_name

# Of each side. More would show a difference that matters to nobody, and take minutes to draw.
MOST_CALLS: Final = 200


def past_comparison(
    assistant: Assistant, *, since: dt.datetime, most: int = MOST_CALLS, seed: int = 0
) -> PastCompared:
    """Compare the calls of an assistant that began since a moment, at most ``most`` of each side.

    A fixed number of queries. No argument and no word of a call is in the result.
    """
    rows = past_calls(assistant.organisation, assistant=assistant)
    old = with_spoken_parts(rows.filter(call__started_at__gte=since))[:most]
    new = (
        Call.objects.for_organisation(assistant.organisation)
        .filter(
            revision__assistant=assistant,
            stack=Call.Stack.DIRECT,
            status=Call.Status.ENDED,
            imported__isnull=True,
            is_test__isnull=True,
            created_at__gte=since,
        )
        .order_by("-created_at", "-pk")
        .prefetch_related("turns", "tool_invocations")[:most]
    )
    return compare_past(
        [_sequence(row.call, "vapi", is_whole=row.is_whole) for row in old],
        [_sequence(call, "direct") for call in new],
        seed=seed,
    )


def _sequence(call: Call, stack: Stack, *, is_whole: bool = True) -> Sequence:
    # A session has legal names, a log those of the export ("book a slot"): one for both.
    tools = tuple(
        replace(tool, name=legal_name(tool.name)) for tool in tool_calls(entries_of(call))
    )
    return Sequence(str(call.pk), stack, tools, cut=not is_whole)
