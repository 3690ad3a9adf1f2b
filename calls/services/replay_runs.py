"""Runs that replay past calls: as text (``replay``) or in the caller's own voice (``rehear``).

Owns the runners of both kinds. The old stack's side of a pair is the past call itself, our side a
session of the run's revision that is told the truth after every turn (``calls.parity.replay``).
There is no dispatcher of tools in these modules and none may come in: a test walks their imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final

from calls.media.replaying import carry_now
from calls.models import Call, ParityCall, ParityRun, Recording
from calls.parity.fields import Kind, Marks, marks_of
from calls.parity.known_results import alike_by
from calls.parity.past import Script, script_of
from calls.parity.played import CallLatency, CallResult
from calls.parity.rehear import HeardAgain, Span, is_silent, spans_of, understood
from calls.parity.replay import CUT_WORDS, Plan, Replay, Replayed
from calls.parity.replay_outcome import old_sequence, old_transcript, result_of
from calls.parity.sequence import sequence_dump
from calls.parity.sound_file import SoundFile, SoundUnreadable, sound_file
from calls.services.parity_marks import run_region
from calls.services.parity_runners import CallLost, CallRefused
from calls.services.recording_files import sound_read
from calls.services.replay_sessions import (
    ReplaySession,
    call_day,
    connection_of,
    refusal_check,
    replay_session,
)
from calls.services.sequences import entries_of, facts_of, imported_of, sequence_of
from tools.spec import ToolSpec
from voiceplatform.base.fields import DecryptionError

# A call of an hour in two channels of 16 bits; the file is held in memory once.
_MOST_BYTES: Final = 128 * 1024 * 1024
# What one call may cost: the longest one with the dearest model is far below.
_MOST_MICROUSD: Final = 3_000_000
_CALLER_CHANNEL: Final = 0


def replay_prepare(run: ParityRun) -> None:
    """Refuse a run whose calls may not go where its number's model lives.

    Raises:
        CallRefused: see ``connection_of``.
    """
    connection_of(run)


def replay_play(call: ParityCall) -> CallResult:
    """Play one call of a run as text.

    Raises:
        CallRefused: it may not or cannot be replayed; ``CallLost``: the model's socket failed.
    """
    return _play(call, aloud=False)


def rehear_play(call: ParityCall) -> CallResult:
    """Play one call of a run in the caller's own voice.

    Raises:
        CallRefused: as ``replay_play``, or there is no recording to hear.
    """
    return _play(call, aloud=True)


def _play(call: ParityCall, *, aloud: bool) -> CallResult:
    past = call.source_call
    if past is None:
        raise CallRefused("the past call is gone. Fix: begin another run.")
    if call.stack == ParityCall.Stack.VAPI:
        # Of a caller who refused no second copy of the words is made either.
        refusal_check(past)
        return old_call_result(past)
    if call.stack == ParityCall.Stack.AGAIN:
        raise CallRefused("a past call cannot be made again. Fix: begin the run without repeats.")
    run = call.run
    session = replay_session(run, past)
    marks = run_marks(run, session.tools)
    spans: dict[int, Span] = {}
    audio: dict[int, bytes] = {}
    if aloud:
        spans, audio = _voice(past, session.script)
    replayed = _replayed(session, marks, audio, run)
    heard = understood(
        session.script, replayed, spans, marks, moment=call_day(past), region=run_region(run)
    )
    result = result_of(str(past.pk), session.script, replayed, session.shown)
    return CallResult(
        sequence=result.sequence,
        transcript=result.transcript,
        latency=result.latency,
        cost_usd=result.cost_usd,
        cut=result.cut,
        audio_seconds=result.audio_seconds,
        audio_key=str(past.pk) if aloud else "",
        extras=_extras(past, session, replayed, heard),
    )


def _replayed(
    session: ReplaySession, marks: Marks, audio: Mapping[int, bytes], run: ParityRun
) -> Replayed:
    plan = Plan(
        script=session.script,
        config=session.config,
        dialect=session.dialect,
        price=session.price,
        alike=alike_by(marks, run_region(run)),
        ends=session.ends,
        audio=audio,
        pace=_pace(run),
        most_microusd=_MOST_MICROUSD,
    )
    replayed = carry_now(session.endpoint, partial(Replay, plan))
    if replayed.cut == "failed" and not replayed.compared and not replayed.calls:
        spent = Decimal(replayed.cost_microusd) / 1_000_000
        raise CallLost(replayed.problem or CUT_WORDS["failed"], cost_usd=spent)
    return replayed


def _pace(run: ParityRun) -> float:
    """Return how much faster than the caller sound is sent; 1.0 unless the run says otherwise."""
    value = run.options.get("pace", 1.0)
    return float(value) if isinstance(value, int | float) and 0.5 <= value <= 100 else 1.0


def run_marks(run: ParityRun, tools: tuple[ToolSpec, ...]) -> Marks:
    """Return the critical arguments of a run by the names that a session has for its tools.

    As the run was begun with; by rule for a tool that it knows nothing of.
    """
    known: Marks = run.marks or {}
    found: dict[str, Mapping[str, Kind]] = {}
    for tool in tools:
        marks = known.get(tool.posted_name or tool.name)
        # An empty one is a decision too: nothing of this tool is critical.
        found[tool.name] = marks_of(tool.parameters) if marks is None else marks
    return found


def _extras(
    past: Call, session: ReplaySession, replayed: Replayed, heard: HeardAgain
) -> dict[str, Any]:
    """Return what the report shows beside the sequences: where it was cut, what was understood."""
    tokens = replayed.tokens
    return {
        "old": sequence_dump(old_sequence(str(past.pk), replayed, session.shown)),
        "cut": replayed.cut,
        "cut_words": CUT_WORDS[replayed.cut] if replayed.cut else "",
        "cut_exchange": replayed.cut_exchange,
        "exchanges": len(session.script.exchanges),
        "problem": replayed.problem,
        "model": session.model,
        "agree": {kind: list(counts) for kind, counts in heard.agree.items()},
        "differences": [
            {
                "exchange": each.exchange,
                "where": each.where,
                "kind": each.kind,
                "old": each.old,
                "new": each.new,
                "start_seconds": each.start_seconds,
                "end_seconds": each.end_seconds,
            }
            for each in heard.differences
        ],
        "tokens": {
            "into": tokens.into,
            "last": tokens.last,
            "cached": tokens.cached,
            "out": tokens.out,
            "responses": tokens.responses,
        },
    }


# ---- the old stack's side ---------------------------------------------------------------------


def old_call_result(past: Call) -> CallResult:
    """Return a past call as the old stack's side of a pair."""
    facts = facts_of(imported_of(past))
    waits = tuple(turn.latency_ms for turn in past.turns.all() if turn.latency_ms is not None)
    return CallResult(
        sequence=sequence_of(past),
        transcript=old_transcript(script_of(entries_of(past))),
        latency=CallLatency(first_word_ms=past.first_word_ms, turns_ms=waits),
        cost_usd=_usd(facts.get("cost_usd")) or past.cost_usd,
        audio_key=str(past.pk) if _recording_of(past) is not None else "",
    )


