"""Replays a stored call: recorded inputs through the bridge of today, outputs compared."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff

from calls.media.recording import replay
from calls.models import Call, CallInputChunk
from calls.services.journal import record_text

MAX_DIFF_LINES = 200


@dataclass(frozen=True, slots=True)
class StreamReplay:
    """What a replay of one stream showed; ``difference`` is empty when it was the same."""

    stream_number: int
    records: int
    same: bool
    difference: tuple[str, ...]


def call_replay(call: Call) -> list[StreamReplay]:
    """Replay every recorded stream of a call.

    Raises:
        ValueError: a record is damaged or was written by another version of the plan.
    """
    numbers = (
        CallInputChunk.objects.filter(call=call)
        .order_by("stream_number")
        .values_list("stream_number", flat=True)
        .distinct()
    )
    return [_replay_stream(call, number) for number in numbers]


def _replay_stream(call: Call, number: int) -> StreamReplay:
    recorded = record_text(str(call.pk), number)
    try:
        made = replay(recorded)
    except (KeyError, TypeError) as error:
        raise ValueError(f"stream {number} was recorded by another version ({error})") from error
    lines = recorded.splitlines()
    if made == recorded:
        return StreamReplay(number, len(lines) // 2, same=True, difference=())
    difference = unified_diff(lines, made.splitlines(), "recorded", "replayed", "", "", 1, "")
    shown = tuple(line[:300] for _, line in zip(range(MAX_DIFF_LINES), difference, strict=False))
    return StreamReplay(number, len(lines) // 2, same=False, difference=shown)
