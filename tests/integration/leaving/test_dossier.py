"""The dossier of a number from rows: what it says, in how many queries, to whom."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.models import (
    Incident,
    MigrationPlan,
    NumberChange,
    NumberMove,
    PhoneNumber,
    PlanEntry,
)
from calls.services.dossiers import dossier_of
from tests import factories
from tests.integration.admin.rows import SAID, make_world
from tests.integration.api.client import Rest
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

MOST_QUERIES = 22


def change(number: PhoneNumber, at: dt.datetime, before: str, after: str, **more: Any) -> None:
    row = NumberChange.objects.create(
        organisation=number.organisation,
        number=number,
        before={"words": before},
        after={"words": after},
        who="user:ada",
        why="it went well",
        **more,
    )
    NumberChange.objects.filter(pk=row.pk).update(created_at=at)


@pytest.fixture
def number() -> PhoneNumber:
    """A number with one row of everything that a dossier shows."""
    number: PhoneNumber = make_world()["calls.phonenumber"]
    now = timezone.now()
    NumberChange.objects.filter(number=number).delete()  # the world's own
    change(number, now - dt.timedelta(days=2), "vapi", "canary 10%", kind="plan")
    change(number, now - dt.timedelta(days=1), "canary 10%", "direct")
    for days, stack in ((3.0, "vapi"), (1.5, "direct"), (1.5, "vapi"), (0.5, "direct")):
        call = factories.make_call(number=number, status="ended", stack=stack)
        type(call).objects.filter(pk=call.pk).update(created_at=now - dt.timedelta(days=days))
    return number


def test_every_room_is_in_the_dossier_and_no_word_of_a_call(number: PhoneNumber) -> None:
    read = dossier_of(number).as_json()
    assert [step["route"] for step in read["steps"]] == ["vapi", "canary 10%", "direct"]
    assert [
        {each["stack"]: each["calls"] for each in step["figures"]} for step in read["steps"]
    ] == [{"vapi": 1}, {"direct": 1, "vapi": 1}, {"direct": 2}]
    assert [each["what"] for each in read["approvals"]] == ["direct"]  # a plan's step is no yes
    assert [each["verdict"] for each in read["tools"]] == ["ok"]
    moves = NumberMove.objects.filter(number=number)
    assert len(read["moves"]) == moves.count() > 0
    assert len(read["net"]) == 4
    assert read["cost"]["oldPerMinute"] == "0.1300"
    text = json.dumps(read)
    callers = number.calls.values_list("caller", flat=True)
    assert not any(caller in text for caller in callers if caller)
    assert not any(said in text for said in SAID)


def test_plan_approvals_and_incidents_are_told(number: PhoneNumber) -> None:
    read = dossier_of(number).as_json()
    before = (len(read["approvals"]), len(read["incidents"]))
    plan = MigrationPlan.objects.create(
        organisation=number.organisation, name="Week", definition={}, state={}
    )
    PlanEntry.objects.create(
        organisation=number.organisation,
        plan=plan,
        number=number,
        at=timezone.now(),
        kind="step approved",
        words="25%",
        who="user:grace",
        why="figures are good",
    )
    Incident.objects.create(
        organisation=number.organisation,
        key="dossier",
        number=number,
        stack="direct",
        opened_at=timezone.now(),
        closed_at=timezone.now(),
        words="5 of 9: calls ended by a fault",
        state="restored",
    )
    read = dossier_of(number).as_json()
    assert (len(read["approvals"]), len(read["incidents"])) == (before[0] + 1, before[1] + 1)
    assert read["approvals"][-1]["who"] == "user:grace"
    assert read["incidents"][-1]["words"] == "5 of 9: calls ended by a fault"


def test_queries_do_not_grow_with_what_happened(number: PhoneNumber) -> None:
    dossier_of(number)  # makes the row of the net
    with CaptureQueriesContext(connection) as few:
        dossier_of(PhoneNumber.objects.get(pk=number.pk))
    now = timezone.now()
    for hours in range(5):
        change(number, now - dt.timedelta(hours=hours), "direct", "paused")
        factories.make_call(number=number, status="ended")
    with CaptureQueriesContext(connection) as many:
        dossier_of(PhoneNumber.objects.get(pk=number.pk))
    assert len(many) == len(few) <= MOST_QUERIES


def test_page_and_file_say_the_same_and_are_audited(client: Client, number: PhoneNumber) -> None:
    client.force_login(factories.make_staff(number.organisation, "all"))
    page = client.get(reverse("admin:calls_phonenumber_dossier", args=[number.pk]))
    assert page.status_code == 200
    text = page.content.decode()
    assert number.number_e164 in text
    assert "Parity is undecided: no run has been finished yet" in text
    assert not any(said in text for said in SAID)
    file = client.get(reverse("admin:calls_phonenumber_dossier_download", args=[number.pk]))
    assert file["Content-Disposition"].startswith('attachment; filename="dossier-')
    assert file.json()["gaps"] == list(page.context["dossier"].gaps)
    read = AuditEntry.objects.filter(action="dossier.read", target_id=str(number.pk))
    assert [entry.details for entry in read] == [{"through": "admin"}] * 2


def test_tools_of_every_member_of_a_squad_are_in_the_dossier(number: PhoneNumber) -> None:
    tool = factories.make_tool(number.organisation)
    members = [number.assistant, factories.make_assistant(number.organisation, tools=[tool])]
    number.squad = factories.make_squad(
        number.organisation, members=[{"assistantId": str(each.pk)} for each in members if each]
    )
    number.save()
    names = {each["name"] for each in dossier_of(number).as_json()["tools"]}
    assert tool.name in names and len(names) == 2


def test_programs_get_it_with_a_reading_key(number: PhoneNumber) -> None:
    rest = Rest()
    PhoneNumber.objects.filter(pk=number.pk).update(organisation=rest.organisation)
    answer = rest("GET", f"/phone-number/{number.pk}/dossier")
    assert answer.status_code == 200
    assert answer.json()["number"]["id"] == str(number.pk)
    other = Rest()("GET", f"/phone-number/{number.pk}/dossier")
    assert other.status_code == 404
