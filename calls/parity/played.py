"""What came of one call on one stack, as every kind of run gives it back.

Pure values. They hold what people said: nothing of them belongs in a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from calls.parity.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Utterance:
    """What ``role`` (``user`` or ``assistant``) said, ``at_ms`` from the begin of the call."""

    role: str
    text: str = field(repr=False)
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class CallLatency:
    """How long the caller waited, in ms: for the first word, and for each answer."""

    first_word_ms: int | None = None
    turns_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call: what it did, what was said, how fast, and what it cost or would cost.

    ``cut``: it is compared only as far as the sequence reaches. ``audio_seconds``: how much sound
    of a caller was heard; ``audio_key`` names a stored recording of it. ``extras``: what this kind
    of run found besides, as JSON; it is stored sealed.
    """

    sequence: Sequence
    transcript: tuple[Utterance, ...] = ()
    latency: CallLatency = CallLatency()
    cost_usd: Decimal = Decimal(0)
    cut: bool = False
    audio_seconds: float = 0.0
    audio_key: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict, repr=False)
