"""What a reader of a live transcript is sent, and where it goes on after its line broke.

Pure: entries in, events out. Every event carries a cursor that says all that the reader has, so a
server that never heard of the reader resumes it: nothing is left out, and nothing unchanged comes
twice. A turn is sent again when it changes; the newest of one ordinal counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

# So many of the newest entries are remembered one by one, what lies before as one sum: a change
# there, which needs a transcription late by as many turns, makes the older ones come again.
TAIL: Final = 24
_MARK_CHARS: Final = 6
_SUM_CHARS: Final = 12
# The mark of an entry that there is nothing to show of yet: it counts as sent.
EMPTY: Final = "0" * _MARK_CHARS
_LANES: Final = ("turn", "tool")
_MOST_CURSOR_CHARS: Final = 4_000


def _digest(text: str, chars: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=chars // 2).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One turn or one tool call as it is now; ``data`` None: nothing to show yet."""

    started_ms: int
    data: dict[str, Any] | None

    @property
    def mark(self) -> str:
        """Return what tells this state of the entry from another one."""
        if self.data is None:
            return EMPTY
        return _digest(json.dumps(self.data, sort_keys=True), _MARK_CHARS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A call as its rows were at one look; each lane grows at its end only.

    ``over``: the last word about the call has been stored.
    """

    status: str
    ended_reason: str
    over: bool
    turns: tuple[Entry, ...] = ()
    tools: tuple[Entry, ...] = ()


class Cursor:
    """What a reader has been sent."""

    def __init__(self) -> None:
        self._sent: dict[str, list[str]] = {lane: [] for lane in _LANES}
        self._status = ""
        self._ended = False
        # (entries, sum) before the tail, of a cursor that came back and was not compared yet.
        self._unread: dict[str, tuple[int, str, list[str]]] = {}

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Return the cursor that ``str`` wrote; one from the beginning for anything else."""
        cursor = cls()
        parts = text.split("~")
        if len(text) > _MOST_CURSOR_CHARS or len(parts) != 4 or parts[0] not in ("1", "1e"):
            return cursor
        for lane, part in zip(_LANES, parts[2:], strict=True):
            fields = part.split(".")
            if len(fields) != 3 or not (fields[0].isascii() and fields[0].isdigit()):
                return cls()
            marks = [
                fields[2][at : at + _MARK_CHARS] for at in range(0, len(fields[2]), _MARK_CHARS)
            ]
            cursor._unread[lane] = (int(fields[0][:9]), fields[1], marks)
        cursor._status = parts[1]
        cursor._ended = parts[0] == "1e"
        return cursor

    def __str__(self) -> str:
        parts = ["1e" if self._ended else "1", self._status]
        for lane in _LANES:
            sent = self._sent[lane]
            before, tail = sent[:-TAIL], sent[-TAIL:]
            total = _digest("".join(before), _SUM_CHARS) if before else ""
            parts.append(f"{len(before)}.{total}.{''.join(tail)}")
        return "~".join(parts)

    def has_all(self, snapshot: Snapshot) -> bool:
        """Tell whether there is nothing more to send, now or ever."""
        self._compare(snapshot)
        return self._ended and snapshot.over and not any(True for _ in self._news(snapshot))

    def events(self, snapshot: Snapshot) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (event, data) of what the reader lacks, in the order of speech.

        After each the cursor has moved: ``str`` of it is the id of that event.
        """
        self._compare(snapshot)
        status = snapshot.status
        if self._status != status:
            self._status = status
            yield "status", {"status": status}
        for lane, index, entry in list(self._news(snapshot)):
            sent = self._sent[lane]
            sent += [EMPTY] * (index + 1 - len(sent))
            sent[index] = entry.mark
            yield lane, entry.data or {}
        if snapshot.over and not self._ended:
            self._ended = True
            yield "end", {"status": status, "endedReason": snapshot.ended_reason}

    def _news(self, snapshot: Snapshot) -> Iterator[tuple[str, int, Entry]]:
        found: list[tuple[int, int, int, str, Entry]] = []
        for order, (lane, entries) in enumerate(_lanes(snapshot)):
            sent, clock = self._sent[lane], 0
            for index, entry in enumerate(entries):
                # Ordinals are the order of speech; starts can run a little behind it.
                clock = max(clock, entry.started_ms)
                known = sent[index] if index < len(sent) else EMPTY
                if entry.data is not None and entry.mark != known:
                    found.append((clock, order, index, lane, entry))
        for _, _, index, lane, entry in sorted(found, key=lambda each: each[:3]):
            yield lane, index, entry

    def _compare(self, snapshot: Snapshot) -> None:
        """Take up a cursor that came back: its sum stands for what the rows hold, or nothing."""
        for lane, entries in _lanes(snapshot):
            count, total, tail = self._unread.pop(lane, (0, "", []))
            now = [entry.mark for entry in entries[:count]]
            same = len(now) == count and (not count or _digest("".join(now), _SUM_CHARS) == total)
            if count or tail:
                self._sent[lane] = [*(now if same else [EMPTY] * count), *tail]


def _lanes(snapshot: Snapshot) -> tuple[tuple[str, Sequence[Entry]], ...]:
    return (("turn", snapshot.turns), ("tool", snapshot.tools))


def frame(event: str, data: dict[str, Any], cursor: Cursor) -> str:
    """Return one event as ``text/event-stream`` has it."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {cursor}\nevent: {event}\ndata: {body}\n\n"
