"""Reads of handoffs: which assistant had a call when, and who said what; writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from calls.models import AssistantActivation, Call, Turn


@dataclass(frozen=True, slots=True)
class Activation:
    """An assistant's part of a call: since when (ms), and with which turn it begins.

    ``assistant_id`` is '' where no row is known any more; ``from_name`` is who had the call before.
    """

    name: str
    assistant_id: str
    revision_id: int | None
    started_ms: int
    first_ordinal: int
    from_name: str = ""
    tool_call_id: str = ""


def activations_of(call: Call) -> list[Activation]:
    """Return who had a call, in order: one where it was never handed over (vapi.md 6.5)."""
    rows: list[AssistantActivation] = []
    if call.activation_id is not None:
        kept = call.activations.order_by("ordinal").defer("variables")
        rows = list(kept.select_related("revision"))
    if not rows:
        revision = call.revision
        if revision is None:
            return []
        name = revision.assistant.name
        return [Activation(name, str(revision.assistant_id), revision.pk, 0, 0)]
    found: list[Activation] = []
    for row in rows:
        found.append(
            Activation(
                name=row.assistant_name,
                assistant_id=str(row.revision.assistant_id) if row.revision else "",
                revision_id=row.revision_id,
                started_ms=row.started_ms,
                first_ordinal=row.first_ordinal,
                from_name=found[-1].name if found else "",
                tool_call_id=row.tool_call_id,
            )
        )
    return found


def speaker_names(call: Call, turns: Iterable[Turn]) -> dict[int, str]:
    """Return which assistant said each of its turns, by ordinal; {} without a handoff."""
    parts = activations_of(call) if call.activation_id is not None else []
    if len(parts) < 2:
        return {}
    named: dict[int, str] = {}
    for turn in turns:
        if turn.role == Turn.Role.ASSISTANT:
            part = [each for each in parts if each.first_ordinal <= turn.ordinal][-1]
            named[turn.ordinal] = part.name
    return named
