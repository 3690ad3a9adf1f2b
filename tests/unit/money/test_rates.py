"""Usage and a dated price list to money."""

from __future__ import annotations

from typing import Any

import pytest

from calls.money.rates import (
    PRICES,
    ModelPrice,
    price_for,
    response_microusd,
    transcription_microusd,
)

pytestmark = pytest.mark.unit

PRICE = ModelPrice("2026-01-01", 4, 0.4, 24, 32, 0.5, 64)


def usage(into: dict[str, Any], out: dict[str, Any]) -> dict[str, Any]:
    """Return usage as ``response.done`` has it."""
    return {"input_token_details": into, "output_token_details": out}


def test_what_is_written_down_of_a_caller_costs_by_its_length() -> None:
    assert [transcription_microusd(ms) for ms in (0, 1, 60_000)] == [0, 1, 6_000]


def test_each_kind_has_its_price() -> None:
    counted = usage(
        {"text_tokens": 1000, "audio_tokens": 100}, {"text_tokens": 10, "audio_tokens": 200}
    )
    assert response_microusd(counted, PRICE) == 1000 * 4 + 100 * 32 + 10 * 24 + 200 * 64


def test_cached_tokens_are_part_of_the_input_not_beside_it() -> None:
    into = {
        "text_tokens": 1000,
        "audio_tokens": 100,
        "cached_tokens_details": {"text_tokens": 900, "audio_tokens": 100},
    }
    assert response_microusd(usage(into, {}), PRICE) == 100 * 4 + 900 * 0.4 + 100 * 0.5


def test_more_cached_than_input_is_not_a_refund() -> None:
    into = {"text_tokens": 10, "cached_tokens_details": {"text_tokens": 500}}
    assert response_microusd(usage(into, {}), PRICE) == 4


@pytest.mark.parametrize(
    "counted",
    [{}, usage({}, {}), {"input_token_details": None}, usage({"text_tokens": "9"}, {}),
     usage({"text_tokens": -5}, {"audio_tokens": 10**300}), {"output_token_details": []}],
)  # fmt: skip
def test_missing_or_absurd_counts_cost_nothing(counted: dict[str, Any]) -> None:
    assert response_microusd(counted, PRICE) == 0


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-realtime-2.1-mini-2026-06-01", "gpt-realtime-2.1-mini"),
        ("gpt-realtime-2025-08-28", "gpt-realtime"),
        ("gpt-realtime-mini", "gpt-realtime-mini"),
    ],
)
def test_a_snapshot_costs_what_its_model_costs(model: str, known: str) -> None:
    assert price_for(model) is PRICES[known]


@pytest.mark.parametrize("model", ["", "next-year", "gpt-realtime-3", "gpt-realtime-2.5"])
def test_an_unknown_model_costs_the_most(model: str) -> None:
    unknown = price_for(model)
    for price in PRICES.values():
        assert unknown.audio_out >= price.audio_out
        assert unknown.text_out >= price.text_out
