"""Generated: every URL is asked for another organisation's ids, and no list shows its rows.

The patterns come from Django's resolver, so a new page or route is covered the moment it exists;
one that takes an id this module cannot supply fails the test instead of passing unseen.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from assistants.models import StoredResource
from tests import factories
from tests.integration.admin.rows import SPOKEN, make_world
from voiceplatform.base.models import Membership
from voiceplatform.base.services import SCOPES

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

# Rows that no organisation owns: superusers only, so staff get 403 before any id is looked at.
SHARED = {"auth.group", "base.encryptioncanary", "base.redactedtable"}
LABELS = sorted(
    label for label in (m._meta.label_lower for m in admin.site._registry) if label not in SHARED
)
REST_OBJECTS = {
    "assistant-detail": "assistants.assistant",
    "tool-detail": "tools.tool",
    "call-detail": "calls.call",
    "phone-number-detail": "calls.phonenumber",
    "squad-detail": "assistants.squad",
    **{
        f"{kind.replace('/', '-')}-detail": f"resource.{kind}"
        for kind in StoredResource.Kind.values
    },
}
# Routes below an object that have no list of their own.
REST_PARTS = {
    "file-content": "resource.file",
    "call-transcript": "calls.call",
    "call-mono-recording": "calls.call",
    "call-stereo-recording": "calls.call",
    "phone-number-moves": "calls.phonenumber",
    "phone-number-readiness": "calls.phonenumber",
    "phone-number-dossier": "calls.phonenumber",
}
# Commands: routes below an object that only take a POST, with a body that is right.
REST_COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "call-control": ("calls.call", {"type": "end-call"}),
    "phone-number-route": ("calls.phonenumber", {"route": "paused"}),
    "phone-number-move": ("calls.phonenumber", {}),
    "phone-number-restore": ("calls.phonenumber", {}),
}
# Patterns with parameters that are no stored id of an organisation, each with its reason.
NOT_TENANT_IDS = {
    "admin/(?P<url>.*)$": "the admin's catch-all",
    "tool-shim/<str:token>": "the address is a secret of its own, as a tool server's is",
    "admin/r/<path:content_type_id>/<path:object_id>/": "leads to a public page; none exists",
}


def patterns(resolver: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns(entry, prefix + str(entry.pattern))
        else:
            yield prefix + str(entry.pattern), entry


def with_parameters() -> list[tuple[str, URLPattern]]:
    return [
        (route, entry)
        for route, entry in patterns(get_resolver())
        if "<" in route and not route.startswith("^static") and not route.startswith("twilio/")
    ]


def label_of(route: str, entry: URLPattern) -> str | None:
    """Return which model's id a pattern takes, or None when it is known to take none."""
    known = REST_OBJECTS | REST_PARTS | {name: label for name, (label, _) in REST_COMMANDS.items()}
    if entry.name in known:
        return known[entry.name]
    match = re.match(r"admin/([a-z]+)/([a-z]+)/", route)
    if match:
        return f"{match[1]}.{match[2]}"
    if route in NOT_TENANT_IDS:
        return None
    if route.startswith("admin/^(?P<app_label>"):
        return None  # the index of an app
    raise AssertionError(f"{route}: say in this module which model's id it takes")


def fill(route: str, entry: URLPattern, world: dict[str, Any], label: str) -> str:
    value = str(world[label].pk)
    path = re.sub(r"<[^>]+>", value, route)
    assert "(" not in path, f"{route}: a regular expression; give it a path() instead"
    return "/" + path.replace("^", "").replace("$", "")


@pytest.fixture
def worlds() -> tuple[dict[str, Any], dict[str, Any]]:
    return make_world(), make_world()


def test_every_pattern_with_a_parameter_is_known() -> None:
    found = with_parameters()
    assert len(found) > 60
    for route, entry in found:
        label_of(route, entry)


