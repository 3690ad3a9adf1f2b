"""The caller's own voice of a past call, cut into turns, and what each stack understood of it.

Pure. Owns where in a recording a turn begins and ends, the way from 16-bit sound to mu-law, and the
list of phone numbers, addresses, names and dates that came out differently, each with the second at
which it can be heard. It must not know where recordings lie or who may hear them.
"""

from __future__ import annotations

import array
import datetime as dt
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from calls.parity.entities import (
    KINDS,
    Compared,
    Entity,
    Kind,
    compare,
    entities_of,
    entity,
    same,
    tally,
)
from calls.parity.fields import DEFAULT_REGION, Marks, values_at
from calls.parity.forms import as_said, normalise
from calls.parity.past import Exchange, Script
from calls.parity.replay import BYTES_PER_MS, Replayed

# A detector of voice begins late and ends late; so much sound is taken along on either side.
LEAD_MS: Final = 300
TAIL_MS: Final = 400
# Below that there is nothing to hear: the turn's words are sent instead.
LEAST_MS: Final = 200
# How long a text takes to say where the log does not tell when it ended: 15 characters a second.
_MS_PER_CHARACTER: Final = 67
# What somebody who listens wants to hear around a number.
_AROUND_SECONDS: Final = 1.0
_SILENCE: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a recording, in ms from its first sample."""

    start_ms: int
    end_ms: int


def spans_of(script: Script, *, offset_ms: int, length_ms: int) -> dict[int, Span]:
    """Return where the turns of a script are in its recording, by exchange.

    Args:
        offset_ms: when the recording begins, from the call's start; may be negative.
        length_ms: how long it is.
    """
    found: dict[int, Span] = {}
    earliest = 0
    for index, exchange in enumerate(script.exchanges):
        follows = (
            script.exchanges[index + 1].started_ms if index + 1 < len(script.exchanges) else None
        )
        start = max(exchange.started_ms - offset_ms - LEAD_MS, earliest)
        end = _end_of(exchange) - offset_ms + TAIL_MS
        if follows is not None:
            end = min(end, follows - offset_ms - LEAD_MS)
        end = min(end, length_ms)
        if end - start >= LEAST_MS:
            found[index] = Span(start, end)
            earliest = end
    return found


def _end_of(exchange: Exchange) -> int:
    if exchange.ended_ms is not None and exchange.ended_ms > exchange.started_ms:
        return exchange.ended_ms
    guess = exchange.started_ms + len(exchange.caller) * _MS_PER_CHARACTER
    first = min((each.at_ms for each in exchange.reactions), default=guess)
    return max(min(guess, first), exchange.started_ms + LEAST_MS)


def audio_of(mulaw: bytes, spans: Mapping[int, Span]) -> dict[int, bytes]:
    """Return the sound of each turn out of the caller's whole channel."""
    return {
        index: mulaw[span.start_ms * BYTES_PER_MS : span.end_ms * BYTES_PER_MS]
        for index, span in spans.items()
    }


# ---- sound ------------------------------------------------------------------------------------


