"""The way back at Twilio: two watchers, one that is killed, Twilio failing, a person in between."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from calls.models import (
    Incident,
    Notice,
    NumberChange,
    NumberGuard,
    PhoneNumber,
)
from calls.numbers.incident import TRY_SECONDS
from calls.services import move_bell
from calls.services.guards import (
    Memory,
    guard_look,
    guards_judge,
    incident_close,
    incident_open,
    incident_restore_again,
    tries_due,
    try_carry_out,
)
from calls.services.incidents import IncidentError
from calls.services.number_moves import move_abandon, restore_begin
from tests import factories
from tests.integration.moves.test_moves import moved
from tests.integration.moves.twilio import Twilio, account_on, running_twilio
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

FAULT = "pipeline-error-openai-llm-failed"


@pytest.fixture(scope="module")
def standins() -> Iterator[Any]:
    with running_twilio() as running:
        yield running


@pytest.fixture
def twilio(standins: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twilio]:
    monkeypatch.setattr(move_bell, "poke", lambda: None)
    yield Twilio(standins, account_on(standins))
    standins.carrier.numbers.resources.clear()
    standins.app.twilio.log.clear()
    standins.app.twilio.faults.orders.clear()


def here(twilio: Twilio) -> PhoneNumber:
    """Move a number here and let it be answered here."""
    number = twilio.number(0)
    moved(number)
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    guard_look()
    return number


def go_bad(number: PhoneNumber, count: int = 5) -> None:
    for _ in range(count):
        factories.make_call(number=number, status="ended", ended_reason=FAULT)


def incident_of(number: PhoneNumber) -> Incident:
    found = incident_open(number)
    assert found is not None
    return found


def test_a_number_goes_back_exactly_and_everybody_is_told_twice(twilio: Twilio) -> None:
    factories.make_notice_receiver()
    number = here(twilio)
    go_bad(number)
    guard_look()
    row = incident_of(number)
    assert (row.state, row.tries) == ("restored", 1)
    assert row.restored_at is not None
    assert twilio.changed() == {}
    subjects = list(Notice.objects.order_by("created_at").values_list("subject", flat=True))
    assert subjects == [
        "Incident: calls of a number have become bad",
        "A number is back where it was before it moved",
    ]
    actions = set(AuditEntry.objects.filter(actor="guard").values_list("action", flat=True))
    assert {"guard.incident_opened", "guard.restore_tried", "guard.restore_restored"} <= actions
    guard_look()
    assert Incident.objects.count() == 1
    assert len(twilio.posts(number)) == 2  # one here, one back


def test_two_watchers_that_see_the_same_breach_open_one_incident(twilio: Twilio) -> None:
    number = here(twilio)
    go_bad(number)
    together = threading.Barrier(2)
    tries: list[Any] = []

    def watch() -> None:
        together.wait(10)
        try:
            tries.extend(guards_judge(timezone.now(), Memory())[1])
            tries.extend(tries_due(timezone.now()))
        finally:
            connection.close()

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for each in watchers:
        each.start()
    for each in watchers:
        each.join(30)
    assert len(tries) == 1
    assert Incident.objects.count() == 1
    assert NumberChange.objects.filter(kind="guard").count() == 1
    try_carry_out(tries[0])
    assert incident_of(number).state == "restored"


def test_what_a_killed_watcher_leaves_the_next_one_finishes(
    twilio: Twilio, time_machine: Any
) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    number = here(twilio)
    go_bad(number)
    _, lost = guards_judge(timezone.now(), Memory())
    assert len(lost) == 1  # and nobody carries it out
    assert tries_due(timezone.now()) == []
    time_machine.shift(dt.timedelta(seconds=TRY_SECONDS))
    [second] = tries_due(timezone.now())
    assert try_carry_out(second) == "restored"
    # The first one was only asleep: what it does now changes nothing.
    posts = len(twilio.posts(number))
    try_carry_out(lost[0])
    row = incident_of(number)
    assert (row.state, row.tries, len(twilio.posts(number))) == ("restored", 2, posts)
    assert Notice.objects.filter(subject__startswith="A number is back").count() == 1


def test_a_number_that_somebody_else_changed_waits_for_a_person_and_is_ordered_again(
    twilio: Twilio,
) -> None:
    factories.make_notice_receiver()
    number = here(twilio)
    resource = twilio.resource(number)
    ours, resource["voice_url"] = resource["voice_url"], "https://else.example/voice"
    go_bad(number)
    guard_look()
    row = incident_of(number)
    assert row.state == "person"
    assert row.last_error
    assert Notice.objects.filter(subject="A restore needs a person").count() == 1
    number.refresh_from_db()
    assert number.route == "vapi"
    resource["voice_url"] = ours
    incident_restore_again(incident=row, actor="user:ops", why="Put back what was there")
    guard_look()
    row.refresh_from_db()
    assert row.state == "restored", row.last_error
    assert twilio.changed() == {}
    with pytest.raises(IncidentError):
        incident_restore_again(incident=row, actor="user:ops", why="Twice")
    incident_close(incident=row, actor="user:ops", why="Done")
    assert incident_open(number) is None
    assert NumberGuard.objects.get(number=number, stack="direct").state == {}


def test_a_restore_under_way_cannot_be_closed_and_says_so_when_it_takes_long(
    twilio: Twilio, time_machine: Any
) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    factories.make_notice_receiver()
    number = here(twilio)
    go_bad(number)
    guards_judge(timezone.now(), Memory())
    row = incident_of(number)
    assert row.state == "due"
    with pytest.raises(IncidentError, match="being restored"):
        incident_close(incident=row, actor="user:ops", why="x")
    time_machine.shift(dt.timedelta(seconds=61))
    tries_due(timezone.now())
    tries_due(timezone.now())
    late = Notice.objects.filter(subject="A restore takes longer than a minute")
    assert late.count() == 1


def test_a_way_back_that_is_gone_when_it_is_tried_is_not_called_restored(twilio: Twilio) -> None:
    number = here(twilio)
    go_bad(number)
    _, [attempt] = guards_judge(timezone.now(), Memory())
    number.moves.update(closed_at=timezone.now())
    assert try_carry_out(attempt) == "person"
    row = incident_of(number)
    assert (row.state, row.restored_at) == ("person", None)
    assert "nothing any more" in row.last_error


def test_a_restore_that_a_person_gave_up_is_not_called_restored(twilio: Twilio) -> None:
    number = here(twilio)
    go_bad(number)
    _, [attempt] = guards_judge(timezone.now(), Memory())
    move = restore_begin(number=number, actor="guard", why="bad", key=f"{attempt.key}:0")
    assert move is not None
    move_abandon(move=move, actor=None, why="left as it is")
    assert try_carry_out(attempt) == "person"
    row = incident_of(number)
    assert (row.state, row.restored_at) == ("person", None)
    assert "gave the restore up" in row.last_error


def test_a_restore_that_stopped_in_an_earlier_incident_holds_up_no_later_one(
    twilio: Twilio,
) -> None:
    number = here(twilio)
    resource = twilio.resource(number)
    ours, resource["voice_url"] = resource["voice_url"], "https://else.example/voice"
    go_bad(number)
    guard_look()
    incident_close(incident=incident_of(number), actor="user:ops", why="I put it right at Twilio")
    resource["voice_url"] = ours
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    guard_look()
    go_bad(number)
    guard_look()
    row = incident_of(number)
    assert (row.state, row.last_error) == ("restored", "")
    assert twilio.changed() == {}
