"""What a shadow is made with, and what comes of it: values of a call that is heard along.

Pure. How a call is heard is ``calls.parity.shadow``'s, what is compared of it ``shadow_outcome``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from calls.money.rates import ModelPrice, response_microusd, response_tokens
from calls.parity.known_results import Alike
from calls.parity.past import Words
from calls.parity.replay import Replayed
from calls.wire.realtime import Dialect, SessionConfig

# No transcriber's list price is known to be dearer (openai_realtime.md 2.4, read 2026-11-22): a
# ceiling on spend must hold for those that are cheaper, too.
TRANSCRIPT_MICROUSD_PER_SECOND: Final = 0.017 * 1_000_000 / 60


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """What hears a call along, and how.

    ``ends``: names of tools that end or pass on the call. ``names``: what the session calls a tool,
    by its name at the old stack. ``notice``: words of the old stack's line that tells callers of
    us; until they have been said nothing of the caller goes anywhere. '': nobody need be told.
    ``result_ms``: how long the result of a tool is waited for; 0: nobody records the old stack's.
    """

    call_sid: str
    account_sid: str
    config: SessionConfig
    dialect: Dialect
    price: ModelPrice
    alike: Alike
    ends: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    result_ms: int = 0
    most_microusd: int = 1_000_000
    most_ms: int = 15 * 60_000


@dataclass(slots=True)
class Turn:
    """One turn of the caller; ms from the begin of the stream."""

    item_id: str
    after: str  # the item that it stands behind
    started_ms: int
    ended_ms: int


@dataclass(slots=True)
class Shadowed(Replayed):
    """What came of hearing a call along: a replay's result, and when things were said.

    ``turns`` stand beside ``answers``. ``cut_at_ms``: when the comparison ended.
    """

    turns: list[Turn] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    cut_at_ms: int | None = None
    notice_ms: int | None = None


def charged(result: Replayed, usage: object, price: ModelPrice) -> None:
    """Add what one answer of the model used and costs."""
    if not isinstance(usage, Mapping):
        return
    into, out = response_tokens(usage)
    details = usage.get("input_token_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    tokens = result.tokens
    tokens.into += into
    tokens.last = into
    tokens.out += out
    tokens.cached += cached if isinstance(cached, int) else 0
    tokens.responses += 1
    result.cost_microusd += response_microusd(usage, price)


def transcript_charged(result: Replayed, event: Mapping[str, Any]) -> None:
    """Add what writing down one utterance costs; the transcriber has a bill of its own (9.4)."""
    usage = event.get("usage")
    if not isinstance(usage, Mapping):
        return
    seconds, tokens = usage.get("seconds"), usage.get("input_tokens")
    if not isinstance(seconds, int | float):
        seconds = tokens / 10 if isinstance(tokens, int) else 0  # 100 ms each (9.3)
    result.cost_microusd += round(seconds * TRANSCRIPT_MICROUSD_PER_SECOND)
