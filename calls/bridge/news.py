"""What a server has asked to be told of while a call is on, as it happens.

Owns the numbering and the choice: nothing is made that the plan does not ask for (``tells``), so a
call that nobody follows pays one look into an empty set. How it is told, and to whom, is decided
far from here (``calls.services.server_messages``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from calls.bridge.effects import CallNews, NewsKind, Role


class News:
    """Hands out ``CallNews`` effects of the kinds that are wanted."""

    def __init__(
        self, wanted: Iterable[str] = (), emit: Callable[[CallNews], None] = lambda news: None
    ) -> None:
        self._wanted = frozenset(wanted)
        self._emit = emit
        self._count = 0

    @property
    def count(self) -> int:
        """Return how many have been handed out."""
        return self._count

    def ask(self, wanted: Iterable[str]) -> None:
        """Hand out these kinds from now on, and no others."""
        self._wanted = frozenset(wanted)

    def wants(self, kind: NewsKind) -> bool:
        """Tell whether anybody wants to hear of this."""
        return kind in self._wanted

    def tell(
        self,
        kind: NewsKind,
        at_ms: int,
        *,
        role: Role = "assistant",
        turn: int = 0,
        text: str = "",
    ) -> None:
        """Hand out one piece of news, if it is wanted.

        Args:
            at_ms: the place in the call that it is about, from its first stream's start.
            turn: the ordinal of the turn that it is about.
        """
        if kind not in self._wanted:
            return
        self._count += 1
        self._emit(CallNews(self._count, kind, at_ms, role, turn, text))
