"""Who wants an event: the receivers that a team has entered, by event, assistant and number.

Owns that choice and what a receiver's row says of a request. It must not open what is sealed in a
row before the moment of sending: a lost key must not keep a call from being closed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Q
from django.utils import timezone

from calls.models import Call, EventDestination

# What can be chosen in the admin, with what it is for. Vapi's messages have Vapi's names.
KINDS: Mapping[str, str] = {
    "call.ended": "call log: who called, why it ended, tool calls, cost",
    "end-of-call-report": "Vapi's report with transcript and cost",
    "status-update": "Vapi's status: in progress, forwarding, ended",
    # What is told of a call that is on, whatever its own server asks for.
    "transcript": "what was said, as it is said",
    "conversation-update": "the conversation so far",
    "speech-update": "who begins and stops speaking",
    "user-interrupted": "the caller has interrupted",
    "hang": "an answer takes long",
    "assistant.started": "an assistant has taken the call",
}
SEALED = ("url", "headers", "secret", "earlier_secret", "plain_secret")


def receivers_for(call: Call, kind: str) -> list[EventDestination]:
    """Return the receivers that want this event of ``call``, without what is sealed in them.

    A receiver that was entered, or changed, after the call ended is not told of it.
    """
    return [row for row in receivers_of(call) if wants(row, kind)]


def wants(row: EventDestination, kind: str) -> bool:
    """Tell whether a receiver takes events of this kind."""
    # Vapi's name of the final transcripts has a condition behind it.
    return kind.partition("[")[0] in row.kinds


def messages_wanted(row: EventDestination) -> frozenset[str]:
    """Return the messages of a live call that a receiver takes.

    Never that which leaves the end of a call to whoever gets it (vapi.md 5.2): it has one server.
    """
    return frozenset(map(str, row.kinds)) - {"phone-call-control"}


def receivers_of(call: Call) -> list[EventDestination]:
    """Return the receivers that want any event of ``call``."""
    assistant_id = call.revision.assistant_id if call.revision is not None else None
    rows = (
        EventDestination.objects.filter(
            Q(numbers__isnull=True) | Q(numbers=call.number_id),
            Q(assistants__isnull=True) | Q(assistants=assistant_id),
            organisation=call.organisation_id,
            enabled=True,
            active_since__lte=call.ended_at or timezone.now(),
        )
        .only("pk", "kinds", "url_host")
        .order_by("pk")
        .distinct()
    )
    return list(rows)


def endpoint_of_row(row_id: Any) -> str:
    """Return the endpoint of a receiver's row."""
    return f"row:{row_id.hex}"


def endpoint_of_url(url: str) -> str:
    """Return the endpoint of an address: host and path, for what stands behind them is one server.

    Hashed, because a path may be a secret.
    """
    try:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{(parts.hostname or '').lower()}:{parts.port or ''}{parts.path}"
    except ValueError:
        place = url
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:32]
