"""What the caller has heard: the ledger of audio sent to Twilio and acknowledged by marks.

Twilio plays a FIFO and says how far it is only by echoing marks; after ``clear`` it echoes every
pending mark at once, which means dropped, not heard (trap T10, O12). So every mark carries a
generation that each ``clear`` raises, and an echo of an older generation moves nothing. Sizes are
mu-law bytes; 8 bytes are 1 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from calls.bridge.ear import Ear
from calls.bridge.states import PLAYING, Machine, Playing
from calls.wire.twilio_media import MULAW_BYTES_PER_MS, StreamWriter

MARK_EVERY_BYTES = 100 * MULAW_BYTES_PER_MS
# Twilio's buffer limit is undocumented; beyond this we keep audio ourselves (twilio.md 3.3, 5).
MAX_AHEAD_BYTES = 30_000 * MULAW_BYTES_PER_MS
MAX_HELD_BYTES = 600_000 * MULAW_BYTES_PER_MS
# Durations at the model have been reported ~85 ms shorter than the bytes received (5.2).
NEARLY_ALL_BYTES = 100 * MULAW_BYTES_PER_MS


@dataclass(slots=True)
class Item:
    """Audio of one conversation item, or of a clip of ours (``item_id`` starts with ``clip-``)."""

    item_id: str
    interruptible: bool
    received_bytes: int = 0
    sent_bytes: int = 0
    played_bytes: int = 0
    complete: bool = False
    # Some of it counts as heard only because its time has passed: no mark has said so.
    assumed: bool = False

    @property
    def is_clip(self) -> bool:
        """Tell whether the audio is ours and unknown to the model."""
        return self.item_id.startswith("clip-")

    @property
    def played_ms(self) -> int:
        """Milliseconds heard, rounded down."""
        return self.played_bytes // MULAW_BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Cut:
    """One item that ``clear`` cut: ``heard_bytes`` of it reached the caller."""

    item: Item
    heard_bytes: int

    @property
    def heard_all(self) -> bool:
        """Tell whether so little is missing that the item counts as heard."""
        missing = self.item.received_bytes - self.heard_bytes
        return self.item.complete and self.heard_bytes > 0 and missing <= NEARLY_ALL_BYTES


@dataclass(slots=True)
class _Chunk:
    item: Item
    size: int
    ordinal: int
    ends_bytes: int
    marked: bool = False


class Playback:
    """The ledger of one stream; writes ``media``, ``mark`` and ``clear`` through ``emit``."""

    def __init__(self, writer: StreamWriter, emit: Callable[[str], None]) -> None:
        self.machine: Machine[Playing] = Machine(Playing.SILENT, PLAYING)
        self.generation = 1
        self.sent_bytes = 0
        self.dropped_bytes = 0
        self.unheard_bytes = 0
        self.stale_marks = 0
        self.missing_marks = 0
        self.finished: list[Item] = []
        self._writer = writer
        self._emit = emit
        self._items: dict[str, Item] = {}
        self._open: dict[str, Item] = {}
        self._chunks: deque[_Chunk] = deque()
        self._held: deque[tuple[Item, str, int]] = deque()
        self._ahead_bytes = 0
        self._held_bytes = 0
        self._unmarked_bytes = 0
        self._marked_ordinal = 0
        self._ordinal = 0
        self._head_since_ms = 0
        self._paused_until_ms = 0
        self._ear = Ear()

    @property
    def silent(self) -> bool:
        """Tell whether everything sent has been heard or cleared and nothing is held."""
        return self.machine.now is Playing.SILENT and not self._held

    @property
    def unfinished(self) -> bool:
        """Tell whether the model owes the rest of an item, however much of it has been heard."""
        return bool(self._open)

    @property
    def unfinished_item(self) -> str:
        """Return the item of which the model owes the rest, '' if it owes none."""
        return next(reversed(self._open), "")

    @property
    def held_bytes(self) -> int:
        """Bytes kept back because Twilio has enough for now."""
        return self._held_bytes

    @property
    def ahead_ms(self) -> int:
        """Milliseconds of audio that will be heard before anything added now."""
        return (self._ahead_bytes + self._held_bytes) // MULAW_BYTES_PER_MS

    def wait_ms(self, now_ms: int) -> int:
        """Estimate when audio added at ``now_ms`` would begin to be heard, in ms from then."""
        left_bytes = self._ahead_bytes - sum(self._heard_of_chunks(now_ms))
        begins_ms = max(0, left_bytes // MULAW_BYTES_PER_MS, self._paused_until_ms - now_ms)
        return begins_ms + self._held_bytes // MULAW_BYTES_PER_MS

    def pause(self, until_ms: int) -> None:
        """Keep back what is added before ``until_ms``; ``resume`` lets it go."""
        self._paused_until_ms = until_ms

    def paused_until_ms(self) -> int | None:
        """Return when ``resume`` is due, None when nothing waits for it."""
        waits = self._held and self._ahead_bytes < MAX_AHEAD_BYTES
        return self._paused_until_ms if waits else None

    def resume(self, now_ms: int) -> None:
        """Send what a pause kept back, once it is over."""
        self._release(now_ms)

    @property
    def interruptible(self) -> bool:
        """Tell whether what is being heard now may be cut."""
        return not self._chunks or self._chunks[0].item.interruptible

    def add(
        self,
        item_id: str,
        payload: str,
        size: int,
        now_ms: int,
        *,
        interruptible: bool = True,
    ) -> bool:
        """Send (or hold) a checked payload of ``size`` bytes; False if it had to be dropped."""
        item = self._items.get(item_id)
        if item is None:
            for earlier in list(self._open):  # audio comes in the order of speech (4.1)
                self.complete(earlier, now_ms)
            item = self._items[item_id] = Item(item_id, interruptible)
            if not item.is_clip:
                self._open[item_id] = item
        item.received_bytes += size
        paused = now_ms < self._paused_until_ms
        if self._held or paused or self._ahead_bytes >= MAX_AHEAD_BYTES:
            if self._held_bytes + size > MAX_HELD_BYTES:
                self.dropped_bytes += size
                return False
            self._held.append((item, payload, size))
            self._held_bytes += size
            return True
        self._send(item, payload, size, now_ms)
        return True

    def complete(self, item_id: str, now_ms: int) -> None:
        """Note that an item's audio is all here, and mark its end."""
        item = self._items.get(item_id)
        if item is None or item.complete:
            return
        item.complete = True
        self._open.pop(item_id, None)
        if self._unmarked_bytes and not self._held:
            self._mark()
        self._finish(item)

    def echo(self, name: str, now_ms: int) -> None:
        """Take a mark echo; one of an older generation, or an unknown one, moves nothing."""
        generation, _, ordinal_text = name.partition(":")
        if generation != f"g{self.generation}" or not (
            ordinal_text.isascii() and ordinal_text.isdigit()
        ):
            self.stale_marks += 1
            return
        ordinal = int(ordinal_text[:15])
        if (
            ordinal > self._marked_ordinal
            or not self._chunks
            or (ordinal < self._chunks[0].ordinal)
        ):
            self.stale_marks += 1
            return
        reached = next(chunk for chunk in self._chunks if chunk.ordinal == ordinal)
        self._ear.echoed(reached.ends_bytes, now_ms)
        self._acknowledge(ordinal, now_ms)
        self._release(now_ms)

    def clear(self, now_ms: int) -> list[Cut]:
        """Drop what has not been heard, here and at Twilio; return the items cut, in order.

        An item that the model has not finished is cut too, even if all that came was heard.
        """
        heard = self._heard_of_chunks(now_ms)
        cuts: dict[str, Cut] = {}
        for chunk, heard_bytes in zip(self._chunks, heard, strict=True):
            before = cuts.get(chunk.item.item_id)
            base = before.heard_bytes if before else chunk.item.played_bytes
            cuts[chunk.item.item_id] = Cut(chunk.item, base + heard_bytes)
            self.unheard_bytes += chunk.size - heard_bytes
        for item, _, size in self._held:
            cuts.setdefault(item.item_id, Cut(item, item.played_bytes))
            self.dropped_bytes += size
        for item in self._open.values():
            cuts.setdefault(item.item_id, Cut(item, item.played_bytes))
        for cut in cuts.values():
            cut.item.played_bytes = cut.heard_bytes
        if self._chunks:
            self.generation += 1
            self._ordinal = self._marked_ordinal = 0
            self._emit(self._writer.clear())
        self._chunks.clear()
        self._held.clear()
        self._open.clear()
        self._ahead_bytes = self._held_bytes = self._unmarked_bytes = 0
        self._settle()
        return list(cuts.values())

    def heard_bytes(self, item_id: str, now_ms: int, *, stopped: bool = False) -> int:
        """Estimate how much of an item has been heard: acknowledged, plus what is in the ear.

        ``stopped``: the stream is over, which we learn a journey later than it was.
        """
        item = self._items.get(item_id)
        if item is None:
            return 0
        heard = self._heard_of_chunks(now_ms, stopped=stopped)
        in_flight = sum(
            part for chunk, part in zip(self._chunks, heard, strict=True) if chunk.item is item
        )
        return item.played_bytes + in_flight

    def is_under_way(self, item_id: str) -> bool:
        """Tell whether some of an item is still to be heard, here or at Twilio."""
        on_way = (chunk.item for chunk in self._chunks)
        held = (item for item, _, _ in self._held)
        return any(item.item_id == item_id for each in (on_way, held) for item in each)

    def received_bytes(self, item_id: str) -> int:
        """Return the bytes the model has sent for an item."""
        item = self._items.get(item_id)
        return item.received_bytes if item else 0

    def deadline_ms(self, slack_ms: int) -> int | None:
        """Return when everything sent must have been acknowledged at the latest."""
        if not self._chunks:
            return None
        return self._head_since_ms + self._ahead_bytes // MULAW_BYTES_PER_MS + slack_ms

    def give_up_marks(self, now_ms: int) -> None:
        """Count what is unacknowledged as heard: its time has passed and no mark came."""
        if self._unmarked_bytes:
            self._unmarked_bytes = 0
        else:
            self.missing_marks += 1
        if self._chunks:
            self._marked_ordinal = self._ordinal
            for chunk in self._chunks:
                chunk.item.assumed = True
            self._acknowledge(self._ordinal, now_ms)
        self._release(now_ms)

    def _release(self, now_ms: int) -> None:
        if now_ms < self._paused_until_ms:
            return
        while self._held and self._ahead_bytes < MAX_AHEAD_BYTES:
            item, payload, size = self._held.popleft()
            self._held_bytes -= size
            self._send(item, payload, size, now_ms)
            if not self._held and item.complete and self._unmarked_bytes:
                self._mark()

    def _send(self, item: Item, payload: str, size: int, now_ms: int) -> None:
        silent = not self._chunks
        if silent:
            self._head_since_ms = now_ms
        self._ordinal += 1
        ends_bytes = self._ear.send(size, now_ms, silent=silent)
        self._chunks.append(_Chunk(item, size, self._ordinal, ends_bytes))
        item.sent_bytes += size
        self.sent_bytes += size
        self._ahead_bytes += size
        self._unmarked_bytes += size
        self._emit(self._writer.media(payload))
        if self._unmarked_bytes >= MARK_EVERY_BYTES:
            self._mark()
        self._settle()

    def _mark(self) -> None:
        self._unmarked_bytes = 0
        self._marked_ordinal = self._ordinal
        if self._chunks:
            self._chunks[-1].marked = True
        self._emit(self._writer.mark(f"g{self.generation}:{self._ordinal}"))

    def _acknowledge(self, ordinal: int, now_ms: int) -> None:
        while self._chunks and self._chunks[0].ordinal <= ordinal:
            chunk = self._chunks.popleft()
            chunk.item.played_bytes += chunk.size
            self._ahead_bytes -= chunk.size
            self._finish(chunk.item)
        self._head_since_ms = now_ms
        self._settle()

    def _finish(self, item: Item) -> None:
        if item.complete and item.played_bytes >= item.received_bytes:
            self.finished.append(item)

    def _settle(self) -> None:
        target = Playing.PLAYING if self._chunks else Playing.SILENT
        if self.machine.now is not target:
            self.machine.to(target)

    def _heard_of_chunks(self, now_ms: int, *, stopped: bool = False) -> list[int]:
        """Return how many bytes of each unacknowledged chunk have been heard by now.

        Nothing behind a mark counts once its echo is overdue: it was not reached (twilio.md 3.4).
        """
        until_ms = self._ear.stopped_ms(now_ms) if stopped else now_ms
        if until_ms is None:
            return [0] * len(self._chunks)
        heard = []
        reached = True
        for chunk in self._chunks:
            part = self._ear.heard(chunk.ends_bytes, chunk.size, until_ms) if reached else 0
            heard.append(part)
            if chunk.marked and self._ear.overdue(chunk.ends_bytes, now_ms):
                reached = False
        return heard
