"""What was kept long enough goes, in small steps; what is younger, live or on its way stays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import (
    Call,
    CallInputChunk,
    DeliveryAttempt,
    OutboxEvent,
    RetentionRule,
    ToolExchange,
    ToolInvocation,
    Turn,
)
from calls.services import retention
from calls.services.redelivery import event_redeliver
from calls.services.retention import retention_preview, retention_run, rule_of
from tests import factories
from voiceplatform.base.models import AuditEntry, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

KINDS = ("transcript", "tool_body", "call_input", "report", "call", "audit")


def aged(days: float, organisation: Organisation | None = None, **columns: Any) -> Call:
    """Make an ended call that began so many days ago, with everything that hangs on it."""
    call = factories.make_call(
        organisation,
        **{"status": "ended", "variable_values": {"a": "Hello"}, **columns},
        turns=[{"text": "Hello"}, {"text": "Bye", "text_unheard": "now"}],
        tool_invocations=[{}],
    )
    factories.make_tool_exchange(call, request="asked", response="answered")
    CallInputChunk.objects.create(call=call, ordinal=0, data=b"inputs")
    event = factories.make_event(call=call, state="delivered", payload={"said": "Hello"})
    factories.make_attempt(event, response_excerpt="Hello")
    Call.objects.filter(pk=call.pk).update(created_at=timezone.now() - dt.timedelta(days=days))
    return call


def keep(organisation: Organisation, **days: int | None) -> RetentionRule:
    rule = rule_of(organisation)
    for kind in KINDS:
        setattr(rule, f"{kind}_days", days.get(kind))
    rule.save()
    return rule


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_each_kind_goes_by_its_own_days_and_nothing_else_does(kind: str) -> None:
    old, young = aged(11), aged(9)
    other = aged(11, factories.make_organisation())
    keep(other.organisation)
    keep(old.organisation, **{kind: 10})
    retention_run()
    for call in (young, other):
        assert _left(call) == dict.fromkeys(KINDS[:-1], True), call
    expected = dict.fromkeys(KINDS[:-1], kind != "call")
    assert _left(old) == expected | {kind: False}
    if kind != "call":
        assert old.turns.count() == 2 and old.tool_invocations.get().state == "ok"


def _left(call: Call) -> dict[str, bool]:
    events = OutboxEvent.objects.filter(call=call.pk)
    answers = DeliveryAttempt.objects.filter(event__in=events)
    return {
        "transcript": Turn.objects.filter(call=call.pk).exclude(text="").count() == 2,
        "tool_body": ToolExchange.objects.filter(call=call.pk, content__isnull=False).exists()
        and ToolInvocation.objects.filter(call=call.pk).exclude(output="").exists()
        and Call.objects.filter(pk=call.pk, variable_values__isnull=False).exists(),
        "call_input": CallInputChunk.objects.filter(call=call.pk).exists(),
        "report": any(event.payload for event in events)
        and answers.exclude(response_excerpt="").exists(),
        "call": Call.objects.filter(pk=call.pk).exists(),
    }


def test_a_live_call_and_a_report_on_its_way_stay_whatever_their_age() -> None:
    live = aged(100, status="in-progress")
    waiting = aged(100)
    OutboxEvent.objects.filter(call=waiting).update(state="pending")
    keep(live.organisation, transcript=10, call_input=10, call=10)
    keep(live.organisation, report=10)
    retention_run()
    assert OutboxEvent.objects.get(call=waiting).payload == {"said": "Hello"}
    keep(live.organisation, transcript=10, call_input=10, call=10)
    retention_run()
    assert Turn.objects.filter(call=live).exclude(text="").count() == 2


def test_a_report_whose_words_are_gone_is_not_sent_again() -> None:
    call = aged(11)
    event = OutboxEvent.objects.get(call=call)
    keep(call.organisation, report=10)
    retention_run()
    assert not event_redeliver(event=event)
    event.refresh_from_db()
    assert event.state == "delivered" and event.schema_version == retention.EMPTIED


def test_audit_entries_go_by_their_own_age() -> None:
    old, young = factories.make_audit_entry(), factories.make_audit_entry()
    AuditEntry.objects.filter(pk=old.pk).update(at=timezone.now() - dt.timedelta(days=11))
    keep(old.organisation, audit=10)
    retention_run()
    assert list(AuditEntry.objects.all()) == [young]


def test_without_a_row_words_and_calls_stay_and_inputs_go_after_thirty_days() -> None:
    call = aged(1000)
    retention_run()
    left = _left(call)
    assert left == {
        "transcript": True, "tool_body": False, "call_input": False, "report": False, "call": True
    }  # fmt: skip
    rule = RetentionRule.objects.get(organisation=call.organisation)
    assert rule.last_counts["call_input"] == 1 and rule.last_run_at is not None


def test_a_run_looks_only_at_what_the_last_one_did_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_CALLS_AT_ONCE", 2)
    first = [aged(20 + number) for number in range(5)]
    keep(first[0].organisation, transcript=10)
    assert retention_run() == 10
    with CaptureQueriesContext(connection) as queries:
        assert retention_run() == 0
    assert not [q for q in queries if "calls_turn" in q["sql"] and "UPDATE" in q["sql"]]
    late = aged(5)
    Call.objects.filter(pk=late.pk).update(created_at=timezone.now() - dt.timedelta(days=12))
    now = timezone.now() + dt.timedelta(days=1)
    assert retention_run(now) == 0  # it began before what is done: nobody begins in the past
    assert retention_run(now + dt.timedelta(days=30)) == 0
    assert aged(-25).turns.count() == 2
    assert retention_run(now + dt.timedelta(days=40)) == 2


def test_no_transaction_touches_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    call = aged(11)
    for ordinal in range(2, 9):
        factories.make_turn(call, ordinal=ordinal, text="word")
    keep(call.organisation, transcript=10)
    with CaptureQueriesContext(connection) as queries:
        retention_run()
    changed = [q["sql"] for q in queries if q["sql"].startswith('UPDATE "calls_turn"')]
    assert len(changed) == 3
    assert not Turn.objects.exclude(text="", text_unheard="").exists()


def test_a_run_stops_when_its_time_is_up_and_the_next_goes_on() -> None:
    call = aged(11)
    keep(call.organisation, transcript=10)
    assert retention_run(budget_seconds=-1) == 0
    assert retention_run() == 2


def test_the_preview_says_what_goes_when() -> None:
    old = aged(11)
    aged(6)
    aged(1)
    rule = keep(old.organisation, transcript=10, audit=10)
    due = {each.kind: each for each in retention_preview(rule)}
    assert (due["transcript"].now_calls, due["transcript"].soon_calls) == (1, 1)
    assert due["call"].before is None
    retention_run()
    rule.refresh_from_db()
    due = {each.kind: each for each in retention_preview(rule)}
    assert (due["transcript"].now_calls, due["transcript"].soon_calls) == (0, 1)


def test_fewer_days_than_reports_need_are_refused() -> None:
    rule = keep(factories.default_organisation(), report=3)
    with pytest.raises(ValidationError, match="greater than or equal to 7"):
        rule.full_clean()
