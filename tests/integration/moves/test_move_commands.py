"""``route_number`` and ``restore_number``: what they print, their exit codes, what they need."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calls.models import NumberMove
from calls.services import restore_jobs
from calls.services.number_moves import restore_all_begin
from tests.integration.moves.test_moves import HERE, begin, moved
from tests.integration.moves.twilio import Twilio
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def run(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    code: Any = 0
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except SystemExit as end:
        code = end.code
    except CommandError as error:
        return error.returncode, str(error)
    return int(code or 0), out.getvalue()


def test_a_dry_run_shows_every_change_and_makes_none(twilio: Twilio) -> None:
    number = twilio.number(1)
    code, text = run("route_number", number.number_e164, "--to", "vapi", "--move-here", "--dry-run")
    assert code == 0
    assert f"-> {HERE}#ct=1500" in text
    assert "token=abc" not in text, "secrets in addresses are masked"
    assert "Text messages are not touched" in text
    assert not number.moves.exists()
    assert twilio.posts(number) == []


def test_a_number_is_moved_only_by_its_own_name(twilio: Twilio) -> None:
    number = twilio.number(0)
    order = ("route_number", number.number_e164, "--to", "canary:10", "--move-here")
    code, text = run(*order)
    assert (code, "--yes-i-typed" in text) == (2, True)
    code, text = run(*order, "--yes-i-typed", "+15550100000")
    assert code == 2
    assert not number.moves.exists()
    code, text = run(*order, "--yes-i-typed", number.number_e164, "--json")
    assert code == 0, text
    body = json.loads(text)
    assert (body["ok"], body["state"], body["route"]["before"]) == (True, "tested", "vapi")
    number.refresh_from_db()
    assert (number.route, number.canary_percent) == ("canary", 10)
    code, text = run("restore_number", number.number_e164, "--json")
    assert (code, json.loads(text)["numbers"][0]["state"]) == (0, "done")
    assert twilio.changed() == {}


@pytest.mark.parametrize(
    "bad",
    [
        ("route_number", "+15550100001", "--to", "canary:101"),
        ("route_number", "+15550100001", "--to", "elsewhere"),
    ],
)
def test_a_route_that_is_none_is_named(twilio: Twilio, bad: tuple[str, ...]) -> None:
    code, text = run(*bad)
    assert (code, "--to is" in text) == (2, True)


def test_all_come_back_busiest_first_and_one_that_fails_holds_up_nobody(
    twilio: Twilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_jobs, "SECOND_SECONDS", 0.5)
    numbers = [twilio.number(kind) for kind in range(3)]
    for number in numbers:
        moved(number)
    from tests import factories

    factories.make_call(number=numbers[2])
    twilio.resource(numbers[1])["voice_url"] = "https://else.example/voice"
    code, text = run("restore_number", "--all")
    assert code == 1
    lines = text.splitlines()
    assert lines[0] == f"{numbers[2].number_e164}: back as it was"
    assert f"{numbers[1].number_e164}: NOT BACK: somebody else" in text
    assert lines[-1] == "2 of 3 are back as they were"
    assert set(twilio.changed()) == {numbers[1].number_e164}
    code, text = run("restore_number", "--all", "--json")
    assert (code, len(json.loads(text)["numbers"])) == (1, 1), "those that are back are not asked"


def test_a_job_puts_all_numbers_of_one_organisation_back(twilio: Twilio) -> None:
    from tests import factories

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
    assert twilio.changed() == {}
