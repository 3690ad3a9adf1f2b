"""The price of past calls on our stack: tokens by hand, the interval, the verdict."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from calls.money.carrier import CarrierPrice
from calls.money.rates import ModelPrice, price_for
from calls.parity.forecast import (
    LEAST_CALLS,
    RECIPE,
    PastCost,
    Shape,
    error_percent,
    forecast,
    gap_words,
    shape_of,
)
from tests.replays import script

pytestmark = pytest.mark.unit

FREE = CarrierPrice("2026-01-01", 0.0, 0.0, 0.0)
FLAGSHIP = price_for("gpt-realtime-2.1")


def one_call(**columns: Any) -> PastCost:
    """Return a call of a minute: a greeting, a turn of 0.9 s, a tool, an answer of 30 letters."""
    past = script(
        ("bot", "x" * 40),
        ("user", "Hello."),
        ("tool", "look", {"a": 1}, "y" * 80),
        ("bot", "z" * 30),
    )
    return PastCost(**{"key": "a", "seconds": 60.0, "script": past, **columns})


def test_a_call_in_tokens_by_hand() -> None:
    shape = shape_of(one_call(), prompt_tokens=1_000)
    # Greeting: 10 + 4. Turn: 0.9 s of the caller, 9 tokens. Call: "look{'a': 1}" is 12 letters,
    # 3 + 4 tokens out; its result 20 + 4. Answer: 8 + 4 text, 2 s of sound, 40 tokens.
    first, second = 1_000 + 14, 1_000 + 14 + 7 + 24
    assert shape == Shape(
        key="a",
        seconds=60.0,
        caller_seconds=0.9,
        agent_seconds=2.0,
        responses=2,
        fresh_text=second,
        fresh_audio=9,
        again_text=first,
        again_audio=9,
        said_text=7 + 12,
        said_audio=40,
        tool_tokens=7 + 24,
    )


def test_the_price_of_a_minute_by_hand() -> None:
    price = ModelPrice("2026-01-01", 4.0, 0.4, 24.0, 32.0, 0.4, 64.0)
    found = forecast(
        [one_call()], model="m", price=price, prompt_tokens=1_000, cache=(1.0, 1.0), carrier=FREE
    )
    assert found is not None
    model = 1_045 * 4 + 9 * 32 + 1_014 * 0.4 + 9 * 0.4 + 19 * 24 + 40 * 64
    heard = 0.9 / 60 * 0.006
    assert found.new.middle == pytest.approx(model / 1e6 + heard)
    parts = found.figures["usd_a_minute"]
    assert sum(parts.values()) == pytest.approx(found.new.middle, abs=2e-6)


def test_without_a_cache_the_whole_conversation_is_paid_again() -> None:
    dear, cheap = (
        forecast([one_call()], model="m", price=FLAGSHIP, prompt_tokens=5_000, cache=(hit, hit))
        for hit in (0.0, 1.0)
    )
    assert dear is not None and cheap is not None
    saved = 5_014 * (4 - 0.4) + 9 * (32 - 0.4)
    assert dear.new.middle - cheap.new.middle == pytest.approx(saved / 1e6)


def test_legs_are_rounded_up_on_both_sides() -> None:
    short = [dataclasses.replace(one_call(old_usd=0.05), seconds=61.0) for _ in range(3)]
    found = forecast(short, model="m", price=FLAGSHIP, prompt_tokens=0)
    assert found is not None and found.old is not None
    legs = 2 * (0.0085 + 0.004)
    assert found.old.middle == pytest.approx((0.05 + legs) / (61 / 60))
    assert found.figures["billed_minutes_a_minute"] == pytest.approx(120 / 61, abs=1e-4)


def test_the_same_calls_and_seed_give_the_same_figures() -> None:
    calls = [one_call(seconds=30.0 + n, old_usd=0.1) for n in range(40)]
    first, again, other = (
        forecast(calls, model="m", price=FLAGSHIP, prompt_tokens=900, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first is not None and first.new.low < first.new.middle < first.new.high


@pytest.mark.parametrize(
    ("old_usd", "verdict"), [(0.5, "cheaper"), (0.0001, "dearer"), (0.0, "dearer")]
)
def test_a_clear_difference_has_a_verdict(old_usd: float, verdict: str) -> None:
    calls = [one_call(old_usd=old_usd) for _ in range(LEAST_CALLS)]
    found = forecast(calls, model="m", price=FLAGSHIP, prompt_tokens=2_000)
    assert found is not None and found.verdict == verdict
    assert f"cents {'less' if verdict == 'cheaper' else 'more'} than on the old stack" in found.why


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.0247, -0.0231, "costs 2.31 to 2.47 cents less than"),
        (0.001, 0.02, "costs 0.10 to 2.00 cents more than"),
        (-0.01, 0.005, "costs between 1.00 cents less and 0.50 cents more than"),
    ],
)
def test_a_difference_is_said_without_signs(low: float, high: float, words: str) -> None:
    assert words in gap_words(low, high)


def test_what_the_cache_decides_is_undecided() -> None:
    mild = forecast([one_call()], model="m", price=FLAGSHIP, prompt_tokens=20_000, carrier=FREE)
    assert mild is not None
    calls = [one_call(old_usd=mild.new.middle) for _ in range(LEAST_CALLS)]
    found = forecast(calls, model="m", price=FLAGSHIP, prompt_tokens=20_000, carrier=FREE)
    assert found is not None and found.verdict == "undecided"


def test_too_few_known_prices_decide_nothing() -> None:
    calls = [one_call(old_usd=9.0) for _ in range(LEAST_CALLS - 1)]
    calls += [one_call() for _ in range(50)]
    found = forecast(calls, model="m", price=FLAGSHIP, prompt_tokens=2_000)
    assert found is not None and found.verdict == "undecided"
    assert (
        found.why == f"the old price of {LEAST_CALLS - 1} calls is known, {LEAST_CALLS} are needed"
    )


def test_calls_without_a_length_or_a_word_make_no_forecast() -> None:
    assert forecast([], model="m", price=FLAGSHIP, prompt_tokens=1) is None
    silent = [one_call(seconds=0.0), one_call(script=script(("bot", "Hello.")))]
    assert forecast(silent, model="m", price=FLAGSHIP, prompt_tokens=1) is None


def test_a_carrier_that_is_in_the_old_stacks_bill_is_counted_once() -> None:
    plain = forecast([one_call(old_usd=0.1)], model="m", price=FLAGSHIP, prompt_tokens=0)
    billed = one_call(old_usd=0.1, parts={"vapi": 0.08, "transport": 0.02})
    found = forecast([billed], model="m", price=FLAGSHIP, prompt_tokens=0)
    assert plain is not None and plain.old is not None and found is not None
    assert found.old is not None and found.old.middle < plain.old.middle
    assert found.old.middle * found.minutes == pytest.approx(0.1)
    assert found.new == plain.new


def test_the_old_stacks_parts_are_shown_a_minute() -> None:
    parts = {"vapi": 0.05, "llm": 0.03, "tts": 0.02}
    found = forecast(
        [one_call(old_usd=0.1, parts=parts), one_call(seconds=120.0)],
        model="m",
        price=FLAGSHIP,
        prompt_tokens=1,
    )
    assert found is not None and found.figures["old_usd_a_minute"] == parts


def test_the_recipes_figures_stand_as_they_were_published() -> None:
    assert (RECIPE.minutes, RECIPE.old_usd, RECIPE.new_usd) == (50_000, 5_250.0, 3_400.0)
    assert RECIPE.old_a_minute == pytest.approx(0.105)
    assert RECIPE.carrier_usd == pytest.approx(625.0)
    assert RECIPE.new_a_minute == pytest.approx(0.0805)


def test_an_error_is_a_share_of_what_it_really_was() -> None:
    assert error_percent(0.09, 0.1) == 10.0
    assert error_percent(0.11, 0.1) == 10.0
    assert error_percent(0.1, 0.0) is None
