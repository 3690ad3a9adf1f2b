"""Calls that are over are read by a text model, and their reports wait for that; not for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pydantic
import pytest
import vapi
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants.services import assistant_publish
from calls.models import Call, OutboxEvent
from calls.services import analysis, analysis_run
from calls.services.analysis import TOO_LATE
from calls.services.analysis_run import Work, analyses_claim, analyses_work, analysis_settle
from calls.services.call_finish import call_close
from calls.services.caller_export import caller_export
from calls.services.reports import overdue_reports_enqueue
from calls.services.retention import retention_run, rule_of
from calls.standins.chat import chat_completion
from tests import factories
from tests.unit.analysis.test_questions import SCHEMA

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

ENDED = ["status-update"]
WHOLE = ["status-update", "end-of-call-report"]
Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


class Model:
    """A provider's text endpoint: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.pokes = 0
        self.answer: Answer = lambda body: chat_completion(json.dumps(body).encode())

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, body = self.answer(json.loads(request.content))
        return httpx.Response(status, json=body)

    def says(self, text: str) -> None:
        """Answer every question with ``text``."""
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100}
        self.answer = lambda body: (
            200,
            {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage},
        )


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Model:
    settings.CALL_ANALYSIS = True
    found = Model()
    monkeypatch.setattr(
        analysis_run.http,
        "async_client",
        lambda **_: httpx.AsyncClient(transport=httpx.MockTransport(found)),
    )
    monkeypatch.setattr(analysis_run, "_RETRY_SECONDS", (0.0,) * 4)

    def poked() -> None:
        found.pokes += 1

    monkeypatch.setattr(analysis, "poke", poked)
    return found


def _call(plan: dict[str, Any] | None = None, **columns: Any) -> Call:
    """Return a call that goes on, in which both sides have spoken."""
    document: dict[str, Any] = {
        "name": "Desk",
        "server": {"url": "https://hooks.example.com/vapi"},
        "model": {"provider": "openai", "model": "gpt-4o",
                  "messages": [{"role": "system", "content": "Be brief."}]},
        "serverMessages": ["status-update", "end-of-call-report"],
        **columns.pop("document", {}),
    }  # fmt: skip
    if plan is not None:
        document["analysisPlan"] = plan
    organisation = factories.default_organisation()
    assistant = assistant_publish(
        organisation=organisation, document=document, source="import", actor=None
    )
    number = factories.make_number(organisation, assistant=assistant, **columns.pop("number", {}))
    turns = columns.pop("turns", [{"text": "Hello"}, {"text": "My number is +15550100042"}])
    return factories.make_call(number=number, turns=turns, **columns)


def _ended(call: Call) -> Call:
    assert call_close(call_id=str(call.pk), reason="customer-ended-call")
    call.refresh_from_db()
    return call


def _told(call: Call) -> list[str]:
    rows = OutboxEvent.objects.filter(call=call).order_by("sequence")
    return list(rows.values_list("kind", flat=True))


