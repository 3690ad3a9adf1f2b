"""What was said, in the order in which it was said.

Order comes from when a turn began, never from when its text arrived: transcription of the caller
is often later than our answer (openai_realtime.md 4.1). The assistant's text is what was heard; the
part behind a cut is kept apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calls.bridge.effects import NewsKind, RecordTurn, Role
from calls.bridge.news import News

# Turns that are typed, not spoken.
_TYPED = "keys-"


@dataclass(slots=True)
class Spoken:
    """One turn while it is being made."""

    ordinal: int
    role: Role
    item_id: str
    started_ms: int
    text: str = ""
    text_unheard: str = ""
    ended_ms: int | None = None
    interrupted: bool = False
    latency_ms: int | None = None
    final: bool = False
    # What has been told of it: that it is heard, that it is whole, the caller's words so far.
    sounded: bool = False
    told: bool = False
    pieces: str = ""


def heard_part(text: str, heard: int, received: int) -> tuple[str, str]:
    """Split text at the share that was heard, at a word's end (never more than was heard)."""
    if received <= 0 or heard <= 0:
        return "", text
    if heard >= received:
        return text, ""
    cut = len(text) * heard // received
    if cut < len(text) and not text[cut].isspace():
        cut = max(text.rfind(" ", 0, cut), 0)
    return text[:cut].rstrip(), text[cut:].lstrip()


def _joined(first: str, second: str) -> str:
    return f"{first} {second}" if first and second else first or second


class Transcript:
    """Collects turns and hands them out as ``RecordTurn`` effects through ``emit``.

    ``news`` is told of them while they are being made.
    """

    def __init__(
        self, first_ordinal: int, emit: Callable[[RecordTurn], None], news: News | None = None
    ) -> None:
        self._next = first_ordinal
        self._emit = emit
        self._news = news or News()
        self._turns: dict[str, Spoken] = {}

    @property
    def count(self) -> int:
        """Turns begun in this stream."""
        return len(self._turns)

    @property
    def next_ordinal(self) -> int:
        """Return the ordinal of the next turn to begin."""
        return self._next

    @property
    def speaking_ordinal(self) -> int:
        """Return the ordinal of the assistant's turn that is being heard, or was last."""
        mine = [turn for turn in self._turns.values() if turn.role == "assistant"]
        open_ones = [turn.ordinal for turn in mine if turn.sounded and not turn.final]
        return min(open_ones, default=max((turn.ordinal for turn in mine), default=0))

    def turns(self) -> list[Spoken]:
        """Return the turns of this stream in the order of speech."""
        return sorted(self._turns.values(), key=lambda turn: turn.ordinal)

    def rename(self, item_id: str, new_item_id: str) -> None:
        """Give a turn the id under which another session of the model hears it again."""
        turn = self._turns.get(item_id)
        if turn is not None and new_item_id not in self._turns:
            del self._turns[item_id]
            turn.item_id = new_item_id
            self._turns[new_item_id] = turn

    def stop_at(self, turn: Spoken, characters: int) -> None:
        """Note that the model was lost in the middle of a turn: nothing beyond can be heard."""
        turn.text, rest = heard_part(turn.text, characters, len(turn.text))
        turn.text_unheard = _joined(rest, turn.text_unheard)
        turn.interrupted = True

    def begin(self, item_id: str, role: Role, started_ms: int) -> Spoken:
        """Return the turn of an item, made now if it is new."""
        turn = self._turns.get(item_id)
        if turn is None:
            turn = self._turns[item_id] = Spoken(self._next, role, item_id, started_ms)
            self._next += 1
            if role == "user" and not item_id.startswith(_TYPED):
                self.sounds(turn)
        return turn

    def sounds(self, turn: Spoken) -> None:
        """Note that a turn can be heard; it is told once."""
        if turn.sounded or turn.final:
            return
        turn.sounded = True
        self._tell("speech-started", turn)
        if turn.role == "assistant":
            self._tell("sounds", turn, turn.text)

    def hear(self, item_id: str, delta: str) -> None:
        """Note a piece of what the caller says; their turn's text comes when it is whole."""
        turn = self._turns.get(item_id)
        if turn is not None and delta and not turn.told and self._news.wants("words"):
            turn.pieces += delta
            self._tell("words", turn, turn.pieces)

    def get(self, item_id: str) -> Spoken | None:
        """Return the turn of an item, if it has begun."""
        return self._turns.get(item_id)

    def say(self, turn: Spoken, text: str) -> None:
        """Set a turn's whole text and hand it out."""
        if turn.interrupted:
            return
        turn.text = text
        self.record(turn)
        if turn.role == "assistant":
            self._tell("voiced", turn, text)
        if turn.role == "user" or turn.final:
            self._tell_said(turn)

    def add(self, turn: Spoken, delta: str) -> None:
        """Append to a turn's text; handed out when it is complete."""
        if not turn.interrupted:
            turn.text += delta
            self._tell("output", turn, delta)
            self._tell("words", turn, turn.text)

    def cut(self, turn: Spoken, heard: int, received: int, ended_ms: int) -> None:
        """Keep of a turn what was heard, and mark the rest."""
        turn.text, rest = heard_part(turn.text, heard, received)
        turn.text_unheard = _joined(rest, turn.text_unheard)
        turn.interrupted = True
        self.end(turn, ended_ms)

    def end(self, turn: Spoken, ended_ms: int) -> None:
        """Close a turn and hand it out; a second call changes nothing."""
        if turn.final:
            return
        turn.final = True
        turn.ended_ms = max(ended_ms, turn.started_ms)
        self.record(turn)
        if turn.sounded:
            self._tell("speech-stopped", turn)
        if turn.role == "assistant":
            self._tell_said(turn)

    def close(self, ended_ms: int, heard: Callable[[str], tuple[int, int]]) -> None:
        """Close every open turn; ``heard`` gives (heard, received) bytes of an assistant item."""
        for turn in self._turns.values():
            if turn.final:
                continue
            if turn.role == "assistant":
                part, whole = heard(turn.item_id)
                if part < whole or not whole:  # text runs ahead of audio: nothing was heard
                    self.cut(turn, part, whole, ended_ms)
                    continue
            self.end(turn, ended_ms)

    def record(self, turn: Spoken) -> None:
        """Hand a turn out as it stands."""
        self._emit(
            RecordTurn(
                ordinal=turn.ordinal,
                role=turn.role,
                text=turn.text,
                text_unheard=turn.text_unheard,
                item_id=turn.item_id,
                started_ms=turn.started_ms,
                ended_ms=turn.ended_ms,
                interrupted=turn.interrupted,
                latency_ms=turn.latency_ms,
            )
        )

    def _tell_said(self, turn: Spoken) -> None:
        """Tell all that was heard of a turn, once."""
        if turn.text and not turn.told:
            turn.told = True
            self._tell("said", turn, turn.text)
            self._tell("conversation", turn)

    def _tell(self, kind: NewsKind, turn: Spoken, text: str = "") -> None:
        at_ms = turn.started_ms if turn.ended_ms is None else turn.ended_ms
        self._news.tell(kind, at_ms, role=turn.role, turn=turn.ordinal, text=text)
