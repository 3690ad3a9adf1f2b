"""What a call says about the stack that answered it, and whether a number's calls have become bad.

Pure. Owns the signals of the guard, which ended call is bad by which of them, the rolling window,
and the verdict of the sequential tests over it. It must not act: what a verdict leads to is
``incident``. A limit on a P95 is kept as what it says: of a hundred calls at most five lie above
it, so a share of five is the clean one. What was not measured counts neither as good nor as bad.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from calls.numbers.sequential import Reading, Sequential, read

Stack = Literal["direct", "vapi"]
Signal = Literal[
    "failed",
    "dead_air",
    "tool_failed",
    "hung_up_early",
    "slow_first_word",
    "slow_turns",
    "unfamiliar",
]

WORDS: Final[Mapping[Signal, str]] = MappingProxyType(
    {
        "failed": "calls ended by a fault",
        "dead_air": "calls in which the caller waited in silence",
        "tool_failed": "calls in which a tool failed",
        "hung_up_early": "callers who hung up at once",
        "slow_first_word": "calls whose first word came late",
        "slow_turns": "calls with slow answers",
        "unfamiliar": "calls whose tools came in an order that no measured call had",
    }
)
# By defaults that fit a healthy number; a number whose old stack is worse gets ``fitted``.
# One bad call never raises an alarm, and five do for the three that hurt a caller for certain.
TESTS: Final[Mapping[Signal, Sequential]] = MappingProxyType(
    {
        "failed": Sequential(0.005, 0.2),
        "dead_air": Sequential(0.005, 0.2),
        "tool_failed": Sequential(0.01, 0.25, 1e-5),
        # Callers hang up for reasons of their own, and a slow call is still a call: these three
        # may never cry wolf, and take eleven or twelve calls in a row.
        "hung_up_early": Sequential(0.08, 0.4, 1e-8),
        "slow_first_word": Sequential(0.05, 0.3, 1e-8),
        "slow_turns": Sequential(0.05, 0.3, 1e-8),
        # Measured only where parity was; the number's own test comes with what was measured.
        "unfamiliar": Sequential(0.1, 0.47, 1e-8),
    }
)
# What harms a caller for certain; a plan's error budget counts these.
HURTS: Final[tuple[Signal, ...]] = ("failed", "dead_air", "tool_failed")
WINDOW_CALLS: Final = 200
WINDOW: Final = dt.timedelta(hours=72)

# Vapi's words for the end of a call (vapi.md 6.4); the families of faults by their beginnings.
_FAULTS: Final = (
    *("pipeline-error-", "pipeline-no-available-", "call.in-progress.error-", "call-start-error-"),
    *("call.start.error-", "assistant-not-", "assistant-request-", "worker-shutdown"),
    *("phone-call-provider-closed-websocket", "twilio-failed-to-connect-call", "unknown-error"),
)
# Nobody spoke, or no audio came: which of the two cannot be told, and one such call is no fault.
_NO_AUDIO: Final = "call.in-progress.error-assistant-did-not-receive-customer-audio"
_CALLER_LEFT: Final = ("customer-ended-call",)


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a call is bad. ``early_seconds``: who leaves before that left early."""

    first_word_ms: int = 3_000
    turn_ms: int = 3_000
    early_seconds: int = 8


@dataclass(frozen=True, slots=True)
class EndedCall:
    """What is known of a call that is over; None: not measured, as most is on the old stack.

    ``ended_reason`` is Vapi's word, ``turn_p95_ms`` the P95 of this call's answers.
    """

    call_id: str
    number_id: str
    stack: Stack
    begun_at: dt.datetime
    ended_at: dt.datetime
    ended_reason: str
    duration_seconds: int
    dead_airs: int | None = None
    failed_tools: int | None = None
    first_word_ms: int | None = None
    turn_p95_ms: int | None = None
    is_unfamiliar: bool | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A signal that has tripped: the calls that are bad by it, oldest first, of how many."""

    signal: Signal
    call_ids: tuple[str, ...]
    calls: int
    score: float
    alarm_at: float

    @property
    def words(self) -> str:
        """Say it to the person on duty."""
        return f"{len(self.call_ids)} of {self.calls}: {WORDS[self.signal]}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the window says: its calls, and the alarms in the order of the signals.

    ``counts``: by signal, how many calls are bad of those in which it was measured.
    """

    calls: int
    alarms: tuple[Alarm, ...] = ()
    readings: Mapping[Signal, Reading] = field(default_factory=dict)
    counts: Mapping[Signal, tuple[int, int]] = field(default_factory=dict)

    @property
    def call_ids(self) -> tuple[str, ...]:
        """Return every offending call once, oldest first within each signal."""
        return tuple(dict.fromkeys(each for alarm in self.alarms for each in alarm.call_ids))


