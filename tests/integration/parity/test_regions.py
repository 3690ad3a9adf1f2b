"""A run reads phone numbers without a country code as its number's callers write them, and takes
names of tools as one where a person said so.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from calls.models import ParityCall
from calls.parity.fields import DEFAULT_REGION
from calls.parity.played import CallResult
from calls.services import parity_runners
from calls.services.parity_marks import region_for, run_region
from calls.services.parity_measuring import run_measure
from calls.services.parity_reports import report_of
from calls.services.parity_runners import register_runner
from calls.services.parity_runs import run_begin, run_continue
from tests import factories
from tests.unit.parity.calls import call, tool

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _play(played: ParityCall) -> CallResult:
    phone = "030 901820" if played.stack == ParityCall.Stack.VAPI else "+49 30 901820"
    return CallResult(call(tool("book", phone=phone)), cost_usd=Decimal(0))


@pytest.mark.parametrize(
    ("number_e164", "region", "faults"), [("+4930901800", "DE", 0), ("+12025550143", "US", 3)]
)
def test_numbers_are_read_in_the_region_of_the_runs_number(
    number_e164: str, region: str, faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity_runners, "_RUNNERS", dict(parity_runners._RUNNERS))
    register_runner("rehearsal", _play)
    parameters = {"type": "object", "properties": {"phone": {"type": "string"}}}
    assistant = factories.make_assistant(
        tools=[factories.make_tool(name="book", parameters=parameters)]
    )
    number = factories.make_number(
        assistant.organisation, assistant=assistant, number_e164=number_e164
    )
    run = run_begin(
        kind="rehearsal",
        assistant=assistant,
        number=number,
        scenarios=[factories.make_scenario(assistant, name="one")],
        pairs=3,
        seed=1,
        parallel=1,
        actor=None,
        tells_workers=False,
    )
    assert run_region(run) == region
    run_continue(run.pk)
    run.refresh_from_db()
    gate = run_measure(run)["figures"]["gates"]["arguments"]
    assert (gate["k"], gate["n"]) == (faults, 3)
    states = {line.state for line in report_of(run).pairs}
    assert states == ({"differs"} if faults else {"same"})


def test_without_a_number_the_first_one_that_the_assistant_answers_says_it() -> None:
    assistant = factories.make_assistant()
    assert region_for(assistant, None) == DEFAULT_REGION
    factories.make_number(assistant.organisation, assistant=assistant, number_e164="+442079460018")
    assert region_for(assistant, None) == "GB"


@pytest.mark.parametrize(("renames", "faults"), [({}, 2), ({"vapi_*": ""}, 0)])
def test_names_are_one_only_where_a_person_said_so(
    renames: dict[str, str], faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(played: ParityCall) -> CallResult:
        name = "vapi_book" if played.stack == ParityCall.Stack.VAPI else "book"
        return CallResult(call(tool(name)), cost_usd=Decimal(0))

    monkeypatch.setattr(parity_runners, "_RUNNERS", dict(parity_runners._RUNNERS))
    register_runner("rehearsal", play)
    assistant = factories.make_assistant()
    run = run_begin(
        kind="rehearsal",
        assistant=assistant,
        scenarios=[factories.make_scenario(assistant, name="one")],
        pairs=2,
        seed=1,
        parallel=1,
        options={"renames": renames},
        actor=None,
        tells_workers=False,
    )
    run_continue(run.pk)
    assert run_measure(run)["figures"]["gates"]["order"]["k"] == faults
    differs = [line for line in report_of(run).pairs if line.state == "differs"]
    assert len(differs) == faults
