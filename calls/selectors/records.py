"""Reads of calls: lists, one call with what happened in it; writes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.db.models.functions import Coalesce, Greatest

from assistants.selectors import CALL_KIND, resource_list
from calls.models import Call, PhoneNumber, ToolInvocation, Turn
from voiceplatform.base.models import Organisation


def number_list(organisation: Organisation) -> QuerySet[PhoneNumber]:
    """Return the numbers of an organisation with their accounts."""
    rows: QuerySet[PhoneNumber] = PhoneNumber.objects.for_organisation(organisation)
    return rows.select_related("twilio_account").defer(
        "twilio_account__auth_token", "twilio_account__auth_token_secondary"
    )


def call_list(organisation: Organisation) -> QuerySet[Call]:
    """Return the calls of an organisation; ``updated_at`` is the last of its times."""
    rows: QuerySet[Call] = Call.objects.for_organisation(organisation)
    return (
        rows.select_related("revision__assistant", "connection", "number")
        .defer(
            "revision__document",
            "revision__server_url",
            "revision__server_secret",
            "connection__api_key",
        )
        .annotate(
            updated_at=Greatest("created_at", Coalesce("ended_at", "started_at", "created_at"))
        )
    )


def call_names(organisation: Organisation, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names that clients gave to calls."""
    rows = resource_list(organisation, CALL_KIND).filter(pk__in=list(ids))
    return {pk: name for pk, name in rows.values_list("pk", "name") if name}


def with_spoken(rows: QuerySet[Call]) -> QuerySet[Call]:
    """Fetch turns and tool invocations along, one query each."""
    return rows.prefetch_related(
        Prefetch("turns", Turn.objects.order_by("ordinal")),
        Prefetch("tool_invocations", ToolInvocation.objects.order_by("started_ms", "id")),
    )


@dataclass(frozen=True, slots=True)
class Spoken:
    """One entry of a conversation in the order it began: a turn or a tool invocation."""

    started_ms: int
    turn: Turn | None = None
    tool: ToolInvocation | None = None


def conversation(turns: Iterable[Turn], tools: Iterable[ToolInvocation]) -> list[Spoken]:
    """Merge turns and tool invocations by their start; turns keep their own order."""
    entries: list[tuple[tuple[int, int, int], Spoken]] = []
    clock = 0
    for turn in turns:
        # Ordinals are the order of speech; starts can run a little behind it.
        clock = max(clock, turn.started_ms)
        entries.append(((clock, 0, turn.ordinal), Spoken(turn.started_ms, turn=turn)))
    for index, tool in enumerate(tools):
        entries.append(((tool.started_ms, 1, index), Spoken(tool.started_ms, tool=tool)))
    return [entry for _, entry in sorted(entries, key=_position)]


def _position(entry: tuple[Any, Spoken]) -> Any:
    return entry[0]
