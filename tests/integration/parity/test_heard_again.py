"""A whole run of re-hear: begun, played by a worker, measured, and listed with its seconds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import Call, ParityRun
from calls.services.heard_again import heard_run
from calls.services.parity_choices import past_calls
from calls.services.parity_measuring import played_pairs
from calls.services.parity_runs import run_begin, run_continue
from tests import factories
from tests.integration.calls.conftest import _call_database_template, _database_in_a_file
from tests.integration.parity.stand import connections, model
from tests.integration.parity.test_replay_runs import LOGGED, SAID, brain, past, recorded, run_of

__all__ = ["_call_database_template", "_database_in_a_file"]

# Calls are played in threads, which have connections of their own.
pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def whole_run(url: str, calls: list[Call], assistant_run: ParityRun) -> ParityRun:
    """Begin a run of re-hear over past calls and play it to its end."""
    run = run_begin(
        kind="rehear",
        assistant=assistant_run.assistant,
        actor=None,
        calls=calls,
        pairs=10,
        seed=3,
        parallel=1,
        options={"pace": 50},
        tells_workers=False,
    )
    run_continue(run.pk)
    run.refresh_from_db()
    return run


def test_planted_errors_are_all_listed_with_their_second_and_nothing_else_is_reached(
    client: Client,
) -> None:
    with model(brain) as (_, url, port):
        started = run_of(url, "rehear")
        wrong, right = past(LOGGED, "5550102288"), past(SAID, "5550102233")
        for call in (wrong, right):
            recorded(call)
        with connections() as reached:
            run = whole_run(url, [wrong, right], started)
    assert set(reached) == {("127.0.0.1", port)}
    assert (run.state, run.done, run.problem) == ("done", 2, "")
    found = heard_run(run, with_words=True)
    assert (found.calls, found.cut) == (2, 1)
    assert [(each.title, each.agree, each.of) for each in found.accuracy] == [
        ("Phone numbers", 2, 4)
    ]
    assert {each.call_id for each in found.differences} == {str(wrong.pk)}
    assert {each.where for each in found.differences} == {"words", "book.phone"}
    digits_at = 2.0 + (2 + SAID.index("555")) * 0.02
    for each in found.differences:
        assert each.start_seconds <= digits_at <= each.end_seconds
    assert found.unknown_consent == 2
    # The gate of arguments sees the same as the list.
    assert [pair.old is not None for pair in played_pairs(run)] == [True, True]
    assert run.figures

    staff = factories.make_staff(run.organisation, "all")
    client.force_login(staff)
    url = reverse("admin:calls_parityrun_heard", args=[run.pk])
    page = client.get(url).content.decode()
    sound = re.search(r'src="([^"]+)#t=([\d.]+),([\d.]+)"', page)
    assert sound is not None and float(sound[2]) <= digits_at <= float(sound[3])
    assert client.get(sound[1], headers={"range": "bytes=0-99"}).status_code == 206
    assert "555 010 2288" in page and "nobody knows" in page
    only_runs = factories.make_staff(run.organisation, ["calls.view_parityrun"])
    client.force_login(only_runs)
    bare = client.get(url).content.decode()
    assert "2288" not in bare and "2233" not in bare


def test_a_run_of_scenarios_has_no_such_page(client: Client) -> None:
    client.force_login(factories.make_superuser())
    run = factories.make_run()
    assert client.get(reverse("admin:calls_parityrun_heard", args=[run.pk])).status_code == 404


def test_imported_calls_are_chosen_by_whose_they_were_and_refusals_never() -> None:
    number = factories.make_number()
    assert number.assistant is not None
    by_number = past_of(number=number)
    by_assistant = past_of(assistant=number.assistant)
    past_of(number=number, consent="refused")
    past_of()
    whose: Any = {"assistant": number.assistant, "kind": "replay", "most": 50}
    assert set(past_calls(number=None, **whose)) == {by_number, by_assistant}
    assert set(past_calls(number=number, **whose)) == {by_number}
    assert past_calls(number=number, **{**whose, "kind": "rehear"}) == []
    recorded(by_number)
    assert past_calls(number=number, **{**whose, "kind": "rehear"}) == [by_number]


def past_of(**columns: Any) -> Call:
    """Make an imported call of one turn."""
    return factories.make_imported_call(turns=(("user", "Hello."),), **columns).call
