"""What a replay says in the words of parity: both sequences, the transcripts, the latency.

Pure. Owns how a replay's result becomes what every kind of run gives back. It must not judge; that
is ``differ``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from calls.parity.logs.sequencing import tool_name
from calls.parity.past import Exchange, PastTool, Script, Words
from calls.parity.played import CallLatency, CallResult, Utterance
from calls.parity.replay import Replayed
from calls.parity.sequence import Sequence, ToolCall


def new_sequence(key: str, replayed: Replayed, shown: Mapping[str, str] | None = None) -> Sequence:
    """Return what our model did, as far as it was compared.

    Args:
        shown: names under which tools are compared, by those of the session.
    """
    shown = shown or {}
    return Sequence(
        key=key,
        stack="direct",
        tools=tuple(
            ToolCall(
                name=shown.get(call.name) or tool_name(call.name),
                arguments=call.arguments,
                outcome=call.outcome,
                at_ms=call.at_ms,
                result=call.known.result if call.known is not None else None,
                message=call.message,
            )
            for call in replayed.calls
        ),
        cut=bool(replayed.cut),
        cut_with=key if replayed.cut else "",
    )


def old_sequence(key: str, replayed: Replayed, shown: Mapping[str, str] | None = None) -> Sequence:
    """Return what of the old stack's call ours is set against.

    It is cut where ours is, at the same moment, so ``differ`` need not guess how far it may be
    compared.
    """
    tools = tuple(_tool(tool, shown or {}) for tool in replayed.compared)
    is_cut = bool(replayed.cut)
    return Sequence(key, "vapi", tools, cut=is_cut, cut_with=key if is_cut else "")


def _tool(tool: PastTool, shown: Mapping[str, str]) -> ToolCall:
    return ToolCall(
        name=shown.get(tool.name) or tool_name(tool.name),
        arguments=tool.arguments,
        outcome=tool.outcome,
        at_ms=tool.at_ms,
        result=tool.result,
        tool_call_id=tool.tool_call_id,
        message=tool.message,
    )


def transcript(script: Script, replayed: Replayed) -> tuple[Utterance, ...]:
    """Return the conversation with our model's words in place of the old stack's."""
    said = {each.exchange: each for each in replayed.answers}
    lines = [Utterance("assistant", each.text, each.at_ms) for each in _words(script.opening)]
    for index, exchange in enumerate(script.exchanges):
        answer = said.get(index)
        if answer is None:
            break
        lines.append(Utterance("user", answer.heard or exchange.caller, exchange.started_ms))
        at_ms = _end_of(exchange)
        lines += [Utterance("assistant", text, at_ms) for text in answer.said]
    return tuple(lines)


def old_transcript(script: Script) -> tuple[Utterance, ...]:
    """Return the conversation as it was."""
    lines = [Utterance("assistant", each.text, each.at_ms) for each in _words(script.opening)]
    for exchange in script.exchanges:
        lines.append(Utterance("user", exchange.caller, exchange.started_ms))
        for each in _words(exchange.reactions):
            lines.append(Utterance("assistant", each.text, each.at_ms))
    return tuple(lines)


def _words(reactions: tuple[object, ...]) -> list[Words]:
    return [each for each in reactions if isinstance(each, Words)]


def _end_of(exchange: Exchange) -> int:
    return exchange.ended_ms if exchange.ended_ms is not None else exchange.started_ms


def result_of(
    key: str, script: Script, replayed: Replayed, shown: Mapping[str, str] | None = None
) -> CallResult:
    """Return a replay as the call of a run on our stack."""
    waits = tuple(each.latency_ms for each in replayed.answers if each.latency_ms is not None)
    return CallResult(
        sequence=new_sequence(key, replayed, shown),
        transcript=transcript(script, replayed),
        latency=CallLatency(turns_ms=waits),
        cost_usd=Decimal(replayed.cost_microusd) / 1_000_000,
        cut=bool(replayed.cut),
        audio_seconds=replayed.audio_ms / 1000,
    )
