"""What a fork brings is held back until it is known that no person was put through by then.

Pure and without time of its own. Owns which sound may still go to whoever hears a call along, and
when: a constant time after it came, and only where Twilio was asked after it had come and said that
nobody had been dialled. It must not read a clock, ask Twilio or look into what it holds. The rest
of what the machine is told comes as much later, so that its times fit each other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

T = TypeVar("T")
# ``sound`` is released on Twilio's word only; ``fork`` and ``word`` (what tools answered) are not.
Kind = Literal["sound", "fork", "word"]
End = Literal["", "silent", "late", "flood"]

# Eight seconds of both tracks are a quarter of it, with all that stands around each frame.
MOST_HELD_BYTES: Final = 2_000_000
_BEFORE_ALL: Final = -(10**15)

END_WORDS: Final = {
    "silent": "Twilio did not say in time whether somebody was put through",
    "late": "Twilio said too late that somebody was put through; what was heard is not kept",
    "flood": "the fork sent more than a call has",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long everything is held, and what is allowed for.

    ``lag_ms``: how much later than it was dialled a leg may appear in Twilio's list; Twilio
    promises nothing. ``margin_ms``: Twilio tells times in whole seconds, by clocks of several
    servers. ``ask_ms`` from one question to the next, ``patience_ms`` for an answer. A question
    that stays without an answer, and another that takes as long as it may, fit into ``hold_ms``.
    """

    hold_ms: int = 8_000
    lag_ms: int = 1_000
    margin_ms: int = 1_500
    ask_ms: int = 2_000
    patience_ms: int = 2_500


@dataclass(frozen=True, slots=True)
class Legs:
    """What Twilio says of the legs that were dialled for a call.

    ``ago_ms``: how long before it said so the first one was, by its own clock; None: not told.
    """

    are_some: bool = False
    ago_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    at_ms: int
    what: T
    kind: Kind
    size: int


class DelayLine(Generic[T]):
    """What came of one call and is not released yet. All times are ms of one clock.

    ``end`` tells why nothing more may be released, '' while it goes on. ``person_ms`` is a moment
    before the first leg was dialled, ``dialled_by_ms`` one after it; None while nobody was.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.end: End = ""
        self.person_ms: int | None = None
        self.dialled_by_ms: int | None = None
        self._held: deque[_Held[T]] = deque()
        self._held_bytes = 0
        self._clear_ms: int | None = None  # what came before it came before any person
        self._last_sound_ms: int | None = None
        self._released_ms: int | None = None
        self._closed = self._person_told = False

    def put(self, what: T, now_ms: int, kind: Kind, size: int = 0) -> None:
        """Hold back what has just come; what came when somebody had been dialled is let fall."""
        if self.end or (self._is_persons(now_ms) and kind != "word"):
            return
        if kind == "sound":
            self._last_sound_ms = now_ms
        self._held.append(_Held(now_ms, what, kind, size))
        self._held_bytes += size
        if self._held_bytes > MOST_HELD_BYTES:
            self._over("flood")

    def closed(self) -> None:
        """Note that no more sound will come."""
        self._closed = True

    @property
    def asks(self) -> bool:
        """Tell whether Twilio is to be asked again: something waits for its word, or may come."""
        if self.end or self.person_ms is not None:
            return False
        return not self._closed or (
            self._last_sound_ms is not None and not self._is_clear(self._last_sound_ms)
        )

    def told(self, legs: Legs | None, asked_ms: int, now_ms: int) -> None:
        """Take Twilio's answer, None for none.

        Args:
            asked_ms: when the question was sent; what came later it says nothing about.
        """
        if self.end or self.person_ms is not None or legs is None:
            return
        clear_ms = asked_ms - self.pace.lag_ms
        if not legs.are_some:
            self._clear_ms = max(clear_ms, clear_ms if self._clear_ms is None else self._clear_ms)
            return
        self._somebody(legs, asked_ms, now_ms)

    def _somebody(self, legs: Legs, asked_ms: int, now_ms: int) -> None:
        margin_ms = self.pace.margin_ms
        bounds = [] if self._clear_ms is None else [self._clear_ms]
        by_ms = now_ms
        if legs.ago_ms is not None:
            ago_ms = max(legs.ago_ms, 0)
            # Twilio wrote its answer between the question and now.
            bounds.append(asked_ms - ago_ms - margin_ms)
            by_ms = min(now_ms, now_ms - ago_ms + margin_ms)
        self.person_ms = max(bounds, default=_BEFORE_ALL)
        self.dialled_by_ms = max(by_ms, self.person_ms)
        if self._released_ms is not None and self._released_ms >= by_ms:
            self._over("late")
            return
        mine = [each for each in self._held if each.kind == "word" or each.at_ms < self.person_ms]
        self._held = deque(mine)
        self._held_bytes = sum(each.size for each in mine)

    def take(self, now_ms: int) -> list[T]:
        """Return what is due and may be released, oldest first.

        Sound that is due and of which Twilio has said nothing ends it all.
        """
        out: list[T] = []
        while self._held and self._held[0].at_ms + self.pace.hold_ms <= now_ms:
            first = self._held[0]
            if first.kind == "sound":
                if self.person_ms is None and not self._is_clear(first.at_ms):
                    self._over("silent")
                    return out
                self._released_ms = first.at_ms
            self._held.popleft()
            self._held_bytes -= first.size
            out.append(first.what)
        return out

    def is_person_due(self, now_ms: int) -> bool:
        """Tell, once, that all that came before somebody was dialled has been released."""
        if self._person_told or self.person_ms is None:
            return False
        self._person_told = self.person_ms + self.pace.hold_ms <= now_ms
        return self._person_told

    def due_ms(self) -> int | None:
        """Return when something is due, None while nothing is held."""
        due = [self._held[0].at_ms] if self._held else []
        if self.person_ms is not None and not self._person_told and not self.end:
            due.append(self.person_ms)
        return min(due) + self.pace.hold_ms if due else None

    def clear(self) -> None:
        """Throw away what is held."""
        self._held.clear()
        self._held_bytes = 0

    def _is_clear(self, at_ms: int) -> bool:
        return self._clear_ms is not None and at_ms < self._clear_ms

    def _is_persons(self, at_ms: int) -> bool:
        return self.person_ms is not None and at_ms >= self.person_ms

    def _over(self, end: End) -> None:
        self.end = end
        self.clear()