def _report(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = OutboxEvent.objects.get(call=call, kind="end-of-call-report").payload[
        "message"
    ]
    return found


def test_the_report_waits_for_the_analysis_and_carries_it_with_its_cost(model: Model) -> None:
    plan = {"structuredDataPlan": {"enabled": True, "schema": SCHEMA}}
    call = _ended(_call(plan))
    before = call.cost_usd
    assert _told(call) == ENDED and not model.requests and model.pokes == 1
    assert analyses_work() == 1
    call.refresh_from_db()
    assert _told(call) == WHOLE and call.report_due_at is None and call.analysis_due_at is None
    report = _report(call)
    assert report["analysis"] == call.analysis == {
        "summary": "The caller and the assistant spoke 2 times.",
        "successEvaluation": "true",
        "structuredData": {"day": "unknown"},
    }  # fmt: skip
    assert report["summary"] == report["analysis"]["summary"]
    entries = [each for each in report["costs"] if each["type"] == "analysis"]
    pydantic.TypeAdapter(list[vapi.AnalysisCost]).validate_python(entries)
    assert {each["analysisType"] for each in entries} == set(report["analysis"])
    assert call.cost_usd == before + Decimal(str(round(sum(each["cost"] for each in entries), 6)))
    breakdown = report["costBreakdown"]["analysisCostBreakdown"]
    assert breakdown["summary"] > 0 and breakdown["summaryPromptTokens"] > 0
    assert report["cost"] == report["costBreakdown"]["total"] == float(call.cost_usd)
    # By the call's own connection, with its key.
    connection = call.connection
    assert connection is not None
    for request in model.requests:
        assert str(request.url) == f"{connection.rest_base_url}/chat/completions"
        assert request.headers["authorization"] == f"Bearer {connection.api_key}"
        assert json.loads(request.content)["model"] == "gpt-5.4-mini"
    assert analyses_work() == 0 and _told(call) == WHOLE


_OFF = {"summaryPlan": {"enabled": False}, "successEvaluationPlan": {"enabled": False}}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"plan": _OFF}, "asks for nothing"),
        ({"plan": {"minMessagesThreshold": 3}}, "fewer than 3 messages"),
        ({"turns": [{"text": "Hello"}]}, "fewer than 2 messages"),
        ({"document": {"hipaaEnabled": True}}, "nothing that was said is kept"),
        ({"policy_refused_at": timezone.now()}, "not agreed to be recorded"),
        ({"consent": {"state": "refused"}}, "not agreed to be recorded"),
        ({"connection": None}, "no model connection"),
        ({"number": {"health_data": True}}, "no signed BAA"),
        ({"number": {"eu_data": True}}, "region is not eu"),
    ],
)
def test_where_nothing_may_be_asked_the_report_goes_at_once(
    model: Model, columns: dict[str, Any], reason: str, admin_client: Client
) -> None:
    call = _ended(_call(**columns))
    assert _told(call) == WHOLE and call.report_due_at is None
    assert _report(call)["analysis"] == {}
    assert analyses_work() == 0 and not model.requests
    page = admin_client.get(reverse("admin:calls_call_change", args=[call.pk]))
    assert reason in page.content.decode()


@pytest.mark.parametrize("who", ["instance", "organisation", "azure", "beta"])
def test_it_can_be_switched_off_and_is_where_no_model_is_named(
    model: Model, settings: Any, who: str
) -> None:
    call = _call()
    if who == "instance":
        settings.CALL_ANALYSIS = False
    elif who == "organisation":
        type(call.organisation).objects.update(analyses_calls=False)
    else:
        dialect = "azure_ga" if who == "azure" else "beta"
        type(call.connection).objects.update(dialect=dialect)
    assert _told(_ended(call)) == WHOLE


def test_at_azure_its_deployment_is_asked_with_its_key(model: Model) -> None:
    call = _call()
    type(call.connection).objects.update(dialect="azure_ga", text_model="our-mini")
    _ended(call)
    assert analyses_work() == 1
    (request, _) = model.requests
    assert json.loads(request.content)["model"] == "our-mini"
    assert request.headers["api-key"] and "authorization" not in request.headers


def test_what_was_agreed_is_looked_at_again_before_the_socket(model: Model) -> None:
    call = _ended(_call())
    type(call.number).objects.update(health_data=True)
    assert analyses_work() == 1
    call.refresh_from_db()
    assert not model.requests and _report(call)["analysis"] == {}
    assert "BAA" in call.metrics["analysis"]["problems"][0]


def test_a_report_whose_worker_died_goes_without_once(model: Model) -> None:
    call = _ended(_call())
    assert analyses_claim(5) == [str(call.pk)]  # and then it was killed
    assert call.report_due_at is not None
    assert overdue_reports_enqueue(call.report_due_at - timedelta(seconds=1)) == 0
    late = call.report_due_at + timedelta(seconds=1)
    assert [overdue_reports_enqueue(late) for _ in range(2)] == [1, 0]
    assert _told(call) == WHOLE and _report(call)["analysis"] == {}
    # Its ghost comes back with an answer: nothing is told, or kept, that the report did not say.
    assert not analysis_settle(Work(str(call.pk)), [])
    call.refresh_from_db()
    assert _told(call) == WHOLE and call.analysis is None
    assert call.metrics["analysis"]["problems"] == [TOO_LATE]