def fitted(signal: Signal, clean_share: float) -> Sequential:
    """Return the signal's test for a number of which ``clean_share`` of the calls are bad anyway.

    A share below the default changes nothing; one above it moves the bad share along, in the same
    proportion of odds, so that a bad call goes on to mean something.
    """
    usual = TESTS[signal]
    if clean_share <= usual.clean_share:
        return usual
    share = min(clean_share, 0.5)
    ratio = _odds(usual.bad_share) / _odds(usual.clean_share)
    odds = _odds(share) * ratio
    return Sequential(share, odds / (1 + odds), usual.alpha)


def bad_by(call: EndedCall, limits: Limits | None = None) -> dict[Signal, bool]:
    """Tell for each signal that was measured whether the call is bad by it."""
    limits = limits or Limits()
    reason = call.ended_reason
    no_audio = reason == _NO_AUDIO
    found: dict[Signal, bool] = {
        "failed": reason.startswith(_FAULTS) and not no_audio,
        "hung_up_early": reason.startswith(_CALLER_LEFT)
        and call.duration_seconds < limits.early_seconds,
    }
    if call.dead_airs is not None or no_audio:
        found["dead_air"] = bool(call.dead_airs) or no_audio
    if call.failed_tools is not None:
        found["tool_failed"] = call.failed_tools > 0
    if call.first_word_ms is not None:
        found["slow_first_word"] = call.first_word_ms > limits.first_word_ms
    if call.turn_p95_ms is not None:
        found["slow_turns"] = call.turn_p95_ms > limits.turn_ms
    if call.is_unfamiliar is not None:
        found["unfamiliar"] = call.is_unfamiliar
    return found


def has_hurt(call: EndedCall) -> bool:
    """Tell whether the call has harmed its caller."""
    found = bad_by(call)
    return any(found.get(signal, False) for signal in HURTS)


def in_window(
    calls: Iterable[EndedCall],
    *,
    number_id: str,
    stack: Stack,
    armed_at: dt.datetime,
    now: dt.datetime,
) -> tuple[EndedCall, ...]:
    """Return the calls that count, in the order of their ends, each once.

    Those of the number and stack that began since ``armed_at`` (earlier ones met another
    configuration), that ended within ``WINDOW``, the newest ``WINDOW_CALLS`` of them. To begin
    the window late can only make an alarm rarer, never raise one.
    """
    first = now - WINDOW
    found = {
        call.call_id: call
        for call in calls
        if call.number_id == number_id
        and call.stack == stack
        and call.begun_at >= armed_at
        and first <= call.ended_at <= now
    }
    ordered = sorted(found.values(), key=lambda call: (call.ended_at, call.call_id))
    return tuple(ordered[-WINDOW_CALLS:])


def judge(
    calls: Sequence[EndedCall],
    limits: Limits | None = None,
    tests: Mapping[Signal, Sequential] | None = None,
) -> Verdict:
    """Judge the calls of one number and stack, in the order of ``in_window``."""
    marks = [(call, bad_by(call, limits)) for call in calls]
    readings: dict[Signal, Reading] = {}
    counts: dict[Signal, tuple[int, int]] = {}
    alarms: list[Alarm] = []
    for signal, usual in TESTS.items():
        test = (tests or {}).get(signal, usual)
        measured = [(call.call_id, bad[signal]) for call, bad in marks if signal in bad]
        counts[signal] = sum(is_bad for _, is_bad in measured), len(measured)
        reading = readings[signal] = read(test, (is_bad for _, is_bad in measured))
        if reading.alarm is None:
            continue
        since = measured[reading.begun :]
        offending = tuple(call_id for call_id, is_bad in since if is_bad)
        alarms.append(Alarm(signal, offending, len(since), reading.score, test.alarm_at))
    return Verdict(len(marks), tuple(alarms), readings, counts)


def p95(values: Iterable[int]) -> int | None:
    """Return the 95th percentile by nearest rank, None where nothing was measured."""
    ordered = sorted(values)
    return ordered[-(-95 * len(ordered) // 100) - 1] if ordered else None


def _odds(share: float) -> float:
    return share / (1 - share)
