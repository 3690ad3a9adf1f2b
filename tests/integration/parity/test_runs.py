"""Runs: dealt by their seed, played by any worker, cancelled and resumed with the same result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import ParityCall, ParityRun
from calls.parity.dealing import deal
from calls.parity.played import CallResult
from calls.parity.sequence import Outcomes, Sequence, ToolCall, sequence_dump
from calls.parity.stored import measures_read
from calls.services import parity_runners
from calls.services.parity_exports import report_junit
from calls.services.parity_measuring import played_pairs, run_measure
from calls.services.parity_playing import run_play, runs_settle
from calls.services.parity_reports import report_of
from calls.services.parity_runners import (
    CallHalted,
    CallLost,
    CallRefused,
    Registered,
    register_runner,
)
from calls.services.parity_runs import (
    RunRefused,
    run_begin,
    run_cancel,
    run_continue,
    run_resume,
)
from tests import factories
from tests.integration.parity.junit import read_junit
from voiceplatform.base.fields import seal
from voiceplatform.base.jobs import job_claim
from voiceplatform.base.models import AuditEntry, Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def a_run(**given: Any) -> ParityRun:
    tool = factories.make_tool(name="check_availability", parameters={"type": "object"})
    assistant = factories.make_assistant(tools=[tool])
    rows = [factories.make_scenario(assistant, name=name) for name in ("one", "two")]
    settings: dict[str, Any] = {
        "kind": "rehearsal",
        "assistant": assistant,
        "scenarios": rows,
        "pairs": 3,
        "seed": 5,
        "parallel": 1,
        "actor": None,
        "tells_workers": False,
    }
    return run_begin(**settings | given)


def outcome(run: ParityRun) -> list[Any]:
    """Return what a run showed, without the ids of its rows."""
    return [
        (pair.scenario, pair.index, side.tools, side.outcomes)
        for pair in played_pairs(run)
        for side in (pair.old, pair.new)
        if side is not None
    ]


def test_a_rehearsal_plays_both_stacks_and_ends_with_its_measures() -> None:
    run = a_run()
    run_continue(run.pk)
    run.refresh_from_db()
    assert (run.state, run.done, run.wanted) == ("done", 3, 3)
    assert run.begun_at and run.finished_at and run.verdict == "undecided"
    assert run.job is not None and run.job.state == Job.State.DONE
    assert run.figures["gates"]["order"]["n"] == 3 and run.figures["gates"]["order"]["k"] == 0
    assert measures_read(run.measures).pairs == 3 and run.figures["audio_pairs"] == 0
    pairs = played_pairs(run)
    assert [(pair.scenario, pair.index) for pair in pairs] == [
        (each.scenario, each.index) for each in deal(["one", "two"], 3, 5)
    ]
    for pair in pairs:
        assert pair.old is not None and pair.new is not None
        assert [t.name for t in pair.old.tools] == ["check_availability"]
        assert [t.name for t in pair.new.tools] == ["check_availability"]
    direct = run.calls.filter(stack="direct").first()
    assert direct is not None and direct.transcript and direct.latency["turns_ms"]
    assert direct.lease_token == "" and direct.cost_usd > 0
    assert AuditEntry.objects.filter(action="parity_run.begin", target_id=str(run.pk)).exists()
    run_continue(run.pk)  # it has ended: nothing happens
    assert run.calls.filter(attempts=1).count() == 6


class Interrupted:
    """A runner that cancels its run after some calls, or dies there."""

    def __init__(self, after: int, act: Callable[[ParityRun], Any]) -> None:
        self.played, self.after, self.act = 0, after, act
        self.usual = parity_runners.runner_of("rehearsal")

    def __call__(self, call: ParityCall) -> CallResult:
        self.played += 1
        if self.played == self.after:
            self.act(call.run)
        assert self.usual is not None
        return self.usual.play(call)


@pytest.fixture
def restored() -> Any:
    usual = dict(parity_runners._RUNNERS)
    yield
    parity_runners._RUNNERS.clear()
    parity_runners._RUNNERS.update(usual)


def replaced(play: Callable[[ParityCall], CallResult]) -> None:
    usual = parity_runners.runner_of("rehearsal")
    assert usual is not None
    parity_runners._RUNNERS["rehearsal"] = Registered(play, usual.prepare)


@pytest.mark.usefixtures("restored")
def test_cancelled_half_way_and_resumed_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voiceplatform.base.jobs._BEAT_SECONDS", 0)
    whole = a_run(pairs=4)
    run_continue(whole.pk)
    whole.refresh_from_db()
    run = run_begin(
        kind="rehearsal",
        assistant=whole.assistant,
        scenarios=list(whole.assistant.parity_scenarios.all()),
        pairs=4,
        seed=5,
        parallel=1,
        actor=None,
        tells_workers=False,
    )
    stopping = Interrupted(4, lambda run: run_cancel(run=run, actor=None))
    replaced(stopping)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "cancelled" and run.done == 2 and run.finished_at
    assert run.calls.filter(state="done").count() == 4
    assert stopping.usual is not None
    replaced(stopping.usual.play)
    run_resume(run=run, actor=None, tells_workers=False)
    assert run.state == "queued"
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "done" and run.done == 4
    assert run.calls.filter(attempts=1).count() == 8  # nothing was played twice
    assert outcome(run) == outcome(whole)
    assert (run.verdict, run.measures, run.figures) == (
        whole.verdict,
        whole.measures,
        whole.figures,
    )


@pytest.mark.usefixtures("restored")
def test_who_lost_the_lease_of_a_call_stores_nothing() -> None:
    run = a_run(pairs=1)

    def taken_over(call: ParityCall) -> CallResult:
        ParityCall.objects.filter(pk=call.pk).update(lease_token="another")
        return CallResult(Sequence("k", "vapi", (ToolCall("wrong"),)))

    replaced(taken_over)
    run_continue(run.pk)
    assert not run.calls.filter(state="done").exists()
    assert run.calls.filter(lease_token="another").count() == 2


@pytest.mark.usefixtures("restored")
def test_a_call_that_is_lost_is_played_again_three_times_and_one_refused_is_not() -> None:
    run = a_run(pairs=1)

    def play(call: ParityCall) -> CallResult:
        if call.stack == "direct":
            raise CallLost("the socket broke")
        raise CallRefused("no such recording. Fix: fetch it")

    replaced(play)
    run_continue(run.pk)
    found = {call.stack: call for call in run.calls.all()}
    assert found["direct"].attempts == 3 and found["direct"].problem == "the socket broke"
    assert found["vapi"].attempts == 1 and found["vapi"].state == "failed"
    run.refresh_from_db()
    assert run.state == "done" and run.done == 1 and run.verdict == "undecided"
    run_resume(run=run, actor=None, tells_workers=False)  # it lacks something
    assert run.calls.filter(state="waiting", attempts=0).count() == 2


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("parallel", [1, 2])
def test_a_defect_in_one_call_loses_its_pair_alone_and_names_no_value(parallel: int) -> None:
    def play(call: ParityCall) -> CallResult:
        if call.position == 1 and call.stack == "direct":
            raise KeyError("+12025550143")
        return CallResult(Sequence("k", "direct", (ToolCall("a"),)))

    replaced(play)
    # Beside this thread a call is claimed, not stored: the pool's threads see no open transaction.
    run = a_run(parallel=parallel)
    run_continue(run.pk)
    run.refresh_from_db()
    assert (run.state, run.done, run.figures["lacks"]["missing"]) == ("done", 3, 1)
    [lost] = run.calls.filter(state="failed")
    assert lost.attempts == 1 and "555" not in lost.problem
    assert lost.problem.startswith("It broke here (KeyError in tests.integration.parity.test_runs:")


@pytest.mark.usefixtures("restored")
def test_what_lost_attempts_cost_counts_towards_the_limit() -> None:
    def play(call: ParityCall) -> CallResult:
        if call.stack == "direct":
            raise CallLost("the socket broke", cost_usd=Decimal(2))
        return CallResult(Sequence("k", "vapi"))

    register_runner("replay", play)
    run = a_run(kind="replay", pairs=4, cost_limit_usd=Decimal(3))
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "cancelled" and "cost limit of 3.00 USD" in run.problem
    assert run.cost_usd == 4 and run.calls.filter(cost_usd=4, attempts=2).count() == 1


@pytest.mark.usefixtures("restored")
def test_no_call_begins_beyond_the_cost_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    register_runner("replay", lambda call: CallResult(Sequence("k", "direct"), cost_usd=Decimal(2)))
    run = a_run(kind="replay", pairs=4, cost_limit_usd=Decimal(3))
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "cancelled" and "cost limit of 3.00 USD" in run.problem
    # The past call's own cost, on the old stack, is nothing that the run spends.
    assert run.calls.filter(state="done").count() == 3 and run.cost_usd == 4
    run_resume(run=run, actor=None, cost_limit_usd=Decimal(100), tells_workers=False)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "done" and run.cost_usd == 8


@pytest.mark.usefixtures("restored")
def test_money_that_calls_under_way_will_cost_is_promised_and_no_further_one_begins() -> None:
    register_runner(
        "replay",
        lambda call: CallResult(Sequence("k", "direct"), cost_usd=Decimal(2)),
        estimate=lambda call: Decimal(2) if call.stack == "direct" else Decimal(0),
    )
    run = a_run(kind="replay", pairs=4, cost_limit_usd=Decimal(3), parallel=8)
    run_continue(run.pk)
    run.refresh_from_db()
    # Without that all four would have begun at once.
    assert run.state == "cancelled" and run.cost_usd == 4


@pytest.mark.usefixtures("restored")
def test_a_run_that_may_not_go_on_stops_with_its_reason_and_can_be_resumed() -> None:
    def play(call: ParityCall) -> CallResult:
        if call.position == 1:
            raise CallHalted("the number is paused. Fix: give it another route.")
        return CallResult(Sequence("k", "direct"))

    register_runner("replay", play)
    run = a_run(kind="replay", pairs=3)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert run.problem.startswith("The number is paused. Fix: give it another route. What was")
    assert run.calls.filter(state="done").count() == 2
    assert not run.calls.filter(state="failed").exists()
    assert set(run.calls.filter(state="waiting").values_list("attempts", flat=True)) == {0}
    register_runner("replay", lambda call: CallResult(Sequence("k", "direct")))
    run_resume(run=run, actor=None, tells_workers=False)
    run_continue(run.pk)
    run.refresh_from_db()
    assert (run.state, run.calls.filter(state="done").count()) == ("done", 6)


@pytest.mark.usefixtures("restored")
def test_a_run_whose_last_call_reaches_the_limit_is_done() -> None:
    register_runner("replay", lambda call: CallResult(Sequence("k", "direct"), cost_usd=Decimal(2)))
    run = a_run(kind="replay", pairs=1, cost_limit_usd=Decimal(2))
    run.calls.filter(stack="vapi").update(state="done")
    run_continue(run.pk)
    run.refresh_from_db()
    assert (run.state, run.problem) == ("done", "")


@pytest.mark.usefixtures("restored")
def test_a_call_of_minutes_is_played_beside_the_thread_that_keeps_the_lease() -> None:
    threads = []

    def play(call: ParityCall) -> CallResult:
        threads.append(threading.current_thread().name)
        return CallResult(Sequence("k", "direct"))

    register_runner("replay", play)
    run_continue(a_run(kind="replay", pairs=1, parallel=1).pk)
    assert len(threads) == 2 and all(name.startswith("parity") for name in threads)


@pytest.mark.usefixtures("restored")
def test_a_long_run_is_handed_on_as_often_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        "calls.services.parity_playing.time", SimpleNamespace(monotonic=lambda: clock[0])
    )

    def play(call: ParityCall) -> CallResult:
        clock[0] += 3_600
        return CallResult(Sequence("k", "direct"))

    replaced(play)
    run = a_run(pairs=3)
    for _ in range(6):  # twice as often as workers may die on a job
        run_continue(run.pk)
    run.refresh_from_db()
    assert (run.state, run.done) == ("done", 3)


def test_two_who_resume_at_once_begin_one_job() -> None:
    run = a_run()
    run_cancel(run=run, actor=None)
    with CaptureQueriesContext(connection) as queries:
        run_resume(run=run, actor=None, tells_workers=False)
    locked = [q for q in queries if "calls_parityrun" in q["sql"] and "FOR UPDATE" in q["sql"]]
    assert locked or connection.vendor == "sqlite"  # which lets one write at a time
    with pytest.raises(RunRefused, match="the run is queued"):
        run_resume(run=run, actor=None, tells_workers=False)


def test_past_calls_that_this_platform_answered_are_told_of() -> None:
    number = factories.make_number()
    assert number.assistant is not None
    given: dict[str, Any] = {"kind": "replay", "assistant": number.assistant, "actor": None}
    for stack, is_told in (("vapi", False), ("direct", True)):
        call = factories.make_call(number=number, stack=stack)
        run = run_begin(**given, calls=[call], tells_workers=False)
        assert bool(run.options.get("ours_alone")) is is_told
    with pytest.raises(RunRefused, match="cannot be made again"):
        run_begin(**given, calls=[call], again=True)


def test_a_worker_whose_time_is_up_leaves_the_rest_to_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = a_run(pairs=2)
    monkeypatch.setattr("calls.services.parity_playing.WORK_SECONDS", -1)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "running" and run.calls.filter(state="waiting").count() == 4
    assert run.job is not None and run.job.state == Job.State.QUEUED
    monkeypatch.undo()
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "done" and run.done == 2


@pytest.mark.usefixtures("restored")
def test_a_run_that_may_stop_early_stops_when_every_gate_has_its_verdict() -> None:
    def play(call: ParityCall) -> CallResult:
        tools = (ToolCall("check_availability"),) if call.stack == "vapi" else ()
        is_old = call.stack == "vapi"
        outcomes = Outcomes(tools_ok=is_old)
        return CallResult(Sequence("k", "vapi" if is_old else "direct", tools, outcomes))

    replaced(play)
    run = a_run(pairs=150, stops_early=True)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "done" and run.verdict == "fail" and run.done < 120
    assert run.figures["is_final"]


def test_a_dead_workers_calls_are_played_by_the_next_one() -> None:
    run = a_run(pairs=1)
    dead = job_claim(run.job_id or "")
    assert dead is not None
    ParityRun.objects.filter(pk=run.pk).update(state="running")
    run.calls.update(state="running", lease_token="dead", lease_until=timezone.now())
    run_continue(run.pk)  # the dead worker's lease of the job holds
    assert run.calls.filter(state="done").count() == 0
    Job.objects.filter(pk=str(run.job_id)).update(parameters={"run": str(run.pk)}, state="queued")
    run_continue(run.pk)
    assert run.calls.filter(state="done").count() == 2


def test_a_run_ends_with_a_job_that_ended_without_it() -> None:
    run = a_run()
    assert run_cancel(run=run, actor=None)  # nobody worked on it
    run.refresh_from_db()
    assert run.state == "cancelled" and run.done == 0
    assert not run_cancel(run=run, actor=None)
    other = a_run()
    Job.objects.filter(pk=str(other.job_id)).update(
        state="failed", finished_at=timezone.now(), message="given up"
    )
    assert runs_settle() == 1
    other.refresh_from_db()
    assert (other.state, other.problem) == ("failed", "given up")


def test_a_run_whose_job_was_cleared_away_ends() -> None:
    run = a_run()
    Job.objects.filter(pk=str(run.job_id)).delete()
    assert runs_settle() == 1
    run.refresh_from_db()
    assert (run.state, run.verdict) == ("failed", "undecided") and "resume it" in run.problem
    run_resume(run=run, actor=None, tells_workers=False)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.state == "done"


def test_a_run_whose_tools_changed_meanwhile_is_not_resumed() -> None:
    run = a_run()
    run_cancel(run=run, actor=None)
    run.revision.tools.update(description="Another one")
    with pytest.raises(RunRefused, match="the tool check_availability changed since it began"):
        run_resume(run=run, actor=None)


def measured(run: ParityRun, *, whole: int, lost: int = 0, waiting: int = 0) -> ParityRun:
    """Write calls of pairs that are alike, lost or waiting, and measure the run."""
    done = sequence_dump(Sequence("k", "direct", (ToolCall("book"),), Outcomes(tools_ok=True)))
    states = ["done"] * whole + ["failed"] * lost + ["waiting"] * waiting
    ParityCall.objects.bulk_create(
        ParityCall(
            organisation=run.organisation,
            run=run,
            position=position,
            scenario="one",
            index=position,
            stack=stack,
            state=state,
            sequence=done if state == "done" else None,
        )
        for position, state in enumerate(states)
        for stack in ("vapi", "direct")
    )
    for name, value in run_measure(run).items():
        setattr(run, name, value)
    run.finished_at = run.begun_at = timezone.now()
    run.save()
    return run


def test_no_pass_is_given_where_too_many_pairs_are_missing() -> None:
    passed = measured(factories.make_run(state="done"), whole=76, lost=4)
    assert passed.verdict == "pass" and passed.figures["lacks"]["missing"] == 4
    run = measured(factories.make_run(passed.assistant, state="done"), whole=76, lost=5)
    assert run.verdict == "undecided"
    report = report_of(run)
    assert report.verdict == "undecided" and report.more is None
    assert report.says.startswith("No pass is given: 5 of 81 pairs could not be compared")
    assert read_junit(report_junit(report))["parity.gates.Pairs that are there"] == "failed"
    # How often it was tried is told with it.
    assert [each.words for each in report.tries] == ["pass", "undecided"]
    assert "Run 2 of 2 of this revision" in report.notes[0] and "1 pass" in report.notes[0]


def test_a_run_that_was_cancelled_gives_no_pass() -> None:
    run = measured(factories.make_run(state="cancelled"), whole=80, waiting=20)
    assert run.verdict == "undecided" and report_of(run).verdict == "undecided"
    assert "20 pairs were not played" in run.figures["withheld"]


def test_planted_drift_fails_the_gate_and_the_worst_pairs_are_named_without_values() -> None:
    planted = {**factories.parity.DOCUMENT, "noise": {"ours": {"omit_percent": 60}}}
    run = a_run(documents={"drifting": planted}, scenarios=(), pairs=12)
    run_continue(run.pk)
    run.refresh_from_db()
    assert run.verdict == "fail"
    measures = measures_read(run.measures)
    assert 3 <= measures.omitted <= 11 and measures.extra == 0
    assert measures.worst[0].omitted == ("check_availability",)
    assert "2026-11-27" not in str(run.measures)


def test_a_row_that_no_key_opens_hides_no_other_pair() -> None:
    run = a_run()
    run_play(run.job_id or "")
    broken = run.calls.filter(stack="vapi").order_by("position").first()
    assert broken is not None
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE calls_paritycall SET sequence = %s WHERE id = %s",
            [seal(b"{}").decode()[:-8] + "AAAAAAAA", broken.pk],
        )
    pairs = played_pairs(run)
    assert [pair.is_whole for pair in pairs] == [False, True, True]
    assert run_measure(run)["done"] == 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "dream"}, "nothing here plays"),
        ({"pairs": 0}, "pairs is 0"),
        ({"parallel": 51}, "calls at once is 51"),
        ({"cost_limit_usd": Decimal(-1)}, "cost limit is -1"),
        ({"scenarios": []}, "nothing to play"),
        ({"documents": {"bad": {"caller": [{"say": 1}]}}}, "caller[0].say: it is a number"),
    ],
)
def test_a_run_that_cannot_be_played_is_refused_with_its_fix(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(RunRefused) as refused:
        a_run(**given)
    assert says in str(refused.value) and "Fix: " in str(refused.value)
    assert not ParityRun.objects.exists()


def test_a_revision_of_another_assistant_is_refused() -> None:
    with pytest.raises(RunRefused, match="no such revision"):
        a_run(revision=factories.make_assistant().current_revision)
