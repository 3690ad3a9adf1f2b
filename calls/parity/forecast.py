"""What the calls of the old stack would have cost here, per minute, and whether that is dearer.

Pure. Owns the model of a call's price (every response sends the whole conversation again), the
interval by resampling calls with a fixed seed, and the verdict. Amounts are USD. It knows no rows;
prices are ``calls.money``'s. docs/cost.md says what is assumed where nothing was measured.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from calls.money.carrier import US_LIST, CarrierPrice, carrier_microusd, started_minutes
from calls.money.rates import TRANSCRIPTION_USD_A_MINUTE, ModelPrice
from calls.parity.past import Exchange, PastTool, Reaction, Script, Words

Verdict = Literal["cheaper", "dearer", "undecided"]

# openai_realtime.md 9.3: one token for 100 ms of a caller, for 50 ms of the assistant.
_CALLER_TOKENS_A_SECOND: Final = 10
_AGENT_TOKENS_A_SECOND: Final = 20
_CHARACTERS_A_TOKEN: Final = 4
_TOKENS_AN_ITEM: Final = 4
# How fast people and voices speak where a log tells no end: 15 characters a second.
_CHARACTERS_A_SECOND: Final = 15
# Of what was sent before, so much is billed as cached where nothing was measured: between a session
# that changes its instructions now and then, and one that only grows.
ASSUMED_CACHE: Final = (0.5, 0.95)
LEAST_CALLS: Final = 20
RESAMPLES: Final = 1_000
GOAL_PERCENT: Final = 10.0
CHECKED_AFTER: Final = 100


@dataclass(frozen=True, slots=True)
class PastCost:
    """One past call as its price is made of it. ``old_usd``: what the old stack charged, with its
    ``parts`` by name; None where the log does not say. The carrier's legs are in it where it has
    a part ``transport``, else they come on top. Legs to people it was passed to are in neither:
    no log says how long they were.
    """

    key: str
    seconds: float
    script: Script
    old_usd: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shape:
    """One past call in tokens, if a model of speech had answered it.

    ``fresh`` is billed at the full price whatever is cached, ``again`` was sent before: text and
    audio each. ``said``: text and audio that come out.
    """

    key: str
    seconds: float
    caller_seconds: float
    agent_seconds: float
    responses: int
    fresh_text: int
    fresh_audio: int
    again_text: int
    again_audio: int
    said_text: int
    said_audio: int
    tool_tokens: int


@dataclass(frozen=True, slots=True)
class Range:
    """P10, P50 and P90, USD a minute."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The price of one model beside the old stack's. ``why``: what the verdict rests on."""

    model: str
    calls: int
    minutes: float
    new: Range
    old: Range | None
    verdict: Verdict
    why: str
    figures: Mapping[str, Any]


def shape_of(call: PastCost, prompt_tokens: int) -> Shape:
    """Return a past call in tokens, response by response.

    Args:
        prompt_tokens: of the instructions and the tools, which every response is sent.
    """
    text, audio = prompt_tokens, 0
    sent_text = sent_audio = 0  # by the response before: what may be cached
    fresh = [0, 0]
    again = [0, 0]
    said = [0, 0]
    responses = tool_tokens = 0
    caller = agent = 0.0
    for reaction in call.script.opening:
        text += _tokens(reaction)
    for index, exchange in enumerate(call.script.exchanges):
        spoken = _caller_seconds(exchange)
        caller += spoken
        audio += round(spoken * _CALLER_TOKENS_A_SECOND)
        follows = _next_start(call, index)
        for group in _responses(exchange):
            responses += 1
            again[0] += sent_text
            again[1] += sent_audio
            fresh[0] += text - sent_text
            fresh[1] += audio - sent_audio
            sent_text, sent_audio = text, audio
            out_text = sum(_said_tokens(each) for each in group)
            seconds = sum(_agent_seconds(each, follows) for each in group)
            agent += seconds
            out_audio = round(seconds * _AGENT_TOKENS_A_SECOND)
            said[0] += out_text
            said[1] += out_audio
            answered = sum(_result_tokens(each) for each in group)
            tool_tokens += answered + sum(
                _said_tokens(each) for each in group if isinstance(each, PastTool)
            )
            text += out_text + answered
            audio += out_audio
    return Shape(
        key=call.key,
        seconds=call.seconds,
        caller_seconds=caller,
        agent_seconds=agent,
        responses=responses,
        fresh_text=fresh[0],
        fresh_audio=fresh[1],
        again_text=again[0],
        again_audio=again[1],
        said_text=said[0],
        said_audio=said[1],
        tool_tokens=tool_tokens,
    )


def _responses(exchange: Exchange) -> list[list[Reaction]]:
    """Return what each response to one turn consists of: it ends with the calls it makes."""
    groups: list[list[Reaction]] = [[]]
    called = False
    for reaction in exchange.reactions:
        if called and not isinstance(reaction, PastTool):
            groups.append([])
        called = isinstance(reaction, PastTool)
        groups[-1].append(reaction)
    if called:
        groups.append([])  # the model is asked once more, whatever it says then
    return groups


def _text_tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_A_TOKEN)


