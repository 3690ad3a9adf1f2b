"""Every admin page opens with data, lists stay cheap, and every model of ours has a page."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from calls.admin import dashboard
from tests import factories
from tests.integration.admin.rows import SAID, make_world
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

OURS = ("base", "tools", "assistants", "calls")
LABELS = sorted(model._meta.label_lower for model in admin.site._registry)
SHARED = {"auth.group", "base.encryptioncanary", "base.redactedtable"}
# The pages that show what was said, to those who may read it.
DOORS = {"calls.call", "calls.deliveryattempt", "calls.toolexchange"}
MACHINE_WRITTEN = (
    *("base.job", "base.auditentry", "base.encryptioncanary", "base.redactedtable"),
    *("calls.call", "calls.turn", "calls.toolinvocation", "calls.callinputchunk"),
    *("calls.outboxevent", "calls.toolexchange", "calls.toolcheck", "calls.silenthost"),
    *("calls.talk", "calls.deliveryattempt", "calls.departure", "calls.departednumber"),
    *("calls.plannumber", "calls.planentry", "calls.numbermove", "calls.numberreadiness"),
    *("calls.netfiring", "calls.criticalmarks", "calls.costforecast", "calls.guardrailproposal"),
    *("calls.calllogimport", "calls.importedcall", "calls.shimrecord"),
    "calls.audibleacceptance",
    *("assistants.assistantrevision", "assistants.revisiontool", "assistants.filepassage"),
    *("assistants.importrun", "assistants.finding", "assistants.importedobject"),
)
MANY = 12
MOST_QUERIES = 20


def page(label: str, name: str, *args: Any) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_{name}", args=args)


@pytest.fixture
def superuser_client(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def test_every_model_has_an_admin() -> None:
    missing = [
        model._meta.label
        for app in OURS
        for model in apps.get_app_config(app).get_models()
        if model not in admin.site._registry
    ]
    assert missing == []


@pytest.mark.parametrize("label", LABELS)
def test_list_add_change_history_and_search_open_and_lists_stay_cheap(
    client: Client, label: str
) -> None:
    world = make_world()
    superuser = factories.make_superuser()
    client.force_login(superuser)
    open_and_say_nothing(client, label, world[label])
    staff = factories.make_staff(world["base.organisation"], "all")
    list_takes_as_few_queries_for_many_rows_as_for_one(client, label, world, [superuser, staff])


def open_and_say_nothing(client: Client, label: str, obj: Any) -> None:
    """Open every page; what was said is on none, not even a superuser's: audited doors are few."""
    urls = [
        page(label, "changelist"),
        page(label, "changelist") + "?q=the",
        page(label, "history", obj.pk),
        page(label, "change", obj.pk),
    ]
    for url in urls:
        response = client.get(url)
        assert response.status_code == 200, url
        if label not in DOORS or url != urls[-1]:
            assert not any(said in response.content.decode() for said in SAID), url
            assert not AuditEntry.objects.filter(action="transcript.view").exists(), url
    add = client.get(page(label, "add"))
    model_admin = admin.site._registry[apps.get_model(label)]
    request = type("Request", (), {"user": factories.make_superuser()})()
    assert add.status_code == (200 if model_admin.has_add_permission(request) else 403)
    assert not any(said in add.content.decode() for said in SAID)


def list_takes_as_few_queries_for_many_rows_as_for_one(
    client: Client, label: str, world: dict[str, Any], users: list[Any]
) -> None:
    """Compare a list seen before, so that content types and the like are cached by now."""
    few = []
    for user in users:
        client.force_login(user)
        with CaptureQueriesContext(connection) as queries:
            client.get(page(label, "changelist"))
        few.append(len(queries))
    make_many(world, label)
    for user, count in zip(users, few, strict=True):
        client.force_login(user)
        with CaptureQueriesContext(connection) as many:
            response = client.get(page(label, "changelist"))
        if user.is_superuser or label not in SHARED:
            assert response.status_code == 200
        shown = "\n".join(query["sql"][:200] for query in many.captured_queries)
        assert len(many) <= MOST_QUERIES, shown
        assert len(many) <= count + 1, f"grows with the rows:\n{shown}"


