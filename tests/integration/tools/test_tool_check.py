"""Checks of tool servers: what each is asked, what is found, and the job that a person watches."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from assistants.models import ImportRun
from calls.models import ToolCheck
from calls.services import tool_check
from calls.services.tool_check import (
    check_one,
    check_run,
    check_start,
    marked_calls_allow,
    tools_to_check,
)
from calls.tasks import run_tool_check, take_tool_checks
from tests import factories
from tests.integration.tools.plain_server import PlainServer, answer_all, plain_server
from tests.integration.tools.test_egress_connections import certificate
from tools.models import Tool
from tools.services import tool_store
from voiceplatform.base import jobs
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import job_cancel
from voiceplatform.base.models import AuditEntry, Job

__all__ = ["certificate"]

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SECRET = "planted-secret-0xC0FFEE"


@pytest.fixture(autouse=True)
def pokes(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """Collect pokes: there is no broker here."""
    poked: list[uuid.UUID] = []
    monkeypatch.setattr(JobBell, "poke", lambda _, job_id: poked.append(job_id))
    return poked


@pytest.fixture
def server(settings: Any) -> Iterator[PlainServer]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    with plain_server(answer_all()) as made:
        yield made


def make_tool(url: str, **columns: Any) -> Tool:
    return factories.make_tool(server_url=f"{url}?token={SECRET}", server_secret=SECRET, **columns)


def states(tool: Tool) -> dict[str, str]:
    return {each["question"]: each["state"] for each in ToolCheck.objects.get(tool=tool).answers}


def test_dry_a_server_sees_nothing_but_a_marked_head_request(server: PlainServer) -> None:
    tool = make_tool(server.url)
    assert check_one(tool, may_post=False, actor=None) == "unsure"
    ((method, headers, _),) = server.requests
    assert method == "HEAD"
    assert headers["x-voiceplatform-test"] == "check" and headers["x-vapi-secret"] == SECRET
    assert states(tool) == {
        "Reachable": "ok",
        "TLS": "unsure",
        "Secret accepted": "not asked",
        "Answer well-formed": "not asked",
    }
    assert ToolCheck.objects.get().was_dry


def test_without_the_owner_s_leave_no_test_request_is_sent(server: PlainServer) -> None:
    tool = make_tool(server.url)
    check_one(tool, may_post=True, actor=None)
    assert [method for method, _, _ in server.requests] == ["HEAD"]
    marked_calls_allow(tool=tool, actor=None, allowed=True)
    check_one(tool, may_post=False, actor=None)
    assert server.bodies == []
    check_one(tool, may_post=True, actor=None)
    (body,) = server.bodies
    assert body["message"]["call"]["metadata"] == {"voiceplatformTest": True}
    assert body["message"]["toolCallList"][0]["function"]["arguments"] == {"when": "test"}
    assert states(tool) == {
        "Reachable": "ok",
        "TLS": "unsure",
        "Secret accepted": "ok",
        "Answer well-formed": "ok",
    }
    marked_calls_allow(tool=tool, actor=None, allowed=False)
    check_one(tool, may_post=True, actor=None)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "posted", "question", "state"),
    [
        (401, False, "Secret accepted", "failed"),
        (405, False, "Reachable", "ok"),
        (302, False, "Reachable", "failed"),
        (500, False, "Reachable", "unsure"),
        (403, True, "Secret accepted", "failed"),
        (404, True, "Answer well-formed", "failed"),
    ],
)
def test_what_a_status_says_stands_there_with_what_to_do(
    server: PlainServer, status: int, posted: bool, question: str, state: str
) -> None:
    tool = make_tool(server.url)
    if posted:
        marked_calls_allow(tool=tool, actor=None, allowed=True)
    server.handler = lambda body, _: (status if bool(body) == posted else 200, b"no")
    check_one(tool, may_post=posted, actor=None)
    assert states(tool)[question] == state
    stored = json.dumps(ToolCheck.objects.get().answers)
    assert SECRET not in stored
    wrong = [each for each in ToolCheck.objects.get().answers if each["state"] == "failed"]
    assert all(each["fix"] for each in wrong)


def test_an_answer_that_assistants_cannot_read_is_named(server: PlainServer) -> None:
    tool = make_tool(server.url)
    marked_calls_allow(tool=tool, actor=None, allowed=True)
    server.handler = lambda *_: (200, b"<html>")
    assert check_one(tool, may_post=True, actor=None) == "failed"
    assert states(tool)["Answer well-formed"] == "failed"
    server.handler = lambda body, _: (
        200,
        {"results": [{"toolCallId": "x", "error": "no such customer"}]} if body else b"",
    )
    assert check_one(tool, may_post=True, actor=None) == "unsure"


@pytest.mark.parametrize("url", ["http://10.1.2.3/x", "https://no-such-host.invalid/x", "nonsense"])
def test_a_server_that_is_not_reached_fails_with_the_way_out(settings: Any, url: str) -> None:
    settings.EGRESS_ALLOW = []
    tool = factories.make_tool(server_url=url)
    assert check_one(tool, may_post=False, actor=None) == "failed"
    (answer,) = ToolCheck.objects.get().answers
    assert answer["question"] == "Reachable" and (answer["fix"] or "Fix:" in answer["words"])


def test_a_certificate_that_is_not_accepted_is_told_from_a_server_that_is_away(
    server: PlainServer, certificate: Path
) -> None:
    tool = make_tool(server.url.replace("http:", "https:"))
    assert check_one(tool, may_post=False, actor=None) == "failed"
    assert states(tool) == {"Reachable": "ok", "TLS": "failed"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with plain_server(answer_all(), context) as secure:
        other = make_tool(secure.url)
        check_one(other, may_post=False, actor=None)
    assert states(other) == {"Reachable": "ok", "TLS": "failed"}
    assert "certificate is not accepted" in ToolCheck.objects.get(tool=other).answers[1]["words"]


def test_a_job_checks_each_tool_once_and_says_how_many_work(server: PlainServer) -> None:
    organisation = factories.make_organisation()
    good = make_tool(server.url, organisation=organisation, name="good")
    bad = factories.make_tool(organisation, name="bad", server_url="nonsense")
    inline = make_tool(server.url, organisation=organisation, name="inline", is_inline=True)
    make_tool(server.url, organisation=organisation, name="unused", is_inline=True)
    factories.make_tool(organisation, name="hang_up", type="endCall")
    factories.make_tool()  # of another organisation
    factories.make_assistant(organisation, tools=[inline, good])
    factories.make_assistant(organisation, tools=[good])
    user = factories.make_user()
    job = check_start(organisation=organisation, actor=user)
    run_tool_check(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.done_count, job.total_count) == ("done", 3, 3)
    assert job.message == "1 do not work, 2 cannot be told."
    found = {check.tool.name: check.verdict for check in ToolCheck.objects.select_related("tool")}
    assert found == {"good": "unsure", "bad": "failed", "inline": "unsure"}
    assert SECRET not in json.dumps(job.parameters) + json.dumps(job.result) + job.message
    check_run(job.pk)  # a second worker, or the task twice
    assert len(server.requests) == 2
    assert ToolCheck.objects.get(tool=bad).organisation == organisation
    assert AuditEntry.objects.get(action="tool.check").details == {"tools": 3, "dry": True}


def test_a_cancelled_check_asks_no_further_server(
    server: PlainServer, pokes: list[uuid.UUID], django_capture_on_commit_callbacks: Any
) -> None:
    for _ in range(3):
        make_tool(server.url)
    with django_capture_on_commit_callbacks(execute=True):
        job = check_start(organisation=factories.default_organisation(), actor=None)
    assert pokes == [job.pk]
    assert take_tool_checks() == 1
    job_cancel(job=job, actor=None)
    check_run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED and server.requests == []


def test_a_check_that_is_cancelled_stops_after_the_tool_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        factories.make_tool()
    job = check_start(organisation=factories.default_organisation(), actor=None)
    asked: list[Tool] = []

    def cancelling(tool: Tool, **_: Any) -> str:
        asked.append(tool)
        job_cancel(job=job, actor=None)
        return "ok"

    monkeypatch.setattr(jobs, "_BEAT_SECONDS", 0)
    monkeypatch.setattr(tool_check, "check_one", cancelling)
    check_run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.done_count, len(asked)) == (Job.State.CANCELLED, 1, 1)
    assert job.message == "Cancelled after 1 of 3: 1 work."


def test_of_an_import_only_what_it_brought_is_checked() -> None:
    organisation = factories.make_organisation()
    tool, other = factories.make_tool(organisation), factories.make_tool(organisation)
    inline = factories.make_tool(organisation, is_inline=True)
    assistant = factories.make_assistant(organisation, tools=[inline, other])
    run = ImportRun.objects.create(
        organisation=organisation,
        source="upload",
        objects_json=[{"kind": "tool", "id": str(tool.pk)}, {"id": "no id"}],
    )
    assert tool_check.tools_to_check(organisation, run) == [tool.pk]
    run.objects_json = [{"kind": "assistant", "id": str(assistant.pk)}]
    assert set(tool_check.tools_to_check(organisation, run)) == {inline.pk, other.pk}


def test_the_button_begins_a_job_and_the_list_says_what_was_found(
    client: Client, server: PlainServer
) -> None:
    tool = make_tool(server.url, name="book")
    changelist = reverse("admin:calls_toolcheck_changelist")
    start = reverse("admin:calls_toolcheck_start")
    seeing = ["calls.view_toolcheck", "tools.view_tool"]
    client.force_login(factories.make_staff(None, seeing))
    assert "Check all" not in client.get(changelist).content.decode()
    organisation = factories.default_organisation()
    assert client.post(start, {"organisation": organisation.pk}).status_code == 403
    client.force_login(factories.make_staff(None, [*seeing, "calls.try_tool"]))
    assert "Check all" in client.get(changelist).content.decode()
    foreign = factories.make_organisation()
    run = ImportRun.objects.create(organisation=foreign, source="upload")
    for body in ({"organisation": foreign.pk}, {"run": run.pk}, {"run": "x"}, {}):
        assert client.post(start, body).status_code == 404
    response = client.post(start, {"organisation": organisation.pk, "may_post": "1"})
    job = Job.objects.get(kind=tool_check.KIND)
    assert response["Location"] == reverse("admin:base_job_change", args=[job.pk])
    assert job.parameters["dry"] is False
    check_run(job.pk)
    page = client.get(response["Location"]).content.decode()
    assert changelist in page
    text = client.get(changelist).content.decode()
    assert "cannot tell" in text and "Offer it under https" in text
    own = client.get(reverse("admin:tools_tool_change", args=[tool.pk])).content.decode()
    assert "plain http" in own and SECRET not in text + own


def test_an_import_offers_to_check_what_it_brought(client: Client) -> None:
    organisation = factories.make_organisation()
    tool = factories.make_tool(organisation)
    run = ImportRun.objects.create(
        organisation=organisation,
        source="upload",
        objects_json=[{"kind": "tool", "id": str(tool.pk), "outcome": "created", "name": "t"}],
    )
    client.force_login(factories.make_superuser())
    page = client.get(reverse("admin:assistants_importrun_change", args=[run.pk]))
    assert "Check its tool servers" in page.content.decode()
    client.post(reverse("admin:calls_toolcheck_start"), {"run": str(run.pk)})
    job = Job.objects.get(kind=tool_check.KIND)
    assert (job.organisation, job.parameters["tools"]) == (organisation, [str(tool.pk)])
    assert job.parameters["dry"] is True


def test_leave_for_test_requests_is_given_by_who_may_change_tools(client: Client) -> None:
    tool = factories.make_tool()
    url = reverse("admin:tools_tool_allow", args=[tool.pk])
    client.force_login(factories.make_staff(None, ["tools.view_tool"]))
    assert client.post(url, {"allowed": "1"}).status_code == 403
    user = factories.make_staff(None, ["tools.view_tool", "tools.change_tool"])
    client.force_login(user)
    assert client.get(url).status_code == 302 and not ToolCheck.objects.exists()
    client.post(url, {"allowed": "1"})
    row = ToolCheck.objects.get()
    assert row.allows_marked_call and row.allowed_by == user and row.verdict == "unknown"
    client.post(url, {"allowed": "0"})
    row.refresh_from_db()
    assert not row.allows_marked_call and row.allowed_by is None
    actions = AuditEntry.objects.filter(target_id=str(tool.pk)).values_list("action", flat=True)
    assert set(actions) == {"tool.allow_test_requests", "tool.forbid_test_requests"}


def api_tool(url: str) -> Tool:
    document = {
        "type": "apiRequest",
        "name": "order",
        "url": url,
        "headers": {"type": "object", "properties": {"X-Key": {"value": SECRET}}},
        "server": {"secret": SECRET, "headers": {"X-Own": SECRET}},
    }
    owner = factories.default_organisation()
    return tool_store(organisation=owner, document=document, actor=None)


def test_an_api_is_asked_for_its_root_alone_and_without_any_proof(server: PlainServer) -> None:
    tool = api_tool(server.url.replace("/hook", "/orders/{{order}}?token=") + SECRET)
    marked_calls_allow(tool=tool, actor=None, allowed=True)
    server.handler = lambda *_: (403, b"no")
    assert tool.pk in tools_to_check(tool.organisation)
    assert check_one(tool, may_post=True, actor=None) == "unsure"
    ((method, headers, _),) = server.requests
    assert (method, server.paths) == ("HEAD", ["/"])
    assert SECRET not in json.dumps(headers) and headers["x-voiceplatform-test"] == "check"
    asked = {"Reachable": "ok", "TLS": "unsure", "Answer well-formed": "not asked"}
    assert states(tool) == asked and ToolCheck.objects.get().was_dry


@pytest.mark.parametrize(
    ("url", "verdict"),
    [("{{base}}/orders", "unsure"), ("http://10.1.2.3/x", "failed"), ("", "failed")],
)
def test_an_api_that_cannot_be_asked_says_why(server: PlainServer, url: str, verdict: str) -> None:
    tool = api_tool(url)
    assert check_one(tool, may_post=False, actor=None) == verdict
    assert server.requests == []
    assert ToolCheck.objects.get().answers[0]["question"] == "Reachable"
