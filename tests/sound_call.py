"""Whether a call that was run in virtual time is right: contracts kept, words carried, transcript
true, the ledgers balanced, the replay equal. It judges a finished ``VirtualCall`` only.
"""

from __future__ import annotations

from collections.abc import Iterable

from calls.bridge.effects import DispatchTools, RecordTurn
from calls.bridge.reasons import EndCause
from calls.standins.realtime_response import TEXT_AHEAD_CHARACTERS
from calls.standins.tones import Heard
from tests.virtual_call import VirtualCall

# One character is 20 ms; framing and rounding may cost a heard-estimate two of them.
CHARACTER_MS = 20
ESTIMATE_SLACK_CHARACTERS = 3
BENIGN = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "item_delete_invalid_item_id",
    }
)


def assert_sound(
    call: VirtualCall, *, words_in: bool = True, words_out: bool = True, errors: Iterable[str] = ()
) -> None:
    """Fail on any breach of a contract, a lost word, a lie about what was heard, or a replay diff.

    ``words_in``/``words_out`` False where the scenario itself loses words; ``errors`` are codes
    that the scenario provokes at the model.
    """
    assert call.faults == []
    assert call.caller.violations == []
    assert call.caller.stuck_step is None, call.caller.timeline
    for model in call.models:
        codes = {error["code"] for error in model.errors}
        assert codes <= BENIGN | set(errors), model.errors
        assert model.appended_before_configured_bytes == 0
        assert model.undecodable_bytes == 0
    if words_in:
        assert [heard.text for heard in call.model.heard] == call.caller.said
        assert all(heard.complete for heard in call.model.heard)
    if words_out:
        _assert_heard_as_told(call)
    _assert_ledger(call)
    _assert_outputs_for_calls(call)
    assert call.part.replayed() == call.part.outputs
    assert call.effects[-1] == call.end


def _assert_heard_as_told(call: VirtualCall) -> None:
    """Compare the assistant's part of the transcript with what the caller's ear decoded."""
    said = [turn for turn in call.turns if turn.role == "assistant"]
    told = [turn for turn in said if turn.text or turn.text_unheard]
    heard = [each for each in call.caller.heard if each.text]
    slack = ESTIMATE_SLACK_CHARACTERS + 2 * call.latency.twilio_ms // CHARACTER_MS
    slack += call.unread_ms(call.ended_at_ms) // CHARACTER_MS
    assert _claimed(told, heard, slack), (told, heard)


def _claimed(told: list[RecordTurn], heard: list[Heard], slack: int) -> bool:
    """Tell whether every turn was heard, in order, and only fragments belong to no turn.

    Of an interrupted turn ``slack`` characters may be told that nobody has heard: all of it, where
    it was cut before its first whole character came.
    """
    is_cut = bool(told) and told[0].interrupted
    if is_cut and _same(told[0], "", False, slack) and _claimed(told[1:], heard, slack):
        return True
    if not heard:
        return not told
    ear = heard[0]
    if told and _same(told[0], ear.text, ear.complete, slack):
        if _claimed(told[1:], heard[1:], slack):
            return True
    return not ear.complete and _claimed(told, heard[1:], slack)


def _same(turn: RecordTurn, ear: str, complete: bool, slack: int) -> bool:
    if complete and not turn.interrupted:
        return turn.text == ear
    common = min(len(turn.text), len(ear))
    # Of a cut turn a share of the text that had come is told, and text runs ahead of its audio.
    ahead = TEXT_AHEAD_CHARACTERS if turn.interrupted else 0
    return turn.text[:common] == ear[:common] and len(turn.text) <= len(ear) + slack + ahead


def _assert_ledger(call: VirtualCall) -> None:
    metrics, playback = call.end.metrics, call.part.bridge.playback
    counters = metrics["counters"]
    arrived = metrics["caller_bytes"]
    assert arrived == metrics["caller_bytes_forwarded"] + metrics["caller_bytes_dropped"]
    if playback is not None:
        came = counters.get("model_bytes", 0) + counters.get("clip_bytes", 0)
        gone = playback.sent_bytes + playback.held_bytes + playback.dropped_bytes
        assert came == gone + counters.get("late_bytes", 0)
    # What we cancelled was not to be heard, and may still have been made on the way.
    cancelled = {event["response_id"] for event in call.sent("response.cancel")}
    kept = {
        event["item"]["id"]
        for event in call.part.model_events
        if event["type"] == "response.output_item.added" and event["response_id"] not in cancelled
    }
    spoken_ms = sum(item.audio_ms for item in call.model.conversation.items if item.item_id in kept)
    slack_ms = 100 + 2 * call.latency.twilio_ms
    if call.end.ended_reason == EndCause.ASSISTANT_ENDED.ended_reason:
        assert spoken_ms <= call.caller.played_bytes // 8 + slack_ms


def _assert_outputs_for_calls(call: VirtualCall) -> None:
    """One output per function call in each session, unless the call closed first.

    A session that replaces another starts empty, so it is told calls and outputs again (ADR 0021).
    """
    answered = [
        (session, event["item"]["call_id"])
        for session, event in zip(call.part.sent_to, call.part.sent_realtime, strict=True)
        if event["type"] == "conversation.item.create"
        if event["item"]["type"] == "function_call_output"
    ]
    assert len(answered) == len(set(answered))
    dispatched = [
        each.tool_call_id
        for effect in call.effects
        if isinstance(effect, DispatchTools)
        for each in effect.calls
    ]
    assert len(dispatched) == len(set(dispatched)), "told again is not run again"
