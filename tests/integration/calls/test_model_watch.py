"""A configured model that ends is told of: by known dates, by what its provider lists."""

from __future__ import annotations

import csv
import datetime as dt
from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants import model_dates
from assistants.model_dates import endings
from calls.doctor import checks
from calls.models import ProviderConnection
from calls.services.model_watch import KIND, model_warnings, models_look
from tests import factories
from voiceplatform.base import http
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

TODAY = dt.date(2026, 11, 22)


class Provider:
    """Answers ``GET /models`` of every connection; counts how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: list[Any] = [{"id": "gpt-realtime-2.1", "shutdown_date": None}]
        self.status = 200
        self.asked: list[str] = []
        transport = httpx.MockTransport(self._answer)
        monkeypatch.setattr(http, "client", lambda **_: httpx.Client(transport=transport))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return httpx.Response(self.status, json={"object": "list", "data": self.models})


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    return Provider(monkeypatch)


def _told(**options: Any) -> list[tuple[str, str, bool]]:
    found = model_warnings(today=options.pop("today", TODAY), **options)
    return [(each.used_by, each.model, each.is_urgent) for each in found]


def test_a_known_date_is_told_ahead_and_urgent_in_the_last_month() -> None:
    factories.make_connection(name="old", model="gpt-realtime")
    assert _told(today=dt.date(2026, 9, 21)) == []
    assert _told() == [("connection old", "gpt-realtime", False)]
    assert _told(today=dt.date(2026, 12, 21)) == [("connection old", "gpt-realtime", True)]
    (warning,) = model_warnings(today=dt.date(2027, 1, 19))
    assert "in 1 day" in warning.words
    assert "gpt-realtime-2.1" in warning.fix
    (gone,) = model_warnings(today=dt.date(2027, 1, 20))
    assert (gone.is_urgent, "was shut down" in gone.words) == (True, True)


def test_o27_names_at_azure_are_deployments_and_have_no_date_here() -> None:
    factories.make_connection(
        dialect="azure_ga",
        realtime_url="wss://r.openai.azure.com/openai/v1/realtime",
        model="gpt-realtime",
    )
    assert _told() == []


def test_a_transcriber_and_an_assistant_s_own_model_count_too() -> None:
    factories.make_connection(name="c", transcription_model="whisper-1")
    factories.make_assistant(name="Desk", model="gpt-realtime-mini")
    # The connection's model answers for this one.
    factories.make_assistant(name="Chat", model="gpt-4o-transcribe")
    assert _told() == [
        ("assistant Desk", "gpt-realtime-mini", False),
        ("connection c", "whisper-1", False),
    ]


def test_what_the_provider_lists_is_kept_once_a_day(provider: Provider) -> None:
    row = factories.make_connection(name="c", model="gpt-realtime-2.1")
    now = timezone.now()
    assert models_look(now=now) == 1
    assert _told() == []
    provider.models = [
        {"id": "gpt-realtime-2.1", "shutdown_date": "2027-01-01"},
        {"id": "gpt-4", "shutdown_date": "2026-12-01"},
    ]
    assert models_look(now=now + dt.timedelta(hours=1)) == 0
    assert _told() == []
    assert models_look(now=now + dt.timedelta(hours=24)) == 1
    assert _told() == [("connection c", "gpt-realtime-2.1", False)]
    provider.models = [{"id": "gpt-realtime-3"}]
    models_look(now=now + dt.timedelta(hours=48))
    (missing,) = model_warnings(today=TODAY)
    assert (missing.is_urgent, "no more" in missing.words) == (True, True)
    # One row, written over; nothing of the key in it.
    (job,) = Job.objects.filter(kind=KIND)
    assert row.api_key not in str(job.result) + job.message
    assert len(provider.asked) == 3


@pytest.mark.parametrize("odd", [None, [], [5, {"id": 7}, {"shutdown_date": "x"}], "text"])
def test_a_provider_that_lists_nothing_of_use_warns_of_nothing(
    provider: Provider, odd: Any
) -> None:
    factories.make_connection()
    provider.models = odd
    models_look()
    assert _told() == []
    provider.status = 500
    models_look(now=timezone.now() + dt.timedelta(days=2))
    assert _told() == []


def test_a_day_that_is_none_is_ignored(provider: Provider) -> None:
    factories.make_connection()
    provider.models = [{"id": "gpt-realtime-2.1", "shutdown_date": "soon"}]
    models_look()
    assert _told() == []


def test_the_first_page_shows_it_to_the_own_organisation_only(client: Client) -> None:
    mine, other = factories.make_organisation(), factories.make_organisation()
    ProviderConnection.objects.all().delete()
    factories.make_connection(mine, name="<b>mine</b>", model="gpt-4o-realtime-preview")
    factories.make_connection(other, name="theirs", model="gpt-4o-realtime-preview")
    client.force_login(factories.make_staff(mine, ["calls.view_providerconnection"]))
    page = client.get(reverse("admin:index")).content.decode()
    assert "&lt;b&gt;mine" in page
    assert "was shut down on 2026-05-07" in page
    assert "theirs" not in page
    client.force_login(factories.make_staff(mine, ["calls.view_call"]))
    assert "was shut down" not in client.get(reverse("admin:index")).content.decode()


def test_doctor_fails_on_a_model_that_is_gone() -> None:
    factories.make_connection(name="c", model="gpt-4o-realtime-preview")
    (result,) = checks._retirements()
    assert (result.check, result.state) == ("retirement connection c", "failed")
    assert result.fix


def test_every_line_of_the_file_is_a_date_with_a_successor_that_lasts_and_a_source() -> None:
    text = model_dates._FILE.read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in text if not line.startswith("#")))
    assert len(rows) == len(endings())
    for row in rows:
        dt.date.fromisoformat(row["shutdown"])
        assert row["successor"] not in endings()
        assert row["source"]