def _usd(value: Any) -> Decimal:
    try:
        return Decimal(str(value)) if value is not None else Decimal(0)
    except InvalidOperation:
        return Decimal(0)


# ---- the caller's voice -----------------------------------------------------------------------


def _recording_of(past: Call) -> Recording | None:
    row: Recording | None = Recording.objects.filter(
        call=past, state=Recording.State.STORED
    ).first()
    return row


def _voice(past: Call, script: Script) -> tuple[dict[int, Span], dict[int, bytes]]:
    """Return where the caller's turns are in the recording, and their sound as mu-law."""
    imported = imported_of(past)
    if imported is not None and not imported.has_times:
        raise CallRefused(
            "its log has no times, so nobody knows where its turns are. Fix: replay it as text."
        )
    row = _recording_of(past)
    if row is None:
        raise CallRefused("its recording is not here. Fix: fetch it, or replay the call as text.")
    sound = _sound(past, row)
    spans = spans_of(script, offset_ms=row.offset_ms or 0, length_ms=sound.length_ms)
    try:
        audio = {index: sound.mulaw(_CALLER_CHANNEL, span) for index, span in spans.items()}
    except SoundUnreadable as error:
        raise CallRefused(f"its recording is not read: {error}.") from error
    # Where nothing is heard the turn is sent as words, and no second is claimed for it.
    silent = {index for index, mulaw in audio.items() if is_silent(mulaw)}
    if not audio or len(silent) == len(audio):
        raise CallRefused(
            "nobody is heard on the caller's channel where the log has words. "
            "Fix: check that the recording belongs to the call and has the caller first."
        )
    return (
        {index: span for index, span in spans.items() if index not in silent},
        {index: mulaw for index, mulaw in audio.items() if index not in silent},
    )


def _sound(past: Call, row: Recording) -> SoundFile:
    if row.size_bytes > _MOST_BYTES:
        raise CallRefused("its recording is longer than an hour. Fix: choose a shorter call.")
    try:
        sound = sound_file(b"".join(sound_read(past.pk)))
    except (OSError, DecryptionError, SoundUnreadable) as error:
        raise CallRefused(
            f"its recording cannot be read ({type(error).__name__}). Fix: fetch it again."
        ) from error
    if row.channels == 2 and sound.channels != 2:
        raise CallRefused("its recording has lost a channel. Fix: fetch it again.")
    if sound.channels == 1 and row.channels != 1:
        raise CallRefused("its recording mixes both sides. Fix: fetch the one with two channels.")
    return sound
