"""The doctor's page: for superusers, checks only when asked, every finding with its fix."""

from __future__ import annotations

import pytest
from django.test import Client

from calls.admin import doctor as page
from calls.doctor import Result
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FINDINGS = [
    Result("redis", "ok", "answers"),
    Result("public URL", "failed", "<b>refused</b>", "Check DNS."),
]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the runs instead of asking the world."""
    seen: list[int] = []

    def run() -> list[Result]:
        seen.append(1)
        return FINDINGS

    monkeypatch.setattr(page, "run_checks", run)
    return seen


def test_opening_the_page_asks_nobody(client: Client, runs: list[int]) -> None:
    client.force_login(factories.make_superuser())
    assert client.get("/admin/doctor").status_code == 200
    assert runs == []


def test_the_worst_comes_first_with_its_fix_and_as_text(client: Client, runs: list[int]) -> None:
    client.force_login(factories.make_superuser())
    html = client.post("/admin/doctor").content.decode()
    assert html.index("Check DNS.") < html.index("answers")
    assert "&lt;b&gt;refused" in html
    assert AuditEntry.objects.filter(action="doctor.run").count() == 1


def test_staff_of_one_organisation_may_not(client: Client, runs: list[int]) -> None:
    client.force_login(factories.make_staff())
    assert client.post("/admin/doctor").status_code == 403
    assert runs == []
