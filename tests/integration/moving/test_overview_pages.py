"""All numbers on one page, the way back of all at once, and the route page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.models import NumberMove
from calls.services.number_routes import RouteOrder, route_set
from tests import factories
from tests.integration.moving.conftest import Twilio
from tests.integration.moving.test_move_pages import (
    CHANGES,
    SEES,
    hidden,
    organisation,
    staff,
    text_of,
    url,
)
from voiceplatform.base.models import Job, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

__all__ = ["organisation", "staff"]  # fixtures


def test_forty_numbers_take_few_queries_and_as_many_as_one(
    staff: Client, organisation: Organisation, django_assert_max_num_queries: Any
) -> None:
    for index in range(40):
        number = factories.make_number(organisation, name=f"Branch {index}")
        if index % 2:
            factories.make_move(number)
    with django_assert_max_num_queries(19):
        text = text_of(staff.get(url("moving")))
    assert text.count('data-label="Answers now"') == 40
    assert "40 numbers, 20 here" in text


def test_numbers_that_need_a_person_come_first_and_filters_narrow(
    staff: Client, organisation: Organisation
) -> None:
    quiet = factories.make_number(organisation, name="Quiet", route="vapi")
    stuck = factories.make_number(organisation, name="Stuck")
    factories.make_move(stuck, step="stopped", problem="somebody else has changed the number")
    foreign = factories.make_number(factories.make_organisation(), name="Foreign")
    text = text_of(staff.get(url("moving")))
    assert text.index("Stuck") < text.index("Quiet")
    assert "moving here: stopped" in text and "Foreign" not in text
    assert foreign.number_e164 not in text
    text = text_of(staff.get(url("moving"), {"place": "attention"}))
    assert "Stuck" in text and "Quiet" not in text
    text = text_of(staff.get(url("moving"), {"route": "vapi"}))
    assert "Stuck" not in text and "Quiet" in text
    text = text_of(staff.get(url("moving"), {"q": quiet.number_e164[-5:]}))
    assert "Quiet" in text
    assert "No number is like that" in text_of(staff.get(url("moving"), {"q": "nothing-such"}))


def test_the_home_page_leads_to_each_way_back_and_to_all(
    staff: Client, organisation: Organisation
) -> None:
    numbers = [factories.make_number(organisation) for _ in range(8)]
    assert "Numbers that are here" not in text_of(staff.get("/admin/"))
    for number in numbers[:7]:
        factories.make_move(number)
    NumberMove.objects.filter(number=numbers[0]).update(step="stopped", finished_at=None)
    text = text_of(staff.get("/admin/"))
    assert "Numbers that are here: 7" in text and "6 of 7 are shown" in text
    assert url("restore", numbers[0].pk) in text  # it waits for a person, so it is shown
    assert url("restore_all") in text and url("restore", numbers[7].pk) not in text


def test_all_numbers_go_back_from_one_confirmation_also_without_a_worker(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    numbers = [twilio.number(organisation) for _ in range(3)]
    before = {number.pk: dict(twilio.live(number)) for number in numbers}
    for number in numbers:
        move_here(staff, number, twilio)
    foreign = factories.make_move(factories.make_number(factories.make_organisation()))
    text = text_of(staff.get(url("restore_all")))
    assert "3 numbers" in text and foreign.number.number_e164 not in text
    owner = hidden(text, "organisation")
    answer = staff.post(url("restore_all"), {"organisation": owner, "why": "fire drill"})
    job = Job.objects.get(kind="restore_numbers")
    assert answer["Location"] == url("returning", job.pk)
    rows = url("returning_rows", job.pk)
    assert "0 of 3" in text_of(staff.get(rows)) and "from here" not in text_of(staff.get(rows))
    Job.objects.filter(pk=job.pk).update(created_at="2026-01-01T00:00:00Z")
    assert "Put them back from here" in text_of(staff.get(url("returning", job.pk)))
    staff.post(url("returning", job.pk))
    text = text_of(staff.get(rows))
    assert "3 of 3" in text and "fire drill" in NumberMove.objects.filter(direction="back")[0].why
    assert {number.pk: twilio.live(number) for number in numbers} == before
    foreign.refresh_from_db()
    assert foreign.closed_at is None


def move_here(staff: Client, number: Any, twilio: Twilio) -> None:
    from calls.services.number_moves import move_continue
    from tests.integration.moving.test_move_pages import begin

    move = begin(staff, number)
    move_continue(move.pk, within_seconds=0)
    assert "voice.example.com" in twilio.live(number)["voice_url"]


def test_nothing_is_ordered_when_nothing_is_here(staff: Client, organisation: Organisation) -> None:
    factories.make_number(organisation)
    assert "nothing to put back" in text_of(staff.get(url("restore_all")))
    body = {"organisation": str(organisation.pk)}
    assert "Nothing was ordered" in text_of(staff.post(url("restore_all"), body))
    assert not Job.objects.exists()


def test_another_organisations_job_is_not_there(client: Client, organisation: Organisation) -> None:
    job = factories.make_job(factories.make_organisation(), kind="restore_numbers")
    client.force_login(factories.make_staff(organisation, (SEES, CHANGES)))
    for name in ("returning", "returning_rows"):
        assert client.get(url(name, job.pk)).status_code == 404
        assert client.post(url(name, job.pk)).status_code == 404


# ---- the route page -----------------------------------------------------------------------------


def form_of(text: str) -> dict[str, str]:
    """Return what a browser would send of the route page's fields."""
    fields = dict(re.findall(r'<input [^>]*?name="(\w+)"[^>]*?value="([^"]*)"', text))
    fields |= {
        name: value
        for value, name in re.findall(r'<input [^>]*?value="([^"]*)"[^>]*?name="(\w+)"', text)
    }
    fields.pop("csrfmiddlewaretoken", None)
    fields.pop("scheduled", None)
    return fields


