"""The API key of a Twilio account in its form: whole or not at all, and never shown again."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

KEY, SECRET = "SK" + "7" * 32, "planted-secret-of-the-key"


def test_a_key_is_stored_whole_and_never_shown(client: Client) -> None:
    account = factories.make_account()
    client.force_login(factories.make_superuser())
    url = reverse("admin:calls_twilioaccount_change", args=[account.pk])
    body = {
        "name": account.name,
        "account_sid": account.account_sid,
        "region": "ie1",
        "edge": "dublin",
        "auth_token": "",
        "auth_token_secondary": "",
        "api_key_sid": KEY,
        "api_key_secret": "",
    }
    alone = client.post(url, body)
    assert (alone.status_code, "goes with its secret" in alone.content.decode()) == (200, True)
    assert client.post(url, {**body, "api_key_secret": SECRET}).status_code == 302
    account.refresh_from_db()
    assert (account.api_key_sid, account.api_key_secret) == (KEY, SECRET)
    assert (account.region, account.edge) == ("ie1", "dublin")
    assert SECRET not in client.get(url).content.decode()
    assert client.post(url, body).status_code == 302, "an empty entry keeps the secret"
    cleared = {**body, "api_key_sid": "", "api_key_secret-clear": "1"}
    assert client.post(url, cleared).status_code == 302
    account.refresh_from_db()
    assert (account.api_key_sid, account.api_key_secret) == ("", "")
