"""The pages of plans: made by a form, started, watched gate by gate, decided about by people."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from calls.models import MigrationPlan, Notice, PhoneNumber, PlanEntry
from calls.numbers.hours import Span
from calls.numbers.plan import Gates
from calls.services.plan_ticks import plans_tick
from calls.services.plans import plan_of, plan_start
from tests import factories
from tests.integration.plans.week import make_calls, make_ready_number, with_parity
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
MOST_QUERIES = 40


@pytest.fixture(autouse=True)
def _monday_noon(time_machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_staff(factories.default_organisation(), "all"))
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:calls_migrationplan_{name}", args=args)


def proposed(client: Client, **changed: Any) -> dict[str, Any]:
    """Return what the form proposes, as a browser would send it."""
    form = client.get(url("add")).context["adminform"].form
    body = {
        name: form.get_initial_for_field(field, name)
        for name, field in form.fields.items()
        if form.get_initial_for_field(field, name) not in (None, "", False)
    }
    return {**body, **changed}


def do(client: Client, row: MigrationPlan, what: str, number: Any = "", **changed: Any) -> Any:
    """Open the page of a deed, and press its button."""
    query = f"?what={what}&number={number.pk if number else ''}"
    shown = client.get(url("do", row.pk) + query)
    assert shown.status_code == 200
    form = shown.context["form"]
    body = {**form.initial, "why": "as agreed", **changed}
    return client.post(url("do", row.pk) + query, body)


def test_one_number_a_day_for_a_week_is_what_the_form_proposes(staff: Client) -> None:
    numbers = [make_ready_number() for _ in range(9)]
    make_calls(numbers[0], 3)
    factories.make_number(route="vapi")  # nobody has looked at it
    answer = staff.post(url("add"), proposed(staff))
    row = MigrationPlan.objects.get()
    assert answer.headers["Location"] == url("change", row.pk)
    plan, state = plan_of(row)
    assert (len(plan.waves), {len(wave) for wave in plan.waves}) == (7, {1})
    assert (plan.first_day, plan.steps) == (dt.date(2026, 11, 24), (5, 25, 50, 100))
    assert plan.quiet[0] == (Span(0, 9 * 60), Span(16 * 60, 24 * 60))
    assert plan.quiet[5] == (Span(0, 24 * 60),)
    assert plan.gates.approval == "first step"
    assert (row.status, state.status) == ("draft", "draft")
    # The one with most calls is last, and there was no room for it.
    assert str(numbers[0].pk) not in plan.numbers
    assert AuditEntry.objects.filter(action="plan.create").exists()


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"steps": "5, 50"}, "__all__", "steps do not rise to 100"),
        ({"steps": "five"}, "steps", "These are no percentages"),
        ({"on_workdays": "9 to 5"}, "on_workdays", "is not a time span"),
        ({"on_workdays": "22:00-06:00"}, "on_workdays", "goes over midnight"),
        ({"on_workdays": ""}, "on_workdays", "Nothing could ever move"),
        ({"freeze": "Christmas"}, "freeze", "does not begin with a date"),
        ({"which": "chosen"}, "chosen", "No number is ticked"),
        ({"zone": "Mars/Base"}, "zone", "Select a valid choice"),
        ({"budget_percent": "200"}, "budget_percent", "less than or equal to 100"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_at_the_field(
    staff: Client, changed: dict[str, Any], field: str, words: str
) -> None:
    make_ready_number()
    answer = staff.post(url("add"), proposed(staff, **changed))
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert words in " ".join(errors[field]), errors
    assert not MigrationPlan.objects.exists()


def test_numbers_of_others_and_numbers_of_another_plan_cannot_be_ticked(staff: Client) -> None:
    theirs = make_ready_number(factories.make_organisation())
    taken, free = make_ready_number(), make_ready_number()
    other = factories.make_plan(numbers=[taken])
    plan_start(row=other, actor=None, why="x", version=1)
    for number in (theirs, taken):
        body = proposed(staff, which="chosen", chosen=[str(number.pk)])
        assert "chosen" in staff.post(url("add"), body).context["adminform"].form.errors
    body = proposed(staff, which="chosen", chosen=[str(free.pk)])
    assert staff.post(url("add"), body).status_code == 302


def test_a_superuser_cannot_put_numbers_of_another_organisation_into_a_plan(client: Client) -> None:
    client.force_login(factories.make_superuser())
    theirs = make_ready_number(factories.make_organisation())
    body = proposed(client, which="chosen", chosen=[str(theirs.pk)])
    body["organisation"] = str(factories.default_organisation().pk)
    errors = client.post(url("add"), body).context["adminform"].form.errors
    assert "does not belong to" in errors["chosen"][0]


def test_the_page_of_a_plan_shows_every_gate_and_what_may_be_done(staff: Client) -> None:
    number = make_ready_number()
    row = factories.make_plan(numbers=[number], gates=Gates(approval="every step"))
    page = staff.get(url("change", row.pk)).content.decode()
    assert number.number_e164 in page
    assert "5% has not been approved" in page
    assert "in order: incident, policy, readiness, parity, cost, hours" in page
    assert "Start the plan" in page and "Pause the plan" not in page
    do(staff, row, "start")
    do(staff, row, "approve", number)
    plans_tick()
    page = staff.get(url("change", row.pk)).content.decode()
    assert "ordered, not seen yet" in page and "canary 5%" in page
    assert "Pause the plan" in page and "Start the plan" not in page
    do(staff, row, "pause")
    do(staff, row, "resume")
    do(staff, row, "skip", number)
    kinds = list(PlanEntry.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == [
        *("plan started", "step approved", "wave opened", "step ordered", "plan paused"),
        *("plan resumed", "number skipped"),
    ]
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"plan.plan_started", "plan.step_approved", "plan.number_skipped"} <= actions
    number.refresh_from_db()
    assert number.route == PhoneNumber.Route.CANARY  # left out, and as it was


def test_nothing_is_done_without_a_reason_or_by_looking(staff: Client) -> None:
    row = factories.make_plan(numbers=[make_ready_number()])
    assert staff.get(url("do", row.pk) + "?what=start").status_code == 200
    assert do(staff, row, "start", why="  ").status_code == 200
    row.refresh_from_db()
    assert row.status == "draft"
    assert staff.get(url("do", row.pk) + "?what=burn").status_code == 404


def test_a_button_on_a_page_that_is_overtaken_changes_nothing_and_shows_what_is_there_now(
    staff: Client,
) -> None:
    number = make_ready_number()
    row = factories.make_plan(numbers=[number])
    stale = staff.get(url("do", row.pk) + "?what=start").context["form"].initial
    do(staff, row, "freeze", day="2026-12-24")
    answer = staff.post(url("do", row.pk) + "?what=start", {**stale, "why": "go"})
    assert "has changed since the page was opened" in answer.content.decode()
    row.refresh_from_db()
    assert row.status == "draft"
    fresh = {name: answer.context["form"][name].value() for name in ("version", "seen", "why")}
    assert staff.post(url("do", row.pk) + "?what=start", fresh).status_code == 302
    row.refresh_from_db()
    assert row.status == "running"
    assert dt.date(2026, 12, 24) in plan_of(row)[0].freeze_days


def test_approving_wants_its_own_permission_and_changing_another(client: Client) -> None:
    organisation = factories.default_organisation()
    number = make_ready_number()
    row = factories.make_plan(numbers=[number], gates=Gates(approval="first step"))
    viewer = factories.make_staff(organisation)
    viewer.user_permissions.add(Permission.objects.get(codename="view_migrationplan"))
    client.force_login(viewer)
    page = client.get(url("change", row.pk)).content.decode()
    assert "Approve" not in page and "Leave out" not in page and "Start the plan" not in page
    for what in ("start", "skip", "approve"):
        query = f"?what={what}&number={number.pk}"
        assert client.post(url("do", row.pk) + query, {"why": "x"}).status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename="approve_plan_step"))
    client.force_login(type(viewer).objects.get(pk=viewer.pk))
    assert "Approve canary 5%" in client.get(url("change", row.pk)).content.decode()
    assert do(client, row, "approve", number).status_code == 302
    assert client.post(url("do", row.pk) + "?what=start", {"why": "x"}).status_code == 403


def test_the_calendar_names_days_steps_and_what_it_takes_for_granted(staff: Client) -> None:
    number = factories.make_number(route="vapi", previous_voice_url="https://old.example/x")
    freeze = frozenset({dt.date(2026, 11, 24)})
    row = factories.make_plan(numbers=[make_ready_number(), number], freeze_days=freeze)
    page = staff.get(url("calendar", row.pk)).content.decode()
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert "Monday 2026-11-23" in text and "canary 25%" in text
    assert "nothing moves on this day" in text
    assert "its calls do not come to this platform yet" in text
    assert "As if it were started now." in text


def test_the_record_downloads_as_csv_that_no_spreadsheet_runs(staff: Client) -> None:
    number = make_ready_number()
    row = factories.make_plan(numbers=[number])
    do(staff, row, "start", why='=HYPERLINK("https://evil.example")')
    answer = staff.get(url("csv", row.pk))
    assert answer.headers["Content-Type"].startswith("text/csv")
    (line,) = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert (line["kind"], line["what"]) == ("plan started", "plan started")
    assert line["why"].startswith("'=")
    assert line["at"] == "2026-11-23T12:00:00+00:00"


def test_people_are_told_once_of_a_number_that_stopped_or_waits_for_approval(
    staff: Client,
) -> None:
    number, asked = make_ready_number(assistant=None), make_ready_number()
    row = factories.make_plan(numbers=[number], gates=Gates(least_calls=0))
    row_of_asked = factories.make_plan(numbers=[asked], gates=Gates(approval="every step"))
    do(staff, row, "start")
    do(staff, row_of_asked, "start")
    for _ in range(3):
        plans_tick()
    notices = Notice.objects.order_by("pk")
    assert sorted(notice.subject for notice in notices) == [
        "A number of a plan waits for an approval",
        "A number of a plan was stopped and waits for a person",
    ]
    for notice in notices:
        assert number.number_e164 not in notice.words and row.name not in notice.words
        assert notice.ids["number"] in (str(number.pk), str(asked.pk))


def test_the_page_of_forty_numbers_takes_as_few_queries_as_that_of_one(staff: Client) -> None:
    shared: dict[str, Any] = {
        "twilio_account": factories.make_account(),
        "assistant": factories.make_assistant(),
        "connection": factories.make_connection(),
        "policy": factories.make_policy(),
    }
    counts = []
    for many in (1, 40):
        row = factories.make_plan(numbers=[make_ready_number(**shared) for _ in range(many)])
        staff.get(url("change", row.pk))
        with CaptureQueriesContext(connection) as queries:
            assert staff.get(url("change", row.pk)).status_code == 200
        counts.append(len(queries))
    assert counts[1] <= counts[0] <= MOST_QUERIES, counts


def test_a_draft_can_be_thrown_away_and_a_plan_that_ran_cannot(staff: Client) -> None:
    draft, ran = (factories.make_plan(numbers=[make_ready_number()]) for _ in range(2))
    do(staff, ran, "start")
    assert staff.post(url("delete", ran.pk), {"post": "yes"}).status_code == 403
    assert staff.post(url("delete", draft.pk), {"post": "yes"}).status_code == 302
    assert list(MigrationPlan.objects.all()) == [ran]


def test_a_plan_that_cannot_be_read_has_a_page_that_says_so(staff: Client) -> None:
    row = factories.make_plan(numbers=[make_ready_number()])
    MigrationPlan.objects.filter(pk=row.pk).update(state={"version": 9})
    page = staff.get(url("change", row.pk)).content.decode()
    assert "form 9" in page and "Start the plan" not in page
    assert staff.get(url("calendar", row.pk)).status_code == 200
