"""What follows when calls go bad: one incident, the number home, people told, a way to end it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
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


def test_calls_that_this_platform_placed_are_no_evidence() -> None:
    number = direct()
    memory = Memory()
    guard_look(memory=memory)
    ended(number, 6, is_test=True)
    ended(number, 6, is_test=True, stack="vapi")
    ended(number, 3)
    guard_look(memory=memory)
    assert not Incident.objects.exists()
    ended(number, 1)
    guard_look(memory=memory)
    incident = incident_open(number)
    assert incident is not None and incident.listed.count() == 4


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


def test_windows_that_lead_here_do_not_keep_a_bad_number_here() -> None:
    schedule = {
        "zone": "UTC",
        "days": {},
        "outside": "direct",
    }
    number = direct(schedule=schedule)
    guard_look()
    ended(number, 6)
    guard_look()
    number.refresh_from_db()
    assert (number.route, number.schedule) == ("vapi", None)
    assert NumberChange.objects.get().before["schedule"] == schedule


def test_a_number_whose_key_is_lost_goes_home_and_is_told_of_all_the_same() -> None:
    number = direct()
    guard_look()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_phonenumber SET previous_target = 'no token'")
    ended(number, 6)
    guard_look()
    incident = incident_open(number)
    assert incident is not None
    assert "route_refused" not in incident.evidence
    assert list(PhoneNumber.objects.values_list("route", flat=True)) == ["vapi"]
    assert Notice.objects.get().subject == "Incident: calls of a number have become bad"


def test_a_tool_that_fails_and_a_wait_in_silence_count_and_a_call_without_them_does_not() -> None:
    number, silent = direct(), direct()
    guard_look()
    for _ in range(5):
        call = factories.make_call(
            number=number, status="ended", tool_invocations=[{"state": "timeout"}]
        )
        factories.make_call(number=number, status="ended")
        factories.make_call(
            number=silent,
            status="ended",
            metrics={"streams": [{"counters": {"dead_air": 1}}, {"counters": {}}]},
        )
    guard_look()
    incident = incident_open(number)
    assert incident is not None
    assert incident.signals == ["tool_failed"]
    assert incident.listed.count() == 5
    assert incident.listed.filter(call=call).exists()
    found = incident_open(silent)
    assert found is not None
    assert found.signals == ["dead_air"]


def test_a_window_is_read_by_its_index() -> None:
    number = direct()
    calls = Call.objects.filter(
        number=number, stack="direct", ended_at__gte=timezone.now(), created_at__gte=timezone.now()
    ).order_by("-ended_at")[:200]
    lately = Call.objects.filter(ended_at__gte=timezone.now(), number__isnull=False).order_by()
    if connection.vendor == "sqlite":
        assert "call_by_end" in calls.explain()
        assert "call_ended" in lately.explain()
    assert list(calls) == list(lately) == []
