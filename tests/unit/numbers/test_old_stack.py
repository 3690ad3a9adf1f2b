"""The old stack's health: when callers are spared it, who finds out, and how long they wait."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from calls.numbers.old_stack import (
    DYNAMIC_MS,
    MAX_REST_MS,
    MEMORY_MS,
    NET_MS,
    PATIENCE_MS,
    PROBE_GAP_MS,
    REST_MS,
    STEADY_MS,
    Attempt,
    Health,
    Outcome,
    attempt_ms,
    begun,
    ended,
    mended,
    outcome_of,
    standing,
)

pytestmark = pytest.mark.unit

T0 = 1_763_856_000_000
# Refused at once, or nothing at all until we have waited enough; and a stack that works.
Stack = tuple[Outcome, int]
KILLED: Stack = ("failed", 30)
HANGING: Stack = ("hung", NET_MS)
WORKING: Stack = ("answered", 400)


def times(count: int, outcome: Outcome) -> list[Outcome]:
    return [outcome] * count


def after(health: Health, *outcomes: Outcome, at_ms: int, step_ms: int = 1_000) -> Health:
    """Return the health after attempts, each begun when the one before has ended."""
    for index, outcome in enumerate(outcomes):
        begun_ms = at_ms + index * step_ms
        health = ended(begun(health, begun_ms), Attempt(outcome, begun_ms, begun_ms + 100))
    return health


def down(at_ms: int = T0) -> Health:
    health = after(Health(), "failed", "failed", "failed", at_ms=at_ms, step_ms=0)
    assert health.state == "down"
    return health


@dataclass(slots=True)
class Line:
    """The callers of one old stack, in real order: whoever is handed over ends later."""

    health: Health = field(default_factory=Health)
    waiting: list[Attempt] = field(default_factory=list)

    def call(self, sid: str, now_ms: int, stack: Stack) -> tuple[str, int]:
        """Return who answers the caller, and after how many milliseconds."""
        self.settle(now_ms)
        if standing(self.health, call_sid=sid, now_ms=now_ms) == "down":
            return "direct", 0
        self.health = begun(self.health, now_ms)
        outcome, took_ms = stack
        self.waiting.append(Attempt(outcome, now_ms, now_ms + took_ms))
        return ("vapi" if outcome == "answered" else "direct"), took_ms

    def settle(self, now_ms: int) -> None:
        """Report the attempts that have ended by now, in the order of their ends."""
        due = sorted((a for a in self.waiting if a.ended_ms <= now_ms), key=lambda a: a.ended_ms)
        self.waiting = [a for a in self.waiting if a.ended_ms > now_ms]
        for attempt in due:
            self.health = ended(self.health, attempt)


@pytest.mark.parametrize("stack", [KILLED, HANGING])
@pytest.mark.parametrize("gap_ms", [0, 100, 1_000, 4_000, 20_000, 90_000])
def test_20_of_20_callers_are_answered_directly_within_5_s_and_go_back_afterwards(
    stack: Stack, gap_ms: int
) -> None:
    line, now_ms = Line(), T0
    for index in range(10):
        assert line.call(f"before-{index}", now_ms, WORKING)[0] == "vapi"
        now_ms += 1_000
    for index in range(20):
        who, waited_ms = line.call(f"during-{index}", now_ms, stack)
        assert who == "direct"
        assert waited_ms + 1_000 < 5_000  # and a second for our own answer
        now_ms += gap_ms
    # Back within the longest rest and three probes, whatever the traffic.
    back_ms = now_ms
    for index in range(2_000):
        line.call(f"after-{index}", now_ms, WORKING)
        if line.health.state == "up":
            break
        now_ms += 2_000
    assert now_ms - back_ms < MAX_REST_MS + 4 * PROBE_GAP_MS
    assert [line.call(f"back-{index}", now_ms, WORKING)[0] for index in range(20)] == ["vapi"] * 20


def test_callers_of_a_dead_stack_soon_wait_for_nothing() -> None:
    line, waits = Line(), []
    for index in range(60):
        waits.append(line.call(f"CA{index}", T0 + index * 500, HANGING)[1])
    # Those wait who ring before the third has given up, at 4.5 s, and the probes after 15 s more.
    assert waits[:9] == [NET_MS] * 9
    assert waits[9:39] == [0] * 30
    assert waits[39] == NET_MS
    assert sum(1 for waited_ms in waits[40:] if waited_ms) <= 5


def test_one_or_two_failures_in_a_row_are_an_accident_and_the_third_is_not() -> None:
    health = after(Health(), "failed", "hung", at_ms=T0)
    assert health.state == "up"
    assert after(health, "answered", "failed", "failed", at_ms=T0 + 5_000).state == "up"
    assert after(health, "failed", at_ms=T0 + 5_000).state == "down"


def test_half_of_the_last_ten_is_an_outage_too() -> None:
    every_other: list[Outcome] = ["answered", "failed"] * 5
    assert after(Health(), *every_other[:-2], at_ms=T0).state == "up"
    assert after(Health(), *every_other, at_ms=T0).state == "down"
    one_in_three: list[Outcome] = ["answered", "answered", "failed"] * 30
    assert after(Health(), *one_in_three, at_ms=T0).state == "up"


def test_failures_more_than_a_minute_apart_have_nothing_to_do_with_each_other() -> None:
    apart = MEMORY_MS + 1
    assert after(Health(), *times(6, "failed"), at_ms=T0, step_ms=apart).state == "up"
    assert after(Health(), *times(3, "failed"), at_ms=T0, step_ms=MEMORY_MS).state == "down"


def test_what_declines_one_call_neither_harms_nor_mends() -> None:
    assert after(Health(), *times(20, "declined"), at_ms=T0).state == "up"
    assert after(Health(), "failed", "failed", "declined", "failed", at_ms=T0).state == "down"
    resting = begun(down(), T0 + REST_MS + 1_000)
    for index in range(5):
        begun_ms = T0 + REST_MS + 2_000 + index
        resting = ended(resting, Attempt("declined", begun_ms, begun_ms + 10))
    assert resting.state == "probing"
    assert resting.row == 0


def test_while_it_rests_nobody_probes_and_then_the_next_caller_does() -> None:
    health = down()
    begins = health.since_ms
    for now_ms in range(begins, begins + REST_MS, 500):
        assert all(
            standing(health, call_sid=f"CA{index}", now_ms=now_ms) == "down" for index in range(20)
        )
    assert standing(health, call_sid="CA1", now_ms=begins + REST_MS) == "probe"


def test_while_it_probes_a_fifth_of_the_callers_find_out_and_one_in_5_s_at_least() -> None:
    start = down().since_ms + REST_MS
    health = begun(down(), start)
    assert health.state == "probing"
    probes = sum(
        standing(health, call_sid=f"CA{index}", now_ms=start + 1) == "probe"
        for index in range(2_000)
    )
    assert 340 <= probes <= 460  # 20% and the 99% interval
    assert standing(health, call_sid="CA1", now_ms=start + PROBE_GAP_MS) == "probe"


def test_it_takes_three_answered_probes_to_come_back_and_one_lost_to_go() -> None:
    start = down().since_ms + REST_MS
    two = after(down(), "answered", "answered", at_ms=start)
    assert two.state == "probing"
    assert after(two, "answered", at_ms=start + 9_000).state == "up"
    lost = after(two, "hung", at_ms=start + 9_000)
    assert lost.state == "down"
    assert lost.rest_ms == 2 * REST_MS


def test_each_lost_probe_doubles_the_rest_up_to_a_minute() -> None:
    health, rests = down(), []
    for _ in range(5):
        rests.append(health.rest_ms)
        health = after(health, "failed", at_ms=health.since_ms + health.rest_ms)
    assert rests == [REST_MS, 2 * REST_MS, MAX_REST_MS, MAX_REST_MS, MAX_REST_MS]


def test_who_falls_again_at_once_rests_as_long_as_before_and_after_a_steady_time_less() -> None:
    health = after(down(), "failed", at_ms=down().since_ms + REST_MS)
    back = after(health, *times(3, "answered"), at_ms=health.since_ms + health.rest_ms)
    assert back.state == "up"
    soon = after(back, *times(3, "failed"), at_ms=back.since_ms + 1_000)
    assert soon.rest_ms == 2 * REST_MS
    late = after(back, *times(3, "failed"), at_ms=back.since_ms + STEADY_MS)
    assert late.rest_ms == REST_MS


def test_attempts_that_began_before_the_state_do_not_speak_of_it() -> None:
    health = down()
    # The callers who were waiting when it went down hang on, and one is answered late.
    for outcome in ("hung", "answered", "hung"):
        health = ended(health, Attempt(outcome, T0 - 3_000, T0 + 500))
    assert health == down()
    probing = begun(health, health.since_ms + REST_MS)
    assert ended(probing, Attempt("hung", T0 - 3_000, T0 + 20_000)) == probing


def test_who_is_handed_over_for_want_of_anyone_else_is_no_probe() -> None:
    health = begun(down(), down().since_ms + 1)
    assert health.state == "down"
    lost = ended(health, Attempt("failed", down().since_ms + 1, down().since_ms + 40))
    assert (lost.state, lost.rest_ms) == ("down", REST_MS)


def test_a_clock_that_is_put_back_does_not_stretch_an_outage() -> None:
    health = down()
    assert standing(health, call_sid="CA1", now_ms=health.since_ms - 3_600_000) == "probe"


def test_somebody_says_that_it_works_again() -> None:
    health = mended(down(), T0 + 2_000)
    assert standing(health, call_sid="CA1", now_ms=T0 + 2_000) == "probe"
    assert after(health, *times(3, "answered"), at_ms=T0 + 2_000).state == "up"
    assert mended(Health(), T0) == Health()


@pytest.mark.parametrize(
    ("status", "is_twiml", "timed_out", "outcome"),
    [
        (200, True, False, "answered"),
        (201, True, False, "answered"),
        (200, False, False, "declined"),
        (302, False, False, "declined"),
        (400, False, False, "declined"),  # a call that does not ring any more (twilio.md 5.5)
        (404, True, False, "declined"),
        (408, False, False, "failed"),
        (429, False, False, "failed"),
        (500, True, False, "failed"),
        (503, False, False, "failed"),
        (None, False, False, "failed"),
        (None, False, True, "hung"),
        (200, True, True, "hung"),
    ],
)
def test_what_an_attempt_came_to(
    status: int | None, is_twiml: bool, timed_out: bool, outcome: Outcome
) -> None:
    assert outcome_of(status=status, is_twiml=is_twiml, timed_out=timed_out) == outcome


@pytest.mark.parametrize(
    ("has_net", "fixed", "patience_ms", "waits_ms"),
    [
        (True, True, PATIENCE_MS, NET_MS),
        (True, True, 2_000, 2_000),
        (True, True, 60_000, NET_MS),
        (False, True, PATIENCE_MS, 4_000),
        (False, True, 60_000, 4_000),
        (True, False, PATIENCE_MS, DYNAMIC_MS),
        (True, False, 2_000, DYNAMIC_MS),  # never under 9 s (design.md 2 (7))
        (False, False, 60_000, DYNAMIC_MS),
        (True, True, 0, 1),
    ],
)
def test_how_long_an_attempt_may_take(
    has_net: bool, fixed: bool, patience_ms: int, waits_ms: int
) -> None:
    found = attempt_ms(has_net=has_net, fixed_assistant=fixed, patience_ms=patience_ms)
    assert found == waits_ms


def test_t31_a_health_comes_back_from_its_json_in_another_process() -> None:
    for health in (Health(), down(), after(Health(), "failed", "answered", at_ms=T0)):
        assert Health.from_json(json.loads(json.dumps(health.as_json()))) == health


@pytest.mark.parametrize("change", [{"state": "odd"}, {"row": "x"}, {"recent": 3}])
def test_what_is_no_health_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Health.from_json({**Health().as_json(), **change})
    with pytest.raises(KeyError):
        Health.from_json({})
