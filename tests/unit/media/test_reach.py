"""When a model counts as out of reach, and when it is tried again."""

from __future__ import annotations

import pytest

from calls.media.reach import FAILURES, MEMORY_SECONDS, SPARED_SECONDS, Reach

pytestmark = pytest.mark.unit

URL, OTHER = "wss://one.example.com", "wss://two.example.com"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_failure_is_an_accident(clock: Clock) -> None:
    reach = Reach(clock)
    reach.failed(URL)
    assert not reach.is_lost(URL)
    reach.failed(URL)
    assert reach.is_lost(URL)
    assert not reach.is_lost(OTHER)


def test_a_socket_that_opens_ends_it(clock: Clock) -> None:
    reach = Reach(clock)
    for _ in range(FAILURES):
        reach.failed(URL)
    reach.opened(URL)
    assert not reach.is_lost(URL)
    reach.failed(URL)
    assert not reach.is_lost(URL)


def test_after_a_while_a_call_finds_out_and_one_more_failure_is_enough(clock: Clock) -> None:
    reach = Reach(clock)
    for _ in range(FAILURES):
        reach.failed(URL)
    clock.now += SPARED_SECONDS
    assert not reach.is_lost(URL)
    reach.failed(URL)
    assert reach.is_lost(URL)


def test_failures_far_apart_are_accidents(clock: Clock) -> None:
    reach = Reach(clock)
    for _ in range(5):
        reach.failed(URL)
        clock.now += MEMORY_SECONDS + 1
        assert not reach.is_lost(URL)
