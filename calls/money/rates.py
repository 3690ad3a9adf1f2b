"""Usage and a dated price list to money; pure. Amounts are micro-USD, whole numbers.

Prices: openai_realtime.md 9.2, read 2026-11-22. A price is never recomputed for a past call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """USD per million tokens of one model, valid from ``since`` (ISO date)."""

    since: str
    text_in: float
    text_cached: float
    text_out: float
    audio_in: float
    audio_cached: float
    audio_out: float


_FLAGSHIP = ModelPrice("2026-05-07", 4.00, 0.40, 24.00, 32.00, 0.40, 64.00)
_GENERATION_1 = ModelPrice("2025-08-28", 4.00, 0.40, 16.00, 32.00, 0.40, 64.00)
_MINI = ModelPrice("2025-10-06", 0.60, 0.06, 2.40, 10.00, 0.30, 20.00)

PRICES: Mapping[str, ModelPrice] = {
    "gpt-realtime-2.1": _FLAGSHIP,
    "gpt-realtime-2": _FLAGSHIP,
    "gpt-realtime-2.1-mini": _MINI,
    "gpt-realtime-1.5": _GENERATION_1,
    "gpt-realtime": _GENERATION_1,
    "gpt-realtime-mini": _MINI,
}
# OpenAI's estimate for gpt-4o-transcribe; the successor's price is not in our list.
TRANSCRIPTION_USD_A_MINUTE: Final = 0.006
# By its price an unknown model is judged.
DEAREST: Final = "gpt-realtime-2.1"


@dataclass(frozen=True, slots=True)
class TextPrice:
    """USD per million tokens of one text model, valid from ``since`` (ISO date)."""

    since: str
    prompt: float
    cached: float
    completion: float


# OpenAI's price list, read 2026-11-23.
TEXT_PRICES: Mapping[str, TextPrice] = {
    "gpt-5.4": TextPrice("2026-03-17", 2.50, 0.25, 15.00),
    "gpt-5.4-mini": TextPrice("2026-03-17", 0.75, 0.075, 4.50),
}
_DEAREST_TEXT = TextPrice("2026-04-23", 5.00, 0.50, 30.00)

_SNAPSHOT_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def price_for(model: str) -> ModelPrice:
    """Return the price of a model, whatever its snapshot date; unknown ones cost the most.

    A ceiling on spend must hold for models that are newer than this list. A prefix is no family:
    ``gpt-realtime-2025-08-28`` is a ``gpt-realtime``, not a ``gpt-realtime-2``.
    """
    return PRICES[listed_name(model)]


def listed_name(model: str) -> str:
    """Return the name under which a model's price is listed; of unknown ones the dearest's."""
    name = _SNAPSHOT_DATE.sub("", model)
    return name if name in PRICES else DEAREST


def _count(value: object, key: str) -> int:
    number = value.get(key) if isinstance(value, Mapping) else None
    return number if isinstance(number, int) and 0 < number < 10**9 else 0


def response_tokens(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens of one response, (in, out); cached ones are counted in."""
    return _count(usage, "input_tokens"), _count(usage, "output_tokens")


def transcription_microusd(audio_ms: int) -> int:
    """Return what it costs to have so much of a caller written down, rounded up."""
    return math.ceil(audio_ms * TRANSCRIPTION_USD_A_MINUTE * 1_000_000 / 60_000)


def response_microusd(usage: Mapping[str, Any], price: ModelPrice) -> int:
    """Return what one response costs; ``usage`` as in ``response.done`` (9.4), all optional."""
    into, out = usage.get("input_token_details"), usage.get("output_token_details")
    cached = into.get("cached_tokens_details") if isinstance(into, Mapping) else None
    total = 0.0
    for kind, fresh, hit, said in (
        ("text_tokens", price.text_in, price.text_cached, price.text_out),
        ("audio_tokens", price.audio_in, price.audio_cached, price.audio_out),
    ):
        reused = min(_count(cached, kind), _count(into, kind))
        total += (_count(into, kind) - reused) * fresh + reused * hit + _count(out, kind) * said
    return round(total)


def text_price_for(model: str) -> TextPrice:
    """Return the price of a text model, whatever its snapshot date; unknown ones cost the most."""
    return TEXT_PRICES.get(_SNAPSHOT_DATE.sub("", model), _DEAREST_TEXT)


def text_microusd(
    *, prompt_tokens: int, completion_tokens: int, cached_tokens: int, price: TextPrice
) -> int:
    """Return what one text request costs; ``cached_tokens`` are part of the prompt's."""
    reused = min(cached_tokens, prompt_tokens)
    return round(
        (prompt_tokens - reused) * price.prompt
        + reused * price.cached
        + completion_tokens * price.completion
    )
