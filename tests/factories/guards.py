"""Guards, incidents and who is told of them, for tests."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from calls.events.signature import new_secret
from calls.models import (
    Call,
    GuardLimits,
    Incident,
    IncidentCall,
    Notice,
    NoticeReceiver,
    NumberGuard,
    PhoneNumber,
)
from tests.factories.base import default_organisation, next_number
from tests.factories.telephony import make_number
from voiceplatform.base.models import Organisation


def make_notice_receiver(
    organisation: Organisation | None = None, *, kind: str = "webhook", **columns: Any
) -> NoticeReceiver:
    """Make somebody who is told of incidents."""
    defaults: dict[str, Any] = {
        "name": f"Desk {next_number()}",
        "kind": kind,
        "address": "desk@example.com" if kind == "email" else "https://hooks.example.com/notice",
        "address_hint": "example.com" if kind == "email" else "hooks.example.com",
        "secret": new_secret() if kind == "webhook" else "",
    }
    return NoticeReceiver.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_guard_limits(number: PhoneNumber, **columns: Any) -> GuardLimits:
    """Make limits of one number."""
    return GuardLimits.objects.create(organisation=number.organisation, number=number, **columns)


def make_guard(number: PhoneNumber | None = None, **columns: Any) -> NumberGuard:
    """Make the armed guard of a number."""
    number = number or make_number()
    defaults: dict[str, Any] = {"stack": "direct", "armed_at": timezone.now()}
    return NumberGuard.objects.create(
        organisation=number.organisation, number=number, **{**defaults, **columns}
    )


def make_incident(
    number: PhoneNumber | None = None, *, calls: tuple[Call, ...] = (), **columns: Any
) -> Incident:
    """Make an open incident that was restored."""
    number = number or make_number()
    defaults: dict[str, Any] = {
        "key": f"{number.pk}:direct:{next_number()}",
        "stack": "direct",
        "opened_at": timezone.now(),
        "signals": ["failed"],
        "words": "5 of 8: calls ended by a fault",
        "state": Incident.State.RESTORED,
    }
    row = Incident.objects.create(
        organisation=number.organisation, number=number, **{**defaults, **columns}
    )
    for call in calls:
        IncidentCall.objects.create(incident=row, call=call)
    return row


def make_notice(incident: Incident, **columns: Any) -> Notice:
    """Make what people were told of an incident."""
    defaults: dict[str, Any] = {
        "key": f"notice-{next_number()}",
        "subject": "Incident: calls of a number have become bad",
        "words": incident.words,
    }
    return Notice.objects.create(
        organisation=incident.organisation, incident=incident, **{**defaults, **columns}
    )
