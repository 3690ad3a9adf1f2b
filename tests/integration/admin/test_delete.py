"""Deleting what something else still uses: refused on the page, with what uses it."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client
from django.urls import reverse

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
