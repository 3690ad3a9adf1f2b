"""What a call cost, in Vapi's words: the model's part with its tokens, Twilio's as transport."""

from __future__ import annotations

import pytest

from calls.services.vapi_objects import cost_breakdown, costs
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def test_parts_tokens_and_sum_over_the_streams_of_a_call() -> None:
    stream = {"counters": {"input_tokens": 100, "output_tokens": 30}}
    call = factories.make_call(
        cost_usd="0.0325",
        metrics={"streams": [stream, stream], "cost_usd": {"model": 0.02, "carrier": 0.0125}},
    )
    transport, model = costs(call)
    assert (transport["type"], transport["cost"]) == ("transport", 0.0125)
    assert (model["promptTokens"], model["completionTokens"], model["cost"]) == (200, 60, 0.02)
    breakdown = cost_breakdown(call)
    assert breakdown["total"] == pytest.approx(breakdown["llm"] + breakdown["transport"])
    assert breakdown["llmPromptTokens"] == 200


def test_a_call_that_cost_nothing_books_nothing() -> None:
    assert costs(factories.make_call(cost_usd=0)) == []