def make_many(world: dict[str, Any], label: str) -> None:
    """Add ``MANY`` rows of ``label``, each with relations of its own where a list shows them."""
    organisation = world["base.organisation"]
    number, call = world["calls.phonenumber"], world["calls.call"]
    for index in range(MANY):
        match label:
            case "base.organisation":
                factories.make_organisation()
            case "base.membership" | "auth.user":
                factories.make_staff(organisation)
            case "auth.group":
                type(world[label]).objects.create(name=f"Group {index}")
            case "base.apikey":
                factories.make_api_key(organisation)
            case "base.job":
                factories.make_job(organisation, created_by=factories.make_user())
            case "base.auditentry":
                factories.make_audit_entry(organisation)
            case "tools.tool":
                factories.make_tool(organisation)
            case "assistants.assistant" | "assistants.assistantrevision":
                factories.make_assistant(organisation)
            case "assistants.revisiontool":
                factories.make_assistant(organisation, tools=[factories.make_tool(organisation)])
            case "assistants.voicechoice":
                factories.make_voice_choice(organisation, decided_by=factories.make_user())
            case "assistants.filereading" | "assistants.filepassage":
                factories.make_file(organisation)
            case "assistants.importrun" | "assistants.finding":
                run = type(world["assistants.importrun"]).objects.create(
                    organisation=organisation, source="command", created_by=factories.make_user()
                )
                run.findings.create(object_number=0, path="name", state="kept", message="x")
            case "assistants.importedobject":
                type(world[label]).objects.create(
                    organisation=organisation,
                    kind="tool",
                    object_id=factories.make_tool(organisation).pk,
                    document={},
                    waits=True,
                )
            case "calls.twilioaccount":
                factories.make_account(organisation)
            case "calls.providerconnection":
                factories.make_connection(organisation)
            case "calls.callpolicy" | "calls.policywording":
                factories.make_policy(organisation, wordings={"en": "a"})
            case "calls.phonenumber":
                factories.make_call(number=factories.make_number(organisation))
            case "calls.call":
                factories.make_call(number=number, status="ended")
            case "calls.turn":
                factories.make_turn(factories.make_call(number=number))
            case "calls.toolinvocation":
                other = factories.make_call(number=number)
                exchange = factories.make_tool_exchange(other)
                tool = factories.make_tool(organisation)
                factories.make_tool_invocation(other, exchange=exchange, tool=tool)
            case "calls.toolexchange":
                other = factories.make_call(number=number)
                exchange = factories.make_tool_exchange(other)
                factories.make_tool_invocation(other, exchange=exchange)
            case "calls.silenthost":
                factories.make_silent_host(organisation)
            case "calls.toolcheck":
                factories.make_tool_check(factories.make_tool(organisation))
            case "calls.callinputchunk":
                type(world[label]).objects.create(call=call, ordinal=index + 1, data=b"x")
            case "calls.migrationplan" | "calls.plannumber" | "calls.planentry":
                factories.make_plan_entry(factories.make_plan(organisation))
            case "calls.numbernet":
                factories.make_net(factories.make_number(organisation))
            case "calls.netfiring":
                factories.make_firing(factories.make_number(organisation))
            case "calls.talk":
                factories.make_talk(factories.make_assistant(organisation).current_revision)
            case "calls.outboxevent":
                factories.make_event(call=factories.make_call(number=number))
            case "calls.numberreadiness":
                factories.make_readiness(factories.make_number(organisation))
            case "calls.audibleacceptance":
                factories.make_acceptance(factories.make_assistant(organisation).current_revision)
            case "calls.accountfacts":
                factories.make_account_facts(factories.make_account(organisation))
            case "calls.modellimit":
                factories.make_model_limit(factories.make_connection(organisation))
            case "calls.numberchange":
                factories.make_change(factories.make_number(organisation))
            case "calls.oldstack" | "calls.callhandover":
                other = factories.make_call(number=number)
                stack = factories.make_old_stack(organisation)
                factories.make_handover(other, old_stack=stack)
            case "calls.numbermove":
                factories.make_move(factories.make_number(organisation))
            case "calls.departure":
                factories.make_departure(organisation, state="undone")
            case "calls.departednumber":
                factories.make_departed_number(
                    world["calls.departure"], factories.make_number(organisation)
                )
            case "calls.costforecast":
                factories.make_forecast(
                    factories.make_assistant(organisation),
                    number=factories.make_number(organisation),
                )
            case "calls.guardrailproposal":
                factories.make_guardrail(factories.make_run(factories.make_assistant(organisation)))
            case "calls.criticalmarks":
                factories.make_critical_marks(factories.make_assistant(organisation))
            case "calls.parityscenario":
                factories.make_scenario(factories.make_assistant(organisation))
            case "calls.parityrun":
                factories.make_run(factories.make_assistant(organisation))
            case "calls.paritycall":
                factories.make_parity_call(factories.make_run(world["calls.parityrun"].assistant))
            case "calls.rundial":
                place = factories.make_parity_call(
                    world["calls.parityrun"], position=index + 9, index=index + 9
                )
                factories.make_run_dial(place, number=factories.make_number(organisation))
            case "calls.callerclip":
                factories.make_caller_clip(world["calls.parityrun"], turn=index + 9)
            case "calls.calllogimport" | "calls.calllogpiece":
                factories.make_log_piece(factories.make_log_import(organisation=organisation))
            case "calls.importedcall":
                factories.make_imported_call(call=factories.make_call(number=number))
            case "calls.toolshim" | "calls.shimrecord":
                factories.make_shim_record(factories.make_shim(organisation=organisation))
            case "calls.deliveryattempt":
                factories.make_attempt(factories.make_event(call=call))


