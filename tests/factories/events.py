"""Outbox events, their attempts and their receivers, for tests."""

from __future__ import annotations

import uuid
from typing import Any

from django.utils import timezone

from calls.events.signature import new_secret
from calls.models import Call, DeliveryAttempt, EventDestination, OutboxEvent
from tests.factories.base import default_organisation, next_number
from voiceplatform.base.models import Organisation


def make_event(
    organisation: Organisation | None = None, *, call: Call | None = None, **columns: Any
) -> OutboxEvent:
    """Make an outbox event that is due now."""
    organisation = organisation or (call.organisation if call else default_organisation())
    defaults: dict[str, Any] = {
        "kind": "end-of-call-report",
        "dedupe_key": uuid.uuid4().hex,
        "destination": {"url": "https://hooks.example.com/vapi", "timeout_seconds": 20},
        "destination_host": "hooks.example.com",
        "payload": {"message": {"type": "end-of-call-report"}},
        "next_attempt_at": timezone.now(),
    }
    return OutboxEvent.objects.create(
        organisation=organisation, call=call, **{**defaults, **columns}
    )


def make_attempt(event: OutboxEvent | None = None, **columns: Any) -> DeliveryAttempt:
    """Make one try to deliver."""
    event = event or make_event()
    defaults: dict[str, Any] = {
        "number": event.attempts.count() + 1,
        "duration_ms": 120,
        "status_code": 200,
    }
    return DeliveryAttempt.objects.create(event=event, **{**defaults, **columns})


def make_destination(organisation: Organisation | None = None, **columns: Any) -> EventDestination:
    """Make a receiver of call.ended, with a secret."""
    defaults: dict[str, Any] = {
        "name": f"Receiver {next_number()}",
        "url": "https://hooks.example.com/log",
        "url_host": "hooks.example.com",
        "kinds": ["call.ended"],
        "secret": new_secret(),
    }
    return EventDestination.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )
