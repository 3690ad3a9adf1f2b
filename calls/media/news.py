"""News of a call that wait to be stored: bounded, and folded while they wait.

Pure. Of what has been said of a turn so far only the newest counts, pieces of the model's text are
put together, and a conversation that has changed twice has changed. When the database is away too
long the pieces are dropped first, then the oldest, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from calls.bridge.effects import CallNews, NewsKind

MOST_WAITING: Final = 150  # rows of one transaction
# Nobody misses one of these once the next one, or the whole turn, has been told.
PIECES: Final[frozenset[NewsKind]] = frozenset({"words", "output"})


class WaitingNews:
    """News in the order in which they happened."""

    def __init__(self) -> None:
        self._waiting: list[CallNews] = []
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[CallNews]:
        return iter(self._waiting)

    def add(self, news: CallNews) -> None:
        """Take one; it may take the place of one that it makes old."""
        place = self._made_old(news)
        if place is not None:
            old = self._waiting.pop(place)
            if news.kind == "output":
                news = replace(news, text=old.text + news.text)
        self._waiting.append(news)
        self._bound()

    def take(self) -> list[CallNews]:
        """Return all that waits, and forget it."""
        taken, self._waiting = self._waiting, []
        return taken

    def put_back(self, news: Iterable[CallNews]) -> None:
        """Put back in front what could not be stored."""
        self._waiting = [*news, *self._waiting]
        self._bound()

    def _made_old(self, news: CallNews) -> int | None:
        if news.kind not in PIECES and news.kind != "conversation":
            return None
        for place in range(len(self._waiting) - 1, -1, -1):
            each = self._waiting[place]
            if each.kind == news.kind and (news.kind == "conversation" or each.turn == news.turn):
                return place
        return None

    def _bound(self) -> None:
        if len(self._waiting) <= MOST_WAITING:
            return
        kept = [each for each in self._waiting if each.kind not in PIECES][-MOST_WAITING:]
        self.dropped += len(self._waiting) - len(kept)
        self._waiting = kept
