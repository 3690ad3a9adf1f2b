"""Delivery against a real receiver: every answer, every failure, the same bytes each time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.utils import timezone
from kombu.exceptions import OperationalError

from calls.events import delivery, outbox
from calls.events.delivery import drain
from calls.events.outbox import Destination, event_enqueue, event_id
from calls.models import Call, DeliveryAttempt, OutboxEvent
from calls.services.redelivery import event_redeliver
from calls.tasks import drain_outbox
from tests import factories
from tests.integration.events.receiver import Receiver, running_receiver
from voiceplatform.base.job_bell import Doorbell

POKE = outbox.poke  # the suite replaces it around each test
pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

PAYLOAD = {"message": {"type": "end-of-call-report", "note": "Grüße, 東京"}}


def _enqueue(call: Call, url: str, key: str = "report", **destination: Any) -> OutboxEvent:
    with transaction.atomic():
        event_enqueue(
            call=call,
            kind="end-of-call-report",
            dedupe_key=f"{key}:{call.pk}",
            destination=Destination(url, {"X-Vapi-Secret": "s3cret"}, **destination),
            payload=PAYLOAD,
        )
    return OutboxEvent.objects.get(pk=event_id(f"{key}:{call.pk}"))


def _spread(call: Call, url: str, count: int, endpoints: int) -> list[OutboxEvent]:
    """Write events of a call that wait for nobody, as those of several receivers do."""
    return [
        factories.make_event(
            call=call,
            destination={"url": f"{url}/{number % endpoints}"},
            endpoint=f"{number % endpoints}",
        )
        for number in range(count)
    ]


def _drain() -> int:
    return asyncio.run(drain())


def _make_due() -> None:
    OutboxEvent.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def _attempt() -> DeliveryAttempt:
    return DeliveryAttempt.objects.get()


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(receiver: Receiver, status: int) -> None:
    receiver.status = status
    receiver.answer = b"" if status == 204 else b"got it"
    event = _enqueue(factories.make_call(), receiver.url + "/hook")
    assert _drain() == 1
    event.refresh_from_db()
    assert (event.state, event.attempt_count, event.lease_until) == ("delivered", 1, None)
    assert event.settled_at is not None
    attempt = _attempt()
    assert (attempt.number, attempt.status_code, attempt.error) == (1, status, "")
    (got,) = receiver.got
    assert got.path == "/hook"
    assert got.event_id == str(event.pk)
    assert got.headers["x-vapi-secret"] == "s3cret"
    assert got.headers["x-voiceplatform-stack"] == "direct"
    assert got.headers["content-type"] == "application/json"
    assert got.json == PAYLOAD
    assert "x-voiceplatform-signature" not in got.headers
    assert _drain() == 0


def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"Location": receiver.url + "/elsewhere"}
    event = _enqueue(factories.make_call(), receiver.url + "/hook")
    _drain()
    event.refresh_from_db()
    assert (event.state, _attempt().status_code) == ("pending", 307)
    assert [got.path for got in receiver.got] == ["/hook"]


def test_410_is_never_tried_again(receiver: Receiver) -> None:
    receiver.status = 410
    event = _enqueue(factories.make_call(), receiver.url)
    _drain()
    event.refresh_from_db()
    assert event.state == "dead"
    _make_due()
    assert _drain() == 0


def test_500_is_tried_again_later_with_the_same_bytes_and_the_same_id(receiver: Receiver) -> None:
    receiver.status, receiver.answer = 500, b"database \x00 down"
    event = _enqueue(factories.make_call(), receiver.url, signing_secret="k")
    before = timezone.now()
    for number in (1, 2):
        assert _drain() == 1
        assert _drain() == 0  # its time has not come
        event.refresh_from_db()
        assert (event.state, event.attempt_count) == ("pending", number)
        wait = outbox.delay_seconds(number, 0.0)
        assert wait is not None
        assert event.next_attempt_at >= before + timedelta(seconds=wait)
        _make_due()
    receiver.status = 200
    assert _drain() == 1
    first, *others = receiver.got
    assert len(others) == 2
    for other in others:
        assert (other.body, other.event_id) == (first.body, first.event_id)
        assert (
            other.headers["x-voiceplatform-signature"] == first.headers["x-voiceplatform-signature"]
        )
    rows = DeliveryAttempt.objects.order_by("number")
    assert [row.status_code for row in rows] == [500, 500, 200]
    assert rows[0].response_excerpt == "database  down"


def test_the_signature_is_over_event_id_and_body(receiver: Receiver) -> None:
    _enqueue(factories.make_call(), receiver.url, signing_secret="shared")
    _drain()
    (got,) = receiver.got
    signed = got.event_id.encode() + b"." + got.body
    digest = hmac.new(b"shared", signed, hashlib.sha256).hexdigest()
    assert got.headers["x-voiceplatform-signature"] == f"sha256={digest}"


def test_a_receiver_that_is_silent_is_given_up_within_its_time(receiver: Receiver) -> None:
    receiver.hold()
    event = _enqueue(factories.make_call(), receiver.url, timeout_seconds=0.2)
    _drain()
    event.refresh_from_db()
    assert (event.state, event.lease_until) == ("pending", None)
    assert "no answer within" in _attempt().error


def test_no_receiver_may_ask_for_more_time_than_lease_and_task_have(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Vapi allows 300 s; a worker is ended at 60 s, and then no attempt would ever be recorded.
    longest = delivery.LONGEST_SECONDS
    assert delivery.BUDGET_SECONDS + longest < 60
    assert longest < outbox.LEASE_SECONDS
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 0.2)
    receiver.hold()
    event = _enqueue(factories.make_call(), receiver.url, timeout_seconds=300)
    _drain()
    event.refresh_from_db()
    assert (event.state, event.attempt_count, event.lease_until) == ("pending", 1, None)
    assert _attempt().error != ""


def test_a_forbidden_address_is_named_with_its_fix(receiver: Receiver, settings: Any) -> None:
    settings.EGRESS_ALLOW = []
    _enqueue(factories.make_call(), receiver.url + "/hook?token=hidden-query")
    _drain()
    assert receiver.got == []
    error = _attempt().error
    assert error.startswith("127.0.0.1: it is a loopback address")
    assert "EGRESS_ALLOW" in error
    assert "hidden-query" not in error


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:9/", "ConnectError"),
        ("ftp://127.0.0.1/x", "it is neither http nor https"),
        ("https://", "it is not a URL with a host"),
        ("http://nobody.invalid/", "ConnectError"),
        ("http://a..b/", "ConnectError"),
    ],
)
def test_what_cannot_be_reached_leaves_a_readable_attempt(
    receiver: Receiver, url: str, error: str
) -> None:
    event = _enqueue(factories.make_call(), url)
    _drain()
    event.refresh_from_db()
    assert event.state == "pending"
    assert error in _attempt().error


def test_a_header_that_http_cannot_carry_fails_alone(receiver: Receiver) -> None:
    call = factories.make_call()
    with transaction.atomic():
        event_enqueue(
            call=call,
            kind="k",
            dedupe_key="bad header",
            destination=Destination(receiver.url, {"X-Note": "line\r\nInjected: yes"}),
            payload={},
        )
    _enqueue(factories.make_call(), receiver.url)  # its own call's later events wait a minute
    _drain()
    assert [got.json for got in receiver.got] == [PAYLOAD]
    assert DeliveryAttempt.objects.get(event_id=event_id("bad header")).error == (
        "LocalProtocolError"
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"payload": {"text": "half a pair \ud800"}},
        # Written by a version that knew more of destinations, or less.
        {"destination": {"url": "URL", "added_later": 1}},
        {"destination": {"url": "URL"}},
    ],
)
def test_an_odd_row_is_delivered_like_any_other(receiver: Receiver, columns: Any) -> None:
    if "destination" in columns:
        columns = {"destination": columns["destination"] | {"url": receiver.url}}
    columns = {"destination": {"url": receiver.url}} | columns
    odd = factories.make_event(call=factories.make_call(), **columns)
    _drain()
    odd.refresh_from_db()
    assert odd.state == "delivered"
    assert len(receiver.got) == 1


def test_a_row_that_no_key_opens_says_so_and_holds_up_nobody(receiver: Receiver) -> None:
    call = factories.make_call()
    lost = factories.make_event(call=call)
    OutboxEvent.objects.filter(pk=lost.pk).update(
        next_attempt_at=timezone.now() - timedelta(hours=1)
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_outboxevent SET payload = 'gAAAAA-of-another-key'")
    good = _enqueue(call, receiver.url)
    _drain()
    good.refresh_from_db()
    assert good.state == "delivered"
    state, count = OutboxEvent.objects.filter(pk=lost.pk).values_list("state", "attempt_count")[0]
    assert (state, count) == ("pending", 1)
    attempt = DeliveryAttempt.objects.get(event_id=lost.pk)
    assert "FIELD_ENCRYPTION_KEYS" in attempt.error
    lease = OutboxEvent.objects.values_list("lease_until", flat=True).get(pk=lost.pk)
    assert lease is None


def test_many_events_go_out_several_at_a_time_and_no_more(receiver: Receiver) -> None:
    _spread(factories.make_call(), receiver.url, delivery.AT_ONCE * 2 + 5, endpoints=12)
    receiver.hold()
    worker = threading.Thread(target=_drain)
    worker.start()
    receiver.wait_for(delivery.AT_ONCE)
    receiver.release()
    worker.join(30)
    assert not worker.is_alive()
    assert receiver.busiest == delivery.AT_ONCE
    assert len({got.event_id for got in receiver.got}) == len(receiver.got)
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"delivered"}


def test_one_silent_receiver_does_not_hold_up_the_others(receiver: Receiver) -> None:
    call = factories.make_call()
    with running_receiver() as silent:
        silent.hold()
        # It has far more to come than all places, and all of it is older.
        _spread(call, silent.url, delivery.AT_ONCE * 3, endpoints=1)
        quick = _spread(call, receiver.url, delivery.AT_ONCE * 2, endpoints=8)
        OutboxEvent.objects.filter(pk__in=[event.pk for event in quick]).update(
            next_attempt_at=timezone.now(), endpoint=Concat(Value("quick"), F("endpoint"))
        )
        worker = threading.Thread(target=_drain)
        worker.start()
        # All of them, while the silent one has as many POSTs open as it may.
        receiver.wait_for(len(quick), seconds=10)
        assert silent.busiest == delivery.PER_ENDPOINT
        silent.release()
        worker.join(30)
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"delivered"}


def test_a_long_queue_is_not_read_again_for_each_event(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    plain = delivery.due_events

    def counted(*args: Any, **options: Any) -> list[tuple[Any, str]]:
        looks.append(1)
        return plain(*args, **options)

    monkeypatch.setattr(delivery, "due_events", counted)
    monkeypatch.setattr(delivery, "LOOK_SECONDS", 60)
    _spread(factories.make_call(), receiver.url, 2 * delivery.LOOK_FOR, endpoints=16)
    assert _drain() == 2 * delivery.LOOK_FOR
    # Once there is nothing left to begin, each that ends may have made another one due.
    assert len(looks) <= 4 + delivery.AT_ONCE


def test_two_drains_at_once_post_each_event_once(receiver: Receiver) -> None:
    _spread(factories.make_call(), receiver.url, 30, endpoints=5)
    receiver.delay_seconds = 0.02
    workers = [threading.Thread(target=_drain) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert receiver.repeats() == 0
    assert len(receiver.got) == 30


def test_a_huge_answer_is_cut(receiver: Receiver) -> None:
    receiver.answer = b"x" * 1_000_000
    event = _enqueue(factories.make_call(), receiver.url)
    _drain()
    event.refresh_from_db()
    assert event.state == "delivered"
    assert len(_attempt().response_excerpt) == 500


@pytest.mark.parametrize("error", [OperationalError("gone"), ConnectionRefusedError("gone")])
def test_a_broken_broker_costs_nothing_but_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The poke fails in its thread, unheard; what the beat calls delivers."""
    rung: list[BaseException | None] = []

    def refuse(**options: Any) -> None:
        assert options == {"retry": False}
        raise error

    ring = outbox._ring

    def watched() -> None:
        try:
            ring()
        except BaseException as raised:
            rung.append(raised)
            raise
        rung.append(None)

    monkeypatch.setattr(drain_outbox, "apply_async", refuse)
    monkeypatch.setattr(outbox, "_ring", watched)
    # The bell of the process may still ring for a test before, and fold this press into that ring.
    monkeypatch.setattr(outbox, "_doorbell", Doorbell("outbox-poke-of-this-test"))
    monkeypatch.setattr(outbox, "poke", POKE)
    event = _enqueue(factories.make_call(), receiver.url)
    _wait(lambda: rung)
    assert rung == [None]
    assert receiver.got == []
    assert drain_outbox() == 1
    event.refresh_from_db()
    assert event.state == "delivered"


