"""What a shadow says in the words of parity, and how much of the old call it is set against.

Pure. Our side is known when the call ends, the old stack's when its log is here; both are cut at
one moment, so that ``differ`` need not guess. The old stack's times are its own, from the begin of
the call as the fork's are: they may be a second apart, which ``CLOCKS_MS`` allows for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Final

from calls.parity.logs.sequencing import tool_name
from calls.parity.played import CallLatency, CallResult, Utterance
from calls.parity.replay import CUT_WORDS, Cut
from calls.parity.replay_outcome import new_sequence
from calls.parity.sequence import Outcomes, Sequence, ToolCall, last_tries
from calls.parity.shadow_values import Shadowed

CLOCKS_MS: Final = 1_000
# How long after a turn of the caller a tool call still belongs to it, where nothing else tells.
REACTION_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a call is compared; stored with our side until the old stack's is known.

    ``from_ms``: the caller's first word that was heard. ``to_ms`` None: to the end. ``asked``: the
    tool with which our side ended, '' where none did.
    """

    from_ms: int = 0
    to_ms: int | None = None
    cut: Cut = ""
    asked: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Reach:
        """Return what ``as_json`` gave."""
        cut: Cut = next((each for each in CUT_WORDS if each == stored.get("cut")), "failed")
        to_ms = stored.get("to_ms")
        return cls(
            from_ms=int(stored.get("from_ms") or 0),
            to_ms=int(to_ms) if to_ms is not None else None,
            cut=cut,
            asked=str(stored.get("asked") or ""),
        )


def reach_of(
    shadowed: Shadowed, shown: Mapping[str, str] | None = None, offset_ms: int = 0
) -> Reach:
    """Return how far a shadow is compared, in ms from the begin of the call.

    Args:
        shown: names under which tools are compared, by those of the session.
        offset_ms: how long after the call's the stream began.
    """
    turns, calls = shadowed.turns, shadowed.calls
    ended_with = calls[-1] if calls and shadowed.cut in {"unknown-result", "left-early"} else None
    to_ms = shadowed.cut_at_ms if shadowed.cut else None
    if ended_with is not None and 0 <= ended_with.exchange < len(turns):
        # Its place in the old stack's call is looked for behind the turn that it answered.
        to_ms = turns[ended_with.exchange].ended_ms
    return Reach(
        from_ms=offset_ms + (turns[0].started_ms if turns else 0),
        to_ms=offset_ms + to_ms if to_ms is not None else None,
        cut=shadowed.cut,
        asked=_shown(ended_with.name, shown or {}) if ended_with is not None else "",
    )


def old_side(whole: Sequence, reach: Reach, key: str) -> Sequence:
    """Return what of the old stack's call ours is set against.

    Without the caller's first word nobody had asked us. Where our side ended with a tool call, the
    call that the old stack made in its place is the last one; where a shadow was cut for another
    reason, what the old stack did until then.
    """
    tools = [tool for tool in whole.tools if not _before(tool, reach.from_ms)]
    if reach.to_ms is None:
        return replace(whole, tools=tuple(tools))
    if not reach.asked:
        kept = [tool for tool in tools if _before(tool, reach.to_ms)]
        return _cut(whole, kept, key)
    kept = [tool for tool in tools if _before(tool, reach.to_ms - CLOCKS_MS)]
    rest = tools[len(kept) :]
    here = [tool for tool in rest if _before(tool, reach.to_ms + REACTION_MS)]
    same = next((place for place, tool in enumerate(here) if tool.name == reach.asked), None)
    upto = same if same is not None else 0
    found = [*kept, *here[: upto + 1]]
    if reach.cut == "left-early" and same is not None and len(found) == len(tools):
        # The old stack ended or passed on the call at this place too: it is compared to its end.
        return replace(whole, tools=tuple(found))
    return _cut(whole, found, key)


def our_side(stored: Sequence, old: Sequence, key: str) -> Sequence:
    """Return our side as it is set against ``old``: cut where that is, or not at all."""
    if not old.cut:
        return replace(stored, cut=False, cut_with="", outcomes=_told(stored))
    return replace(stored, cut=True, cut_with=key, outcomes=Outcomes())


def result_of(
    key: str, shadowed: Shadowed, shown: Mapping[str, str] | None = None, offset_ms: int = 0
) -> CallResult:
    """Return a shadow as the call of a run on our stack; its times count from the call's begin."""
    waits = tuple(each.latency_ms for each in shadowed.answers if each.latency_ms is not None)
    sequence = new_sequence(key, shadowed, shown)
    tools = tuple(replace(tool, at_ms=(tool.at_ms or 0) + offset_ms) for tool in sequence.tools)
    lines = _transcript(shadowed)
    return CallResult(
        sequence=replace(sequence, tools=tools),
        transcript=tuple(replace(line, at_ms=line.at_ms + offset_ms) for line in lines),
        latency=CallLatency(turns_ms=waits),
        cost_usd=Decimal(shadowed.cost_microusd) / 1_000_000,
        cut=bool(shadowed.cut),
        audio_seconds=shadowed.audio_ms / 1000,
    )


def _transcript(shadowed: Shadowed) -> tuple[Utterance, ...]:
    """Return the conversation with our model's words in place of the old stack's."""
    if not shadowed.turns:
        return ()
    first_ms = shadowed.turns[0].started_ms
    lines = [
        Utterance("assistant", each.text, each.at_ms)
        for each in shadowed.words
        if each.at_ms < first_ms
    ]
    for turn, answer in zip(shadowed.turns, shadowed.answers, strict=True):
        if answer.heard:
            lines.append(Utterance("user", answer.heard, turn.started_ms))
        lines += [Utterance("assistant", text, turn.ended_ms) for text in answer.said]
    return tuple(lines)


def _told(stored: Sequence) -> Outcomes:
    """Return the outcome of our side: what nobody made happen is not known."""
    states = {tool.outcome for tool in last_tries(stored.tools)}
    return Outcomes(tools_ok=False if "failed" in states else None)


def _cut(whole: Sequence, tools: list[ToolCall], key: str) -> Sequence:
    return replace(whole, tools=tuple(tools), outcomes=Outcomes(), cut=True, cut_with=key)


def _before(tool: ToolCall, ms: int) -> bool:
    return tool.at_ms is not None and tool.at_ms < ms


def _shown(name: str, shown: Mapping[str, str]) -> str:
    return shown.get(name) or tool_name(name)
