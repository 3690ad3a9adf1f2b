"""The comparison with Twilio's list: what it closes, tells and shows, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Call, CarrierCheck, MissedCall, OutboxEvent, PhoneNumber
from calls.services import reconciler
from calls.services.reconciler import reconcile, untold_calls_tell
from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, running_standins
from calls.telephony.twilio_client import (
    CarrierCall,
    CarrierSilent,
    TwilioAccess,
    call_at_carrier,
    calls_since,
)
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


class Lists:
    """Twilio's lists of calls, by account."""

    def __init__(self) -> None:
        self.calls: dict[str, list[CarrierCall]] = {}
        self.silent: set[str] = set()

    def since(self, access: TwilioAccess, since: datetime, *, most: int) -> Iterator[CarrierCall]:
        yield from self.calls.get(access.account_sid, [])[:most]
        if access.account_sid in self.silent:
            raise CarrierSilent("Twilio answered 401, code 20003")

    def add(self, call: Call | PhoneNumber, **changes: Any) -> CarrierCall:
        """List a call as completed ten minutes ago, or one that we have no row of."""
        begun = timezone.now() - timedelta(minutes=10)
        is_ours = isinstance(call, Call)
        fields: dict[str, Any] = {
            "call_sid": call.call_sid if is_ours else factories.sid("CA"),
            "status": "completed",
            "direction": "inbound",
            "to": call.callee if is_ours else call.number_e164,
            "from_": "+15550107777",
            "started_at": begun,
            "ended_at": begun + timedelta(seconds=40),
            "duration_seconds": 40,
            **changes,
        }
        listed = CarrierCall(**fields)
        assert call.twilio_account is not None
        self.calls.setdefault(call.twilio_account.account_sid, []).append(listed)
        return listed


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    """Twilio's answers; nothing is listed unless a test adds it."""
    made = Lists()
    monkeypatch.setattr(reconciler, "calls_since", made.since)
    return made


def _number(**columns: Any) -> PhoneNumber:
    number = factories.make_number(**columns)
    PhoneNumber.objects.update(updated_at=timezone.now() - timedelta(hours=2))
    return number


def test_a_call_that_twilio_knows_to_be_over_is_closed(lists: Lists) -> None:
    call, dialled = factories.make_call(), factories.make_call(status="forwarding")
    over = lists.add(call)
    lists.add(dialled)
    assert reconcile() == 2
    for row in (call, dialled):
        row.refresh_from_db()
        assert (row.status, row.duration_seconds) == ("ended", 40)
    assert call.ended_at == over.ended_at
    assert dialled.ended_reason == "assistant-forwarded-call"
    assert reconcile() == 0


def test_what_is_still_on_or_ended_just_now_is_left_to_its_own_webhooks(lists: Lists) -> None:
    live, fresh = factories.make_call(), factories.make_call()
    lists.add(live, status="in-progress", ended_at=None)
    lists.add(fresh, ended_at=timezone.now() - timedelta(seconds=20))
    assert reconcile() == 0
    assert set(Call.objects.values_list("status", flat=True)) == {"in-progress"}


def test_a_call_to_a_direct_number_that_never_reached_us_is_shown_once(lists: Lists) -> None:
    number = _number()
    lists.add(number)
    lists.add(number, direction="outbound-dial")
    lists.add(_number(route="vapi"))
    lists.add(number, started_at=timezone.now() - timedelta(hours=3))  # it was changed since
    lists.add(number, to="+15550199999")
    for expected in (1, 0):
        assert reconcile() == expected
    (missed,) = MissedCall.objects.all()
    assert (missed.number, missed.caller, missed.duration_seconds) == (number, "+15550107777", 40)


def test_an_account_without_a_list_is_named_and_keeps_no_other_waiting(lists: Lists) -> None:
    broken, sealed, good = factories.make_call(), factories.make_account(), factories.make_call()
    assert broken.twilio_account is not None and good.twilio_account is not None
    lists.silent.add(broken.twilio_account.account_sid)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE calls_twilioaccount SET auth_token = 'gAAAAA-lost' WHERE name = %s",
            [sealed.name],
        )
    lists.add(good)
    assert reconcile() == 1
    checks = {row.account_id: row for row in CarrierCheck.objects.all()}
    assert "20003" in checks[broken.twilio_account.pk].error
    assert checks[broken.twilio_account.pk].checked_at is None
    assert "FIELD_ENCRYPTION_KEYS" in checks[sealed.pk].error
    assert (checks[good.twilio_account.pk].error, checks[good.twilio_account.pk].closed) == ("", 1)


