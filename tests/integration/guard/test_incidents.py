"""What follows when calls go bad: one incident, the number home, people told, a way to end it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from calls.models import Call, Incident, Notice, NumberChange, NumberGuard, PhoneNumber
from calls.services.guards import (
    IncidentError,
    Memory,
    guard_look,
    incident_close,
    incident_open,
)
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

FAULT = "pipeline-error-openai-llm-failed"


def ended(number: PhoneNumber, count: int, *, reason: str = FAULT, **columns: Any) -> list[Call]:
    return [
        factories.make_call(number=number, status="ended", ended_reason=reason, **columns)
        for _ in range(count)
    ]


def direct(**columns: Any) -> PhoneNumber:
    return factories.make_number(
        route="direct", previous_voice_url="https://old.example.com/voice", **columns
    )


def test_four_failed_calls_send_a_number_home_once() -> None:
    factories.make_notice_receiver()
    number = direct()
    memory = Memory()
    guard_look(memory=memory)
    good = ended(number, 3, reason="customer-ended-call")
    bad = ended(number, 3)
    guard_look(memory=memory)
    assert incident_open(number) is None
    bad += ended(number, 1)
    for _ in range(3):
        guard_look(memory=memory)
    incident = incident_open(number)
    assert incident is not None
    assert set(incident.listed.values_list("call", flat=True)) == {each.pk for each in bad}
    assert not incident.listed.filter(call__in=good)
    number.refresh_from_db()
    assert number.route == "vapi"
    change = NumberChange.objects.get()
    assert (change.kind, change.who) == ("guard", "guard")
    assert Notice.objects.count() == 1
    assert Notice.objects.get().events.count() == 1
    assert Incident.objects.count() == 1


def test_a_fault_of_the_old_stack_is_told_and_moves_nothing() -> None:
    number = factories.make_number(route="canary", canary_percent=10)
    memory = Memory()
    guard_look(memory=memory)
    ended(number, 5, reason="twilio-failed-to-connect-call", stack="vapi")
    guard_look(memory=memory)
    assert incident_open(number) is None
    incident = incident_open(number, "vapi")
    assert incident is not None
    assert incident.state == Incident.State.TOLD
    number.refresh_from_db()
    assert number.route == "canary"
    assert Notice.objects.get().subject == "Incident: the old stack fails calls"


def test_a_number_that_goes_home_by_hand_is_not_watched_until_it_is_back() -> None:
    number = direct()
    guard_look()
    PhoneNumber.objects.filter(pk=number.pk).update(route="vapi")
    ended(number, 6)
    guard_look()
    assert incident_open(number) is None
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    guard_look()
    guard_look()
    # What went wrong before it came back says nothing of how it is now.
    assert incident_open(number) is None
    ended(number, 6)
    guard_look()
    assert incident_open(number) is not None


def test_an_incident_is_closed_with_a_reason_and_the_guard_is_armed_anew() -> None:
    number = direct()
    guard_look()
    ended(number, 6)
    guard_look()
    incident = incident_open(number)
    assert incident is not None
    with pytest.raises(IncidentError):
        incident_close(incident=incident, actor="user:ops", why=" ")
    incident_close(incident=incident, actor="user:ops", why="The model's key had expired")
    incident.refresh_from_db()
    assert (incident.closed_by, incident.closed_why) == ("user:ops", "The model's key had expired")
    with pytest.raises(IncidentError):
        incident_close(incident=incident, actor="user:ops", why="again")
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    guard_look()
    guard_look()
    assert incident_open(number) is None


def test_a_route_that_is_put_back_ends_the_incident_and_the_guard_is_on_again() -> None:
    number = direct()
    guard_look()
    ended(number, 6)
    guard_look()
    assert incident_open(number) is not None
    guard_look()
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    guard_look()
    assert incident_open(number) is None
    ended(number, 6)
    guard_look()
    assert Incident.objects.count() == 2
    assert incident_open(number) is not None


def test_one_guard_that_cannot_be_read_stops_no_other() -> None:
    broken, number = direct(), direct()
    guard_look()
    NumberGuard.objects.filter(number=broken).update(
        state={"what": "is this"}, next_at=timezone.now()
    )
    for each in (broken, number):
        ended(each, 6)
    guard_look()
    assert incident_open(number) is not None
    guard = NumberGuard.objects.get(number=broken)
    assert guard.next_at is not None
    assert guard.next_at > timezone.now() + dt.timedelta(seconds=30)


def test_late_facts_of_a_call_are_judged_when_they_come() -> None:
    number = direct()
    memory = Memory()
    guard_look(memory=memory)
    calls = ended(number, 5, reason="customer-ended-call", duration_seconds=60)
    guard_look(memory=memory)
    # The stream that was lost says so after Twilio has said that the call is over.
    Call.objects.filter(pk__in=[each.pk for each in calls]).update(ended_reason=FAULT)
    guard_look(memory=memory)
    assert incident_open(number) is not None
