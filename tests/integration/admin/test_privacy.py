"""What was said and what is secret: shown to whom, recorded when, and never anywhere else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from calls.models import ProviderConnection, TwilioAccount
from tests import factories
from tests.integration.admin.planted import all_that_happens, whole_database
from tests.integration.admin.rows import OUTPUT, SAID, SPOKEN, make_world
from tools.models import Tool
from voiceplatform.base.models import ApiKey, AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SECRET = "planted-secret-0xC0FFEE"
# As the user part of an address travels: of a server, and of a proxy.
ENCODED = [base64.b64encode(f"{name}:{SECRET}".encode()).decode() for name in ("user", "me")]


def views() -> int:
    return AuditEntry.objects.filter(action="transcript.view").count()


def call_url(world: dict[str, Any]) -> str:
    return reverse("admin:calls_call_change", args=[world["calls.call"].pk])


def test_call_page_shows_what_was_said_and_every_view_is_recorded(client: Client) -> None:
    world = make_world()
    organisation = world["base.organisation"]
    staff = factories.make_staff(organisation, ["calls.view_call", "calls.view_transcript"])
    client.force_login(staff)
    for view in (1, 2, 3):
        text = client.get(call_url(world)).content.decode()
        assert all(said in text for said in SAID)
        assert views() == view
    entry = AuditEntry.objects.filter(action="transcript.view").first()
    assert entry is not None
    assert entry.actor == f"user:{staff.username}"
    assert entry.organisation == organisation
    assert entry.target_id == str(world["calls.call"].pk)
    assert not any(said in str(entry.details) for said in SAID)


def test_without_the_permission_no_word_is_in_the_page(client: Client) -> None:
    world = make_world()
    client.force_login(factories.make_staff(world["base.organisation"], ["calls.view_call"]))
    text = client.get(call_url(world)).content.decode()
    assert not any(said in text for said in SAID)
    assert "calls.view_transcript" in text
    assert "3 turns" in text
    assert "<svg" in text  # who spoke when is no secret
    assert views() == 0


def test_answer_of_a_receiver_needs_the_permission_and_is_recorded(client: Client) -> None:
    world = make_world()
    url = reverse("admin:calls_deliveryattempt_change", args=[world["calls.deliveryattempt"].pk])
    organisation = world["base.organisation"]
    client.force_login(factories.make_staff(organisation, ["calls.view_deliveryattempt"]))
    assert SPOKEN not in client.get(url).content.decode()
    assert views() == 0
    client.force_login(
        factories.make_staff(organisation, ["calls.view_deliveryattempt", "calls.view_transcript"])
    )
    assert SPOKEN in client.get(url).content.decode()
    assert views() == 1


def test_bodies_of_a_tool_request_need_the_permission_and_are_recorded(client: Client) -> None:
    world = make_world()
    url = reverse("admin:calls_toolexchange_change", args=[world["calls.toolexchange"].pk])
    organisation = world["base.organisation"]
    client.force_login(factories.make_staff(organisation, ["calls.view_toolexchange"]))
    text = client.get(url).content.decode()
    assert SPOKEN not in text and OUTPUT not in text
    assert "HTTP 200" in text
    assert views() == 0
    client.force_login(
        factories.make_staff(organisation, ["calls.view_toolexchange", "calls.view_transcript"])
    )
    text = client.get(url).content.decode()
    assert SPOKEN in text and OUTPUT in text
    assert views() == 1


@pytest.mark.parametrize(
    "query",
    [
        *("turn/?text__icontains=parrot", "turn/?text_unheard__startswith=u"),
        *("toolinvocation/?arguments_json__contains=a", "toolinvocation/?output__contains=o"),
        *("call/?turns__text__icontains=parrot", "deliveryattempt/?response_excerpt__contains=a"),
        *("call/?media_token_hash__startswith=a", "toolexchange/?url_shown__contains=a"),
        "toolinvocation/?exchange__url_shown__contains=a",
    ],
)
def test_words_cannot_be_guessed_through_the_address_bar(client: Client, query: str) -> None:
    make_world()
    client.force_login(factories.make_superuser())
    response = client.get(f"/admin/calls/{query}")
    assert response.status_code in (302, 400)
    if response.status_code == 302:
        assert response["location"].endswith("?e=1")


def test_markup_in_what_was_said_is_escaped(client: Client) -> None:
    planted = "<script>alert(1)</script><img src=x onerror=alert(2)><b x-data x-init='a'>"
    call = factories.make_call(turns=[{"text": planted}, {"text_unheard": planted}], caller=planted)
    client.force_login(factories.make_superuser())
    for url in (
        reverse("admin:calls_call_change", args=[call.pk]),
        reverse("admin:calls_call_changelist"),
        reverse("admin:index"),
    ):
        text = client.get(url).content.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b x-data" not in text


def around(text: str) -> list[str]:
    """Return what stands about the secret, each form in which it is found once."""
    places = [text.find(form) for form in (SECRET, *ENCODED)]
    return [text[max(0, place - 200) : place + 40] for place in places if place >= 0]


def everything_shown(client: Client, world: dict[str, Any]) -> str:
    """Return the text of every admin page and REST answer about ``world``."""
    texts = []
    for label in (model._meta.label_lower for model in admin.site._registry):
        name = label.replace(".", "_")
        for url in (
            reverse(f"admin:{name}_changelist"),
            reverse(f"admin:{name}_change", args=[world[label].pk]),
            reverse(f"admin:{name}_history", args=[world[label].pk]),
            reverse(f"admin:{name}_add"),
        ):
            texts.append(client.get(url).content.decode())
    for label in ("tools.tool", "tools.servercredential", "calls.call"):
        model = apps.get_model(label)
        for row in model._default_manager.filter(organisation=world["base.organisation"]):
            name = label.replace(".", "_")
            texts.append(
                client.get(reverse(f"admin:{name}_change", args=[row.pk])).content.decode()
            )
    _, clear = factories.make_api_key(
        world["base.organisation"], scopes=("read", "write", "transcripts")
    )
    headers = {"authorization": f"Bearer {clear}"}
    for path in ("/assistant", "/tool", "/phone-number", "/call", "/credential"):
        texts.append(client.get(path, headers=headers).content.decode())
        for row in client.get(path, headers=headers).json():
            texts.append(client.get(f"{path}/{row['id']}", headers=headers).content.decode())
    texts += [str(entry.details) for entry in AuditEntry.objects.all()]
    texts += [entry.change_message for entry in LogEntry.objects.all()]
    return "\n".join(texts)


def test_no_page_answer_history_row_log_or_export_contains_a_planted_secret(
    client: Client,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    organisation = factories.make_organisation()
    world = make_world(organisation)
    client.force_login(factories.make_superuser())
    tool = world["tools.tool"]
    posts: list[tuple[str, Any, dict[str, Any]]] = [
        (
            "calls_twilioaccount",
            world["calls.twilioaccount"],
            {
                "name": "a",
                "account_sid": world["calls.twilioaccount"].account_sid,
                "region": "us1",
                "auth_token": SECRET,
                "auth_token_secondary": SECRET,
            },
        ),
        (
            "tools_tool",
            tool,
            {
                "name": "t",
                "parameters": "{}",
                "server_url": f"https://u:{SECRET}@h.example/?token={SECRET}",
                "server_secret": SECRET,
                "timeout_seconds": "20",
            },
        ),
        (
            "assistants_assistant",
            world["assistants.assistant"],
            {
                "name": "n",
                "first_message_mode": "assistant-speaks-first",
                "voice": "cedar",
                "language": "de",
                "max_duration_seconds": "60",
                "server_url": f"https://h.example/?api_key={SECRET}",
                "server_secret": SECRET,
            },
        ),
    ]
    for name, obj, body in posts:
        response = client.post(reverse(f"admin:{name}_change", args=[obj.pk]), body)
        assert response.status_code == 302, response.context["adminform"].form.errors
    connection = world["calls.providerconnection"]
    ProviderConnection.objects.filter(pk=connection.pk).update(api_key=SECRET)
    _, clear = factories.make_api_key(organisation)
    for path, body in (
        (
            "/assistant",
            {
                "name": "via api",
                "server": {
                    "url": f"https://h.example/?token={SECRET}",
                    "secret": SECRET,
                    "headers": {"Authorization": f"Bearer {SECRET}", "X-Plain": "plain"},
                },
                "serverUrlSecret": SECRET,
                "credentials": [{"provider": "openai", "apiKey": SECRET}],
                "model": {
                    "provider": "openai",
                    "model": "gpt-realtime-2.1",
                    "tools": [{"type": "function", "server": {"secret": SECRET}}],
                },
            },
        ),
        ("/tool", {"type": "function", "function": {"name": "f"}, "server": {"secret": SECRET}}),
    ):
        response = client.post(
            path,
            data=body,
            content_type="application/json",
            headers={"authorization": f"Bearer {clear}"},
        )
        assert response.status_code == 201, response.content
        assert SECRET not in response.content.decode()
    assert TwilioAccount.objects.get(pk=world["calls.twilioaccount"].pk).auth_token == SECRET
    assert Tool.objects.get(pk=tool.pk).server_secret == SECRET
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    happened = all_that_happens(client, world, SECRET, folder=tmp_path, monkeypatch=monkeypatch)
    assert around(happened) == []
    shown = everything_shown(client, world)
    assert "planted_tool" in shown and "planted_hmac" in shown
    assert around(shown) == []
    assert clear not in shown
    stored = whole_database()
    assert "planted_tool" in stored
    assert around(stored) == []
    assert clear not in stored
    logged = caplog.text + "".join(capsys.readouterr())
    assert "tool_answered" in logged
    assert around(logged) == []


def test_an_empty_secret_keeps_and_the_box_clears(client: Client) -> None:
    account = factories.make_account(auth_token="first", auth_token_secondary="second")
    client.force_login(factories.make_superuser())
    url = reverse("admin:calls_twilioaccount_change", args=[account.pk])
    body = {"name": "renamed", "account_sid": account.account_sid, "region": "us1"}
    empty = {"auth_token": "", "auth_token_secondary": ""}
    assert client.post(url, body | empty).status_code == 302
    account.refresh_from_db()
    assert (account.name, account.auth_token) == ("renamed", "first")
    assert account.auth_token_secondary == "second"
    assert client.post(url, body | empty | {"auth_token_secondary-clear": "1"}).status_code == 302
    account.refresh_from_db()
    assert account.auth_token_secondary == ""
    assert client.post(url, body | {"auth_token": "third"}).status_code == 302
    account.refresh_from_db()
    assert account.auth_token == "third"
    # A required secret cannot be cleared, and a new row must have it.
    assert client.post(url, body | empty | {"auth_token-clear": "1"}).status_code == 200
    add = reverse("admin:calls_twilioaccount_add")
    fresh = (
        body | empty | {"account_sid": factories.sid("AC"), "organisation": account.organisation_id}
    )
    assert "auth_token" in client.post(add, fresh).context["adminform"].form.errors


def test_a_new_key_is_shown_once_and_works(client: Client) -> None:
    organisation = factories.make_organisation()
    client.force_login(factories.make_superuser())
    response = client.post(
        reverse("admin:base_apikey_add"),
        {"organisation": organisation.pk, "name": "CI", "scopes": ["read"]},
    )
    assert response.status_code == 200
    key = ApiKey.objects.get(name="CI")
    clear = response.context["clear"]
    assert clear in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert (key.organisation, key.scopes) == (organisation, ["read"])
    headers = {"authorization": f"Bearer {clear}"}
    assert client.get("/assistant", headers=headers).status_code == 200
    later = client.get(reverse("admin:base_apikey_change", args=[key.pk])).content.decode()
    assert clear not in later and key.key_hash not in later
    client.post(
        reverse("admin:base_apikey_changelist"),
        {"action": "revoke", "_selected_action": [str(key.pk)]},
    )
    assert client.get("/assistant", headers=headers).status_code == 401