def _wait(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_pokes_of_many_calls_fold_while_the_broker_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "poke", POKE)

    gate, rung = threading.Event(), []

    def slow(**_: Any) -> None:
        rung.append(1)
        gate.wait(10)

    monkeypatch.setattr(drain_outbox, "apply_async", slow)
    outbox.poke()
    _wait(lambda: rung)
    for _ in range(1000):
        outbox.poke()
    assert outbox._doorbell._thread._work_queue.qsize() <= 1
    gate.set()
    # One more for what was committed while the first was under way.
    _wait(lambda: len(rung) == 2)


def test_redelivery_posts_the_same_event_again(receiver: Receiver) -> None:
    event = _enqueue(factories.make_call(), receiver.url)
    _drain()
    event.refresh_from_db()
    assert event_redeliver(event=event)
    event.refresh_from_db()
    assert (event.state, event.settled_at) == ("pending", None)
    _drain()
    first, second = receiver.got
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert list(event.attempts.values_list("number", flat=True)) == [1, 2]


def test_redelivery_leaves_an_event_that_a_worker_holds(receiver: Receiver) -> None:
    event = _enqueue(factories.make_call(), receiver.url)
    assert outbox.claim(event.pk) is not None
    assert not event_redeliver(event=event)
    event.refresh_from_db()
    assert event.lease_until is not None


def test_nothing_secret_is_in_logs_or_attempts(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    call = factories.make_call()
    secrets = ("s3cret", "sign1ng", "hidden-query", "us3r-part")
    place = receiver.url.replace("//", "//us3r-part:pw@")
    for status in (200, 500):
        receiver.status = status
        _enqueue(call, f"{place}/x?token=hidden-query", key=str(status), signing_secret="sign1ng")
        _drain()
    dead = "http://127.0.0.1:9/x?token=hidden-query"
    _enqueue(call, dead, key="dead", signing_secret="sign1ng")
    _drain()
    said = capfd.readouterr()
    text = caplog.text + said.out + said.err
    assert "event_attempted" in text
    rows = DeliveryAttempt.objects.values_list("error", "response_excerpt")
    assert len(rows) == 3
    for secret in secrets:
        assert secret not in text
        assert secret not in str(list(rows))
    assert receiver.got[0].headers["authorization"].startswith("Basic ")
