"""A verdict that may be looked for after every pair: is the share of drift under the limit? Pure.

Owns two running bets, each against the claim "exactly the limit": one of them wins when there is
less drift, the other when there is more. A bet is a mixture of likelihood ratios (Robbins, Ann.
Math. Statist. 41, 1970), so looking often costs nothing: by Ville's inequality its odds reach
``w`` in at most one of ``w`` cases if the claim is true, however long one looks. It must not know
what a pair is.

With a limit of 5%, computed exactly (tests/unit/parity/test_procedure.py, docs/parity.md): no
drift passes at the 76th pair; drift of exactly 5% passes in 2.8% of cases and of 10% in 0.03%;
drift of 20% fails after 17.8 pairs on average, of 3% in 2.3% of cases. Drift of exactly 5% fails
in 9.5%: by Wald's inequality no procedure whatever that stops within 20 pairs on average at 20%
can bring this under 6.1% (docs/adr/0043-one-procedure-for-every-look.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from calls.parity import bounds

State = Literal["pass", "fail", "undecided"]

# Shares that the bets are placed on, as multiples of the limit, with their part of the stake.
# Chosen once with the exact chances in view; a change moves every figure in docs/parity.md.
LESS: Final = ((0.0, 0.5), (0.2, 0.3), (0.4, 0.2))
MORE: Final = ((2.0, 0.15), (4.0, 0.85))
PASS_ODDS: Final = 33.0
FAIL_ODDS: Final = 6.7
# Pairs after which it is left undecided, times the limit: 400 at 5%, 2,000 at 1%.
_PATIENCE: Final = 20
# What both bets can take: four times the limit is a share, and it is one that can be exceeded.
LARGEST_LIMIT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the procedure stands after ``n`` pairs of which ``k`` had drifted.

    ``more``: undecided, how many further pairs without drift would pass it; None: decided, or no
    number of them within the patience of the procedure would. ``is_final``: nothing more is
    decided by going on. ``decided_at``: the pair, counted from 1, with which the verdict fell.
    ``lower`` and ``upper`` are the one-sided exact bounds at this ``n``, as if it had been fixed.
    """

    state: State
    more: int | None
    lower: float
    upper: float
    k: int
    n: int
    limit: float
    is_final: bool = False
    decided_at: int | None = None

    def words(self) -> str:
        """Say it in one sentence for people, without "pass" or "fail"."""
        seen = f"{self.k} of {self.n}, between {self.lower:.1%} and {self.upper:.1%}"
        if self.state == "pass":
            return f"under the limit of {self.limit:.0%}: {seen}"
        if self.state == "fail":
            return f"over the limit of {self.limit:.0%}: {seen}"
        if self.is_final:
            return f"too close to the limit of {self.limit:.0%} to say: {seen}"
        if self.more is None:
            return f"not decided, and more alike alone would not decide it: {seen}"
        return f"not decided, about {self.more} more without a difference: {seen}"


def most_pairs(limit: float) -> int:
    """Return after how many pairs the procedure gives up."""
    return round(_PATIENCE / _checked(limit))


def state_at(k: int, n: int, limit: float) -> State:
    """Return which bet has won after ``k`` of ``n``, if none had before.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``, or the limit is none.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    return _state(k, k, n, limit)


def after(k: int, n: int, limit: float) -> Verdict:
    """Return the verdict after ``k`` of ``n``, none having fallen before.

    It knows no order. Where the pairs are at hand in the order in which they were planned,
    ``follow`` lets the first verdict stand, which is the promise.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``, or the limit is not between 0 and 0.2.
    """
    state = state_at(k, n, limit)
    decided = n if state != "undecided" else None
    return _verdict(state, k, n, limit, decided)


def follow(faults: Iterable[bool], limit: float) -> Verdict:
    """Return the first verdict along ``faults`` in their order, True for a pair that drifted.

    What comes behind the verdict is counted in ``k``, ``n`` and the bounds and changes nothing.

    Raises:
        ValueError: the limit is not between 0 and 0.2.
    """
    return follow_pairs(((int(is_fault), 1) for is_fault in faults), limit)


def follow_pairs(pairs: Iterable[tuple[int, int]], limit: float) -> Verdict:
    """Return the first verdict along pairs that give several things each: (faults, things).

    It is looked for after each pair. What goes wrong in one call goes wrong together, so a pair
    counts as one fault at most against the limit, and with all its faults where the verdict would
    be that there are few: no single call fails anything. ``decided_at`` counts the pairs that gave
    something, ``k`` and ``n`` the things.

    Raises:
        ValueError: the limit is not between 0 and 0.2, or a pair has more faults than things.
    """
    _checked(limit)
    k = n = bad_pairs = seen = 0
    state: State = "undecided"
    decided: int | None = None
    for faults, things in pairs:
        if not 0 <= faults <= things:
            raise ValueError(f"{faults} of {things} is no share")
        k, n, bad_pairs = k + faults, n + things, bad_pairs + bool(faults)
        seen += bool(things)
        if state == "undecided" and things:
            state = _state(k, bad_pairs, n, limit)
            decided = seen if state != "undecided" else None
    return _verdict(state, k, n, limit, decided)


def clean_until_pass(k: int, n: int, limit: float) -> int | None:
    """Return how many further pairs without drift would pass it; None: no number within patience.

    Each pair without drift helps the bet on less, so the first that wins is found by halving.
    """
    most = most_pairs(limit)
    goal = math.log(PASS_ODDS)
    if n >= most or _odds(k, most, limit, LESS) < goal:
        return None
    low, high = n, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _odds(k, middle, limit, LESS) >= goal else (middle, high)
    return high - n


def _state(k: int, against: int, n: int, limit: float) -> State:
    """Return which bet has won; ``against``: the faults that count for the one on more."""
    if n > most_pairs(limit):
        return "undecided"
    if _odds(k, n, limit, LESS) >= math.log(PASS_ODDS):
        return "pass"
    return "fail" if _odds(against, n, limit, MORE) >= math.log(FAIL_ODDS) else "undecided"


def _verdict(state: State, k: int, n: int, limit: float, decided: int | None) -> Verdict:
    is_open = state == "undecided"
    return Verdict(
        state=state,
        more=clean_until_pass(k, n, limit) if is_open else None,
        lower=bounds.lower(k, n),
        upper=bounds.upper(k, n),
        k=k,
        n=n,
        limit=limit,
        is_final=not is_open or n >= most_pairs(limit),
        decided_at=decided,
    )


def _odds(k: int, n: int, limit: float, stakes: tuple[tuple[float, float], ...]) -> float:
    """Return the logarithm of what a bet against "exactly ``limit``" has become."""
    gains = []
    for multiple, part in stakes:
        share = multiple * limit
        if k and not share:
            continue  # one fault ruins the bet that there is none
        gain = math.log(part) + (n - k) * (math.log1p(-share) - math.log1p(-limit))
        gains.append(gain + (k * math.log(multiple) if k else 0.0))
    highest = max(gains)
    return highest + math.log(sum(math.exp(gain - highest) for gain in gains))


def _checked(limit: float) -> float:
    if not 0 < limit < LARGEST_LIMIT:
        raise ValueError(f"limit {limit} cannot be judged. Fix: 0 < limit < {LARGEST_LIMIT}.")
    return limit
