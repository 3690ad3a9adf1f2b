"""Imports from Vapi's API: paging, patience, what stays behind, and stopping half-way."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command

from assistants.import_api import import_from_api
from assistants.import_results import ImportReport
from assistants.import_services import ImportFile, import_files
from assistants.management.commands import import_vapi
from assistants.models import Assistant, AssistantRevision, ImportRun, Squad, StoredResource
from assistants.selectors import revision_tools
from assistants.vapi_api import VapiApi, VapiApiError
from tests import factories
from tests.vapi_account import KEY, VapiAccount, assistant, at, object_id, tool
from tools.models import Tool

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def run(account: VapiAccount, **options: Any) -> ImportReport:
    with account.client(key=options.pop("key", KEY)) as client:
        return import_from_api(
            organisation=factories.default_organisation(),
            client=client,
            actor=None,
            source="api",
            **options,
        )


def objects(report: ImportReport) -> list[tuple[str, str]]:
    """Return kind and outcome of what was imported."""
    return [(r.kind, r.outcome) for r in report.results if r.kind != "stays-behind"]


def small_account() -> VapiAccount:
    return VapiAccount(
        {
            "tool": [
                tool(1),
                {
                    **tool(2),
                    "type": "handoff",
                    "destinations": [{"type": "assistant", "assistantId": object_id(1, 1)}],
                },
            ],
            "assistant": [
                assistant(1, model={"toolIds": [object_id(2, 1), object_id(2, 2)]}),
                assistant(2),
            ],
            "squad": [
                {
                    "id": object_id(3, 1),
                    "createdAt": at(1),
                    "name": "Front",
                    "members": [{"assistantId": object_id(1, 1)}],
                }
            ],
            "phone-number": [],
            "structured-output": [
                {
                    "id": object_id(4, 1),
                    "createdAt": at(1),
                    "name": "summary",
                    "type": "ai",
                    "schema": {"type": "string"},
                    "assistantIds": [object_id(1, 2)],
                }
            ],
            "chat": [{"id": object_id(5, 1), "createdAt": at(1)}],
            "call": [{"id": object_id(6, 1), "createdAt": at(1), "type": "webCall"}],
        }
    )


def test_a_whole_account_comes_over_linked_and_a_second_run_changes_nothing() -> None:
    account = small_account()
    report = run(account)
    assert (report.problem, report.is_cancelled) == ("", False)
    assert set(objects(report)) == {
        ("tool", "created"),
        ("structured-output", "created"),
        ("assistant", "created"),
        ("squad", "created"),
    }
    revision = Assistant.objects.get(pk=object_id(1, 1)).current_revision
    assert revision is not None
    assert len(revision_tools(revision)) == 2
    assert Squad.objects.get().document["members"] == [{"assistantId": object_id(1, 1)}]
    assert StoredResource.objects.filter(kind="structured-output").count() == 1
    bad = [f for r in report.results for f in r.findings if f.state == "invalid"]
    assert bad == []
    assert report.run is not None
    assert report.run.source == "api"
    again = run(account)
    assert {outcome for _, outcome in objects(again)} == {"unchanged"}
    assert AssistantRevision.objects.count() == 2


def test_what_stays_behind_is_named_with_what_replaces_it() -> None:
    results = {r.name: r for r in run(small_account()).results if r.kind == "stays-behind"}
    assert {"chats", "sessions", "campaigns", "workflows", "calls from the web SDK"} <= set(results)
    for name, is_used in (("chats", True), ("calls from the web SDK", True), ("sessions", False)):
        result = results[name]
        assert result.outcome == "ignored"
        assert result.reason.startswith("not an assistant, tool, squad or number: ")
        (finding,) = result.findings
        assert finding.state == ("unsupported" if is_used else "mapped")
        assert ("Fix: " in finding.message) is is_used


def test_250_assistants_are_read_page_by_page_although_many_share_a_moment() -> None:
    rows = [assistant(n, minute=n // 90) for n in range(250)]
    account = VapiAccount({"assistant": rows})
    seen: list[tuple[int, int]] = []
    report = run(account, progress=lambda done, total, label: seen.append((done, total)))
    assert len(objects(report)) == 250 == Assistant.objects.count()
    assert account.requests()["assistant"] <= 6
    assert seen[-1] == (250, 250)
    assert [done for done, _ in seen] == list(range(1, 251))


def test_over_a_hundred_objects_of_one_moment_and_paged_envelopes() -> None:
    resources = [
        {"id": object_id(4, n), "createdAt": at(n), "name": f"s{n}", "type": "ai", "schema": {}}
        for n in range(130)
    ]
    rows = [assistant(n, minute=5) for n in range(120)]
    report = run(VapiAccount({"assistant": rows, "structured-output": resources}))
    kinds = [kind for kind, _ in objects(report)]
    assert (kinds.count("assistant"), kinds.count("structured-output")) == (120, 130)


def test_a_rate_limit_is_waited_out_as_long_as_it_says() -> None:
    account = small_account()
    answers = [
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(429),
        httpx.Response(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        httpx.Response(429, headers={"Retry-After": "999999"}),
    ]
    account.before = lambda request: answers.pop(0) if answers else None
    assert run(account).problem == ""
    assert sum(account.waited) == pytest.approx(7 + 2 + 0.1 + 60)


def test_two_500s_and_a_reset_connection_are_only_a_pause() -> None:
    account = small_account()
    failures: list[Any] = [500, 502, httpx.ConnectError("reset"), httpx.ReadTimeout("late")]

    def fail(request: httpx.Request) -> httpx.Response | None:
        if not failures:
            return None
        failure = failures.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return account.refusal(failure, "oh")

    account.before = fail
    report = run(account)
    assert report.problem == ""
    assert len(objects(report)) == 6
    assert sum(account.waited) == 1 + 2 + 4 + 8


def test_an_account_that_stays_away_ends_the_import_and_keeps_what_came() -> None:
    account = small_account()
    account.before = lambda request: (
        account.refusal(503, "away") if request.url.path == "/squad" else None
    )
    report = run(account)
    assert "/squad could not be read after 6 attempts: status 503" in report.problem
    assert Assistant.objects.count() == 2
    assert report.run is not None
    assert len(report.run.objects_json) == 5
    account.before = lambda request: None
    assert ("squad", "created") in objects(run(account))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (VapiAccount.refusal(401, "Invalid Key"), "refuses this key (status 401)"),
        (VapiAccount.refusal(403, "no"), "private key"),
        (VapiAccount.refusal(400, "no\x1b[2J such"), "status 400"),
        (httpx.Response(200, text="<!doctype html><html></html>"), "not Vapi's API"),
        (httpx.Response(200, json={"hello": 1}), "neither a list nor a page"),
        (httpx.Response(200, json="x"), "neither a list nor a page"),
        (httpx.Response(200, content=b"[" * 100_000), "no JSON"),
        (httpx.Response(302, headers={"Location": "https://elsewhere.test"}), "redirects"),
    ],
)
def test_an_answer_that_is_none_says_what_to_do(answer: httpx.Response, words: str) -> None:
    account = VapiAccount()
    account.before = lambda request: answer
    report = run(account)
    assert words in report.problem
    assert KEY not in report.problem
    assert "\x1b" not in report.problem
    assert not report.results


def test_an_answer_over_the_limit_is_asked_for_in_smaller_pages() -> None:
    rows = [assistant(n, metadata={"x": "y" * 200_000}) for n in range(100)]
    account = VapiAccount({"assistant": rows})
    report = run(account, dry_run=True)
    assert (report.problem, len(objects(report))) == ("", 100)
    assert any("limit=25" in asked for asked in account.asked)


def test_one_object_over_the_limit_is_named() -> None:
    huge = assistant(1, metadata={"x": "y" * (11 * 2**20)})
    assert (
        "one object of /assistant is over 10 MiB" in run(VapiAccount({"assistant": [huge]})).problem
    )


def test_a_cancelled_import_keeps_what_it_stored_and_the_next_goes_on() -> None:
    account = VapiAccount({"assistant": [assistant(n) for n in range(120)]})
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 60

    report = run(account, cancelled=cancelled)
    assert report.is_cancelled
    assert Assistant.objects.count() == len(objects(report)) == 60
    rest = run(account)
    counts = rest.counts()
    assert (counts["unchanged"], counts["created"]) == (60, 60)


def test_a_rate_limit_does_not_hold_up_a_cancellation() -> None:
    account = VapiAccount({"tool": []})
    account.before = lambda request: httpx.Response(429, headers={"Retry-After": "60"})
    report = run(account, cancelled=lambda: len(account.waited) >= 3)
    assert report.is_cancelled
    assert len(account.waited) == 3


def test_a_dry_run_reads_everything_and_writes_nothing() -> None:
    account = small_account()
    dry = run(account, dry_run=True)
    assert [m.objects.count() for m in (Assistant, Tool, Squad, ImportRun)] == [0] * 4
    wet = run(account)
    assert [(r.outcome, r.findings, r.leaves) for r in dry.results] == [
        (r.outcome, r.findings, r.leaves) for r in wet.results
    ]


def test_one_id_brings_what_it_points_at() -> None:
    account = small_account()
    report = run(account, ids=[object_id(3, 1)])
    assert sorted(r.object_id for r in report.results) == sorted(
        [object_id(2, 1), object_id(2, 2), object_id(1, 1), object_id(3, 1)]
    )
    assert not [f for r in report.results for f in r.findings if f.state == "invalid"]
    assert "has no object" in run(account, ids=[object_id(7, 7)]).problem


def test_one_id_brings_structured_outputs_too_and_says_what_is_nowhere() -> None:
    plan = {"structuredOutputIds": [object_id(4, 1), object_id(4, 9)]}
    account = small_account()
    account.objects["assistant"].append(assistant(5, artifactPlan=plan))
    report = run(account, ids=[object_id(1, 5)])
    assert {r.object_id for r in report.results} == {
        object_id(1, 5),
        object_id(4, 1),
        object_id(1, 2),
    }
    links = {f.path: f.state for f in report.results[-1].findings if "Ids[" in f.path} | {
        f.path: f.state for f in report.results[-2].findings if "Ids[" in f.path
    }
    assert links["$.artifactPlan.structuredOutputIds[0]"] == "mapped"
    assert links["$.artifactPlan.structuredOutputIds[1]"] == "invalid"


def test_a_reference_to_what_the_account_does_not_have_is_said() -> None:
    handoff = tool(
        2, type="handoff", destinations=[{"type": "assistant", "assistantId": object_id(1, 99)}]
    )
    report = run(VapiAccount({"tool": [handoff], "assistant": []}))
    result = report.results[0]
    path = "$.destinations[0].assistantId"
    assert [f.path for f in result.findings if f.state == "invalid"] == [path]
    assert dict(result.leaves)[path] == "invalid"


def test_objects_that_no_database_stores_and_those_that_are_none() -> None:
    odd = assistant(1, firstMessage="a\x00b\ud800", metadata={"n": 10**400})
    account = VapiAccount({"assistant": [odd]})
    account.before = lambda request: (
        httpx.Response(200, content=b"[1, null, {}]") if request.url.path == "/tool" else None
    )
    report = run(account)
    assert ("assistant", "created") in objects(report)
    revision = Assistant.objects.get(pk=odd["id"]).current_revision
    assert revision is not None
    assert revision.first_message == "a\ufffdb\ufffd"


def test_tools_that_files_only_name_are_fetched_when_there_is_a_key() -> None:
    account = small_account()
    row = assistant(7, model={"toolIds": [object_id(2, 1), object_id(2, 77)]})
    files = [ImportFile("desk.json", json.dumps(row).encode())]
    with account.client() as client:
        report = import_files(
            organisation=factories.default_organisation(),
            files=files,
            actor=None,
            source="command",
            client=client,
        )
    assert [(r.kind, r.outcome) for r in report.results] == [
        ("assistant", "created"),
        ("tool", "created"),
    ]
    links = {f.path: f.state for f in report.results[0].findings}
    assert links["$.model.toolIds[0]"] == "mapped"
    assert links["$.model.toolIds[1]"] == "invalid"


@pytest.mark.parametrize("key", ["", " ", "two words", "zeilen\numbruch", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_before_anything_is_asked(key: str) -> None:
    with pytest.raises(VapiApiError, match="no usable Vapi key"):
        VapiApi(api_key=key, base_url="https://api.vapi.test")


def test_an_address_of_this_machine_is_not_asked() -> None:
    """The base URL may come from a form, so the egress policy holds for it."""
    with VapiApi(api_key=KEY, base_url="http://169.254.169.254/latest") as client:
        with pytest.raises(VapiApiError, match="metadata"):
            client.newest("tool", 1)
    with pytest.raises(VapiApiError, match="neither http nor https"):
        VapiApi(api_key=KEY, base_url="file:///etc/passwd")


def test_the_command_reads_the_account(
    monkeypatch: pytest.MonkeyPatch, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    account = small_account()
    settings.VAPI_API_KEY = KEY
    monkeypatch.setattr(import_vapi, "VapiApi", lambda **given: account.client())
    call_command("import_vapi", from_api=True, json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["created"] == 6
    call_command("import_vapi", from_api=True)
    out = capsys.readouterr()
    assert "6 unchanged" in out.out
    assert "chats, which stay at Vapi" in " ".join(out.out.split())
    assert out.err == ""
    assert KEY not in out.out
    account.before = lambda request: account.refusal(401, "Invalid Key")
    with pytest.raises(CommandError, match="refuses this key") as caught:
        call_command("import_vapi", from_api=True)
    assert caught.value.returncode == 1


@pytest.mark.parametrize(
    "options", [{}, {"ids": ["x"]}, {"from_api": True, "paths": ["x"]}, {"from_api": True}]
)
def test_arguments_that_make_no_sense(options: dict[str, Any], settings: Any) -> None:
    settings.VAPI_API_KEY = ""
    paths = options.pop("paths", [])
    with pytest.raises(CommandError) as caught:
        call_command("import_vapi", *paths, **options)
    assert caught.value.returncode == 2
