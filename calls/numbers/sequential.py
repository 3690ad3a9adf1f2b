"""A test that may be looked at after every call: has the share of bad calls risen? Pure arithmetic.

Owns the cumulative sum of Page (Biometrika 41, 1954): Wald's sequential probability ratio test,
begun anew whenever it has nothing against the calls so far. It decides between two shares and
raises an alarm when the calls since some moment speak for the bad one ``1/alpha`` times as strongly
as for the clean one. It must not know what a call is.

What is promised, by Wald's inequality and Lorden's bound: while the share is the clean one or
less, false alarms are at least ``1/alpha`` calls apart on average. The test never decides for
"clean", so a fault that lasts is always found; what stands for beta is ``chance_of_more``: how
likely it is that some number of bad calls was not enough.

By hand, for a clean share of 0.5%, a bad one of 20% and an alpha of one in a million: a bad call
adds ln(0.2/0.005) = 3.69, a good one takes ln(0.995/0.8) = 0.22, the alarm is at ln(1e6) = 13.82.
So three bad calls in a row (11.07) raise none and four (14.76) do; five do with up to 21 good ones
among them. If half of the calls are bad, five are not enough in fewer than 8 of 100,000 cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sequential:
    """Between which shares of bad calls is decided, each between 0 and 1, exclusive.

    ``alpha``: false alarms are ``1/alpha`` calls apart on average, or more.

    Raises:
        ValueError: a share is out of range, or the bad one is not above the clean one.
    """

    clean_share: float
    bad_share: float
    alpha: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 < self.clean_share < self.bad_share < 1:
            raise ValueError(
                f"clean_share {self.clean_share} and bad_share {self.bad_share} do not make a "
                "test. Fix: 0 < clean_share < bad_share < 1."
            )
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha {self.alpha} is no probability. Fix: 0 < alpha < 1.")

    @property
    def alarm_at(self) -> float:
        """Return the score of an alarm."""
        return math.log(1 / self.alpha)

    @property
    def bad_adds(self) -> float:
        """Return what a bad call adds to the score."""
        return math.log(self.bad_share / self.clean_share)

    @property
    def good_takes(self) -> float:
        """Return what a good call takes from the score, as a positive number."""
        return math.log((1 - self.clean_share) / (1 - self.bad_share))

    def bad_in_a_row(self) -> int:
        """Return how many bad calls in a row raise the alarm."""
        return math.ceil(self.alarm_at / self.bad_adds)

    def good_among(self, bad_calls: int) -> int:
        """Return how many good calls may lie among ``bad_calls`` that still raise it; -1: none."""
        spare = bad_calls * self.bad_adds - self.alarm_at
        return -1 if spare < 0 else math.floor(spare / self.good_takes)

    def chance_of_more(self, share: float, bad_calls: int) -> float:
        """Bound the chance that ``bad_calls`` bad ones raise no alarm when ``share`` are bad.

        That is: more good calls fall between the first and the last of them than may lie among
        them. An upper bound, because fewer bad calls may have raised it before.
        """
        good = self.good_among(bad_calls)
        if good < 0:
            return 1.0
        trials, wanted = bad_calls - 1 + good, bad_calls - 1
        return sum(
            math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(wanted)
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a test stands.

    ``score`` is that of the last call, or of the alarm; ``begun`` the index of the first call that
    counts in it, ``alarm`` that of the call that raised it (None: none). Nothing is read behind an
    alarm.
    """

    score: float
    begun: int
    seen: int
    alarm: int | None


def read(test: Sequential, bad: Iterable[bool]) -> Reading:
    """Read calls in their order, True for a bad one."""
    score, begun, seen = 0.0, 0, 0
    bad_adds, good_takes, alarm_at = test.bad_adds, test.good_takes, test.alarm_at
    for index, is_bad in enumerate(bad):
        seen = index + 1
        if is_bad:
            if score == 0.0:
                begun = index
            score += bad_adds
            if score >= alarm_at:
                return Reading(score, begun, seen, index)
        else:
            score = max(0.0, score - good_takes)
    return Reading(score, begun if score else seen, seen, None)
