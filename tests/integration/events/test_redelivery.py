"""Events that are ordered again: some, a stretch of time, very many; by page, API and command."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.models import OutboxEvent
from calls.selectors.delivery import Selection
from calls.services import redelivery
from calls.services.redelivery import events_redeliver, redelivery_run
from calls.tasks import run_redelivery, take_redeliveries
from tests import factories
from tests.integration.api.client import Rest
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.models import AuditEntry, Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def pokes(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """Collect pokes of jobs: there is no broker here."""
    poked: list[uuid.UUID] = []
    monkeypatch.setattr(JobBell, "poke", lambda _, job_id: poked.append(job_id))
    return poked


def _dead(**columns: Any) -> OutboxEvent:
    columns = {"state": "dead", "attempt_count": 10, "settled_at": timezone.now(), **columns}
    return factories.make_event(**columns)


def _many(count: int) -> None:
    now = timezone.now()
    OutboxEvent.objects.bulk_create(
        OutboxEvent(
            organisation=factories.default_organisation(),
            kind="call.ended",
            dedupe_key=f"many:{number}",
            destination={},
            payload={},
            state="dead",
            attempt_count=10,
            next_attempt_at=now,
        )
        for number in range(count)
    )


def _pending() -> set[uuid.UUID]:
    return set(OutboxEvent.objects.filter(state="pending").values_list("pk", flat=True))


def _selection(**columns: Any) -> Selection:
    return Selection(factories.default_organisation().pk, **columns)


def _order(**columns: Any) -> Job | int:
    return events_redeliver(
        selection=_selection(**columns),
        organisation=factories.default_organisation(),
        actor=None,
    )


def test_a_selection_means_what_it_says() -> None:
    now = timezone.now()
    row = factories.make_destination()
    old = _dead()
    OutboxEvent.objects.filter(pk=old.pk).update(created_at=now - timedelta(days=2))
    of_row, other_host, other_kind = (
        _dead(receiver=row),
        _dead(destination_host="elsewhere.example.com"),
        _dead(kind="call.ended"),
    )
    _dead(kind="test")
    foreign = _dead(organisation=factories.make_organisation())
    done = factories.make_event(state="delivered")

    def found(**columns: Any) -> set[uuid.UUID]:
        return set(_selection(**columns).rows().values_list("pk", flat=True))

    every = {old.pk, of_row.pk, other_host.pk, other_kind.pk}
    assert found() == every
    assert found(since=now - timedelta(days=1)) == every - {old.pk}
    assert found(until=now - timedelta(days=1)) == {old.pk}
    assert found(receiver_id=row.pk) == {of_row.pk}
    assert found(host="elsewhere.example.com") == {other_host.pk}
    assert found(kind="call.ended") == {other_kind.pk}
    assert found(states=("delivered",)) == {done.pk}
    assert found(ids=(old.pk, foreign.pk)) == {old.pk}


def test_few_are_due_at_once_with_a_whole_series_of_attempts(
    doorbell: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    events = [_dead(failing_since=timezone.now()) for _ in range(3)]
    with django_capture_on_commit_callbacks(execute=True):
        assert _order() == 3
    assert doorbell
    assert _pending() == {event.pk for event in events}
    row = OutboxEvent.objects.first()
    assert row is not None
    assert (row.earlier_attempts, row.failing_since, row.settled_at) == (10, None, None)
    entry = AuditEntry.objects.get(action="outboxevent.deliver_again")
    assert entry.details["events"] == 3


def test_many_become_a_job_that_holds_nobody_up(
    pokes: list[uuid.UUID], django_capture_on_commit_callbacks: Any
) -> None:
    _many(redelivery.MOST_AT_ONCE + 50)
    with django_capture_on_commit_callbacks(execute=True):
        job = _order()
    assert isinstance(job, Job)
    assert pokes == [job.pk]
    assert _pending() == set()
    later = _dead()  # fails after the order: not what the person looked at
    with CaptureQueriesContext(connection) as queries:
        run_redelivery(str(job.pk))
    updates = [q for q in queries if q["sql"].startswith('UPDATE "calls_outboxevent"')]
    assert len(updates) == 3  # a hundred at a time
    job.refresh_from_db()
    assert (job.state, job.done_count) == ("done", redelivery.MOST_AT_ONCE + 50)
    assert len(_pending()) == redelivery.MOST_AT_ONCE + 50
    assert later.pk not in _pending()


def test_a_job_whose_worker_died_goes_on_and_one_that_is_cancelled_stops(
    pokes: list[uuid.UUID],
) -> None:
    _many(redelivery.MOST_AT_ONCE + 1)
    job = _order()
    assert isinstance(job, Job)
    pokes.clear()
    assert take_redeliveries() == 1
    assert pokes == [job.pk]
    Job.objects.update(cancel_requested=True)
    redelivery_run(job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert _pending() == set()


def test_the_page_orders_a_stretch_of_time(client: Client) -> None:
    client.force_login(factories.make_superuser())
    event, foreign = _dead(), _dead(organisation=factories.make_organisation())
    page = reverse("admin:calls_outboxevent_redeliver")
    assert client.get(page).status_code == 200
    own = {"organisation": str(event.organisation_id), "states": ["dead"]}
    wrong = client.post(page, {**own, "since_0": "2026-01-02", "since_1": "00:00",
                               "until_0": "2026-01-01", "until_1": "00:00"})  # fmt: skip
    assert "not after From" in wrong.content.decode()
    assert _pending() == set()
    said = client.post(page, own, follow=True).content.decode()
    assert "1 due now" in said
    assert _pending() == {event.pk}
    assert foreign.pk not in _pending()


def test_a_long_selection_in_the_list_goes_by_organisation(client: Client) -> None:
    client.force_login(factories.make_superuser())
    _many(25)
    foreign = _dead(organisation=factories.make_organisation())
    ids = [str(pk) for pk in OutboxEvent.objects.values_list("pk", flat=True)]
    where = reverse("admin:calls_outboxevent_changelist")
    form = {"action": "deliver_again", "_selected_action": ids}
    assert client.post(where, form).status_code == 302
    assert len(_pending()) == 26
    assert foreign.pk in _pending()


def test_the_page_is_not_for_people_who_may_only_look(client: Client) -> None:
    client.force_login(factories.make_staff(permissions=["calls.view_outboxevent"]))
    assert client.get(reverse("admin:calls_outboxevent_redeliver")).status_code == 403


def test_the_api_orders_by_id_and_by_time() -> None:
    rest = Rest(scopes=("calls",))
    first, second = (_dead(organisation=rest.organisation) for _ in range(2))
    foreign = _dead()
    body = {"ids": [str(first.pk), str(foreign.pk)]}
    assert rest("POST", "/event/redeliver", body).json() == {"due": 1, "jobId": None}
    assert _pending() == {first.pk}
    answer = rest("POST", "/event/redeliver", {"createdAtGe": "2020-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["due"]) == (201, 1)
    assert _pending() == {first.pk, second.pk}


@pytest.mark.parametrize(
    "body",
    [{"ids": ["x"]}, {"createdAtLt": "soon"}, {"state": ["gone"]}, {"destinationId": "x"}],
)
def test_the_api_refuses_what_it_cannot_read(body: dict[str, Any]) -> None:
    rest = Rest(scopes=("calls",))
    event = _dead(organisation=rest.organisation)
    answer = rest("POST", "/event/redeliver", body)
    assert answer.status_code == 400
    event.refresh_from_db()
    assert event.state == "dead"


def test_the_api_needs_its_scope() -> None:
    assert Rest(scopes=("read", "write"))("POST", "/event/redeliver", {}).status_code == 403


def test_the_command_says_which_and_orders_them() -> None:
    event = _dead(kind="call.ended")
    done = factories.make_event(state="delivered")
    out = StringIO()
    call_command("redeliver_events", "--dry-run", "--json", stdout=out)
    assert json.loads(out.getvalue())["by_kind"] == [
        {"kind": "call.ended", "state": "dead", "events": 1}
    ]
    assert _pending() == set()
    call_command("redeliver_events", "--since", "2020-01-01", stdout=StringIO())
    assert _pending() == {event.pk}
    call_command("redeliver_events", str(done.pk), stdout=StringIO())
    assert _pending() == {event.pk, done.pk}
    for bad, code in ((("nonsense",), 2), (("--since", "soon"), 2), (("--kind", "none"), 1)):
        with pytest.raises(CommandError) as refused:
            call_command("redeliver_events", *bad, stdout=StringIO())
        assert refused.value.returncode == code
