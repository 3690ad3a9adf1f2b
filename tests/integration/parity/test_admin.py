"""Scenarios and runs in the admin: made, begun, watched, cancelled, read, compared, exported."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.admin.parity_forms import EXAMPLE
from calls.models import ParityRun, ParityScenario
from calls.services.parity_runs import run_begin, run_continue
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DRIFTING = {**factories.parity.DOCUMENT, "noise": {"ours": {"omit_percent": 100}}}


def an_assistant() -> Any:
    schema = {"type": "object", "properties": {"date": {"type": "string"}}, "required": ["date"]}
    tool = factories.make_tool(name="check_availability", parameters=schema)
    return factories.make_assistant(tools=[tool])


def a_run(assistant: Any = None, **given: Any) -> ParityRun:
    settings: dict[str, Any] = {
        "kind": "rehearsal",
        "assistant": assistant or an_assistant(),
        "documents": {"drifting": DRIFTING},
        "pairs": 3,
        "seed": 3,
        "parallel": 1,
        "actor": None,
        "tells_workers": False,
    }
    return run_begin(**settings | given)


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:calls_{name}", args=args)


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def test_a_scenario_is_written_and_every_problem_of_it_is_told(boss: Client) -> None:
    assistant = an_assistant()
    given = {"assistant": str(assistant.pk), "is_used": "on", "text": "name: x\ncaller: [{say: 3}]"}
    answer = boss.post(page("parityscenario_add"), given)
    assert answer.status_code == 200
    assert "caller[0].say: it is a number. Fix: write a text in quotes" in answer.content.decode()
    assert not ParityScenario.objects.exists()
    answer = boss.post(page("parityscenario_add"), given | {"text": EXAMPLE})
    assert answer.status_code == 302
    row = ParityScenario.objects.get()
    assert row.name == "books a cleaning" and row.organisation == assistant.organisation
    answer = boss.post(page("parityscenario_add"), given | {"text": EXAMPLE})
    assert "has a scenario &#x27;books a cleaning&#x27;" in answer.content.decode()


def test_a_form_that_was_open_while_somebody_else_changed_the_scenario_changes_nothing(
    boss: Client,
) -> None:
    row = factories.make_scenario(an_assistant())
    url = page("parityscenario_change", row.pk)
    assert "I would like to book" in boss.get(url).content.decode()
    given = {"is_used": "on", "text": EXAMPLE, "seen_version": "1"}
    assert boss.post(url, given).status_code == 302
    row.refresh_from_db()
    assert row.name == "books a cleaning" and row.version == 2
    later = boss.post(url, given | {"text": EXAMPLE.replace("hurry", "panic")}, follow=True)
    assert "Somebody else was faster" in later.content.decode()
    row.refresh_from_db()
    assert row.document["persona"] == "in a hurry"


def test_scenarios_are_generated_once_and_taken_from_a_past_call(boss: Client) -> None:
    assistant = an_assistant()
    url = page("parityscenario_make")
    assert url in boss.get(page("parityscenario_changelist")).content.decode()
    for _ in range(2):
        boss.post(url, {"assistant": str(assistant.pk), "what": "generate"})
    row = ParityScenario.objects.get()
    assert row.name == "asks for check_availability" and row.source == "generated"
    [step, _] = row.document["caller"]
    assert step["expect"] == [{"tool": "check_availability", "arguments": {"date": "2026-11-27"}}]
    number = factories.make_number(assistant=assistant)
    call = factories.make_call(
        number=number,
        status="ended",
        turns=[
            {"role": "assistant", "text": "Hello.", "started_ms": 0},
            {"role": "user", "text": "Is Friday free?", "started_ms": 2000},
            {"role": "assistant", "text": "It is.", "started_ms": 6000},
        ],
        tool_invocations=[
            {"name": "check_availability", "arguments_json": '{"date": "2026-11-27"}'}
        ],
    )
    assert "Take this call" in boss.get(f"{url}?assistant={assistant.pk}").content.decode()
    given = {"assistant": str(assistant.pk), "what": "extract", "call": str(call.pk)}
    assert boss.post(url, given).status_code == 302
    taken = ParityScenario.objects.get(source="extracted")
    assert taken.source_call == call
    assert taken.document["caller"][0]["say"] == "Is Friday free?"
    assert taken.document["caller"][0]["expect"][0]["tool"] == "check_availability"


def test_a_run_is_begun_by_the_form_watched_cancelled_and_resumed(boss: Client) -> None:
    assistant = an_assistant()
    factories.make_scenario(assistant)
    given = {
        "assistant": str(assistant.pk),
        "kind": "rehearsal",
        "pairs": "4",
        "parallel": "1",
        "seed": "9",
        "cost_limit_usd": "5",
    }
    answer = boss.post(page("parityrun_add"), given)
    run = ParityRun.objects.get()
    assert answer.status_code == 302 and answer["Location"] == page("parityrun_change", run.pk)
    shown = boss.get(page("parityrun_change", run.pk)).content.decode()
    assert "data-job-url" in shown and "Cancel" in shown
    state = boss.get(page("parityrun_progress", run.pk)).json()
    assert (state["done"], state["total"], state["has_ended"]) == (0, 4, False)
    assert boss.get(page("parityrun_cancel", run.pk)).status_code == 302
    run.refresh_from_db()
    assert run.state == "queued"  # a GET changes nothing
    boss.post(page("parityrun_cancel", run.pk))
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert "Resume" in boss.get(page("parityrun_change", run.pk)).content.decode()
    boss.post(page("parityrun_resume", run.pk))
    run_continue(run.pk)
    state = boss.get(page("parityrun_progress", run.pk)).json()
    assert state["state"] == "done" and state["done"] == 4


def test_tools_that_mean_the_same_are_named_in_the_form(boss: Client) -> None:
    assistant = an_assistant()
    factories.make_scenario(assistant)
    given = {
        "assistant": str(assistant.pk),
        "kind": "rehearsal",
        "pairs": "1",
        "parallel": "1",
        "cost_limit_usd": "5",
        "renames": "vapi_* =\r\nbook slot\r\n",
    }
    told = boss.post(page("parityrun_add"), given).content.decode()
    assert "&#x27;book slot&#x27; names no tool. Fix: e.g." in told
    assert "vapi_* =" in told and not ParityRun.objects.exists()
    answer = boss.post(page("parityrun_add"), given | {"renames": "vapi_* =\r\na=<b>"})
    run = ParityRun.objects.get()
    assert answer.status_code == 302 and run.options["renames"] == {"vapi_*": "", "a": "<b>"}
    shown = boss.get(page("parityrun_change", run.pk)).content.decode()
    assert "vapi_* = (nothing)" in shown and "a = &lt;b&gt;" in shown
    assert "1 field" in shown  # the date is critical by rule


def test_a_run_that_came_to_its_limit_is_resumed_with_a_higher_one(boss: Client) -> None:
    run = factories.make_run(
        an_assistant(), kind="replay", state="cancelled", finished_at=timezone.now()
    )
    factories.make_parity_call(run)
    assert 'name="cost_limit_usd"' in boss.get(page("parityrun_change", run.pk)).content.decode()
    url = page("parityrun_resume", run.pk)
    for wrong in ("much", "NaN", "-1"):
        answer = boss.post(url, {"cost_limit_usd": wrong}, follow=True)
        assert "cost limit is" in answer.content.decode()
    boss.post(url, {"cost_limit_usd": "40"})
    run.refresh_from_db()
    assert (run.state, run.cost_limit_usd) == ("queued", Decimal(40))


def test_the_form_says_why_a_run_cannot_begin(boss: Client) -> None:
    assistant = an_assistant()
    given = {
        "assistant": str(assistant.pk),
        "kind": "rehearsal",
        "pairs": "4",
        "parallel": "1",
        "cost_limit_usd": "5",
    }
    answer = boss.post(page("parityrun_add"), given, follow=True)
    assert "There is nothing to play. Fix: write or generate one." in answer.content.decode()
    assert not ParityRun.objects.exists()


def test_the_report_tells_the_verdict_first_then_why_then_each_pair(boss: Client) -> None:
    run = a_run(pairs=12)
    run_continue(run.pk)
    with CaptureQueriesContext(connection) as many:
        shown = boss.get(page("parityrun_change", run.pk)).content.decode()
    assert len(many) <= 20
    places = [
        shown.index(words)
        for words in (
            "The stacks differ by more than is allowed.",
            "The three gates",
            "limit 5%",
            "The worst 10 pairs",
            "Waits and cost side by side",
            "Every pair, side by side",
            "left out here",
        )
    ]
    assert places == sorted(places)
    assert "2026-11-27" in shown and "I would like to book a cleaning on Friday." in shown
    assert "<script>" not in shown.replace("<script src", "")


def test_who_may_not_read_transcripts_sees_no_words_and_no_arguments(client: Client) -> None:
    run = a_run()
    run_continue(run.pk)
    client.force_login(factories.make_staff(run.organisation, ["calls.view_parityrun"]))
    for name in ("parityrun_change", "parityrun_json", "parityrun_csv"):
        text = client.get(page(name, run.pk)).content.decode()
        assert "check_availability" in text
        assert "2026-11-27T" in text or "2026-11-27" not in text
        assert "I would like to book" not in text
    assert "Cancel" not in client.get(page("parityrun_change", run.pk)).content.decode()
    assert client.post(page("parityrun_cancel", run.pk)).status_code == 403
    assert client.get(page("parityrun_add")).status_code == 403


def test_the_files_hold_every_pair(boss: Client) -> None:
    run = a_run()
    run_continue(run.pk)
    document = json.loads(boss.get(page("parityrun_json", run.pk)).content)
    assert document["verdict"] and len(document["pairs"]) == 3
    assert {gate["name"] for gate in document["gates"]} == {"order", "arguments", "outcome"}
    assert document["pairs"][0]["rows"][0]["old"]["name"] == "check_availability"
    lines = list(csv.reader(io.StringIO(boss.get(page("parityrun_csv", run.pk)).content.decode())))
    assert len(lines) == 4 and lines[1][:2] == ["1", "drifting"]


def test_two_runs_are_shown_beside_each_other(boss: Client) -> None:
    assistant = an_assistant()
    first, second = (
        a_run(assistant),
        a_run(assistant, documents={"drifting": factories.parity.DOCUMENT}),
    )
    for run in (first, second):
        run_continue(run.pk)
    shown = boss.get(page("parityrun_change", second.pk), {"with": str(first.pk)}).content.decode()
    assert 'id="compared"' in shown and "Order of tool calls" in shown
    assert "p = 1.000, cannot be told apart" in shown
    other = a_run()
    answer = boss.get(page("parityrun_change", second.pk), {"with": str(other.pk)})
    assert answer.status_code == 404