def _mulaw_byte(sample: int) -> int:
    """Return a 16-bit sample as mu-law (ITU-T G.711)."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32_635) + 132
    exponent = max(magnitude.bit_length() - 8, 0)
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(sign | (exponent << 4) | mantissa) & 0xFF


# By the upper 14 bits of a sample: mu-law has no finer step.
_TABLE: Final = bytes(_mulaw_byte(((index << 2) ^ 0x8000) - 0x8000 + 2) for index in range(1 << 14))


def mulaw_of(frames: bytes, *, channels: int = 1, channel: int = 0, rate: int = 8_000) -> bytes:
    """Return one channel of 16-bit little-endian sound as mu-law at 8 kHz.

    Args:
        channel: the one to take, from 0.
        rate: samples a second, a multiple of 8,000; the samples of a step are averaged.

    Raises:
        ValueError: no such channel, or another rate.
    """
    if not 0 <= channel < channels:
        raise ValueError(f"there is no channel {channel} of {channels}")
    if rate < 8_000 or rate % 8_000:
        raise ValueError(f"sound at {rate} Hz is not read. Fix: 8, 16, 24 or 48 kHz")
    samples = array.array("h")
    samples.frombytes(frames[: len(frames) // (2 * channels) * 2 * channels])
    if sys.byteorder == "big":
        samples.byteswap()
    one = samples[channel::channels]
    step = rate // 8_000
    if step > 1:
        whole = len(one) // step * step
        sums = [sum(one[at : at + step]) // step for at in range(0, whole, step)]
        one = array.array("h", sums)
    return bytes(_TABLE[(sample & 0xFFFF) >> 2] for sample in one)


def is_silent(mulaw: bytes) -> bool:
    """Tell whether there is nothing in it: a channel on which nobody spoke."""
    # 0xFF and 0x7F are the two zeros of mu-law, the four next to them are below what is heard.
    return all(byte in _QUIET for byte in mulaw)


_QUIET: Final = frozenset({*range(_SILENCE - 4, _SILENCE + 1), *range(0x7F - 4, 0x7F + 1)})


# ---- what was understood ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Understood:
    """One entity that came out differently. ``where``: ``words`` for the caller's words as each
    stack wrote them, else ``tool.path`` of an argument.

    ``start_seconds`` and ``end_seconds``: where in the recording it can be heard.
    """

    exchange: int
    where: str
    kind: Kind
    old: str | None
    new: str | None
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class HeardAgain:
    """What both stacks understood of a caller. ``agree``: by kind, how many of how many."""

    agree: Mapping[Kind, tuple[int, int]] = field(default_factory=dict)
    differences: tuple[Understood, ...] = ()


def understood(
    script: Script,
    replayed: Replayed,
    spans: Mapping[int, Span],
    marks: Marks,
    *,
    moment: dt.date | None = None,
    region: str = DEFAULT_REGION,
) -> HeardAgain:
    """Compare what both stacks took from the caller's voice, turn by turn and argument by argument.

    Args:
        marks: the kinds of critical arguments, by tool and by dotted path.
        moment: the day of the call.
        region: where phone numbers without a country code belong.
    """
    pairs: list[Compared] = []
    differences: list[Understood] = []
    for answer in replayed.answers:
        span = spans.get(answer.exchange)
        if answer.heard is None or span is None:
            continue
        caller = script.exchanges[answer.exchange].caller
        for pair in compare(entities_of(caller, moment), entities_of(answer.heard, moment)):
            pairs.append(pair)
            if not pair.agrees:
                text, found = (caller, pair.old) if pair.old else (answer.heard, pair.new)
                assert found is not None, "a pair has one side at least"
                start, end = _seconds(span, text, found)
                differences.append(_told(answer.exchange, "words", pair, start, end))
    for exchange, tool, path, pair in _arguments(replayed, marks, moment, region):
        pairs.append(pair)
        if not pair.agrees:
            heard_in, start, end = _where_said(script, replayed, spans, exchange, pair, moment)
            differences.append(_told(heard_in, f"{tool}.{path}", pair, start, end))
    differences.sort(key=lambda each: (each.start_seconds, each.where != "words"))
    return HeardAgain(tally(pairs), tuple(differences))


def _told(exchange: int, where: str, pair: Compared, start: float, end: float) -> Understood:
    return Understood(
        exchange=exchange,
        where=where,
        kind=pair.kind,
        old=pair.old.said if pair.old else None,
        new=pair.new.said if pair.new else None,
        start_seconds=start,
        end_seconds=end,
    )


def _seconds(span: Span, text: str, found: Entity) -> tuple[float, float]:
    """Return where in the recording an entity of a turn is: as far along as it is in the text."""
    spoken = max(span.end_ms - span.start_ms - LEAD_MS - TAIL_MS, 1)
    first = span.start_ms + LEAD_MS
    size = max(len(text), 1)
    start = (first + spoken * found.start / size) / 1000 - _AROUND_SECONDS
    end = (first + spoken * found.end / size) / 1000 + _AROUND_SECONDS
    return (
        round(max(start, span.start_ms / 1000), 2),
        round(min(end, span.end_ms / 1000), 2),
    )


def _arguments(
    replayed: Replayed, marks: Marks, moment: dt.date | None, region: str
) -> Iterable[tuple[int, str, str, Compared]]:
    """Yield the critical arguments of calls that stand in the same place on both stacks."""
    rest = list(replayed.compared)
    for call in replayed.calls:
        old = call.known or next((each for each in rest if each.name == call.name), None)
        if old is None or old not in rest:
            continue
        rest.remove(old)
        for path, kind in marks.get(call.name, {}).items():
            if kind not in KINDS:
                continue
            before, after = (
                dict(values_at(old.arguments, path)),
                dict(values_at(call.arguments, path)),
            )
            for place in dict.fromkeys((*before, *after)):
                pair = _pair(kind, before.get(place), after.get(place), moment, region)
                if pair is not None:
                    yield call.exchange, call.name, place, pair


def _pair(kind: Any, old: Any, new: Any, moment: dt.date | None, region: str) -> Compared | None:
    """Return one critical argument on both sides, equal by the rule of the gate (``forms``)."""
    one, two = normalise(kind, old, region), normalise(kind, new, region)
    if not one and not two:
        return None
    return Compared(
        kind,
        entity(kind, as_said(old), moment) if one else None,
        entity(kind, as_said(new), moment) if two else None,
        agrees=one == two,
    )


def _where_said(
    script: Script,
    replayed: Replayed,
    spans: Mapping[int, Span],
    exchange: int,
    pair: Compared,
    moment: dt.date | None,
) -> tuple[int, float, float]:
    """Return the turn and the seconds in which an argument was said, the latest turn that fits.

    Without one: the turn that led to the call, whole.
    """
    heard = {each.exchange: each.heard or "" for each in replayed.answers}
    for index in range(min(exchange, len(script.exchanges) - 1), -1, -1):
        span = spans.get(index)
        if span is None:
            continue
        for text in (script.exchanges[index].caller, heard.get(index, "")):
            for found in entities_of(text, moment):
                if any(side and same(found, side) for side in (pair.old, pair.new)):
                    start, end = _seconds(span, text, found)
                    return index, start, end
    span = spans.get(exchange, Span(0, 0))
    return exchange, span.start_ms / 1000, span.end_ms / 1000
