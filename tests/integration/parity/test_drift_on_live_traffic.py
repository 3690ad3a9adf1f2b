"""The guard looks at the order of tools where parity was measured, and nowhere else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from calls.models import NumberGuard, PhoneNumber, ProviderConnection
from calls.numbers.guard import Verdict, bad_by, judge
from calls.parity.sequence import Sequence, ToolCall, sequence_dump
from calls.selectors.drift import baseline_for, baselines_forget
from calls.selectors.guards import verdict_of, window_of
from tests import factories
from tools.services import tool_edit

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    baselines_forget()
    yield
    baselines_forget()


def measured(number: PhoneNumber, **columns: Any) -> None:
    """Make a replay of sixty calls that passed: a check, then a booking."""
    assert number.assistant is not None
    defaults = {"kind": "replay", "state": "done", "verdict": "pass", "finished_at": timezone.now()}
    run = factories.make_run(number.assistant, number=number, **{**defaults, **columns})
    tools = (ToolCall("check"), ToolCall("book table"))
    for index in range(60):
        factories.make_parity_call(
            run, position=index, index=index, stack="vapi", state="done",
            sequence=sequence_dump(Sequence(str(index), "vapi", tools)),
        )  # fmt: skip


def live(number: PhoneNumber, count: int, *names: str) -> None:
    """Make calls that our stack answered."""
    invocations = [{"name": name, "started_ms": 500 * n} for n, name in enumerate(names)]
    for _ in range(count):
        factories.make_call(
            number=number, status="ended", duration_seconds=60,
            tool_invocations=invocations,
        )  # fmt: skip


def verdict(number: PhoneNumber) -> Verdict:
    """Return what the guard of our stack says now."""
    now = timezone.now() + dt.timedelta(seconds=1)
    guard = NumberGuard.objects.filter(number=number).first() or factories.make_guard(
        number, armed_at=now - dt.timedelta(hours=1)
    )
    return verdict_of(guard, now)


def test_without_a_measure_the_guard_does_not_look_at_drift() -> None:
    number = factories.make_number()
    live(number, 12, "something", "else")
    found = verdict(number)
    assert found.counts["unfamiliar"] == (0, 0)
    assert found.alarms == ()


def test_calls_as_measured_are_no_alarm_and_a_changed_order_is() -> None:
    number = factories.make_number()
    measured(number)
    live(number, 15, "check", "book_table")
    assert verdict(number).counts["unfamiliar"] == (0, 15)
    live(number, 15, "book_table")
    found = verdict(number)
    assert found.counts["unfamiliar"] == (15, 30)
    assert [alarm.signal for alarm in found.alarms] == ["unfamiliar"]


@pytest.mark.parametrize(
    "columns", [{"verdict": "fail"}, {"verdict": "undecided"}, {"kind": "rehearsal"},
                {"state": "cancelled"}],
)  # fmt: skip
def test_only_a_measure_that_passed_on_real_calls_is_a_baseline(columns: dict[str, Any]) -> None:
    number = factories.make_number()
    measured(number, **columns)
    assert baseline_for(number.pk) is None


def test_a_measure_of_an_older_revision_is_none() -> None:
    number = factories.make_number()
    measured(number)
    assert number.assistant is not None
    factories.make_revision(number.assistant)
    assert baseline_for(number.pk) is None


def test_a_measure_of_other_tools_is_none_and_an_older_one_of_these_is() -> None:
    tool = factories.make_tool(name="check", parameters={"type": "object"})
    number = factories.make_number(assistant=factories.make_assistant(tools=[tool]))
    before = dict(tool.parameters)
    measured(number, finished_at=timezone.now() - dt.timedelta(days=1))
    assert baseline_for(number.pk) is not None
    schema = {"type": "object", "properties": {"day": {"type": "string"}}}
    tool_edit(tool=tool, changes={"parameters": schema}, actor=None)
    baselines_forget()
    assert baseline_for(number.pk) is None
    measured(number)
    baselines_forget()
    assert baseline_for(number.pk) is not None
    tool.refresh_from_db()
    tool_edit(tool=tool, changes={"parameters": before}, actor=None)
    baselines_forget()
    assert baseline_for(number.pk) is not None  # the first run's


def test_a_measure_of_another_model_is_none() -> None:
    number = factories.make_number()
    assert number.connection is not None
    rows = ProviderConnection.objects.filter(pk=number.connection.pk)
    rows.update(model="gpt-one")
    measured(number)
    rows.update(model="gpt-two")
    assert baseline_for(number.pk) is None


def test_a_decision_on_arguments_leaves_the_order_of_tools_as_it_was_measured() -> None:
    number = factories.make_number()
    measured(number)
    factories.make_critical_marks(number.assistant)
    assert baseline_for(number.pk) is not None


def test_calls_of_the_old_stack_are_not_judged_by_it() -> None:
    number = factories.make_number()
    measured(number)
    factories.make_call(number=number, status="ended", stack="vapi")
    now = timezone.now() + dt.timedelta(seconds=1)
    (call,) = window_of(number.pk, "vapi", armed_at=now - dt.timedelta(hours=1), now=now)
    assert "unfamiliar" not in bad_by(call)
    assert judge([call]).counts["unfamiliar"] == (0, 0)
