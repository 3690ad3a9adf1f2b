"""The circuit breaker, on numbers for time."""

from __future__ import annotations

import pytest

from tools.hosts import OPEN_SECONDS, OPENS_AFTER, HostGuard

pytestmark = pytest.mark.unit

KEY = ("org", "https://tools.example.com")


def failing(guard: HostGuard, times: int, now: float = 0.0) -> list[bool]:
    """Let requests to ``KEY`` fail; return which of them opened the circuit."""
    opened = []
    for _ in range(times):
        assert guard.admits(KEY, now)
        opened.append(guard.settle(KEY, answered=False, now=now))
    return opened


def test_failures_in_a_row_open_the_circuit_and_one_answer_in_between_does_not() -> None:
    guard = HostGuard()
    failing(guard, OPENS_AFTER - 1)
    guard.settle(KEY, answered=True, now=0)
    assert failing(guard, OPENS_AFTER) == [False] * (OPENS_AFTER - 1) + [True]
    assert not guard.admits(KEY, OPEN_SECONDS - 0.1)


def test_after_a_while_one_request_probes_and_its_answer_closes_the_circuit() -> None:
    guard = HostGuard()
    failing(guard, OPENS_AFTER)
    assert guard.admits(KEY, OPEN_SECONDS)
    assert not guard.admits(KEY, OPEN_SECONDS)
    guard.settle(KEY, answered=True, now=OPEN_SECONDS + 1)
    assert guard.admits(KEY, OPEN_SECONDS + 1)
    assert guard.open_hosts(OPEN_SECONDS + 1) == []


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    guard = HostGuard()
    failing(guard, OPENS_AFTER)
    guard.admits(KEY, OPEN_SECONDS)
    assert guard.settle(KEY, answered=False, now=OPEN_SECONDS + 5)
    assert not guard.admits(KEY, OPEN_SECONDS * 2 + 4)
    assert guard.admits(KEY, OPEN_SECONDS * 2 + 5)


def test_a_probe_without_a_result_leaves_room_for_the_next() -> None:
    guard = HostGuard()
    failing(guard, OPENS_AFTER)
    guard.admits(KEY, OPEN_SECONDS)
    guard.abandon(KEY)
    assert guard.admits(KEY, OPEN_SECONDS)


def test_requests_that_were_under_way_when_it_opened_do_not_prolong_it() -> None:
    guard = HostGuard()
    failing(guard, OPENS_AFTER)
    assert not guard.settle(KEY, answered=False, now=10)
    assert guard.admits(KEY, OPEN_SECONDS)


def test_one_tenant_s_failures_are_not_another_s() -> None:
    guard = HostGuard()
    failing(guard, OPENS_AFTER)
    assert guard.admits(("other", KEY[1]), 0)
    (shown,) = guard.open_hosts(5)
    assert (shown.owner, shown.host, shown.failures) == (*KEY, OPENS_AFTER)
    assert shown.again_in_seconds == OPEN_SECONDS - 5


def test_the_memory_of_failures_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.hosts._MOST_HOSTS", 2)
    guard = HostGuard()
    for name in "abc":
        guard.settle(("org", name), answered=False, now=0)
    assert len(guard._failing) == 2
