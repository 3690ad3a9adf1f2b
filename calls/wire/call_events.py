"""Our own events: ``call.ended``, compact and versioned. The only writer of that format.

Version 1, 2026-11-22. Receivers must ignore keys they do not know; a key never changes meaning
within a version. Times are ISO 8601 in UTC, durations carry their unit in the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

CALL_ENDED = "call.ended"
CALL_ENDED_VERSION = 1


class ToolCallEntry(TypedDict):
    """One tool call, in the order the model made them: what parity compares."""

    tool_call_id: str
    name: str
    arguments_json: str
    state: str
    started_ms: int
    duration_ms: int | None


class CallEnded(TypedDict):
    """The facts of a call that has ended; nothing of what was said."""

    call_id: str
    call_sid: str
    organisation_id: str
    assistant_id: str | None
    assistant_revision: int | None
    direction: str
    stack: str
    number: str
    caller: str
    started_at: str | None
    ended_at: str | None
    duration_seconds: int
    ended_reason: str
    turns: int
    tool_calls: Sequence[ToolCallEntry]
    first_word_ms: int | None
    turn_latency_p50_ms: int | None
    turn_latency_p95_ms: int | None
    cost_usd: str
    cost: dict[str, str]


def call_ended(event_id: str, facts: CallEnded, sequence: int = 1) -> dict[str, Any]:
    """Return the event as it is posted.

    Args:
        sequence: counts what one receiver is told of the call, from 1.

    >>> call_ended("6f96…", facts)["type"]
    'call.ended'
    """
    return {
        "type": CALL_ENDED,
        "schema_version": CALL_ENDED_VERSION,
        "event_id": event_id,
        "sequence": sequence,
        "call": dict(facts),
    }


def trial(event_id: str, destination: str) -> dict[str, Any]:
    """Return what is posted when a person asks whether a receiver is reached."""
    return {
        "type": "test",
        "schema_version": CALL_ENDED_VERSION,
        "event_id": event_id,
        "message": f"A test of “{destination}”. Nothing happened; answer with any 2xx.",
    }