def _said_tokens(reaction: Reaction) -> int:
    if isinstance(reaction, PastTool):
        return _text_tokens(f"{reaction.name}{dict(reaction.arguments)}") + _TOKENS_AN_ITEM
    return _text_tokens(reaction.text) + _TOKENS_AN_ITEM if isinstance(reaction, Words) else 0


def _result_tokens(reaction: Reaction) -> int:
    if not isinstance(reaction, PastTool):
        return 0
    return _text_tokens(reaction.result or "") + _TOKENS_AN_ITEM


def _tokens(reaction: Reaction) -> int:
    return _said_tokens(reaction) + _result_tokens(reaction)


def _caller_seconds(exchange: Exchange) -> float:
    guess = len(exchange.caller) / _CHARACTERS_A_SECOND
    if exchange.ended_ms is None or exchange.ended_ms <= exchange.started_ms:
        return guess
    return (exchange.ended_ms - exchange.started_ms) / 1000


def _agent_seconds(reaction: Reaction, follows_ms: int | None) -> float:
    if not isinstance(reaction, Words):
        return 0.0
    guess = len(reaction.text) / _CHARACTERS_A_SECOND
    if follows_ms is None or follows_ms <= reaction.at_ms:
        return guess
    return min(guess, (follows_ms - reaction.at_ms) / 1000)


def _next_start(call: PastCost, index: int) -> int | None:
    after = call.script.exchanges[index + 1 : index + 2]
    return after[0].started_ms if after else round(call.seconds * 1000)


# ---- money ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Priced:
    """One call: its price is ``full - saved * cache``; ``old`` None where it is not known."""

    minutes: float
    full: float
    saved: float
    old: float | None


def _priced(call: PastCost, shape: Shape, price: ModelPrice, carrier: CarrierPrice) -> _Priced:
    text, audio = shape.again_text, shape.again_audio
    full = (
        (shape.fresh_text + text) * price.text_in
        + (shape.fresh_audio + audio) * price.audio_in
        + shape.said_text * price.text_out
        + shape.said_audio * price.audio_out
    ) / 1_000_000
    saved = (
        text * (price.text_in - price.text_cached) + audio * (price.audio_in - price.audio_cached)
    ) / 1_000_000
    legs = _legs(call, carrier)
    heard = shape.caller_seconds / 60 * TRANSCRIPTION_USD_A_MINUTE
    return _Priced(
        minutes=call.seconds / 60,
        full=full + legs + heard,
        saved=saved,
        # Where its bill has the carrier in it, it was paid by that bill.
        old=None
        if call.old_usd is None
        else call.old_usd + (0.0 if call.parts.get("transport") else legs),
    )


def _legs(call: PastCost, carrier: CarrierPrice) -> float:
    """Return the carrier's part, which either stack needs; each leg is rounded up by itself."""
    return (
        carrier_microusd(
            call_seconds=call.seconds,
            stream_seconds=[call.seconds],
            price=carrier,
        )
        / 1_000_000
    )


def forecast(
    calls: Sequence[PastCost],
    *,
    model: str,
    price: ModelPrice,
    prompt_tokens: int,
    cache: tuple[float, float] = ASSUMED_CACHE,
    is_measured: bool = False,
    seed: int = 1,
    carrier: CarrierPrice = US_LIST,
) -> Forecast | None:
    """Return what a model's minute would cost, None where no call has a length.

    Args:
        cache: between which shares of what was sent before is billed as cached.
        is_measured: the shares are measured, not assumed.
        seed: of the resampling; the same calls and seed give the same figures.
    """
    used = [call for call in calls if call.seconds > 0 and call.script.exchanges]
    if not used:
        return None
    shapes = [shape_of(call, prompt_tokens) for call in used]
    rows = [_priced(c, s, price, carrier) for c, s in zip(used, shapes, strict=True)]
    known = [row for row in rows if row.old is not None]
    new = _range(_resampled(rows, seed, cache, _new_share))
    old = _range(_resampled(known, seed, cache, _old_share)) if known else None
    verdict, why = _verdict(known, seed, cache)
    return Forecast(
        model=model,
        calls=len(used),
        minutes=sum(row.minutes for row in rows),
        new=new,
        old=old,
        verdict=verdict,
        why=why,
        figures=_figures(used, shapes, rows, prompt_tokens, cache, is_measured, price, carrier),
    )


def _resampled(
    rows: Sequence[_Priced],
    seed: int,
    cache: tuple[float, float],
    share: Callable[[Sequence[_Priced], float], float],
) -> list[float]:
    """Return a figure of as many calls drawn with replacement, again and again (a bootstrap)."""
    chance = random.Random(seed)  # noqa: S311  # figures are to be drawn again, not guessed
    found: list[float] = []
    for _ in range(RESAMPLES):
        hit = chance.uniform(*cache)
        found.append(share(chance.choices(rows, k=len(rows)), hit))
    return sorted(found)


def _minutes(rows: Sequence[_Priced]) -> float:
    return sum(row.minutes for row in rows)


def _new_share(rows: Sequence[_Priced], hit: float) -> float:
    return sum(row.full - row.saved * hit for row in rows) / _minutes(rows)


def _old_share(rows: Sequence[_Priced], hit: float) -> float:
    return sum(row.old or 0.0 for row in rows) / _minutes(rows)


def _gap(rows: Sequence[_Priced], hit: float) -> float:
    return _new_share(rows, hit) - _old_share(rows, hit)


def _range(ordered: Sequence[float]) -> Range:
    return Range(_quantile(ordered, 0.1), _quantile(ordered, 0.5), _quantile(ordered, 0.9))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, between two of them."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _verdict(
    known: Sequence[_Priced], seed: int, cache: tuple[float, float]
) -> tuple[Verdict, str]:
    if len(known) < LEAST_CALLS:
        return "undecided", (
            f"the old price of {len(known)} calls is known, {LEAST_CALLS} are needed"
        )
    gap = _range(_resampled(known, seed, cache, _gap))
    words = gap_words(gap.low, gap.high)
    if gap.high < 0:
        return "cheaper", words
    if gap.low > 0:
        return "dearer", words
    return "undecided", words


def gap_words(low_usd: float, high_usd: float) -> str:
    """Say between which bounds a minute here is cheaper or dearer than on the old stack."""
    low, high = low_usd * 100, high_usd * 100
    if high < 0:
        return f"a minute here costs {-high:.2f} to {-low:.2f} cents less than on the old stack"
    if low > 0:
        return f"a minute here costs {low:.2f} to {high:.2f} cents more than on the old stack"
    return (
        f"a minute here costs between {-low:.2f} cents less and {high:.2f} cents more than on the "
        "old stack"
    )


def _figures(
    calls: Sequence[PastCost],
    shapes: Sequence[Shape],
    rows: Sequence[_Priced],
    prompt_tokens: int,
    cache: tuple[float, float],
    is_measured: bool,
    price: ModelPrice,
    carrier: CarrierPrice,
) -> dict[str, Any]:
    """Return what the price is made of: shares and averages, nobody's words."""
    seconds = sum(shape.seconds for shape in shapes)
    minutes = seconds / 60
    hit = sum(cache) / 2
    count = len(shapes)
    said = sum(s.said_text * price.text_out + s.said_audio * price.audio_out for s in shapes)
    legs = sum(_legs(call, carrier) for call in calls)
    heard = sum(shape.caller_seconds for shape in shapes) / 60 * TRANSCRIPTION_USD_A_MINUTE
    whole = sum(row.full - row.saved * hit for row in rows)
    names = sorted({name for call in calls for name in call.parts})
    timed = [call for call in calls if call.parts]
    timed_minutes = sum(call.seconds for call in timed) / 60
    return {
        "caller_share": round(sum(s.caller_seconds for s in shapes) / seconds, 4),
        "agent_share": round(sum(s.agent_seconds for s in shapes) / seconds, 4),
        "turns_a_call": round(sum(len(call.script.exchanges) for call in calls) / count, 2),
        "responses_a_call": round(sum(s.responses for s in shapes) / count, 2),
        "prompt_tokens": prompt_tokens,
        "tool_tokens_a_call": round(sum(s.tool_tokens for s in shapes) / count, 1),
        "cache": [round(cache[0], 4), round(cache[1], 4)],
        "cache_is_measured": is_measured,
        "billed_minutes_a_minute": round(
            sum(started_minutes(call.seconds) for call in calls) / minutes, 4
        ),
        "price_since": price.since,
        "usd_a_minute": {
            "heard and read by the model": round((whole - said / 1e6 - legs - heard) / minutes, 6),
            "said by the model": round(said / 1e6 / minutes, 6),
            "transcription": round(heard / minutes, 6),
            "carrier": round(legs / minutes, 6),
        },
        "old_usd_a_minute": {
            name: round(sum(call.parts.get(name, 0.0) for call in timed) / timed_minutes, 6)
            for name in names
        },
    }


def error_percent(forecast_usd: float, actual_usd: float) -> float | None:
    """Return by how much a forecast was wrong, of what it really was, in percent."""
    if actual_usd <= 0:
        return None
    return round(abs(forecast_usd - actual_usd) / actual_usd * 100, 2)


# ---- the published figures ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quoted:
    """Somebody else's figures, as published; never mixed with what was computed here."""

    minutes: int
    old_usd: float
    new_usd: float
    carrier_usd: float
    source: str

    @property
    def old_a_minute(self) -> float:
        """Return the old stack's price of a minute."""
        return self.old_usd / self.minutes

    @property
    def new_a_minute(self) -> float:
        """Return the new price of a minute, the carrier's part included."""
        return (self.new_usd + self.carrier_usd) / self.minutes


# founding.md, cost: 50,000 minutes a month; "plus Twilio" is priced by our list, whole minutes.
RECIPE: Final = Quoted(
    minutes=50_000,
    old_usd=5_250.0,
    new_usd=3_400.0,
    carrier_usd=round(50_000 * (US_LIST.inbound + US_LIST.stream), 2),
    source="CallSphere, “Replace Vapi with Twilio Media Streams + GPT-4o Realtime”, 2026-03",
)
