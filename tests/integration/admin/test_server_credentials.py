"""The forms of credentials and of the server for tools without one: in goes a secret, out none."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.services.tool_servers import credential_of, server_for
from tests import factories
from tools.models import DefaultServer, ServerCredential
from tools.servers import Bearer, Hmac, OAuth2, Passage

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

ADD = "admin:tools_servercredential_add"
CHANGE = "admin:tools_servercredential_change"
CREDENTIAL_ID = uuid.UUID("7a9f5a0e-8a34-4c0e-9a57-8e8b7a1d9a01")


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def form(**changes: Any) -> dict[str, Any]:
    return {
        "organisation": factories.default_organisation().pk,
        "name": "Desk",
        "credential_id": str(CREDENTIAL_ID),
        "kind": "bearer",
        "token": "hidden-token",
        "has_prefix": "on",
        "algorithm": "sha256",
        "include_timestamp": "on",
        "encoding": "hex",
        **changes,
    }


def used() -> Any:
    """Return what a tool that names the credential is asked with."""
    return credential_of(factories.default_organisation().pk, str(CREDENTIAL_ID))


def test_a_secret_in_the_address_of_a_token_server_is_shown_as_a_mask_and_kept(
    staff: Client,
) -> None:
    fields = {"kind": "oauth2", "client_id": "me", "client_secret": "s"}
    url = "https://me:hidden-pw@auth.example.com/token?api_key=hidden-key"
    assert staff.post(reverse(ADD), form(**fields, token_url=url)).status_code == 302
    change = reverse(CHANGE, args=[ServerCredential.objects.get().pk])
    page = staff.get(change)
    assert "hidden-" not in page.content.decode()
    shown = page.context["adminform"].form.initial["token_url"]
    answer = staff.post(change, form(**{**fields, "client_secret": "", "token_url": shown}))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert used()[0] == OAuth2(url, "me", "s")


@pytest.mark.parametrize(
    ("fields", "credential"),
    [
        ({}, Bearer("hidden-token")),
        (
            {"header_name": "X-Vapi-Secret", "has_prefix": ""},
            Bearer("hidden-token", "X-Vapi-Secret", False),
        ),
        (
            {
                "kind": "oauth2",
                "token_url": "https://auth.example.com/token",
                "client_id": "me",
                "client_secret": "hidden-secret",
            },
            OAuth2("https://auth.example.com/token", "me", "hidden-secret"),
        ),
        ({"kind": "hmac", "secret_key": "hidden-key"}, Hmac("hidden-key")),
        (
            {
                "kind": "hmac",
                "secret_key": "hidden-key",
                "algorithm": "sha512",
                "signature_header": "svix-signature",
                "include_timestamp": "",
                "encoding": "base64",
            },
            Hmac(
                "hidden-key",
                algorithm="sha512",
                signature_header="svix-signature",
                include_timestamp=False,
                encoding="base64",
            ),
        ),
    ],
)
def test_what_is_entered_is_what_a_server_is_asked_with(
    staff: Client, fields: dict[str, Any], credential: Any
) -> None:
    answer = staff.post(reverse(ADD), form(**fields))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert used() == (credential, None)
    row = ServerCredential.objects.get()
    page = staff.get(reverse(CHANGE, args=[row.pk])).content.decode()
    assert not [
        secret for secret in ("hidden-token", "hidden-secret", "hidden-key") if secret in page
    ]
    # Nothing typed keeps the secret; the rest of the plan is shown and kept.
    untold = {"token": "", "client_secret": "", "secret_key": ""}
    kept = form(**{**fields, **untold, "name": "Front desk"})
    answer = staff.post(reverse(CHANGE, args=[row.pk]), kept)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert used() == (credential, None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"token": ""}, "token"),
        ({"kind": "oauth2", "client_secret": "s", "client_id": "me"}, "token_url"),
        (
            {"kind": "oauth2", "client_secret": "s", "client_id": "me", "token_url": "ftp://x"},
            "token_url",
        ),
        ({"kind": "hmac"}, "secret_key"),
        ({"certificate_pem": "-----BEGIN CERTIFICATE-----"}, "certificate_pem"),
        ({"proxy_url": "socks5://x"}, "proxy_url"),
    ],
)
def test_what_cannot_work_is_refused_beside_its_field(
    staff: Client, fields: dict[str, Any], field: str
) -> None:
    answer = staff.post(reverse(ADD), form(**fields))
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    assert not ServerCredential.objects.exists()


def test_another_kind_forgets_the_secret_of_the_old_one(staff: Client) -> None:
    staff.post(reverse(ADD), form())
    row = ServerCredential.objects.get()
    proxied = form(kind="none", token="", proxy_url="http://me:pw@proxy.example.com:3128")
    assert staff.post(reverse(CHANGE, args=[row.pk]), proxied).status_code == 302
    assert used() == (None, Passage(proxy_url="http://me:pw@proxy.example.com:3128"))
    assert ServerCredential.objects.get().plan is None
    again = staff.post(reverse(CHANGE, args=[row.pk]), form(token=""))
    assert "token" in again.context["adminform"].form.errors


def test_the_server_of_an_organisation_answers_tools_without_one(staff: Client) -> None:
    staff.post(reverse(ADD), form())
    fields = {
        "organisation": factories.default_organisation().pk,
        "url": "https://tools.example.com/default?token=hidden-query",
        "secret": "hidden-shared",
        "headers_entered": "X-Team: desk\nX-Key: hidden-header",
        "timeout_seconds": 30,
        "credential": ServerCredential.objects.get().pk,
    }
    wrong = staff.post(
        reverse("admin:tools_defaultserver_add"), fields | {"headers_entered": "no header"}
    )
    assert "headers_entered" in wrong.context["adminform"].form.errors
    answer = staff.post(reverse("admin:tools_defaultserver_add"), fields)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    server = server_for(factories.make_tool(server_url=""), None)
    assert server is not None
    assert (server.url, server.secret) == (fields["url"], "hidden-shared")
    assert server.headers == {"X-Team": "desk", "X-Key": "hidden-header"}
    assert server.credential == Bearer("hidden-token")
    row = DefaultServer.objects.get()
    pages = [
        reverse("admin:tools_defaultserver_change", args=[row.pk]),
        reverse("admin:tools_defaultserver_changelist"),
    ]
    for url in pages:
        page = staff.get(url).content.decode()
        assert "tools.example.com" in page
        for secret in ("hidden-query", "hidden-shared", "hidden-header", "hidden-token"):
            assert secret not in page
