"""The single-response gate (O15)."""

from __future__ import annotations

import pytest

from calls.bridge.responses import Request, Responses
from calls.bridge.states import Response

pytestmark = pytest.mark.unit

GREETING, TOOL = Request("greeting"), Request("tool", follow_up=True)
RETRY = Request("retry", follow_up=True)


@pytest.fixture
def gate() -> Responses:
    return Responses()


def ask(gate: Responses, request: Request, event_id: str = "ask-1") -> None:
    gate.ask(request)
    assert gate.next_request(event_id, 0) == request


def test_requests_come_out_one_at_a_time(gate: Responses) -> None:
    gate.ask(GREETING)
    gate.ask(TOOL)
    assert gate.next_request("ask-1", 0) == GREETING
    assert gate.next_request("ask-2", 0) is None
    gate.on_created("r1", 0)
    assert gate.next_request("ask-2", 0) is None
    gate.on_done("r1")
    assert gate.next_request("ask-2", 0) == TOOL


def test_follow_ups_are_one_wish(gate: Responses) -> None:
    gate.ask(TOOL)
    gate.ask(TOOL)
    ask(gate, TOOL)
    gate.give_up()
    assert gate.idle


def test_a_response_of_the_server_answers_a_waiting_follow_up(gate: Responses) -> None:
    gate.ask(TOOL)
    gate.on_created("r1", 0)
    gate.on_done("r1")
    assert gate.idle


def test_a_response_that_may_not_know_the_output_does_not_answer_it(gate: Responses) -> None:
    gate.ask(TOOL)
    gate.ask(RETRY)
    gate.on_created("r1", 0, knows_all=False)
    gate.on_done("r1")
    assert gate.next_request("ask-1", 0) == TOOL


def test_a_greeting_is_not_answered_by_another_response(gate: Responses) -> None:
    gate.ask(GREETING)
    gate.on_created("r1", 0)
    gate.on_done("r1")
    assert gate.next_request("ask-1", 0) == GREETING


def test_o15_a_lost_race_is_repeated_once_after_the_winner_is_done(gate: Responses) -> None:
    ask(gate, GREETING)
    gate.on_refused("ask-1", active_elsewhere=True, now_ms=5)
    assert gate.next_request("ask-2", 6) is None
    assert gate.blocked_since_ms() == 5
    gate.on_created("r9", 7)
    assert gate.next_request("ask-2", 8) is None
    gate.on_done("r9")
    assert gate.next_request("ask-2", 9) == GREETING
    gate.on_created("r10", 10)
    gate.on_done("r10")
    assert gate.idle


def test_o15_the_winner_taken_for_ours_is_put_right_by_the_refusal(gate: Responses) -> None:
    ask(gate, GREETING)
    gate.on_created("r9", 1)
    gate.on_refused("ask-1", active_elsewhere=True, now_ms=2)
    assert gate.current is not None
    assert gate.current.purpose == "turn"
    assert gate.next_request("ask-2", 3) is None
    gate.on_done("r9")
    assert gate.next_request("ask-2", 4) == GREETING


@pytest.mark.parametrize(("knows_all", "again"), [(True, False), (False, True)])
def test_a_follow_up_that_lost_is_repeated_only_if_the_winner_lacks_the_output(
    gate: Responses, knows_all: bool, again: bool
) -> None:
    ask(gate, TOOL)
    gate.on_created("r9", 1, knows_all=knows_all)
    gate.on_refused("ask-1", active_elsewhere=True, now_ms=2)
    gate.on_done("r9")
    assert (gate.next_request("ask-2", 4) == TOOL) is again


def test_a_retry_that_lost_is_answered_by_the_winner(gate: Responses) -> None:
    ask(gate, RETRY)
    gate.on_refused("ask-1", active_elsewhere=True, now_ms=2)
    gate.on_done("r9")
    assert gate.idle


def test_a_refusal_of_something_older_changes_nothing(gate: Responses) -> None:
    ask(gate, GREETING, "ask-2")
    assert gate.on_refused("ask-1", active_elsewhere=True, now_ms=0) is None
    assert gate.on_refused("", active_elsewhere=True, now_ms=0) is None
    assert gate.machine.now is Response.REQUESTED


def test_a_plain_refusal_frees_the_slot(gate: Responses) -> None:
    ask(gate, GREETING)
    assert gate.on_refused("ask-1", active_elsewhere=False, now_ms=0) == GREETING
    assert gate.idle


def test_a_second_active_response_is_the_peers_fault(gate: Responses) -> None:
    assert gate.on_created("r1", 0)
    assert not gate.on_created("r2", 0)
    assert gate.created == 1


def test_done_of_another_response_frees_nothing(gate: Responses) -> None:
    gate.on_created("r1", 0)
    assert gate.on_done("r0") is None
    assert gate.running


def test_t11_only_audio_of_the_active_response_is_played(gate: Responses) -> None:
    assert gate.is_stale("r1")
    gate.on_created("r1", 0)
    assert not gate.is_stale("r1")
    assert gate.is_stale("r0")
    assert gate.cancel() == "r1"
    assert gate.is_stale("r1")
    assert gate.is_cancelling("r1")


def test_cancel_needs_an_active_response(gate: Responses) -> None:
    assert gate.cancel() is None
    ask(gate, GREETING)
    assert gate.cancel() is None
    gate.on_created("r1", 0)
    assert gate.cancel() == "r1"
    assert gate.cancel() is None


def test_the_slot_is_free_only_when_the_cancelled_response_is_done(gate: Responses) -> None:
    gate.on_created("r1", 0)
    gate.cancel()
    gate.ask(GREETING)
    assert gate.next_request("ask-1", 0) is None
    gate.on_done("r1")
    assert gate.next_request("ask-1", 0) == GREETING


def test_one_purpose_is_forgotten(gate: Responses) -> None:
    gate.ask(Request("goodbye"))
    gate.ask(TOOL)
    gate.forget("goodbye")
    assert gate.next_request("ask-1", 0) == TOOL
    gate.forget()
    assert not gate.queue_waits


def test_an_unseen_winner_does_not_block_for_ever(gate: Responses) -> None:
    ask(gate, GREETING)
    gate.on_refused("ask-1", active_elsewhere=True, now_ms=0)
    gate.unblock()
    assert gate.next_request("ask-2", 1) == GREETING
