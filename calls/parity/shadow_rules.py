"""Which calls of the old stack may be heard along, and why not: facts in, a sentence out.

Pure. Owns every condition of a shadow but the form of the TwiML (``calls.previous.forks``). It must
not offer a way around: the switch, the begin of a run and every single call ask here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

Consent = Literal["none", "notice", "ask"]

# Of all calls that this instance may have at once, so many may be heard along besides; and none at
# all while half of that ceiling is in use: our own callers come first.
SHARE_OF_CEILING: Final = 10
MOST_PERCENT: Final = 100
MOST_HERE: Final = 20
LEAST_NOTICE_WORDS: Final = 2
# What a call heard along is taken to cost while so few of its run have told: several minutes, by
# the dearest model.
FIRST_CALLS_USD: Final = Decimal("0.50")
_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """What is true of a number whatever call comes.

    ``processor``: who listens besides, as the number's policy names them to callers. ``notice``:
    words of the old stack's own line by which callers are told. ``forbidden``: why the number's
    data may not go to its model connection. ``masked``: its assistant may keep no words.
    """

    has_policy: bool = False
    is_reviewed: bool = False
    processor: str = ""
    consent: Consent = "ask"
    notice: str = ""
    has_assistant: bool = False
    has_connection: bool = False
    has_previous: bool = False
    forbidden: str = ""
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """What is true of this call, at this moment. ``drawn``: its place in 0 to 100."""

    is_on: bool
    percent: int
    most_here: int
    run_is_open: bool
    wanted: int
    taken: int
    drawn: float
    here: int
    everywhere: int
    live_calls: int
    most_calls: int
    is_lost: bool = False


def why_never(number: Standing) -> str:
    """Return why no call of a number may be heard along, with the fix; '' where calls may be."""
    if not number.has_previous:
        return "no old stack is known for the number. Fix: enter where its calls went before"
    if not number.has_assistant:
        return "no assistant answers the number here. Fix: choose one on the number's page"
    if not number.has_connection:
        return "there is no model connection. Fix: make one and mark it as the default"
    if not number.has_policy:
        return "the number has no call policy. Fix: choose one on the number's page"
    if not number.processor:
        return (
            "its call policy does not name the second company that listens. Fix: enter it in the "
            "policy, in the words that callers hear, and have the policy reviewed"
        )
    if not number.is_reviewed:
        return "its call policy is not reviewed. Fix: have it reviewed, then mark it as such"
    if number.consent == "ask":
        return (
            "its call policy asks each caller for consent, and the old stack does not tell us the "
            "answer; until there is one nobody listens. Fix: hear recordings of those who agreed"
        )
    if number.consent == "notice" and len(number.notice.split()) < LEAST_NOTICE_WORDS:
        return (
            "its call policy is one of notice, and no words of the old stack's line are entered "
            "by which callers are told. Fix: enter them as the old stack says them"
        )
    if number.forbidden:
        return f"{number.forbidden}. Fix: a connection whose contract allows it"
    if number.masked:
        return "its assistant may keep nothing that is said. Fix: compare it by rehearsals"
    return ""


def why_not_now(moment: Moment) -> str:
    """Return why this call is not heard along, '' where it is."""
    most = most_everywhere(moment.most_calls)
    for is_so, words in (
        (not moment.is_on, "the switch is off"),
        (not moment.run_is_open, "no run collects calls of the number"),
        (moment.taken >= moment.wanted, "the run has the calls that it wants"),
        (moment.drawn >= moment.percent, "the call is not in the share"),
        (moment.here >= moment.most_here, "as many of the number are heard along as may be"),
        (moment.everywhere >= most, "as many calls are heard along as may be"),
        (2 * (moment.live_calls + moment.everywhere) >= moment.most_calls, "our own calls need it"),
        (moment.is_lost, "the model is out of reach"),
    ):
        if is_so:
            return words
    return ""


def estimate_usd(cost_usd: Sequence[Decimal]) -> Decimal:
    """Return what a call of a run is taken to cost, by those that are over: as the dearest."""
    dearest = max(cost_usd, default=Decimal(0))
    return dearest if len(cost_usd) >= _FEW and dearest else max(dearest, FIRST_CALLS_USD)


def left_usd(limit_usd: Decimal, spent_usd: Decimal, under_way: int, each_usd: Decimal) -> Decimal:
    """Return what of a run's limit is left for one call more, 0 where it may not be taken.

    Calls under way are counted as an estimate each. Where none is, one may spend the rest, however
    little: else a run with a low limit would neither go on nor end.
    """
    left = limit_usd - spent_usd - under_way * each_usd
    return max(left, Decimal(0)) if left >= each_usd or not under_way else Decimal(0)


def most_everywhere(most_calls: int) -> int:
    """Return how many calls may be heard along at once, of an instance's ceiling of calls."""
    return max(1, most_calls // SHARE_OF_CEILING)