def test_a_lease_that_ran_out_is_taken_by_another_worker_and_only_then(model: Model) -> None:
    call = _ended(_call())
    analyses_claim(5)
    other = _ended(_call())
    # Whoever has the first takes up the second too: events must not wait behind models.
    assert analyses_work() == 0 and not model.requests
    assert _told(other) == ENDED
    Call.objects.filter(pk=call.pk).update(analysis_due_at=timezone.now())
    assert analyses_work() == 2 and _told(call) == _told(other) == WHOLE


def test_a_stream_that_reports_late_changes_nothing_of_the_wait(model: Model) -> None:
    call = _ended(_call())
    assert not call_close(call_id=str(call.pk), reason="worker-died")
    assert _told(call) == ENDED
    assert analyses_work() == 1 and _told(call) == WHOLE


def test_one_question_that_fails_takes_no_other_with_it(model: Model) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "response_format" not in body:
            raise TimeoutError
        return chat_completion(json.dumps(body).encode())

    model.answer = answer
    call = _ended(_call())
    assert analyses_work() == 1
    call.refresh_from_db()
    assert _report(call)["analysis"] == {"successEvaluation": "true"}
    assert call.metrics["analysis"]["problems"] == ["summary: no answer within 5 s"]


@pytest.mark.parametrize(
    ("statuses", "asked", "found"),
    [
        ([429, 503, 200], 3, {"successEvaluation": "true"}),
        ([400, 200], 2, {"successEvaluation": "1 or 2"}),  # it takes no forms
        ([401], 1, {}),
        ([500] * 9, 5, {}),
    ],
)
def test_what_may_pass_is_tried_again(
    model: Model, statuses: list[int], asked: int, found: dict[str, str]
) -> None:
    left = list(statuses)

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status = left.pop(0)
        if status != 200:
            return status, {}
        if "response_format" not in body:
            return 200, {"choices": [{"message": {"content": "1 or 2"}}]}
        return chat_completion(json.dumps(body).encode())

    model.answer = answer
    call = _ended(_call({"summaryPlan": {"enabled": False}}))
    assert analyses_work() == 1
    assert len(model.requests) == asked
    assert _report(call)["analysis"] == found


def test_it_reads_and_keeps_what_may_be_kept(model: Model) -> None:
    factories.make_redaction_rule()
    call = _call({"structuredDataPlan": {"enabled": True}})
    call.turns.filter(ordinal=1).update(text="My number is [phone]")  # as the journal stores it
    model.says('{"card": "4111 1111 1111 1111"}')
    _ended(call)
    assert analyses_work() == 1
    call.refresh_from_db()
    assert "My number is [phone]" in model.requests[0].content.decode()
    for kept in (json.dumps(call.analysis), json.dumps(_report(call))):
        assert "4111 1111" not in kept and "card" in kept


def test_who_may_read_it_and_how_long_it_stays(model: Model, admin_client: Client) -> None:
    call = _ended(_call())
    assert analyses_work() == 1
    said = "The caller and the assistant spoke 2 times."
    url = reverse("admin:calls_call_change", args=[call.pk])
    page = admin_client.get(url).content.decode()
    assert said in page and "gpt-5.4-mini" in page
    assert "analysis part" not in page  # what it took is said once, beside the answers
    staff = Client()
    staff.force_login(factories.make_staff(permissions=["calls.view_call"]))
    page = staff.get(url).content.decode()
    assert said not in page and "gpt-5.4-mini" in page
    for scopes, shown in ((["read", "transcripts"], True), (["read"], False)):
        _, key = factories.make_api_key(scopes=scopes)
        answer = Client().get(f"/call/{call.pk}", headers={"Authorization": f"Bearer {key}"})
        assert (answer.json().get("analysis", {}).get("summary") == said) is shown
    exported = caller_export(organisation=call.organisation, number=call.caller, actor=None)
    assert exported["calls"][0]["analysis"]["summary"] == said
    rule = rule_of(call.organisation)
    rule.transcript_days = 10
    rule.save()
    Call.objects.update(created_at=timezone.now() - timedelta(days=11))
    retention_run()
    call.refresh_from_db()
    assert call.analysis is None
