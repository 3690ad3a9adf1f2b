"""Whether the old stack answers: a state machine over what its attempts came to, and its patience.

Owns how long an attempt may take, what an attempt's end means, and when callers are spared one. It
sends nothing and reads no clock: times are milliseconds of a clock that all processes share, and
the state is a value to be stored, one for each old stack (not for each number: all numbers of Vapi
have one address). A caller of the old stack is

- handed over while it is **up**. 3 attempts in a row are lost, or 5 of the last 10, each within a
  minute of the one before: down.
- answered directly at once while it is **down**. When its rest is over (15 s, doubled by each lost
  probe up to a minute) the next caller probes: probing.
- answered directly while it is **probing**, but for one in five and for whoever comes 5 s after the
  last attempt: those are handed over. 3 probes in a row are answered: up. One is lost: down.

No caller is a probe without a net: an attempt is cut off in time for the direct stack to answer
within 5 s of ringing. An attempt that began before the state did says nothing about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, assert_never

from calls.numbers.canary import is_in, place

# ``answered``: TwiML came. ``declined``: it lives and does not take this call. ``failed``: no
# connection, or its server is at fault. ``hung``: nothing came in time.
Outcome = Literal["answered", "declined", "failed", "hung"]
State = Literal["up", "down", "probing"]
Standing = Literal["up", "down", "probe"]

ROW_FAILURES: Final = 3
RECENT: Final = 10
RECENT_FAILURES: Final = 5
MEMORY_MS: Final = 60_000
REST_MS: Final = 15_000
MAX_REST_MS: Final = 60_000
PROBE_SUCCESSES: Final = 3
PROBE_PERCENT: Final = 20
PROBE_GAP_MS: Final = 5_000
# Up for so long, and the next outage begins with the shortest rest again.
STEADY_MS: Final = 300_000

# Twilio must not give up on a hand-over (``switch.net``), and has to leave a hanging site of ours
# within 6 s: the 10 s of design.md 2 (7) would keep callers of a dead site waiting for 12.
MOST_MS: Final = 4_000
PATIENCE_MS: Final = MOST_MS
# A caller with a net hears the direct stack within 5 s of ringing, so that is what our own answer
# (1 s, twilio.md 1.3) leaves, with a reserve.
NET_MS: Final = 3_500
# Vapi asks the number's server for 7.5 s (vapi.md 5.3): less would cut off calls that it takes.
DYNAMIC_MS: Final = 9_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One hand-over: when it was begun and ended, and what came of it."""

    outcome: Outcome
    begun_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an old stack; the default is that nothing is, so callers go there.

    ``recent`` holds the last attempts while up, True for lost; ``row`` is how many in a row were
    lost while up, and how many were answered while probing. ``last_ms``: when the last attempt
    ended while up, and when one last began or ended otherwise. ``rest_ms`` is that of this outage.
    """

    state: State = "up"
    since_ms: int = 0
    last_ms: int = 0
    row: int = 0
    recent: tuple[bool, ...] = ()
    rest_ms: int = REST_MS

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads."""
        return {**asdict(self), "recent": list(self.recent)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Health:
        """Return the value that ``as_json`` was made of.

        Raises:
            KeyError, TypeError, ValueError: it is no such value.
        """
        state = value["state"]
        if state not in {"up", "down", "probing"}:
            raise ValueError("an old stack is up, down or probing")
        since_ms, last_ms = int(value["since_ms"]), int(value["last_ms"])
        recent = tuple(bool(lost) for lost in value["recent"])
        return cls(state, since_ms, last_ms, int(value["row"]), recent, int(value["rest_ms"]))


def attempt_ms(*, has_net: bool, fixed_assistant: bool, patience_ms: int = PATIENCE_MS) -> int:
    """Return for how long the old stack may be waited for, connecting included.

    Args:
        has_net: the direct stack answers after it.
        fixed_assistant: the old stack's number has one; if not, it asks a server first, and
            neither the 5 s nor the 6 s of the net can be kept: under 9 s nobody would be handed
            over at all (design.md 2 (7)).
        patience_ms: what the number's operator allows; more than ``MOST_MS`` is as much, and for
            one that asks a server nothing is changed by it.
    """
    if not fixed_assistant:
        return DYNAMIC_MS
    return max(min(patience_ms, NET_MS if has_net else MOST_MS), 1)


def outcome_of(*, status: int | None, is_twiml: bool = False, timed_out: bool = False) -> Outcome:
    """Return what an attempt came to. ``status`` None: there was no answer at all.

    A status 4xx is about this call or number (a number deleted there, a call no longer ringing,
    twilio.md 5.5) and does not speak against the stack; 408 and 429 do. Nor does a 200 that
    Twilio could not run.
    """
    if timed_out:
        return "hung"
    if status is None or status >= 500 or status in {408, 429}:
        return "failed"
    return "answered" if 200 <= status < 300 and is_twiml else "declined"


def standing(health: Health, *, call_sid: str, now_ms: int) -> Standing:
    """Tell how the old stack stands for one call, the same whenever it is asked at that time.

    ``probe``: this caller finds out, with the net below. Tell ``begun`` when it is handed over.
    """
    if health.state == "up":
        return "up"
    if health.state == "down" and _is_within(health.since_ms, now_ms, health.rest_ms):
        return "down"
    alone = not _is_within(health.last_ms, now_ms, PROBE_GAP_MS)
    drawn = is_in(PROBE_PERCENT, place("probe", call_sid))
    return "probe" if alone or drawn else "down"


def begun(health: Health, now_ms: int) -> Health:
    """Note that a caller is being handed over; a rest that is over ends here."""
    if health.state == "up":
        return health
    if health.state == "down" and not _is_within(health.since_ms, now_ms, health.rest_ms):
        return replace(health, state="probing", since_ms=now_ms, last_ms=now_ms, row=0)
    return replace(health, last_ms=max(health.last_ms, now_ms))


def ended(health: Health, attempt: Attempt) -> Health:
    """Return what is known after an attempt has ended; the last one need not be the last begun."""
    if attempt.begun_ms < health.since_ms or attempt.outcome == "declined":
        return health
    lost = attempt.outcome != "answered"
    match health.state:
        case "up":
            return _while_up(health, attempt, lost)
        case "probing":
            return _while_probing(health, attempt, lost)
        case "down":
            # Somebody without anyone else was handed over all the same, and is no probe.
            return health
        case _:
            assert_never(health.state)


def mended(health: Health, now_ms: int) -> Health:
    """Return the health after somebody said that the old stack works again: the next call tries."""
    if health.state == "up":
        return health
    last_ms = min(health.last_ms, now_ms - PROBE_GAP_MS)
    return replace(health, state="probing", since_ms=now_ms, last_ms=last_ms, row=0)


def _is_within(begin_ms: int, now_ms: int, span_ms: int) -> bool:
    # A clock that was put back must not stretch an outage: what lies ahead is over.
    return 0 <= now_ms - begin_ms < span_ms


def _while_up(health: Health, attempt: Attempt, lost: bool) -> Health:
    forgotten = attempt.ended_ms - health.last_ms > MEMORY_MS
    known = () if forgotten else health.recent
    recent = (*known, lost)[-RECENT:]
    row = ((0 if forgotten else health.row) + 1) if lost else 0
    last_ms = max(health.last_ms, attempt.ended_ms)
    if row < ROW_FAILURES and sum(recent) < RECENT_FAILURES:
        return replace(health, last_ms=last_ms, row=row, recent=recent)
    steady = attempt.ended_ms - health.since_ms >= STEADY_MS
    rest_ms = REST_MS if steady else health.rest_ms
    return Health("down", attempt.ended_ms, last_ms, rest_ms=rest_ms)


def _while_probing(health: Health, attempt: Attempt, lost: bool) -> Health:
    last_ms = max(health.last_ms, attempt.ended_ms)
    if lost:
        rest_ms = min(2 * health.rest_ms, MAX_REST_MS)
        return Health("down", attempt.ended_ms, last_ms, rest_ms=rest_ms)
    if health.row + 1 >= PROBE_SUCCESSES:
        return Health("up", attempt.ended_ms, last_ms, rest_ms=health.rest_ms)
    return replace(health, last_ms=last_ms, row=health.row + 1)
