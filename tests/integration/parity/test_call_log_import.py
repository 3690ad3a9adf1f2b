"""Logs of the old stack become calls: once, with all that was said and done, and nobody is told."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from calls.models import (
    Call,
    Erasure,
    ImportedCall,
    OutboxEvent,
    RetentionRule,
    ShimRecord,
    ToolInvocation,
    Turn,
)
from calls.parity.logs.reading import read_log
from calls.parity.logs.shim import exchange_kept
from calls.selectors.erasures import sid_hash
from calls.services import call_logs
from calls.services.call_log_store import Store
from calls.services.erasure import caller_erase
from calls.services.guards import _recent
from calls.services.parity_choices import calls_to_extract
from calls.services.parity_scenarios import ScenarioRefused, scenario_extract
from calls.services.readiness_here import own_spans
from calls.services.reconciler import untold_calls_tell
from calls.services.retention import retention_run
from calls.services.sequences import past_call_of, past_calls, sequence_of
from tests import factories
from tests.integration.parity.log_files import run_files
from tests.unit.house.source_tree import ROOT
from tests.unit.parity.test_call_logs import EXPECTED
from tests.vapi_account import whole_call

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FOLDER = ROOT / "tests" / "fixtures" / "call_logs"


def put(*documents: dict[str, Any], **columns: Any) -> list[str]:
    store = Store(factories.default_organisation(), **columns)
    return [store.put(read_log(each)) for each in documents]


def row_counts() -> tuple[int, ...]:
    models = (Call, ImportedCall, Turn, ToolInvocation)
    return tuple(model.objects.count() for model in models)


def test_every_sample_is_imported_once_with_the_sequence_that_it_has_by_eye() -> None:
    paths = sorted(FOLDER.glob("[0-9]*"))
    report = run_files(*paths)
    assert report.counts["created"] == len(paths)
    assert report.counts["wrong"] == 1  # the line that breaks off
    before = row_counts()
    for imported in past_calls(factories.default_organisation()):
        name = next(n for n, each in EXPECTED.items() if each["key"] == imported.log_id)
        wanted, found = EXPECTED[name], sequence_of(imported.call)
        shown = [
            [each.name, dict(each.arguments), each.outcome, each.at_ms, each.message]
            for each in found.tools
        ]
        assert shown == wanted["tools"], name
        outcomes = (found.cut, found.outcomes.tools_ok, found.outcomes.transferred)
        assert outcomes == (wanted["cut"], wanted["tools_ok"], wanted["transferred"]), name
        assert found.outcomes.structured == wanted.get("structured"), name
        assert found.outcomes.ended == wanted["ended"] and found.stack == "vapi"
    again = run_files(*paths)
    assert again.counts["created"] == again.counts["updated"] == 0
    assert row_counts() == before
    assert not OutboxEvent.objects.exists()


def test_an_imported_call_is_a_call_with_all_that_its_log_says() -> None:
    number = factories.make_number()
    assistant = factories.make_assistant()
    document = json.loads((FOLDER / "01-get-call.json").read_text("utf-8"))
    document |= {"phoneNumberId": str(number.pk), "assistantId": str(assistant.pk)}
    assert put(document) == ["created"]
    call = Call.objects.get(pk=document["id"])
    assert (call.stack, call.status, call.direction) == ("vapi", "ended", "inbound")
    assert call.created_at.isoformat() == "2026-10-05T09:00:00+00:00"
    assert (call.caller, call.callee) == ("+14155550101", number.number_e164)
    assert call.duration_seconds == 63 and float(call.cost_usd) == 0.1312
    assert (call.turn_latency_p50_ms, call.turn_latency_p95_ms) == (1080, 1080)
    assert call.analysis is not None and call.analysis["summary"] == "A cleaning was booked."
    assert call.number is None and call.revision is None and call.twilio_account is None
    imported = call.imported
    assert (imported.number, imported.assistant) == (number, assistant)
    assert imported.is_whole and imported.consent == "unknown"
    past = past_call_of(call)
    assert past.cost_breakdown["llm"] == 0.0317 and past.recordings["stereo"].endswith(".wav")
    assert [each.text for each in past.speech][:2] == [
        "Dental desk, how can I help?",
        "A cleaning on Friday, please.",
    ]
    assert list(past_calls(call.organisation, assistant=assistant)) == [imported]
    assert not past_calls(call.organisation, number=factories.make_number()).exists()


def test_nobody_is_told_of_an_imported_call_and_nothing_counts_it() -> None:
    number = factories.make_number()
    now = timezone.now()
    put(whole_call(0, at=now - dt.timedelta(minutes=9), phoneNumberId=str(number.pk)))
    organisation = factories.default_organisation()
    organisation.call_log_url = "https://logs.example.com/"
    organisation.save()
    assert untold_calls_tell(now) == 0 and not OutboxEvent.objects.exists()
    assert _recent(now) == {}
    assert own_spans(organisation, now) == {}
    assert not number.calls.exists()


def test_tellings_in_any_order_give_one_call_and_the_richest_wins() -> None:
    lines = (FOLDER / "17-one-call-told-four-times.ndjson").read_text("utf-8").split("\n")
    documents = [json.loads(line) for line in lines[1:4]]
    first, second, report = documents
    assert put(first, second, report, first, report) == [
        *("created", "updated", "updated", "unchanged", "unchanged")
    ]
    names = [each.name for each in sequence_of(Call.objects.get()).tools]
    Call.objects.all().delete()
    assert put(report, second, first) == ["created", "updated", "unchanged"]
    assert [each.name for each in sequence_of(Call.objects.get()).tools] == names
    assert Call.objects.get().imported.is_whole


def test_a_call_that_came_here_first_keeps_its_row_and_gains_what_was_said() -> None:
    call = factories.make_call(stack="vapi", status="ended", ended_reason="customer-ended-call")
    cost = call.cost_usd
    assert put(whole_call(1, phoneCallProviderId=call.call_sid)) == ["created"]
    call.refresh_from_db()
    assert Call.objects.count() == 1 and call.imported.was_here
    assert call.imported_at is None and call.number is not None and call.cost_usd == cost
    assert [each.text for each in call.turns.all()] == ["Order 1?", "It is open."]
    found = sequence_of(call)
    assert [each.name for each in found.tools] == ["find"] and not found.cut


def test_a_call_that_this_platform_answered_is_left_alone() -> None:
    call = factories.make_call(status="ended", turns=[{"text": "Ours"}])
    assert put(
        whole_call(1, phoneCallProviderId=call.call_sid),
        {**whole_call(2), "id": str(call.pk)},
    ) == ["ours", "ours"]
    assert call.turns.get().text == "Ours" and not ImportedCall.objects.exists()


def test_the_carriers_id_finds_a_call_that_has_no_other() -> None:
    report = whole_call(3, phoneCallProviderId="CA" + "9" * 32)
    bare = {
        "type": "end-of-call-report",
        "endedReason": "customer-ended-call",
        "timestamp": report["endedAt"],
        "call": {"phoneCallProviderId": "CA" + "9" * 32, "createdAt": report["createdAt"]},
    }
    assert put(bare, report) == ["created", "updated"]
    imported = ImportedCall.objects.get()
    assert imported.log_id == report["id"] and imported.is_whole


def test_two_organisations_may_import_the_same_log() -> None:
    other = factories.make_organisation()
    document = whole_call(4)
    put(document)
    assert Store(other).put(read_log(document)) == "created"
    assert Call.objects.filter(organisation=other).count() == 1
    assert Call.objects.get(pk=document["id"]).organisation != other


def test_what_is_masked_is_never_written_of_a_log_either() -> None:
    factories.make_redaction_rule(phone_numbers=True)
    document = whole_call(5)
    messages = document["artifact"]["messages"]
    messages[0]["message"] = "My number is +1 415 555 0187."
    messages[1]["toolCalls"][0]["function"]["arguments"] = '{"phone": "+14155550187"}'
    put(document)
    for text in (Turn.objects.first().text, ToolInvocation.objects.get().arguments_json):  # type: ignore[union-attr]
        assert "0187" not in text


def test_of_a_caller_who_did_not_agree_no_word_is_kept() -> None:
    refused = {"recordingConsent": {"type": "verbal"}}
    put(whole_call(6, compliance=refused))
    assert {each.text for each in Turn.objects.all()} == {""}
    tool = ToolInvocation.objects.get()
    assert (tool.name, tool.arguments_json, tool.output) == ("find", "", "")
    assert ImportedCall.objects.get().consent == "refused"


def test_an_import_that_began_before_an_erasure_brings_no_erased_call_back() -> None:
    organisation = factories.default_organisation()
    document = whole_call(1)
    put(document)
    store = Store(organisation)  # it has read who was erased: nobody
    caller_erase(organisation=organisation, number="+14155550142", actor="system")
    assert store.put(read_log(document)) == "erased" and not Call.objects.exists()


def test_an_erasure_reaches_what_is_imported_while_it_goes_on() -> None:
    organisation = factories.default_organisation()
    put(whole_call(1))

    def meanwhile(done: int, total: int) -> None:
        put(whole_call(2))

    tombstone = caller_erase(
        organisation=organisation, number="+14155550142", actor="system", progress=meanwhile
    )
    assert not Call.objects.exists() and len(tombstone.sid_hashes) >= 4
    assert put(whole_call(2)) == ["erased"]


def test_an_erased_caller_does_not_come_back_with_the_same_log() -> None:
    document = whole_call(7)
    put(document)
    organisation = factories.default_organisation()
    caller_erase(organisation=organisation, number="+14155550142", actor="system")
    assert not Call.objects.exists()
    assert sid_hash(document["id"]) in Erasure.objects.get().sid_hashes
    assert put(document) == ["erased"] and not Call.objects.exists()


def test_an_erasure_reaches_what_waits_and_names_what_it_cannot_look_into() -> None:
    kept = exchange_kept(
        json.dumps(
            {
                "type": "tool-calls",
                "toolCallList": [{"id": "a", "name": "find", "parameters": {"q": "parrot"}}],
                "call": {"id": whole_call(1)["id"], "customer": {"number": "+14155550142"}},
            }
        ).encode(),
        200,
        "{}",
        received_at=timezone.now(),
        duration_ms=1,
    )
    factories.make_shim_record(content=kept)
    factories.make_log_piece()
    organisation = factories.default_organisation()
    tombstone = caller_erase(organisation=organisation, number="+14155550142", actor="system")
    assert not ShimRecord.objects.exists() and not Call.objects.exists()
    assert tombstone.counts["calls.toolinvocation"] == 1
    assert len(tombstone.problems) == 1 and "erase once more" in tombstone.problems[0]


def test_rest_shows_an_imported_call_under_vapis_id_and_sums_leave_it_out(client: Client) -> None:
    assistant, number = factories.make_assistant(), factories.make_number()
    document = whole_call(1, assistantId=str(assistant.pk), phoneNumberId=str(number.pk))
    put(document | {"phoneCallProviderId": "CA" + "8" * 32})
    _, clear = factories.make_api_key(scopes=("read", "transcripts"))
    headers = {"authorization": f"Bearer {clear}"}
    shown = client.get(f"/call/{document['id']}", headers=headers).json()
    assert (shown["assistantId"], shown["phoneNumberId"]) == (str(assistant.pk), str(number.pk))
    assert shown["phoneCallProviderId"] == "CA" + "8" * 32 and shown["status"] == "ended"
    assert shown["cost"] == 0.05 and shown["createdAt"] == document["createdAt"]
    roles = [each["role"] for each in shown["artifact"]["messages"]]
    assert roles == ["user", "tool_calls", "tool_call_result", "bot"]
    query = {
        "queries": [
            {"table": "call", "name": "n", "operations": [{"operation": "count", "column": "id"}]}
        ]
    }
    sums = client.post("/analytics", query, content_type="application/json", headers=headers)
    assert sums.status_code in {200, 201} and "1" not in json.dumps(sums.json()[0]["result"])


def test_retention_reaches_calls_that_were_imported_behind_its_back() -> None:
    now = timezone.now()
    organisation = factories.default_organisation()
    done = (now - dt.timedelta(days=90)).isoformat()
    rule = RetentionRule.objects.create(
        organisation=organisation,
        transcript_days=60,
        tool_body_days=90,
        progress={"transcript": (now - dt.timedelta(days=60)).isoformat(), "tool_body": done},
    )
    put(whole_call(8, at=now - dt.timedelta(days=200)), whole_call(9, at=now))
    retention_run(now)
    old, new = Call.objects.order_by("created_at")
    assert {each.text for each in old.turns.all()} == {""}
    assert old.tool_invocations.get().output == "" and old.imported.recordings is None
    assert new.turns.first().text == "Order 9?"
    rule.refresh_from_db()
    assert rule.look_from is None


def test_retention_reaches_what_a_log_adds_to_an_old_call_that_came_here() -> None:
    now = timezone.now()
    call = factories.make_call(stack="vapi", status="ended", ended_reason="customer-ended-call")
    Call.objects.filter(pk=call.pk).update(created_at=now - dt.timedelta(days=200))
    RetentionRule.objects.create(
        organisation=factories.default_organisation(),
        transcript_days=60,
        progress={"transcript": (now - dt.timedelta(days=60)).isoformat()},
    )
    put(whole_call(1, phoneCallProviderId=call.call_sid, at=now - dt.timedelta(days=200)))
    assert call.turns.count() == 2
    retention_run(now)
    assert {each.text for each in call.turns.all()} == {""}


def test_a_log_whose_clocks_are_wrong_stays_within_what_columns_hold() -> None:
    late = whole_call(1, phoneCallProviderId="CA" + "7" * 32)
    put(late, {**late, "startedAt": "2001-01-01T00:00:00.000Z"})
    put({**whole_call(2), "startedAt": "2001-01-01T00:00:00Z", "endedAt": "2099-01-01T00:00:00Z"})
    for call in Call.objects.all():
        assert 0 <= call.duration_seconds < 2**31
        for row in (*call.turns.all(), *call.tool_invocations.all()):
            assert 0 <= row.started_ms < 2**31


def test_a_scenario_can_be_taken_from_an_imported_call_whose_words_were_kept() -> None:
    assistant = factories.make_assistant()
    refused = {"recordingConsent": {"type": "verbal"}}
    mine: dict[str, Any] = {"assistantId": str(assistant.pk)}
    put(whole_call(1, **mine), whole_call(2, **mine, compliance=refused), whole_call(3))
    assert [str(each.pk) for each in calls_to_extract(assistant)] == [whole_call(1)["id"]]


@pytest.mark.parametrize(
    "columns",
    [
        {"consent": {"state": "refused"}},
        {"consent": {"state": "pending"}},
        {"policy_refused_at": timezone.now()},
        {},
    ],
)
def test_no_scenario_is_taken_of_a_caller_who_has_not_agreed(columns: dict[str, Any]) -> None:
    assistant = factories.make_assistant()
    number = factories.make_number(assistant=assistant)
    call = factories.make_call(number=number, status="ended", **columns)
    Turn.objects.create(call=call, ordinal=0, role="user", text="Hello", started_ms=0)
    assert list(calls_to_extract(assistant)) == ([] if columns else [call])
    if columns:
        with pytest.raises(ScenarioRefused, match="has not agreed"):
            scenario_extract(call=call, assistant=assistant, actor=None)


def test_older_calls_are_left_out() -> None:
    now = timezone.now()
    old = whole_call(10, at=now - dt.timedelta(days=31))
    assert put(old, whole_call(11), since=call_logs.since_of(30, now)) == ["older", "created"]


# ---- imports ------------------------------------------------------------------------------------


def test_a_call_whose_row_no_key_opens_stops_nothing() -> None:
    put(whole_call(1))
    ImportedCall.objects.update(tellings=[])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_importedcall SET facts = 'gAAAAAbroken'")
    assert put({**whole_call(1), "cost": 0.07}, whole_call(2)) == ["unreadable", "created"]
    call = Call.objects.get(pk=uuid.UUID(whole_call(1)["id"]))
    assert [each.name for each in sequence_of(call).tools] == ["find"]
