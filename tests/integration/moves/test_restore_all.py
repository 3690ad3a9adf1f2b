"""All numbers back at once: some at a time, the busiest first; none waits for one that fails."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

import pytest

from calls.models import NumberMove, PhoneNumber
from calls.services import move_bell, number_moves, restore_jobs
from calls.services.number_moves import RestoreResult, restorable, restore_all_begin
from calls.telephony import twilio_rest
from tests import factories
from tests.integration.calls.conftest import _call_database_template, _database_in_a_file
from tests.integration.moves.test_move_commands import run
from tests.integration.moves.test_moves import begin, moved
from tests.integration.moves.twilio import Twilio
from voiceplatform.base import job_bell, jobs
from voiceplatform.base.jobs import job_cancel
from voiceplatform.base.models import Job

__all__ = ["_call_database_template", "_database_in_a_file"]

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move_bell, "poke", lambda: None)
    monkeypatch.setattr(restore_jobs, "SECOND_SECONDS", 0.5)
    monkeypatch.setattr(twilio_rest, "_BUSY", {})
    monkeypatch.setattr(twilio_rest, "TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(job_bell, "task_tell", lambda *_: None)


def here(twilio: Twilio, count: int) -> list[PhoneNumber]:
    numbers = [twilio.number(place % 3) for place in range(count)]
    for number in numbers:
        begin(number)
    NumberMove.objects.update(may_be_written=True)
    return numbers


def states_of(job: Job) -> dict[str, str]:
    assert job.result is not None
    return {each["number"]: each["state"] for each in job.result["numbers"]}


def test_all_come_back_busiest_first_and_one_that_fails_holds_up_nobody(twilio: Twilio) -> None:
    numbers = [twilio.number(kind) for kind in range(3)]
    for number in numbers:
        moved(number)
    factories.make_call(number=numbers[2])
    assert restorable()[0] == numbers[2]
    twilio.resource(numbers[1])["voice_url"] = "https://else.example/voice"
    code, text = run("restore_number", "--all")
    assert code == 1
    assert f"{numbers[2].number_e164}: back as it was" in text
    assert f"{numbers[1].number_e164}: NOT BACK: somebody else" in text
    assert text.splitlines()[-1] == "2 of 3 are back as they were"
    assert set(twilio.changed()) == {numbers[1].number_e164}
    code, text = run("restore_number", "--all", "--json")
    assert (code, len(json.loads(text)["numbers"])) == (1, 1), "those that are back are not asked"


def test_the_busiest_number_hangs_at_twilio_and_all_others_come_back_meanwhile(
    twilio: Twilio,
) -> None:
    numbers = here(twilio, 6)
    twilio.fault(status=0, seconds=5.0, method="GET", path=numbers[0].twilio_sid)
    told: list[str] = []

    def hears(number: PhoneNumber, result: RestoreResult) -> None:
        assert result.state == "done", result.words
        told.append(number.number_e164)

    done = restore_jobs.restore_all(numbers, actor=None, why="all", told=hears)
    assert told[-1] == numbers[0].number_e164
    assert done.back == len(set(told)) == 6
    assert twilio.changed() == {}


def test_t20429_while_twilio_says_too_many_one_at_a_time_is_asked(twilio: Twilio) -> None:
    numbers = here(twilio, 5)
    sids = {twilio.account.pk: twilio.account.account_sid}
    begun = [(number, number.pk) for number in numbers]
    room = 0
    running: dict[Future[RestoreResult], PhoneNumber] = {}
    while found := restore_jobs._next(begun, running, sids):
        room += 1
        running[Future()] = found[0]
        if room == restore_jobs.OF_AN_ACCOUNT:
            break
    assert room == restore_jobs.OF_AN_ACCOUNT
    twilio.fault(status=429, method="*")
    done = restore_jobs.restore_all(numbers, actor=None, why="all")
    assert twilio_rest.is_busy(twilio.account.account_sid)
    assert restore_jobs._next(begun, {Future(): numbers[0]}, sids) is None
    assert done.back == 5
    assert twilio.changed() == {}


def test_a_job_puts_all_numbers_of_one_organisation_back_and_lists_each(twilio: Twilio) -> None:
    number, under_way = twilio.number(0), twilio.number(1)
    moved(number)
    begin(under_way)
    other = factories.make_organisation()
    job = restore_all_begin(organisation=other, actor=None, why="none of theirs")
    restore_jobs.restores_run(job.pk)
    assert NumberMove.objects.filter(direction="back").count() == 0
    job = restore_all_begin(organisation=number.organisation, actor=None, why="all")
    restore_jobs.restores_run(job.pk)
    done = Job.objects.get(pk=job.pk)
    assert (done.state, done.message) == ("done", "2 of 2 are back as they were.")
    assert states_of(done) == {
        number.number_e164: "done",
        under_way.number_e164: "done",
    }
    assert twilio.changed() == {}


def test_a_job_that_is_cancelled_begins_no_other_number_and_says_what_is_left(
    twilio: Twilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_jobs, "OF_AN_ACCOUNT", 1)
    numbers = here(twilio, 3)
    monkeypatch.setattr(jobs, "_BEAT_SECONDS", 0.0)
    job = restore_all_begin(organisation=numbers[0].organisation, actor=None, why="all")
    tried = number_moves.restore_try

    def cancels(move_id: Any, *, within_seconds: float) -> RestoreResult:
        job_cancel(job=job, actor=None)
        return tried(move_id, within_seconds=within_seconds)

    monkeypatch.setattr(restore_jobs, "restore_try", cancels)
    restore_jobs.restores_run(job.pk)
    done = Job.objects.get(pk=job.pk)
    assert done.state == "cancelled"
    assert done.message.startswith("Cancelled. 1 of 3")
    assert sorted(states_of(done).values()) == ["again", "again", "done"]
