"""A draft is changed altogether; a plan that is on, only where that is safe."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import MigrationPlan, PlanEntry, PlanNumber
from calls.numbers.hours import Span
from calls.numbers.plan import Gates, Plan
from calls.services.plan_ticks import plans_tick
from calls.services.plans import plan_create, plan_of, plan_start
from tests import factories
from tests.integration.plans.week import make_ready_number, with_parity

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
# Hours and a soak that the form cannot show exactly: nobody who renames the plan may lose them.
ODD = ((Span(0, 60),), *((Span(0, 60 * index),) for index in range(2, 8)))


@pytest.fixture(autouse=True)
def _monday_noon(time_machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_staff(factories.default_organisation(), "all"))
    return client


def make_plan(numbers: list[Any], **columns: Any) -> MigrationPlan:
    waves = tuple((str(each.pk),) for each in numbers)
    gates = Gates(soak=dt.timedelta(seconds=90), approval="none")
    usual: dict[str, Any] = {"first_day": NOON.date(), "quiet": ODD, "gates": gates}
    plan = Plan("", waves, **{**usual, **columns})
    return plan_create(
        organisation=factories.default_organisation(), name="First week", plan=plan, actor=None
    )


def url(row: MigrationPlan) -> str:
    return reverse("admin:calls_migrationplan_edit", args=[row.pk])


def edit(client: Client, row: MigrationPlan, **changed: Any) -> Any:
    """Open the form, and send it as a browser would."""
    form = client.get(url(row)).context["form"]
    body = {
        name: form.get_initial_for_field(field, name)
        for name, field in form.fields.items()
        if form.get_initial_for_field(field, name) not in (None, "", False)
    }
    return client.post(url(row), {**body, "why": "agreed", **changed})


def test_a_draft_gets_other_numbers_in_another_order_and_other_terms(staff: Client) -> None:
    numbers = [make_ready_number() for _ in range(3)]
    row = make_plan(numbers[:2])
    days = f"{numbers[2].number_e164}, {numbers[1].number_e164}"
    given = {"days": days, "steps": "10, 100", "approval": "every step", "first_day": "2026-12-01"}
    assert edit(staff, row, name="December", **given).status_code == 302
    row.refresh_from_db()
    plan, state = plan_of(row)
    assert plan.waves == ((str(numbers[2].pk), str(numbers[1].pk)),)
    assert [each.number_id for each in state.numbers] == list(plan.numbers)
    assert (plan.steps, plan.gates.approval, row.name) == ((10, 100), "every step", "December")
    assert plan.first_day == dt.date(2026, 12, 1)
    assert plan.quiet == ODD and plan.gates.soak == dt.timedelta(seconds=90), "left as they were"
    places = PlanNumber.objects.filter(plan=row).order_by("position")
    assert [place.number_id for place in places] == [numbers[2].pk, numbers[1].pk]
    entry = PlanEntry.objects.get(plan=row)
    assert set(entry.evidence) == {"name", "waves", "steps", "approval", "first_day"}
    assert entry.why == "agreed" and entry.evidence["steps"] == {
        "from": [5, 25, 50, 100],
        "to": [10, 100],
    }
    assert (
        b"Change it"
        in staff.get(reverse("admin:calls_migrationplan_change", args=[row.pk])).content
    )


def test_a_plan_that_is_on_keeps_its_numbers_and_the_days_that_have_begun(staff: Client) -> None:
    numbers = [make_ready_number() for _ in range(3)]
    row = make_plan(numbers)
    row = plan_start(row=row, actor=None, why="go", version=row.version)
    plans_tick(NOON)
    texts = [each.number_e164 for each in numbers]
    refused = {
        "days": ("\n".join(texts[:2]), "its numbers stay"),
        "zone": ("Europe/Berlin", "days are counted in UTC"),
        "first_day": ("2026-12-01", "first day has begun"),
    }
    for field, (value, words) in refused.items():
        answer = edit(staff, row, **{field: value})
        assert words in str(answer.context["form"].errors), field
    answer = edit(staff, row, days="\n".join((texts[1], texts[0], texts[2])))
    assert "first 1 day(s) have begun" in str(answer.context["form"].errors)
    assert (
        edit(
            staff, row, days="\n".join((texts[0], texts[2], texts[1])), least_calls="5"
        ).status_code
        == 302
    )
    row.refresh_from_db()
    plan, state = plan_of(row)
    assert plan.waves[1:] == ((str(numbers[2].pk),), (str(numbers[1].pk),))
    assert state.of(str(numbers[0].pk)).pending is not None, "what is on its way stays so"
    assert PlanNumber.objects.filter(plan=row, holds=True).count() == 3
    assert plan.gates.least_calls == 5 and row.status == "running"


def test_a_form_that_was_overtaken_changes_nothing(staff: Client) -> None:
    row = make_plan([make_ready_number()])
    form = staff.get(url(row)).context["form"]
    plan_start(row=row, actor=None, why="go", version=row.version)
    body = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    body = {name: value for name, value in body.items() if value not in (None, "", False)}
    answer = staff.post(url(row), {**body, "why": "late", "steps": "100"})
    assert "has changed since the page was opened" in str(answer.context["form"].errors)
    row.refresh_from_db()
    assert plan_of(row)[0].steps == (5, 25, 50, 100)


def test_numbers_of_others_and_blank_changes_are_refused(staff: Client, client: Client) -> None:
    row = make_plan([make_ready_number()])
    foreign = factories.make_number(factories.make_organisation())
    answer = edit(staff, row, days=foreign.number_e164)
    assert "no such number is here" in str(answer.context["form"].errors)
    assert "Nothing is different" in str(edit(staff, row).context["form"].errors)
    client.force_login(factories.make_staff(row.organisation, ["calls.view_migrationplan"]))
    assert client.get(url(row)).status_code == 403
