"""Receivers that a team has entered: who is told what, under which secret, in which order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from calls.events import outbox
from calls.events.delivery import drain, headers_of
from calls.events.outbox import Attempt, Destination, claim, due_ids, event_enqueue, settle
from calls.models import Call, DeliveryAttempt, EventDestination, OutboxEvent
from calls.services import event_destinations as service
from calls.services.call_finish import call_close
from calls.services.server_messages.selection import FINAL_TRANSCRIPT
from tests import factories
from tests.integration.events.receiver import Receiver
from tools.models import ServerCredential
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

PLACE = Destination("https://example.com/hook")


def _tell(call: Call, kind: str = "call.ended", key: str = "", **options: Any) -> None:
    options = {"destination": None, "payload": {"type": kind}, **options}
    with transaction.atomic():
        event_enqueue(call=call, kind=kind, dedupe_key=f"{key or kind}:{call.pk}", **options)


def _told() -> list[tuple[str, str]]:
    """Return receiver and kind of all events."""
    rows = OutboxEvent.objects.order_by("created_at", "receiver__name")
    return list(rows.values_list("receiver__name", "kind"))


def _drain() -> int:
    return asyncio.run(drain())


def _in_turn(call: Call, count: int = 3) -> list[OutboxEvent]:
    for number in range(count):
        _tell(call, "status-update", key=str(number), destination=PLACE)
    return list(OutboxEvent.objects.filter(call=call).order_by("sequence"))


def _fail(event: OutboxEvent) -> None:
    taken = claim(event.pk)
    assert taken is not None
    settle(taken, Attempt(5, 503))


def test_each_receiver_gets_the_kinds_it_wants_of_the_calls_it_wants() -> None:
    call, other = factories.make_call(), factories.make_call()
    assert call.revision is not None
    make = factories.make_destination
    make(name="all of it", kinds=["call.ended", "status-update"])
    make(name="off", enabled=False)
    make(name="other kind", kinds=["end-of-call-report"])
    make(name="of the number").numbers.add(call.number)
    make(name="of another number").numbers.add(other.number)
    both = make(name="of number and assistant")
    both.numbers.add(call.number, other.number)
    both.assistants.add(call.revision.assistant)
    make(name="of another assistant").assistants.add(other.revision.assistant)
    make(factories.make_organisation(), name="of another organisation")
    _tell(call)
    assert sorted(name for name, _ in _told()) == [
        "all of it",
        "of number and assistant",
        "of the number",
    ]
    assert OutboxEvent.objects.values("endpoint").distinct().count() == 3


def test_final_transcripts_are_transcripts() -> None:
    call = factories.make_call()
    factories.make_destination(kinds=["transcript"])
    _tell(call, FINAL_TRANSCRIPT)
    assert len(_told()) == 1


def test_the_same_cause_tells_each_receiver_once_beside_vapis_server() -> None:
    call = factories.make_call()
    row = factories.make_destination(kinds=["status-update"])
    for _ in range(2):
        _tell(call, "status-update", destination=PLACE)
    first, second = OutboxEvent.objects.order_by("receiver_id")
    assert {first.receiver_id, second.receiver_id} == {None, row.pk}
    assert first.pk != second.pk
    stored = first if first.receiver_id else second
    assert stored.destination == {}  # address and secret are looked up when it is sent


def test_a_call_that_ended_before_a_receiver_was_entered_is_not_told_of() -> None:
    ended = timezone.now() - timedelta(minutes=5)
    call = factories.make_call(status="ended", ended_at=ended)
    row = factories.make_destination()
    _tell(call)
    assert _told() == []
    EventDestination.objects.filter(pk=row.pk).update(active_since=ended)
    _tell(call)
    assert len(_told()) == 1


def test_a_receiver_that_no_key_opens_does_not_keep_a_call_from_closing() -> None:
    call = factories.make_call()
    row = factories.make_destination()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_eventdestination SET url = 'gAAAAA-of-another-key'")
    assert call_close(call_id=str(call.pk), reason="customer-ended-call")
    event = OutboxEvent.objects.get(receiver=row)
    assert _drain() == 1
    assert "FIELD_ENCRYPTION_KEYS" in DeliveryAttempt.objects.get(event=event).error


def test_a_delivery_is_signed_for_the_official_library(receiver: Receiver) -> None:
    row = factories.make_destination(
        url=receiver.url + "/log",
        headers={"X-Team": "desk", "x-voiceplatform-event-id": "no"},
        plain_secret="as before",
    )
    old = row.secret
    call = factories.make_call()
    call_close(call_id=str(call.pk), reason="customer-ended-call")
    new = service.secret_renew(row=row, actor=None)
    _drain()
    (got,) = receiver.got
    event = OutboxEvent.objects.get(receiver=row)
    for secret in (old, new):  # of the moment it is sent, not of the one it was written
        assert Webhook(secret).verify(got.body, got.headers)["call"]["call_id"] == str(call.pk)
    assert got.headers["webhook-id"] == got.event_id == str(event.pk) == got.json["event_id"]
    assert got.headers["x-team"] == "desk"
    assert got.headers["x-voiceplatform-sequence"] == "1"
    assert got.json["sequence"] == 1
    assert got.headers["x-voiceplatform-signature"].startswith("sha256=")


def test_a_header_of_theirs_neither_replaces_nor_doubles_ours() -> None:
    event = factories.make_event(call=factories.make_call(), sequence=2)
    theirs = {"x-voiceplatform-event-id": "no", "content-type": "application/cloudevents+json"}
    headers = headers_of(event, Destination("https://example.com", theirs), b"{}")
    named = {name.lower(): value for name, value in headers.items()}
    assert len(named) == len(headers)
    assert named["x-voiceplatform-event-id"] == str(event.pk)
    assert named["content-type"] == "application/cloudevents+json"


def test_the_earlier_secret_signs_until_it_is_ended(receiver: Receiver) -> None:
    row = factories.make_destination(url=receiver.url)
    old = row.secret
    service.secret_renew(row=row, actor=None)
    row.refresh_from_db()
    now = timezone.now()
    assert row.signing_secrets(now) == (row.secret, old)
    assert row.signing_secrets(now + service.OVERLAP) == (row.secret,)
    assert service.earlier_secret_end(row=row, actor=None)
    row.refresh_from_db()
    assert row.signing_secrets(now) == (row.secret,)
    _tell(factories.make_call())
    _drain()
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(receiver.got[0].body, receiver.got[0].headers)


def test_a_vapi_server_gets_the_credential_it_names_as_it_is_today(receiver: Receiver) -> None:
    call = factories.make_call()
    credential = ServerCredential.objects.create(
        organisation=call.organisation, name="Desk", plan={"type": "bearer", "token": "first"}
    )
    place = Destination(
        receiver.url, {"X-Vapi-Secret": "s"}, credential_id=str(credential.credential_id)
    )
    _tell(call, "status-update", destination=place)
    stored = OutboxEvent.objects.get().destination
    assert "first" not in str(stored)
    ServerCredential.objects.update(plan={"type": "bearer", "token": "second"})
    _drain()
    assert receiver.got[0].headers["authorization"] == "Bearer second"
    assert receiver.got[0].headers["x-vapi-secret"] == "s"


def test_410_switches_a_receiver_off_and_keeps_what_waits(receiver: Receiver) -> None:
    row = factories.make_destination(url=receiver.url)
    call, later = factories.make_call(), factories.make_call()
    _tell(call)
    receiver.status = 410
    _drain()
    row.refresh_from_db()
    assert (row.enabled, row.switched_off_at is not None) == (False, True)
    assert AuditEntry.objects.filter(action="eventdestination.switched_off").count() == 1
    assert OutboxEvent.objects.get(call=call).state == "dead"
    # One that was written before it was switched off waits; nothing new is written.
    factories.make_event(call=later, receiver=row, destination={}, endpoint="row:x")
    _tell(factories.make_call())
    assert OutboxEvent.objects.count() == 2
    assert due_ids(10) == []
    receiver.status = 200
    service.destination_switch_on(row=row, actor=None)
    assert _drain() == 1
    assert OutboxEvent.objects.get(call=later).state == "delivered"


def test_retry_after_of_a_busy_receiver_is_kept(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "600"}
    factories.make_destination(url=receiver.url)
    _tell(factories.make_call())
    before = timezone.now()
    _drain()
    assert OutboxEvent.objects.get().next_attempt_at >= before + timedelta(seconds=600)


def test_events_of_a_call_go_to_an_endpoint_in_their_order() -> None:
    first, second, third = _in_turn(factories.make_call())
    assert [each.sequence for each in (first, second, third)] == [1, 2, 3]
    assert due_ids(10) == [first.pk]
    taken = claim(first.pk)
    assert taken is not None
    assert due_ids(10) == []  # while it is under way too
    settle(taken, Attempt(5, 200))
    assert due_ids(10) == [second.pk]


def test_an_event_that_fails_for_a_minute_is_passed(time_machine: Any) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    first, second, third = _in_turn(factories.make_call())
    _fail(first)
    time_machine.shift(timedelta(seconds=6))
    assert due_ids(10) == [first.pk]  # its second try, still alone
    _fail(first)
    time_machine.shift(timedelta(seconds=53))
    assert due_ids(10) == []
    time_machine.shift(timedelta(seconds=2))
    assert due_ids(10) == [second.pk]
    taken = claim(second.pk)
    assert taken is not None
    settle(taken, Attempt(5, 200))
    assert due_ids(10) == [third.pk]


def test_order_holds_for_one_call_and_one_endpoint_only() -> None:
    call = factories.make_call()
    (first,) = _in_turn(call, 1)
    _tell(call, "status-update", key="elsewhere", destination=Destination("https://example.com/b"))
    _tell(call, "status-update", key="query", destination=Destination(f"{PLACE.url}?a=1"))
    (other,) = _in_turn(factories.make_call(), 1)
    due = due_ids(10)
    assert len(due) == 3
    assert {first.pk, other.pk} < set(due)


def test_a_test_event_is_sent_once_and_its_answer_returned(receiver: Receiver) -> None:
    row = factories.make_destination(url=receiver.url)
    attempt = service.destination_test(row=row, actor=None)
    assert attempt is not None and attempt.status_code == 200
    assert Webhook(row.secret).verify(receiver.got[0].body, receiver.got[0].headers)
    receiver.status = 500
    attempt = service.destination_test(row=row, actor=None)
    assert attempt is not None and attempt.status_code == 500
    assert sorted(OutboxEvent.objects.values_list("state", flat=True)) == ["dead", "delivered"]


def test_a_receiver_that_is_removed_takes_what_waits_with_it() -> None:
    row = factories.make_destination()
    _tell(factories.make_call())
    assert service.destination_delete(row=row, actor=None) == 1
    event = OutboxEvent.objects.get()
    assert (event.state, event.receiver_id) == ("dead", None)
    OutboxEvent.objects.update(state="pending")  # somebody orders it again
    _drain()
    event.refresh_from_db()
    assert event.state == "dead"
    assert "has been removed" in DeliveryAttempt.objects.get().error


def test_a_call_log_url_of_before_is_a_receiver_and_can_be_one_again(receiver: Receiver) -> None:
    migration = import_module("calls.migrations.0012_call_log_urls_are_destinations")
    organisation = factories.default_organisation()
    organisation.call_log_url, organisation.call_log_secret = f"{receiver.url}/logs", "s3cret"
    organisation.save()
    migration.move(apps, None)
    organisation.refresh_from_db()
    assert (organisation.call_log_url, organisation.call_log_secret) == ("", "")
    call = factories.make_call()
    call_close(call_id=str(call.pk), reason="customer-ended-call")
    _drain()
    (got,) = receiver.got
    digest = hmac.new(b"s3cret", got.event_id.encode() + b"." + got.body, hashlib.sha256)
    assert got.headers["x-voiceplatform-signature"] == f"sha256={digest.hexdigest()}"
    migration.move_back(apps, None)
    organisation.refresh_from_db()
    assert organisation.call_log_url == f"{receiver.url}/logs"
    assert not EventDestination.objects.exists()


@pytest.mark.parametrize("broken", [{"destination": {"timeout_seconds": 5}}, {"destination": 7}])
def test_a_row_that_cannot_be_read_is_given_up_alone(
    receiver: Receiver, broken: dict[str, Any]
) -> None:
    call = factories.make_call()
    factories.make_event(call=call, **broken)
    factories.make_event(call=call, destination={"url": receiver.url})
    _drain()
    assert sorted(OutboxEvent.objects.values_list("state", flat=True)) == ["dead", "delivered"]


@pytest.mark.parametrize("step", ["claim", "settle"])
def test_a_fault_of_ours_in_one_event_reaches_the_task_after_the_others(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    call = factories.make_call()
    bad = factories.make_event(call=call, destination={"url": receiver.url})
    factories.make_event(call=call, destination={"url": receiver.url})
    plain: Callable[..., Any] = getattr(outbox, step)
    faults: list[int] = []

    def failing(event: Any, *rest: Any) -> Any:
        if getattr(event, "pk", event) == bad.pk:
            faults.append(1)
            raise ZeroDivisionError
        return plain(event, *rest)

    monkeypatch.setattr(f"calls.events.delivery.{step}", failing)
    monkeypatch.setattr("calls.events.delivery.BUDGET_SECONDS", 2.0)
    with pytest.raises(ExceptionGroup):
        _drain()
    assert sorted(OutboxEvent.objects.values_list("state", flat=True)) == ["delivered", "pending"]
    assert faults == [1]