def test_what_nobody_was_told_of_a_call_is_produced(lists: Lists) -> None:
    ended = timezone.now() - timedelta(minutes=30)
    row = factories.make_destination(active_since=ended - timedelta(hours=1))
    other = factories.make_destination(
        active_since=ended - timedelta(hours=1), kinds=["end-of-call-report"]
    )
    late = factories.make_destination()  # entered after the call ended
    call = factories.make_call(status="ended", ended_at=ended)
    waiting = factories.make_call(status="ended", ended_at=ended, report_due_at=timezone.now())
    fresh = factories.make_call(status="ended")
    assert untold_calls_tell() == 1
    told = OutboxEvent.objects.filter(call=call).values_list("receiver", "kind")
    assert set(told) == {(row.pk, "call.ended"), (other.pk, "end-of-call-report")}
    assert not OutboxEvent.objects.filter(call__in=(waiting, fresh)).exists()
    assert not OutboxEvent.objects.filter(receiver=late).exists()
    assert untold_calls_tell() == 0
    OutboxEvent.objects.filter(receiver=row).delete()
    assert untold_calls_tell() == 1  # one of two is not enough


def test_a_lost_report_for_vapis_server_is_produced_and_none_for_the_previous_stack() -> None:
    ended = timezone.now() - timedelta(minutes=30)
    number = factories.make_number(
        assistant=factories.make_assistant(server_url="https://hooks.example.com/vapi")
    )
    call = factories.make_call(number=number, status="ended", ended_at=ended)
    factories.make_call(number=number, status="ended", ended_at=ended, stack="vapi")
    assert untold_calls_tell() == 1
    assert set(OutboxEvent.objects.values_list("call", "kind")) == {(call.pk, reconciler.REPORT)}
    (event,) = OutboxEvent.objects.all()
    OutboxEvent.objects.all().delete()
    assert untold_calls_tell() == 1
    assert OutboxEvent.objects.get().pk == event.pk  # the same cause has the same id


def test_calls_that_nobody_wants_to_hear_of_cost_no_question_each() -> None:
    ended = timezone.now() - timedelta(minutes=30)
    number = factories.make_number()
    factories.make_destination()  # entered after they ended
    counts = []
    for _ in range(2):
        for _ in range(3):
            factories.make_call(number=number, status="ended", ended_at=ended)
        with CaptureQueriesContext(connection) as queries:
            assert untold_calls_tell() == 0
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15


async def test_the_list_and_a_call_are_read_through_twilios_own_library() -> None:
    async with running_standins() as standins:
        access = TwilioAccess(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, standins.base_url)
        call, task = standins.carrier.start_call("+15550100001", "+15550107777")
        await task
        since = timezone.now() - timedelta(days=1)
        (listed,) = await asyncio.to_thread(lambda: list(calls_since(access, since, most=10)))
        assert (listed.call_sid, listed.direction) == (call.call_sid, "inbound")
        assert (listed.to, listed.from_) == ("+15550100001", "+15550107777")
        assert listed.started_at is not None and listed.started_at.tzinfo is not None
        assert listed.status in reconciler.TERMINAL_STATUSES
        assert await asyncio.to_thread(call_at_carrier, access, call.call_sid) == listed
        assert await asyncio.to_thread(call_at_carrier, access, factories.sid("CA")) is None
        wrong = TwilioAccess(DEFAULT_ACCOUNT_SID, "wrong", standins.base_url)
        with pytest.raises(CarrierSilent, match="401"):
            await asyncio.to_thread(call_at_carrier, wrong, call.call_sid)
    gone = TwilioAccess(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, "http://127.0.0.1:9")
    with pytest.raises(CarrierSilent, match="not reached"):
        await asyncio.to_thread(call_at_carrier, gone, call.call_sid)
