"""Whether what the caller says is enough to interrupt the assistant (vapi.md 2.7).

Pure. While the assistant is heard a caller knocks; the gate opens at so many words, or when they
have spoken for as long as those words take, because text comes only after speech. Words that
always or never interrupt are lists of the assistant's. It must not know what is playing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from calls.bridge.phrases import says, says_only, words_of
from calls.bridge.plan import Interruption

WORD_MS: Final = 300
# The text of a turn comes some 400 ms after its end; without it the turn is answered unread.
TEXT_WAIT_MS: Final = 2_000

Verdict = Literal["interrupt", "answer", "ignore"]


@dataclass(slots=True)
class Knock:
    """Speech that has not interrupted yet; ``over_ms`` once it has ended."""

    since_ms: int
    over_ms: int | None = None
    text: str = ""


class Gate:
    """Speech heard while the assistant speaks, until it is decided what becomes of it."""

    def __init__(self, plan: Interruption) -> None:
        self._plan = plan
        self._open_after_ms = plan.words * WORD_MS if plan.words else plan.voice_ms
        self._knocks: dict[str, Knock] = {}

    @property
    def guards(self) -> bool:
        """Tell whether anything but speech itself is needed to interrupt."""
        return self._plan.guards

    @property
    def closed(self) -> bool:
        """Tell whether somebody knocks who has not been let in or sent away."""
        return bool(self._knocks)

    @property
    def text_awaited(self) -> bool:
        """Tell whether a turn is over and only its text will say what becomes of it."""
        return any(knock.over_ms is not None for knock in self._knocks.values())

    def has(self, item_id: str) -> bool:
        """Tell whether this turn is undecided."""
        return item_id in self._knocks

    def knock(self, item_id: str, now_ms: int) -> None:
        """Note that the caller begins to speak while the assistant is heard."""
        self._knocks.setdefault(item_id, Knock(now_ms))

    def stopped(self, item_id: str, now_ms: int) -> None:
        """Note that a turn is over; from now on its text is awaited."""
        knock = self._knocks.get(item_id)
        if knock is not None and knock.over_ms is None:
            knock.over_ms = now_ms

    def hears(self, item_id: str, text: str, *, final: bool) -> Verdict | None:
        """Take words of a turn (a piece, or with ``final`` all of them); None: still undecided.

        A verdict ends the knock.
        """
        knock = self._knocks.get(item_id)
        if knock is None:
            return None
        knock.text = text if final else knock.text + text
        verdict = self._judge(knock.text)
        if verdict != "interrupt" and not final:
            return None
        del self._knocks[item_id]
        return verdict

    def unread(self, item_id: str) -> Verdict | None:
        """Give up on the text of a turn, and answer it once the assistant has been heard."""
        return "answer" if self._knocks.pop(item_id, None) is not None else None

    def due(self, now_ms: int) -> dict[str, Verdict]:
        """Return, and forget, what time has decided: long speech opens, no text is an answer."""
        verdicts: dict[str, Verdict] = {}
        for item_id, knock in self._knocks.items():
            if now_ms >= self._due_ms(knock):
                verdicts[item_id] = "interrupt" if knock.over_ms is None else "answer"
        for item_id in verdicts:
            del self._knocks[item_id]
        return verdicts

    def deadline_ms(self) -> int | None:
        """Return when ``due`` has something to say, None when never."""
        return min(map(self._due_ms, self._knocks.values()), default=None)

    def forget(self) -> None:
        """Decide nothing any more about those who knock: the assistant stops anyway."""
        self._knocks.clear()

    def _due_ms(self, knock: Knock) -> int:
        if knock.over_ms is None:
            return knock.since_ms + self._open_after_ms
        return knock.over_ms + TEXT_WAIT_MS

    def _judge(self, text: str) -> Verdict:
        plan, words = self._plan, words_of(text)
        if says(text, plan.phrases):
            return "interrupt"
        if not words or says_only(text, plan.acknowledgements):
            return "ignore"
        return "interrupt" if len(words) >= max(plan.words, 1) else "answer"
