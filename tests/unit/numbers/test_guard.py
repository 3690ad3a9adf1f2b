"""The guard: which call is bad by what, which calls count, and when a number's have become bad."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.guard import (
    TESTS,
    WINDOW,
    WINDOW_CALLS,
    EndedCall,
    bad_by,
    fitted,
    has_hurt,
    in_window,
    judge,
    p95,
)

pytestmark = pytest.mark.unit

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
FAULT = "pipeline-error-openai-llm-failed"


def call(index: int = 0, **fields: Any) -> EndedCall:
    at = NOON + dt.timedelta(minutes=index)
    usual = EndedCall(
        f"call-{index:05d}",
        "number-1",
        "direct",
        at - dt.timedelta(seconds=90),
        at,
        "assistant-ended-call",
        duration_seconds=90,
        dead_airs=0,
        failed_tools=0,
        first_word_ms=900,
        turn_p95_ms=1_100,
    )
    return replace(usual, **fields)


def signals(ended: EndedCall) -> set[str]:
    return {signal for signal, is_bad in bad_by(ended).items() if is_bad}


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        ({}, set()),
        ({"ended_reason": "customer-ended-call"}, set()),
        ({"ended_reason": "customer-ended-call", "duration_seconds": 7}, {"hung_up_early"}),
        ({"ended_reason": "customer-ended-call", "duration_seconds": 8}, set()),
        ({"ended_reason": "assistant-ended-call", "duration_seconds": 3}, set()),
        ({"ended_reason": FAULT}, {"failed"}),
        ({"ended_reason": "worker-shutdown"}, {"failed"}),
        ({"ended_reason": "phone-call-provider-closed-websocket"}, {"failed"}),
        ({"ended_reason": "call.in-progress.error-vapifault-worker-died"}, {"failed"}),
        ({"ended_reason": "call.forwarding.operator-busy"}, set()),
        ({"ended_reason": "silence-timed-out"}, set()),
        (
            {"ended_reason": "call.in-progress.error-assistant-did-not-receive-customer-audio"},
            {"dead_air"},
        ),
        ({"dead_airs": 1}, {"dead_air"}),
        ({"failed_tools": 2}, {"tool_failed"}),
        ({"first_word_ms": 3_000}, set()),
        ({"first_word_ms": 3_001}, {"slow_first_word"}),
        ({"turn_p95_ms": 3_001}, {"slow_turns"}),
    ],
)
def test_what_makes_a_call_bad(fields: dict[str, Any], bad: set[str]) -> None:
    assert signals(call(**fields)) == bad


def test_what_was_not_measured_is_neither_good_nor_bad() -> None:
    old = call(
        stack="vapi", dead_airs=None, failed_tools=None, first_word_ms=None, turn_p95_ms=None
    )
    assert set(bad_by(old)) == {"failed", "hung_up_early"}


def test_a_slow_call_and_one_that_the_caller_left_have_hurt_nobody() -> None:
    assert not has_hurt(call(first_word_ms=9_000, turn_p95_ms=9_000))
    assert not has_hurt(call(ended_reason="customer-ended-call", duration_seconds=1))
    assert has_hurt(call(ended_reason=FAULT))
    assert has_hurt(call(dead_airs=1))
    assert has_hurt(call(failed_tools=1))


def test_the_window_keeps_the_calls_of_this_number_stack_and_configuration() -> None:
    armed = NOON
    now = NOON + dt.timedelta(hours=1)
    kept = call(5)
    others = [
        call(6, number_id="number-2"),
        call(7, stack="vapi"),
        call(1, begun_at=armed - dt.timedelta(seconds=1)),  # met the old configuration
        call(8, ended_at=now + dt.timedelta(seconds=1)),
        call(9, begun_at=now - WINDOW, ended_at=now - WINDOW - dt.timedelta(seconds=1)),
    ]

    def found(calls: list[EndedCall], since: dt.datetime = armed) -> list[str]:
        return [
            each.call_id
            for each in in_window(
                calls, number_id="number-1", stack="direct", armed_at=since, now=now
            )
        ]

    assert found([kept, *others, kept]) == ["call-00005"]
    assert found([others[-1]], now - 2 * WINDOW) == []


def test_the_window_is_ordered_by_the_end_and_keeps_the_newest() -> None:
    calls = [call(index) for index in range(WINDOW_CALLS + 20)]
    shuffled = random.Random(3).sample(calls, len(calls))
    window = in_window(
        shuffled,
        number_id="number-1",
        stack="direct",
        armed_at=NOON - dt.timedelta(days=1),
        now=NOON + dt.timedelta(days=1),
    )
    assert list(window) == calls[20:]


def test_one_bad_call_is_no_breach_and_five_are_and_are_listed() -> None:
    calls = [call(index, ended_reason=FAULT if index == 0 else "silence") for index in range(100)]
    assert judge([*calls, call(100, ended_reason=FAULT)]).alarms == ()
    bad = [call(100 + index, ended_reason=FAULT if index % 2 else "silence") for index in range(10)]
    verdict = judge([*calls, *bad])
    assert [alarm.signal for alarm in verdict.alarms] == ["failed"]
    assert verdict.call_ids == tuple(f"call-{index:05d}" for index in (101, 103, 105, 107, 109))
    assert verdict.alarms[0].words == "5 of 9: calls ended by a fault"
    assert verdict.calls == 110


def test_a_call_that_is_bad_in_two_ways_is_listed_once() -> None:
    verdict = judge([call(index, ended_reason=FAULT, dead_airs=1) for index in range(5)])
    assert [alarm.signal for alarm in verdict.alarms] == ["failed", "dead_air"]
    assert len(verdict.call_ids) == 5


def test_a_p95_over_its_limit_is_a_breach_and_one_under_it_is_none() -> None:
    def calls(slow_share: float) -> list[EndedCall]:
        dice = random.Random(11)
        return [
            call(index, first_word_ms=4_000 if dice.random() < slow_share else 900)
            for index in range(WINDOW_CALLS)
        ]

    assert [alarm.signal for alarm in judge(calls(0.4)).alarms] == ["slow_first_word"]
    assert judge(calls(0.04)).alarms == ()


@pytest.mark.parametrize("seed", range(20))
def test_half_of_the_calls_planted_to_fail_hurt_at_most_five_callers(seed: int) -> None:
    dice = random.Random(seed)
    calls: list[EndedCall] = [call(index) for index in range(50)]
    hurt = 0
    for index in range(50, 120):
        fails = dice.random() < 0.5
        hurt += fails
        calls.append(call(index, ended_reason=FAULT if fails else "assistant-ended-call"))
        if judge(calls).alarms:
            break
    assert 4 <= hurt <= 5


def test_10000_clean_calls_looked_at_after_each_trip_nothing() -> None:
    # Each call bad by each signal as often as a clean number's; every window of 200 is judged by
    # the test over the whole, which is never slower (test_sequential).
    dice = random.Random(2026)
    calls = []
    for index in range(10_000):
        share = {signal: dice.random() < test.clean_share for signal, test in TESTS.items()}
        calls.append(
            call(
                index,
                ended_reason=FAULT
                if share["failed"]
                else "customer-ended-call"
                if share["hung_up_early"]
                else "assistant-ended-call",
                duration_seconds=4 if share["hung_up_early"] else 90,
                dead_airs=int(share["dead_air"]),
                failed_tools=int(share["tool_failed"]),
                first_word_ms=5_000 if share["slow_first_word"] else 900,
                turn_p95_ms=5_000 if share["slow_turns"] else 900,
            )
        )
    assert judge(calls).alarms == ()


def test_a_number_whose_old_stack_is_worse_gets_a_test_that_fits() -> None:
    assert fitted("tool_failed", 0.002) == TESTS["tool_failed"]
    rough = fitted("tool_failed", 0.1)
    assert rough.clean_share == 0.1
    assert round(rough.bad_share, 2) == 0.79  # 33 times the odds, as 25% are of 1%
    dice = random.Random(4)
    calls = [call(index, failed_tools=int(dice.random() < 0.1)) for index in range(2_000)]
    assert [alarm.signal for alarm in judge(calls).alarms] == ["tool_failed"]
    assert judge(calls, tests={"tool_failed": rough}).alarms == ()
    assert fitted("failed", 1.0).clean_share == 0.5


def test_p95_is_the_nearest_rank() -> None:
    assert p95(range(1, 101)) == 95
    assert p95(range(1, 21)) == 19
    assert p95([7]) == 7
    assert p95([]) is None
