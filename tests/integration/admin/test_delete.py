"""Deleting what something else still uses: refused on the page, with what uses it."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from assistants.selectors import NUMBER_KIND
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def _delete(client: Client, row: Model) -> str:
    """Confirm the deletion and return the page that follows."""
    page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_delete", args=[row.pk])
    return client.post(page, {"post": "yes"}, follow=True).content.decode()


def test_an_assistant_that_answers_a_number_is_not_deleted(staff: Client) -> None:
    number = factories.make_number()
    shown = _delete(staff, number.assistant)
    assert number.number_e164 in shown and "successfully" not in shown
    number.assistant.refresh_from_db()
    assert number.assistant.deleted_at is None
    assert not LogEntry.objects.exists()


def test_a_tool_that_an_assistant_uses_is_not_deleted(staff: Client) -> None:
    tool = factories.make_tool()
    assistant = factories.make_assistant(tools=[tool])
    shown = _delete(staff, tool)
    assert assistant.name in shown and "successfully" not in shown
    tool.refresh_from_db()
    assert tool.deleted_at is None


def test_what_nothing_uses_is_deleted_and_kept_for_past_calls(staff: Client) -> None:
    for row in (factories.make_assistant(), factories.make_tool()):
        assert "successfully" in _delete(staff, row)
        row.refresh_from_db()
        assert row.deleted_at is not None


def test_a_squad_that_answers_a_number_is_not_deleted(staff: Client) -> None:
    squad = factories.make_squad()
    number = factories.make_resource(
        kind=NUMBER_KIND, number="+15550100055", squadId=str(squad.pk), provider="vapi"
    )
    shown = _delete(staff, squad)
    assert "+15550100055" in shown and "successfully" not in shown
    squad.refresh_from_db()
    assert squad.deleted_at is None
    # What goes with a number is deleted with it, not here.
    page = reverse("admin:assistants_storedresource_delete", args=[number.pk])
    assert staff.get(page).status_code == 403


def test_a_personality_that_a_simulation_plays_is_not_deleted(staff: Client) -> None:
    personality = factories.make_resource(kind="eval/simulation/personality")
    simulation = factories.make_resource(kind="eval/simulation", personalityId=str(personality.pk))
    shown = _delete(staff, personality)
    assert simulation.name in shown and "successfully" not in shown
    for row in (simulation, personality):
        assert "successfully" in _delete(staff, row)
        row.refresh_from_db()
        assert row.deleted_at is not None
