"""What the old stack said in a call that is heard along, as the ear's session writes it down.

Pure. Owns which utterances are still to be written down, and whether a notice has been given: the
words that tell callers of whoever listens besides. It must not send anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_WRITTEN: Final = "conversation.item.input_audio_transcription."
_NOT_LETTERS: Final = re.compile(r"[^\w]+")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance of the old stack; ms from the begin of the stream."""

    text: str = field(repr=False)
    started_ms: int
    ended_ms: int


@dataclass(slots=True)
class Ear:
    """The utterances that have begun and are not written down yet, by their items."""

    _begun: dict[str, int] = field(default_factory=dict)
    _ended: dict[str, int] = field(default_factory=dict)

    def takes(self, kind: str, event: Mapping[str, Any], at_ms: int) -> Spoken | None:
        """Take an event of the ear's session; return the utterance that it completes, if any."""
        item_id = str(event.get("item_id"))
        if kind == "input_audio_buffer.speech_started":
            self._begun[item_id] = at_ms
        elif kind == "input_audio_buffer.committed":
            self._begun.setdefault(item_id, at_ms)
            self._ended[item_id] = at_ms
        elif kind in {_WRITTEN + "completed", _WRITTEN + "failed"}:
            started_ms = self._begun.pop(item_id, at_ms)
            ended_ms = self._ended.pop(item_id, at_ms)
            text = event.get("transcript")
            plain = " ".join(text.split()) if isinstance(text, str) else ""
            return Spoken(plain, started_ms, ended_ms) if plain else None
        return None

    def owes_before(self, at_ms: int) -> bool:
        """Tell whether something that began before then is still to be written down."""
        return any(begun < at_ms for begun in self._begun.values())


def notice_given(notice: str, said: str) -> bool:
    """Tell whether the words of a notice were said, whatever stands between their letters."""
    wanted = _plain(notice)
    return bool(wanted) and f" {wanted} " in f" {_plain(said)} "


def _plain(text: str) -> str:
    return _NOT_LETTERS.sub(" ", text.casefold()).strip()
