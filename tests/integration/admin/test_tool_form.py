"""The mark “safe to repeat” of a tool's form, which stands in the document alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.services.sessions import tool_specs
from tests import factories
from tools.models import ServerCredential, Tool
from tools.services import tool_document, tool_store
from tools.switches import Switches, read_switches

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DOCUMENT: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look_up", "description": "Looks", "parameters": {"type": "object"}},
    "server": {"url": "https://tools.example.com/x", "secret": "planted-secret"},
    "unknownToUs": 7,
}


def _form(tool: Tool | None = None, **changes: object) -> dict[str, object]:
    organisation = tool.organisation if tool else factories.default_organisation()
    form = {
        "organisation": organisation.pk,
        "type": "function",
        "name": "look_up",
        "description": "Looks",
        "parameters": '{"type": "object"}',
        "timeout_seconds": 20,
        **changes,
    }
    return form


def _spec_is_idempotent(tool: Tool) -> bool:
    (spec,) = tool_specs(Tool.objects.filter(pk=tool.pk), lambda text: text)
    return spec.idempotent


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def test_the_mark_goes_into_the_document_and_comes_out_of_it(staff: Client) -> None:
    tool = tool_store(organisation=factories.default_organisation(), document=DOCUMENT, actor=None)
    page = reverse("admin:tools_tool_change", args=[tool.pk])

    def saved(**changes: object) -> dict[str, Any]:
        answer = staff.post(page, _form(tool, **changes))
        assert answer.status_code == 302, answer.content.decode()
        tool.refresh_from_db()
        return tool_document(tool)

    assert saved(idempotent="on") == DOCUMENT | {"idempotent": True}
    assert _spec_is_idempotent(tool)
    assert 'name="idempotent"' in (shown := staff.get(page).content.decode())
    assert "checked" in shown.partition('name="idempotent"')[2].partition(">")[0]
    assert saved(idempotent="on", description="Other")["idempotent"] is True
    assert "idempotent" not in saved()
    assert not _spec_is_idempotent(tool)


def test_a_new_tool_may_be_marked_at_once(staff: Client) -> None:
    answer = staff.post(reverse("admin:tools_tool_add"), _form(idempotent="on"))
    assert answer.status_code == 302, answer.content.decode()
    assert _spec_is_idempotent(Tool.objects.get(name="look_up"))


def test_who_may_only_look_sees_the_mark(client: Client) -> None:
    tool = tool_store(
        organisation=factories.default_organisation(),
        document=DOCUMENT | {"idempotent": True},
        actor=None,
    )
    client.force_login(factories.make_staff(tool.organisation, ["tools.view_tool"]))
    page = client.get(reverse("admin:tools_tool_change", args=[tool.pk]))
    assert page.status_code == 200
    assert "Safe to repeat" in page.content.decode()


def test_how_a_server_is_asked_goes_into_the_document(staff: Client) -> None:
    tool = tool_store(organisation=factories.default_organisation(), document=DOCUMENT, actor=None)
    credential = ServerCredential.objects.create(name="Desk", kind="none")
    foreign = ServerCredential.objects.create(
        organisation=factories.make_organisation(), name="Foreign", kind="none"
    )
    page = reverse("admin:tools_tool_change", args=[tool.pk])

    def saved(**changes: object) -> dict[str, Any]:
        answer = staff.post(page, _form(tool, **changes))
        assert answer.status_code == 302, answer.context["adminform"].form.errors
        tool.refresh_from_db()
        return tool_document(tool)

    marked = saved(legacy_message="on", without_aliases="on", credential=credential.pk)
    assert read_switches(marked) == Switches(aliases=False, legacy_message=True)
    assert marked["server"] == {
        **DOCUMENT["server"],
        "credentialId": str(credential.credential_id),
    }
    shown = staff.get(page).content.decode()
    assert f'value="{credential.pk}" selected' in shown
    assert "Foreign" not in shown
    kept = saved(legacy_message="on", without_aliases="on", credential=credential.pk)
    assert kept == marked
    assert saved() == DOCUMENT
    answer = staff.post(page, _form(tool, credential=foreign.pk))
    assert "credential" in answer.context["adminform"].form.errors


def test_a_new_address_is_encrypted_and_an_imported_one_stays(staff: Client, settings: Any) -> None:
    imported = DOCUMENT | {"server": {"url": "http://tools.example.com/x"}}
    tool = tool_store(organisation=factories.default_organisation(), document=imported, actor=None)
    page = reverse("admin:tools_tool_change", args=[tool.pk])
    assert staff.post(page, _form(tool, description="New")).status_code == 302
    new = {"server_url": "http://other.example.com/"}
    answer = staff.post(page, _form(tool, **new))
    assert "not encrypted" in str(answer.context["adminform"].form.errors["server_url"])
    settings.EGRESS_ALLOW = ["other.example.com"]
    assert staff.post(page, _form(tool, **new)).status_code == 302


def test_critical_arguments_are_ticked_by_their_names_and_changed_by_people(
    staff: Client, client: Client
) -> None:
    schema = {"properties": {"phone": {"type": "string"}, "note": {"type": "string"}}}
    function = DOCUMENT["function"] | {"parameters": schema}
    organisation = factories.default_organisation()
    tool = tool_store(
        organisation=organisation, document=DOCUMENT | {"function": function}, actor=None
    )
    page = reverse("admin:tools_tool_change", args=[tool.pk])
    form = staff.get(page).context["adminform"].form
    assert (form["critical"].initial, form["critical"].field.choices) == (
        ["phone"],
        [("phone", "phone"), ("note", "note")],
    )

    def saved(**changes: object) -> Any:
        answer = staff.post(page, _form(tool, parameters=json.dumps(schema), **changes))
        assert answer.status_code == 302, answer.context["adminform"].form.errors
        tool.refresh_from_db()
        return tool_document(tool).get("voiceplatform")

    assert saved(critical=["note"]) == {"criticalArguments": ["note"]}
    assert saved(critical=["note"], text_arguments="on") == {
        "criticalArguments": ["note"],
        "argumentsAsText": True,
    }
    assert saved(critical=["phone"]) is None
    client.force_login(factories.make_staff(organisation, ["tools.view_tool"]))
    assert "Critical arguments" in client.get(page).content.decode()


def test_the_api_takes_what_vapi_takes_and_the_page_says_what_is_not_encrypted(
    staff: Client,
) -> None:
    """A script that was written for Vapi must not break; who types an address can mend it."""
    _, clear = factories.make_api_key(factories.default_organisation())
    shown = {}
    for scheme in ("http", "https"):
        answer = staff.post(
            "/tool",
            DOCUMENT | {"server": {"url": f"{scheme}://tools.example.com/x"}},
            content_type="application/json",
            headers={"authorization": f"Bearer {clear}"},
        )
        assert answer.status_code == 201, answer.content
        page = reverse("admin:tools_tool_change", args=[answer.json()["id"]])
        shown[scheme] = "go there unencrypted" in staff.get(page).content.decode()
    assert shown == {"http": True, "https": False}
