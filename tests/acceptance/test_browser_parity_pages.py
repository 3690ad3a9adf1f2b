"""Forecast, guardrail, what was heard again and critical arguments, as a person sees them.

Everything that is shown was made by the services: past calls priced, a run heard again over the
model's stand-in, drift proposed, put into a draft and judged. ``SCREENSHOTS`` keeps pictures.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from assistants.models import Assistant
from calls.services.cost_forecasts import forecasts_make
from calls.services.guardrail_proposals import (
    guardrails_apply,
    guardrails_propose,
    guardrails_settle,
)
from tests import factories
from tests.acceptance.own_server import _call_database_template, _database_in_a_file, live_server
from tests.acceptance.test_browser_admin import page
from tests.acceptance.test_browser_import import operator, sign_in
from tests.acceptance.test_browser_parity import PHONE, shoot
from tests.integration.parity.stand import model
from tests.integration.parity.test_guardrails import played
from tests.integration.parity.test_heard_again import whole_run
from tests.integration.parity.test_replay_runs import LOGGED, SAID, brain, past, recorded, run_of

__all__ = ["_call_database_template", "_database_in_a_file", "live_server", "operator", "page"]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

WIDTHS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# "8" of one cell beside "5% to 60%" of the next one was read as "85% to 60%".
TOUCHING = """() => {
    const box = cell => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return [cell.textContent, range.getBoundingClientRect()];
    };
    const isBeside = (left, at) => at.top < left.bottom && left.top < at.bottom;
    const found = [];
    for (const row of document.querySelectorAll(".vp-table tr")) {
        const cells = [...row.cells].filter(cell => cell.textContent.trim()).map(box);
        cells.slice(1).forEach(([text, at], place) => {
            const [before, left] = cells[place];
            if (isBeside(left, at) && at.left - left.right < 6) found.push(before + "|" + text);
        });
    }
    return found;
}"""
TOOLS = {
    "check_availability": {"date": {"type": "string"}, "party": {"type": "integer"}},
    "book": {
        "phone": {"type": "string"},
        "guestName": {"type": "string"},
        "date": {"type": "string", "description": "as YYYY-MM-DD"},
        "notes": {"type": "string"},
        "seating": {"enum": ["inside", "terrace"]},
    },
}


def a_desk() -> Assistant:
    tools = [
        factories.make_tool(name=name, parameters={"type": "object", "properties": fields})
        for name, fields in TOOLS.items()
    ]
    messages = [{"role": "system", "content": "You answer the phone of a restaurant. Be brief."}]
    document = {"name": "Harbour desk", "model": {"messages": messages}}
    return factories.make_assistant(name="Harbour desk", tools=tools, document=document)


def a_forecast(assistant: Assistant) -> Any:
    for index in range(24):
        factories.make_imported_call(
            turns=(
                ("user", "Good evening, I would like to book a table for four on Friday."),
                ("assistant", "Of course. At what time would you like to come?"),
                ("user", "At eight, please."),
                ("assistant", "You are booked for Friday at eight."),
            ),
            tools=("check_availability", "book"),
            organisation=assistant.organisation,
            assistant=assistant,
            duration_seconds=50 + 5 * index,
            facts={
                "cost_usd": (50 + 5 * index) * 0.0005,
                "cost_breakdown": {"llm": 0.004, "tts": 0.012, "stt": 0.01, "vapi": 0.05},
            },
        )
    return forecasts_make(assistant=assistant, actor="user:operator")[0]


def a_guardrail(assistant: Assistant) -> Any:
    """Propose what thirty pairs ask for, put it into a draft, and judge it by held-out calls."""
    run = factories.make_run(assistant, kind="replay", seed=7, wanted=30, state="done")
    for index in range(30):
        old = "check_availability book"
        played(run, f"s{index}", index, old, "book" if index % 3 else old)
    row = guardrails_propose(run=run, actor="user:operator")[0]
    guardrails_apply(rows=[row], actor="user:operator")
    verified = factories.make_run(assistant, kind="replay", seed=7, state="done")
    for index in range(30):
        played(verified, f"s{index}", index, "check_availability book", "check_availability book")
    type(row).objects.filter(pk=row.pk).update(verification=verified)
    guardrails_settle()
    row.refresh_from_db()
    return row


@pytest.fixture
def paths(operator: str) -> dict[str, str]:
    """Make what the pages show; before the browser, whose event loop forbids the database."""
    with model(brain) as (_, url, _port):
        started = run_of(url, "rehear")
        calls = [past(SAID, "5550102233") for _ in range(3)] + [past(LOGGED, "5550102288")]
        for call in calls:
            recorded(call)
        heard = whole_run(url, calls, started)
    assert (heard.state, heard.done) == ("done", 4), heard.problem
    desk = a_desk()

    def change(name: str, row: Any) -> str:
        return reverse(f"admin:calls_{name}_change", args=[row.pk])

    return {
        "parity-forecast": change("costforecast", a_forecast(desk)),
        "parity-guardrail": change("guardrailproposal", a_guardrail(desk)),
        "parity-heard": reverse("admin:calls_parityrun_heard", args=[heard.pk]),
        "parity-marks": f"{reverse('admin:calls_criticalmarks_edit')}?assistant={desk.pk}",
    }


def test_the_pages_beside_a_run_show_what_they_are_for_on_a_desk_and_on_a_telephone(
    paths: dict[str, str], live_server: Any, page: Page
) -> None:
    complaints = sign_in(page, live_server.url, "operator")
    for name, path in paths.items():
        page.set_viewport_size({"width": 1440, "height": 1000})
        page.goto(live_server.url + path)
        assert page.evaluate(WIDTHS) <= 0, name
        assert page.evaluate(TOUCHING) == [], f"{name}: cells run together"
        shoot(page, name, 1_000, at=".vp-card")
        page.set_viewport_size(PHONE)
        assert page.evaluate(WIDTHS) <= 0, f"{name} on a telephone"
        assert page.evaluate(TOUCHING) == [], f"{name}: cells run together"
        shoot(page, f"{name}-phone", 844, at=".vp-card")
    # A field is made critical and another one is not any more, by one click.
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.select_option("select[aria-label='book, notes']", "text")
    page.select_option("select[aria-label='book, date']", "")
    page.click("button:has-text('Store for revision')")
    expect(page.locator("main, body").first).to_contain_text("Decided by user:operator")
    expect(page.locator("select[aria-label='book, notes']")).to_have_value("text")
    expect(page.locator("select[aria-label='book, date']")).to_have_value("")
    page.goto(live_server.url + paths["parity-heard"])
    expect(page.locator("audio").first).to_be_visible()
    assert complaints == []