def test_dashboard_shows_the_figures(
    superuser_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = dashboard.midnight()
    monkeypatch.setattr(dashboard, "midnight", lambda: today)  # which may pass meanwhile
    world = make_world()
    organisation = world["base.organisation"]
    factories.make_call(
        organisation, status="ended", ended_reason="pipeline-error-openai-llm-failed"
    )
    factories.make_call(organisation, status="in-progress")
    with CaptureQueriesContext(connection) as queries:
        response = superuser_client.get(reverse("admin:index"))
    assert response.status_code == 200
    figures = {card["title"]: card["value"] for card in response.context["cards"]}
    assert figures == {
        "Calls in progress": 1,
        "Calls today": 3,
        "Failed calls today": 1,
        "Undelivered": 1,
        "Never reached us, last day": 1,
    }
    routes = {row["name"]: row["total"] for row in response.context["routes"]}
    assert routes == {"Vapi": 0, "Canary": 0, "Direct": 3, "Paused": 0}
    assert len(queries) <= 16


def test_dashboard_of_staff_without_permissions_says_so(client: Client) -> None:
    make_world()
    client.force_login(factories.make_staff())
    response = client.get(reverse("admin:index"))
    assert response.status_code == 200
    assert "no permissions yet" in response.content.decode()


def test_machine_written_rows_cannot_be_changed(superuser_client: Client) -> None:
    world = make_world()
    for label in MACHINE_WRITTEN:
        obj = world[label]
        assert superuser_client.get(page(label, "add")).status_code == 403, label
        for name, body in (("change", {}), ("delete", {"post": "yes"})):
            assert superuser_client.post(page(label, name, obj.pk), body).status_code == 403, label
        assert type(obj).objects.filter(pk=obj.pk).exists(), label