def test_a_route_is_previewed_then_set_and_recorded(
    staff: Client, organisation: Organisation
) -> None:
    number = factories.make_number(organisation, route="vapi", previous_voice_url="https://a.b/c")
    page = url("route", number.pk)
    given = {"route": "canary", "canary_percent": "25", "sticky": "hour", "why": "first day"}
    given["version"] = hidden_version(text_of(staff.get(page)))
    text = text_of(staff.post(page, given))
    assert "What would change" in text and "canary 25%" in text
    number.refresh_from_db()
    assert number.route == "vapi"
    sure = {**given, "previewed": hidden(text, "previewed"), "confirmed": "1"}
    # A field that was changed after the preview is previewed again, not set.
    text = text_of(staff.post(page, {**sure, "canary_percent": "50"}))
    assert "canary 50%" in text
    number.refresh_from_db()
    assert number.route == "vapi"
    answer = staff.post(page, sure)
    assert answer.status_code == 302, text_of(answer)
    number.refresh_from_db()
    assert (number.route, number.canary_percent, number.canary_sticky) == ("canary", 25, "hour")
    change = number.changes.get()
    assert change.why == "first day" and change.who.startswith("user:")


def hidden_version(text: str) -> str:
    found = re.search(r'<input type="hidden" name="version" value="(\d+)"', text)
    assert found
    return found[1]


def test_a_route_page_that_the_guard_overtook_is_refused_with_what_happened(
    staff: Client, organisation: Organisation
) -> None:
    number = factories.make_number(organisation, route="direct", previous_voice_url="https://a.b/c")
    page = url("route", number.pk)
    given = {"route": "paused", "sticky": "caller", "confirmed": "1"}
    given["version"] = hidden_version(text_of(staff.get(page)))
    text = text_of(staff.post(page, given))
    given["previewed"] = hidden(text, "previewed")
    route_set(
        number_id=number.pk,
        order=RouteOrder("vapi"),
        actor="guard",
        why="5 of 8 calls failed",
        kind="guard",
    )
    text = text_of(staff.post(page, {**given, "previewed": "paused"}))
    assert "Nothing was changed." in text
    assert "5 of 8 calls failed" in text and "guard" in text
    number.refresh_from_db()
    assert number.route == "vapi"


def test_a_schedule_is_shown_as_it_will_be_decided_and_refused_with_the_fix(
    staff: Client, organisation: Organisation
) -> None:
    number = factories.make_number(organisation, route="vapi", previous_voice_url="https://a.b/c")
    page = url("route", number.pk)
    given = {
        "route": "direct",
        "sticky": "caller",
        "scheduled": "on",
        "outside": "vapi",
        "zone": "Europe/Berlin",
        "window_mon": "09:00-17:00",
        "window_sun": "22:00-02:00",
        "version": hidden_version(text_of(staff.get(page))),
    }
    text = text_of(staff.post(page, given))
    assert "inside the windows (Europe/Berlin); outside them: vapi" in text
    assert re.search(r"From Mon [\d-]+ 09:00 CES?T: the route holds", text)
    text = text_of(staff.post(page, {**given, "window_mon": "9 to five"}))
    assert 'class="vp-error"' in text and "What would change" not in text


def test_a_number_without_a_reviewed_policy_is_told_why_it_stays(
    staff: Client, organisation: Organisation
) -> None:
    policy = factories.make_policy(organisation, reviewed=False)
    number = factories.make_number(organisation, route="vapi", policy=policy)
    page = url("route", number.pk)
    given = {"route": "direct", "sticky": "caller"}
    given["version"] = hidden_version(text_of(staff.get(page)))
    text = text_of(staff.post(page, given))
    assert "has not been reviewed" in text and "Change it now" not in text
    assert timezone.now() and number.changes.count() == 0


def test_the_home_page_says_what_to_do_while_no_number_is_here(
    staff: Client, organisation: Organisation
) -> None:
    assert "No number is moved here yet" not in text_of(staff.get("/admin/"))  # there is none
    factories.make_number(organisation, route="vapi")
    text = text_of(staff.get("/admin/"))
    assert "No number is moved here yet" in text and "1 number has the route Vapi" in text
    assert reverse("admin:calls_numberreadiness_changelist") in text and url("moving") in text


def test_every_page_of_a_number_leads_back_to_it_and_to_all_and_marks_its_entry(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    for name in ("console", "move", "route"):
        text = text_of(staff.get(url(name, number.pk)))
        head = text[text.index("<h1") : text.index("</h1>")]
        assert url("moving") in head and url("console", number.pk) in head, name
        # The one entry of the menu that is marked.
        marked = re.findall(r'<a href="([^"]*)"[^>]*class="[^"]*\bactive\b', text)
        assert marked == [url("moving")], (name, marked)


def test_who_may_see_readiness_is_led_to_the_first_check(
    client: Client, organisation: Organisation
) -> None:
    factories.make_number(organisation)
    for more, is_led in (((), False), (("calls.view_numberreadiness",), True)):
        client.force_login(factories.make_staff(organisation, (SEES, *more)))
        text = text_of(client.get(url("moving")))
        assert ("1 number was not checked yet" in text) is is_led
