"""What is kept of one call: a frozen value that journal and tool records ask before they write.

Pure. Nothing that a call leaves behind may pass it by: words of turns, arguments and answers of
tools, bodies of requests, the recorded inputs. What is sent while the call lasts is not its
business: a tool server gets the arguments as the model wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from calls.bridge.effects import CallNews, RecordHandoff, RecordTool, RecordTurn
from calls.privacy.patterns import Redactor

# News of a call that repeat what is said: in pieces, and as a whole.
_PIECES: Final = frozenset({"sounds", "words", "output"})
_WHOLE: Final = frozenset({"said", "voiced", "calls"})


@dataclass(frozen=True, slots=True)
class Keeping:
    """The rules of one call, as they are at the beginning of a stream or of a request.

    ``redactor``: what is masked first; None: nothing. ``words`` False: compliance mode, nothing of
    what was said or exchanged is kept, only that it was and when.
    """

    redactor: Redactor | None = None
    words: bool = True

    @property
    def inputs(self) -> bool:
        """Tell whether the inputs may be recorded for a replay.

        They hold every piece of every text as it came, so a number stands in them in parts that
        nobody can find: with anything to mask, none are kept.
        """
        return self.words and self.redactor is None

    def turn(self, turn: RecordTurn) -> RecordTurn:
        """Return a turn as it may be stored."""
        if not self.words:
            return replace(turn, text="", text_unheard="")
        if self.redactor is None:
            return turn
        goes_on = turn.ended_ms is None or turn.interrupted
        text, unheard = self.redactor.turn(turn.text, turn.text_unheard, goes_on=goes_on)
        return replace(turn, text=text, text_unheard=unheard)

    def tool(self, tool: RecordTool) -> RecordTool:
        """Return a tool call as it may be stored."""
        arguments_json, output = self.body(tool.arguments_json), self.body(tool.output)
        return replace(tool, arguments_json=arguments_json, output=output)

    def handoff(self, handoff: RecordHandoff) -> RecordHandoff:
        """Return a handoff whose variables, which the model may have filled in, may be stored."""
        if self.words and self.redactor is None:
            return handoff
        variables = self.variables(handoff.record.get("variables"))
        return replace(handoff, record={**handoff.record, "variables": variables})

    def variables(self, values: Any) -> Any:
        """Return the variables of a call as they may stay."""
        if not values or not self.words:
            return {}
        return values if self.redactor is None else self.redactor.value(values)

    def news(self, news: CallNews) -> CallNews | None:
        """Return what may be told of a call while it is on, None where that is nothing.

        Pieces are not told where anything is masked: a number stands in them in parts.
        """
        if self.words and self.redactor is None:
            return news
        if news.kind not in _PIECES | _WHOLE:
            return news
        if self.redactor is None or news.kind in _PIECES:
            return None
        text = self.body(news.text) if news.kind == "calls" else self.redactor.turn(news.text)[0]
        return replace(news, text=text) if text else None

    def body(self, text: str) -> str:
        """Return arguments, an answer or the body of a request as it may be stored."""
        if not self.words:
            return ""
        return text if self.redactor is None else self.redactor.body(text)

    def line(self, text: str) -> str:
        """Return a short text beside a body, e.g. an address, as it may be stored."""
        if not self.words:
            return ""
        return text if self.redactor is None else self.redactor.text(text)

    def live(self, text: str) -> str:
        """Return a text that is shown while it is still being said, '' where none may be shown."""
        if not self.words:
            return ""
        return text if self.redactor is None else self.redactor.partial(text)


EVERYTHING: Final = Keeping()
NOTHING: Final = Keeping(words=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What those who listen to a call may get; ``forbidden`` says why they hear nothing at all."""

    keeping: Keeping = EVERYTHING
    forbidden: str = ""

    def text(self, turn: RecordTurn) -> str:
        """Return what may be shown of a turn, '' where nothing may be: what would be stored."""
        return self.keeping.turn(turn).text