def test_admin_pages_of_another_organisation_are_404(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    client.force_login(factories.make_staff(mine["base.organisation"], "all"))
    seen = 0
    for route, entry in with_parameters():
        label = label_of(route, entry)
        if label is None or label in SHARED or not route.startswith("admin/"):
            continue
        url = fill(route, entry, theirs, label)
        for method in ("get", "post"):
            status = getattr(client, method)(url).status_code
            if status in (301, 302):  # Django's shortcut from /<id>/ to /<id>/change/
                status = client.get(url, follow=True).status_code
            # Pages that only a superuser or nobody may open, and pages that only take the other
            # method, refuse before they look.
            forbidden = {403, 404} if method == "post" or "/delete/" in url else {404, 405}
            assert status in forbidden, f"{method} {url}: {status}"
        seen += 1
    assert seen >= 4 * len(LABELS)


def test_admin_pages_of_the_own_organisation_open(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """The counterpart: the test above would pass if everything were 404."""
    mine, _ = worlds
    client.force_login(factories.make_staff(mine["base.organisation"], "all"))
    for label in LABELS:
        name = label.replace(".", "_")
        assert client.get(reverse(f"admin:{name}_change", args=[mine[label].pk])).status_code == 200


def test_lists_and_searches_show_no_foreign_row(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    client.force_login(factories.make_staff(mine["base.organisation"], "all"))
    for label in LABELS:
        url = reverse(f"admin:{label.replace('.', '_')}_changelist")
        # One row is a page of its own, so the first reads the rows as a list of all rows does.
        for query in ("", "?q=a&all=1"):
            response = client.get(url + query)
            if response.status_code == 302:
                continue
            rows = response.context["cl"].queryset
            assert theirs[label].pk not in set(rows.values_list("pk", flat=True)), url + query
            text = response.content.decode()
            assert theirs["base.organisation"].name not in text, url + query
            assert str(theirs[label].pk) not in text or isinstance(theirs[label].pk, int)


def test_choices_and_autocomplete_offer_no_foreign_row(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    client.force_login(factories.make_staff(mine["base.organisation"], "all"))
    for model, model_admin in admin.site._registry.items():
        for field_name in model_admin.autocomplete_fields:
            field = model._meta.get_field(field_name)
            label = field.related_model._meta.label_lower
            answer = client.get(
                reverse("admin:autocomplete"),
                {
                    "app_label": model._meta.app_label,
                    "model_name": model._meta.model_name,
                    "field_name": field_name,
                },
            ).json()
            offered = {row["id"] for row in answer["results"]}
            assert str(theirs[label].pk) not in offered
            assert str(mine[label].pk) in offered
    for label in LABELS:
        response = client.get(reverse(f"admin:{label.replace('.', '_')}_add"))
        if response.status_code != 200:
            continue
        for field in response.context["adminform"].form.fields.values():
            queryset = getattr(field, "queryset", None)
            if queryset is None or queryset.model._meta.label_lower not in theirs:
                continue
            foreign = theirs[queryset.model._meta.label_lower]
            if queryset.model._meta.label_lower not in SHARED:
                assert not queryset.filter(pk=foreign.pk).exists(), f"{label}: {field.label}"


def test_foreign_rows_cannot_be_tied_in_by_posting_their_ids(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    number = mine["calls.phonenumber"]
    url = reverse("admin:calls_phonenumber_change", args=[number.pk])
    body = {
        "number_e164": number.number_e164,
        "name": "x",
        "route": "direct",
        "canary_percent": 0,
        "twilio_account": theirs["calls.twilioaccount"].pk,
        "assistant": theirs["assistants.assistant"].pk,
        "connection": theirs["calls.providerconnection"].pk,
        "policy": theirs["calls.callpolicy"].pk,
        "max_call_seconds": 60,
        "max_tool_calls": 5,
        "max_spend_usd": "1.00",
    }
    staff = factories.make_staff(mine["base.organisation"], "all")
    for user in (staff, factories.make_superuser()):
        client.force_login(user)
        response = client.post(url, body)
        assert response.status_code == 200
        errors = response.context["adminform"].form.errors
        assert {"twilio_account", "assistant", "connection", "policy"} <= set(errors)
    number.refresh_from_db()
    assert number.assistant_id == mine["assistants.assistant"].pk


def test_staff_cannot_lift_themselves_up(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    staff = factories.make_staff(mine["base.organisation"], "all")
    client.force_login(staff)
    url = reverse("admin:auth_user_change", args=[staff.pk])
    form = client.get(url).context["adminform"].form
    assert not {"is_superuser", "groups", "user_permissions"} & set(form.fields)
    superuser = factories.make_superuser()
    assert client.get(reverse("admin:auth_user_change", args=[superuser.pk])).status_code == 404
    # A person who also belongs elsewhere can be seen and not changed: the password opens both.
    shared = factories.make_staff(mine["base.organisation"])
    Membership.objects.create(user=shared, organisation=theirs["base.organisation"])
    change = reverse("admin:auth_user_change", args=[shared.pk])
    assert client.get(change).status_code == 200
    assert client.post(change, {"username": "stolen"}).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[shared.pk])
    assert client.get(password).status_code == 403


def test_rest_objects_of_another_organisation_are_404(
    client: Client,
    worlds: tuple[dict[str, Any], dict[str, Any]],
    silent_twilio: Callable[[], None],
) -> None:
    mine, theirs = worlds
    silent_twilio()
    _, clear = factories.make_api_key(mine["base.organisation"], scopes=tuple(SCOPES))
    headers = {"authorization": f"Bearer {clear}"}
    seen = 0
    for route, entry in with_parameters():
        if route.startswith("admin/"):
            continue
        label = label_of(route, entry)
        if label is None:
            continue
        url = fill(route, entry, theirs, label)
        if entry.name in REST_COMMANDS:
            body = json.dumps(REST_COMMANDS[entry.name][1])
            for target, expected in ((url, {404}), (fill(route, entry, mine, label), {200, 409})):
                answer = client.generic("POST", target, body, "application/json", headers=headers)
                assert answer.status_code in expected, f"{target}: {answer.content!r}"
            continue
        for method in ("GET", "PATCH", "DELETE"):
            response = client.generic(method, url, "{}", "application/json", headers=headers)
            assert response.status_code in ({404} if method == "GET" else {404, 405}), url
            assert str(theirs["base.organisation"].pk) not in response.content.decode()
        own = fill(route, entry, mine, label)
        assert client.get(own, headers=headers).status_code == 200, own
        seen += 1
    assert seen >= len(REST_OBJECTS)


def test_rest_lists_show_no_foreign_row(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    _, clear = factories.make_api_key(mine["base.organisation"], scopes=("read", "transcripts"))
    headers = {"authorization": f"Bearer {clear}"}
    for name, label in REST_OBJECTS.items():
        url = reverse(name.replace("-detail", "-list"))
        answer = client.get(url, headers=headers).json()
        ids = {row["id"] for row in (answer["results"] if "results" in answer else answer)}
        assert ids == {str(mine[label].pk)}, url
    for parameter, label in (
        ("id", "calls.call"),
        ("assistantId", "assistants.assistant"),
        ("phoneNumberId", "calls.phonenumber"),
    ):
        answer = client.get(f"/call?{parameter}={theirs[label].pk}", headers=headers)
        assert answer.json() == []


def test_an_assistant_cannot_use_a_foreign_tool(
    client: Client, worlds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine, theirs = worlds
    _, clear = factories.make_api_key(mine["base.organisation"])
    response = client.post(
        "/assistant",
        data={"name": "x", "model": {"toolIds": [str(theirs["tools.tool"].pk)]}},
        content_type="application/json",
        headers={"authorization": f"Bearer {clear}"},
    )
    assert response.status_code == 400
    assert "model.toolIds.0" in response.json()["message"][0]


def test_unknown_and_odd_ids_are_404_everywhere(client: Client) -> None:
    client.force_login(factories.make_superuser())
    for label in LABELS:
        for odd in (str(uuid.uuid4()), "0", "abc", "_5C"):
            url = reverse(f"admin:{label.replace('.', '_')}_change", args=[odd])
            assert client.get(url).status_code == 404, url
    assert SPOKEN and apps.ready
