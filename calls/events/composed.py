"""Events whose body is made when they are sent: what happened is stored, the envelope is not.

Owns that form of a payload (ADR 0027). A body that is asked for twice is made twice of the same
facts: the members of the message, its time, and how far the conversation had come by then. Reads
rows; a payload of any other form is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Final

from assistants.models import AssistantRevision
from calls.models import Call, OutboxEvent
from calls.services.vapi_objects import assistant_object, envelope_for
from tools.wire import vapi_messages, vapi_server

_MARK: Final = "composed_when_sent"


def to_compose(
    *,
    kind: str,
    own: Mapping[str, Any],
    now_ms: int,
    assistants: Mapping[str, int | None] | None = None,
) -> dict[str, Any]:
    """Return the stored form of a message about a call that is on; ``now_ms`` is epoch time.

    Args:
        assistants: ids of the revisions that stand in members of these names.
    """
    stored = {"kind": kind, "own": dict(own), "timestamp_ms": now_ms}
    if assistants:
        stored["assistants"] = {name: pk for name, pk in assistants.items() if pk is not None}
    return {_MARK: stored}


def whole_payload(event: OutboxEvent) -> dict[str, Any]:
    """Return what is posted for ``event``."""
    payload: dict[str, Any] = event.payload
    stored = payload.get(_MARK) if isinstance(payload, dict) else None
    if not isinstance(stored, dict) or event.call_id is None:
        return payload
    call: Call = Call.objects.select_related(
        *("organisation", "twilio_account", "number__twilio_account", "connection"),
        "revision__assistant",
    ).get(pk=event.call_id)
    kind, now_ms = str(stored["kind"]), int(stored["timestamp_ms"])
    envelope = envelope_for(_as_it_was(call), timestamp_ms=now_ms, told_ms=_told_ms(call, now_ms))
    own = dict(stored["own"])
    if kind == "conversation-update":
        own = vapi_messages.conversation_update(envelope.artifact)
    for name, revision_id in dict(stored.get("assistants") or {}).items():
        revision = AssistantRevision.objects.select_related("assistant").get(pk=revision_id)
        own[name] = assistant_object(revision)
    return vapi_server.server_message(envelope, kind, own)


def _told_ms(call: Call, now_ms: int) -> int:
    """Return how far the call was when the message was written, from its first stream's start."""
    began = call.started_at or call.created_at
    return max(now_ms - round(began.timestamp() * 1000), 0)


def _as_it_was(call: Call) -> Call:
    """Return the call as it was while it was on: its end and its cost came later."""
    earlier = copy(call)
    earlier.status = Call.Status.IN_PROGRESS
    earlier.ended_at, earlier.ended_reason = None, ""
    earlier.cost_usd, earlier.metrics = 0, {}
    return earlier
