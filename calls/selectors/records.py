"""Reads of calls: lists, one call with what happened in it; writes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Prefetch, QuerySet
from django.db.models.functions import Coalesce, Greatest

from assistants.selectors import CALL_KIND, resource_list
from calls.conversation import Speech, ToolUse
from calls.conversation import conversation as in_order
from calls.models import Call, PhoneNumber, ToolInvocation, Turn
from calls.selectors.past_calls import SEALED
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
        rows.select_related("revision__assistant", "connection", "number", "imported")
        .defer(
            *(f"imported__{name}" for name in SEALED),
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
    """Fetch turns and tool invocations along, one query each, and the recording."""
    return rows.select_related("recording").prefetch_related(
        Prefetch("turns", Turn.objects.order_by("ordinal")),
        Prefetch("tool_invocations", ToolInvocation.objects.order_by("started_ms", "id")),
    )


@dataclass(frozen=True, slots=True)
class Spoken:
    """One entry of a conversation in the order it began: a turn or a tool invocation."""

    started_ms: int
    turn: Turn | None = None
    tool: ToolInvocation | None = None


def speech_of(turn: Turn, speaker: str = "") -> Speech:
    """Return a turn as the conversation takes it; ``speaker`` is the assistant's name."""
    return Speech(
        role=Turn.Role(turn.role).value,  # type: ignore[arg-type]  # the choices are the words
        text=turn.text,
        started_ms=turn.started_ms,
        ended_ms=turn.ended_ms,
        ordinal=turn.ordinal,
        unheard=turn.text_unheard,
        interrupted=turn.interrupted,
        latency_ms=turn.latency_ms,
        speaker=speaker,
        source=turn,
    )


def tool_use_of(tool: ToolInvocation) -> ToolUse:
    """Return a tool invocation as the conversation takes it."""
    return ToolUse(
        tool_call_id=tool.tool_call_id,
        name=tool.name,
        arguments_json=tool.arguments_json,
        started_ms=tool.started_ms,
        duration_ms=tool.duration_ms,
        output=tool.output,
        state=tool.state,
        running=tool.state == ToolInvocation.State.RUNNING,
        source=tool,
    )


def conversation(turns: Iterable[Turn], tools: Iterable[ToolInvocation]) -> list[Spoken]:
    """Return turns and tool invocations in the order in which they were said and made."""
    spoken: list[Spoken] = []
    for entry in in_order(map(speech_of, turns), map(tool_use_of, tools)):
        if entry.speech is not None:
            spoken.append(Spoken(entry.at_ms, turn=entry.speech.source))
        elif entry.kind == "tool-calls":
            spoken += [Spoken(each.started_ms, tool=each.source) for each in entry.tools]
    return spoken
