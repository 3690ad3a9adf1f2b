"""The numbers a call leaves behind; pure arithmetic over what the bridge counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calls.bridge.caller_audio import CallerAudio
from calls.bridge.core import Core


def percentile(values: Sequence[int], share: float) -> int | None:
    """Return the value below which ``share`` of the values lie (nearest rank), None if empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def summary(call: Core, caller: CallerAudio, now_ms: int) -> dict[str, Any]:
    """Return the metrics of a stream; sizes are mu-law bytes, times milliseconds."""
    playback = call.playback
    # Nobody looks at them while the call is on: they are written when it is over.
    limits = {"rate_limits": {"model": call.plan.model, **call.rate_limits}}
    return {
        "stream_ms": max(0, now_ms - call.stream_start_ms) if playback else 0,
        "first_word_ms": call.first_word_ms,
        "turn_latency_p50_ms": percentile(call.latencies_ms, 0.5),
        "turn_latency_p95_ms": percentile(call.latencies_ms, 0.95),
        "turn_latencies_ms": call.latencies_ms[:200],
        "frames_in": caller.frames,
        "caller_bytes": caller.received_bytes,
        "caller_bytes_forwarded": caller.forwarded_bytes,
        "caller_bytes_dropped": caller.dropped_bytes,
        "sent_bytes": playback.sent_bytes if playback else 0,
        "unheard_bytes": playback.unheard_bytes if playback else 0,
        "dropped_bytes": playback.dropped_bytes if playback else 0,
        "stale_marks": playback.stale_marks if playback else 0,
        "missing_marks": playback.missing_marks if playback else 0,
        "turns": call.transcript.count,
        "tool_calls": call.toolbox.count,
        "responses": call.responses.created,
        "response_conflicts": call.responses.conflicts,
        "spend_microusd": call.spend_microusd,
        "counters": dict(sorted(call.counters.items())),
        "notes": dict(sorted(call.notes.items())),
        **(limits if call.rate_limits else {}),
    }
