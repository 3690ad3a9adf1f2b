"""Who answers a call: every reason to decline, and the one way to be answered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.numbers.route import NumberFacts, decide

pytestmark = pytest.mark.unit

GOOD = NumberFacts(
    route="direct",
    has_revision=True,
    has_connection=True,
    policy_reviewed=True,
    has_person=False,
)


def test_a_complete_number_is_answered() -> None:
    for route in ("direct", "canary"):
        decision = decide(replace(GOOD, route=route), live_calls=9, max_calls=10)
        assert decision.answer == "direct"
        assert decision.reason.startswith(f"route {route}")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"route": "paused"}, "paused"),
        ({"route": "vapi"}, "vapi"),
        ({"has_revision": False}, "assistant"),
        ({"has_connection": False}, "connection"),
        ({"policy_reviewed": False}, "reviewed"),
    ],
)
def test_what_is_missing_declines_and_names_itself(change: dict[str, object], word: str) -> None:
    decision = decide(replace(GOOD, **change), live_calls=0, max_calls=10)  # type: ignore[arg-type]
    assert decision.answer == "decline"
    assert word in decision.reason
    # Declined for good reasons comes before busy: the row's reason is what must be mended.
    again = decide(replace(GOOD, **change), live_calls=10, max_calls=10)  # type: ignore[arg-type]
    assert again == decision


def test_an_unknown_number_is_declined() -> None:
    assert decide(None, live_calls=0, max_calls=10).answer == "decline"


@pytest.mark.parametrize(("live", "answer"), [(9, "direct"), (10, "busy"), (11, "busy")])
def test_the_ceiling_is_inclusive(live: int, answer: str) -> None:
    assert decide(GOOD, live_calls=live, max_calls=10).answer == answer


def test_a_model_out_of_reach_is_left_to_somebody_else_also_when_all_lines_are_taken() -> None:
    lost = replace(GOOD, model_lost=True, has_person=True)
    for live in (0, 10):
        assert decide(lost, live_calls=live, max_calls=10).answer == "fallback"
    paused = replace(lost, route="paused")
    assert decide(paused, live_calls=0, max_calls=10).answer == "decline"


def test_every_reason_fits_its_column() -> None:
    for change in ({"route": "vapi"}, {"policy_reviewed": False}, {"has_connection": False}):
        decision = decide(replace(GOOD, **change), live_calls=0, max_calls=1)
        assert len(decision.reason) <= 200
