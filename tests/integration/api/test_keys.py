"""API keys: scopes per route, expiry, what the audit trail and the admin say of them."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests import factories
from voiceplatform.base import services
from voiceplatform.base.models import ApiKey, AuditEntry
from voiceplatform.base.rest import ApiView

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def key_with(*scopes: str) -> dict[str, str]:
    """Return the headers of a new key."""
    _, clear = factories.make_api_key(factories.make_organisation(), scopes=scopes)
    return {"authorization": f"Bearer {clear}"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/assistant", "read"),
        ("POST", "/assistant", "write"),
        ("PATCH", "/assistant/x", "write"),
        ("DELETE", "/assistant/x", "write"),
        ("GET", "/call", "read"),
        ("POST", "/call", "calls"),
        ("DELETE", "/call/x", "calls"),
        ("PATCH", "/call/x", "calls"),
    ],
)
def test_each_route_needs_its_scope_and_the_refusal_names_it(
    method: str, path: str, scope: str
) -> None:
    others = sorted(set(services.SCOPES) - {scope})
    client = Client()
    for headers in (key_with(), key_with(*others)):
        answer = client.generic(method, path, "{}", "application/json", headers=headers)
        assert answer.status_code == 403
        assert answer.json() == {
            "message": f"This key lacks the scope '{scope}'.",
            "error": "Forbidden",
            "statusCode": 403,
        }
    answer = client.generic(method, path, "{}", "application/json", headers=key_with(scope))
    assert answer.status_code not in {401, 403}


def test_a_view_names_only_scopes_that_exist() -> None:
    pending, seen = [ApiView], 0
    while pending:
        view = pending.pop()
        pending += view.__subclasses__()
        assert {view.scope_for("GET"), view.scope_for("POST")} <= set(services.SCOPES), view
        seen += 1
    assert seen > 4


def test_a_key_stops_at_its_expiry() -> None:
    organisation = factories.make_organisation()
    now = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    with time_machine.travel(now, tick=False) as clock:
        key, clear = services.api_key_create(
            organisation=organisation, name="k", expires_at=now + dt.timedelta(days=1)
        )
        headers = {"authorization": f"Bearer {clear}"}
        clock.shift(dt.timedelta(hours=23, minutes=59))
        assert Client().get("/tool", headers=headers).status_code == 200
        clock.shift(dt.timedelta(minutes=1))
        refused = Client().get("/tool", headers=headers)
        assert (refused.status_code, "Invalid Key" in refused.json()["message"]) == (401, True)
    made = AuditEntry.objects.get(action="api_key.create", target_id=str(key.pk))
    assert made.details["expires_at"].startswith("2027-01-02")
    with pytest.raises(services.ExpiryInThePast):
        services.api_key_create(organisation=organisation, name="k", expires_at=timezone.now())


def test_last_use_is_written_at_most_once_a_minute(django_assert_num_queries: Any) -> None:
    key, clear = factories.make_api_key(factories.make_organisation())
    now = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    with time_machine.travel(now, tick=False) as clock:
        assert services.api_key_check(clear) is not None
        clock.shift(60)
        with django_assert_num_queries(1):
            assert services.api_key_check(clear) is not None
        clock.shift(1)
        with django_assert_num_queries(2):
            assert services.api_key_check(clear) is not None
    key.refresh_from_db()
    assert key.last_used_at == now + dt.timedelta(seconds=61)


def test_create_api_key_sets_an_expiry() -> None:
    out = io.StringIO()
    call_command("create_api_key", "--name=x", "--expires-days=30", "--json", stdout=out)
    answer = json.loads(out.getvalue())
    left = ApiKey.objects.get(pk=answer["id"]).expires_at
    assert left is not None
    assert dt.timedelta(days=29, hours=23) < left - timezone.now() <= dt.timedelta(days=30)
    assert answer["expiresAt"] == left.isoformat()
    for days in ("0", "-1", "3651"):
        with pytest.raises(CommandError) as refused:
            call_command("create_api_key", "--name=x", f"--expires-days={days}")
        assert refused.value.returncode == 2


def test_admin_makes_a_key_with_an_expiry_and_shows_when_it_is_over(client: Client) -> None:
    organisation = factories.make_organisation()
    client.force_login(factories.make_superuser())
    form = {"organisation": organisation.pk, "name": "CI", "scopes": ["read", "calls"]}
    url = reverse("admin:base_apikey_add")
    late = client.post(url, form | {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"})
    assert "expires_at" in late.context["adminform"].form.errors
    assert not ApiKey.objects.filter(name="CI").exists()
    made = client.post(url, form | {"expires_at_0": "2099-01-01", "expires_at_1": "00:00:00"})
    assert "2099-01-01 00:00 UTC" in made.content.decode()
    key = ApiKey.objects.get(name="CI")
    assert key.expires_at == dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    listing = reverse("admin:base_apikey_changelist")
    assert "expired" not in client.get(listing).content.decode().casefold()
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    assert "expired" in client.get(listing).content.decode().casefold()
