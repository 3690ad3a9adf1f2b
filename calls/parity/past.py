"""A past call as a script for a replay: what the caller said, and what the old stack did about it.

Pure. Owns the cut of an ordered conversation into exchanges (a turn of the caller with everything
that followed until the next one) and what counts as the known result of a tool call. Knows no rows
and no socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from calls.conversation import Entry, ToolUse
from calls.parity.logs.sequencing import arguments_of, outcome_of
from calls.parity.sequence import Outcome


@dataclass(frozen=True, slots=True)
class Words:
    """What the old stack said, as it was heard."""

    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class PastTool:
    """A tool call of the old stack; ``result`` None: nobody knows what came back.

    ``at_ms`` counts from the call's start. ``message``: calls with the same number were made
    together; None: this one was made by itself.
    """

    name: str
    arguments: Mapping[str, Any]
    result: str | None
    at_ms: int
    tool_call_id: str = ""
    outcome: Outcome = "unknown"
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something the model was told in between, such as keys that were pressed."""

    text: str
    at_ms: int


Reaction = Words | PastTool | Note


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of the caller and the old stack's reaction. Times are ms from the call's start.

    ``ended_ms`` None: not known when the caller stopped.
    """

    caller: str
    started_ms: int
    ended_ms: int | None
    reactions: tuple[Reaction, ...] = ()

    @property
    def tools(self) -> tuple[PastTool, ...]:
        """Return the tool calls of the reaction, in their order."""
        return tuple(each for each in self.reactions if isinstance(each, PastTool))

    @property
    def words(self) -> str:
        """Return what the old stack said, in one line."""
        return " ".join(each.text for each in self.reactions if isinstance(each, Words))


@dataclass(frozen=True, slots=True)
class Script:
    """What a replay plays. ``opening`` came before the caller's first word.

    ``handed_over_ms``: from then on another assistant had the call; what follows is not in here.
    """

    opening: tuple[Reaction, ...]
    exchanges: tuple[Exchange, ...]
    handed_over_ms: int | None = None

    @property
    def tools(self) -> tuple[PastTool, ...]:
        """Return every tool call of the old stack in order."""
        first = tuple(each for each in self.opening if isinstance(each, PastTool))
        return first + tuple(tool for each in self.exchanges for tool in each.tools)


def script_of(entries: Iterable[Entry], names: Mapping[str, str] | None = None) -> Script:
    """Return the script of a conversation in the order of ``calls.conversation``.

    Turns of the caller with nothing between them are one turn.

    Args:
        names: what the session calls a tool, by the name in the log, where they differ.
    """
    opening: list[Reaction] = []
    exchanges: list[_Open] = []
    handed_over_ms: int | None = None
    message = -1
    for entry in entries:
        if entry.kind == "handover":
            handed_over_ms = entry.at_ms
            break
        reactions = exchanges[-1].reactions if exchanges else opening
        if entry.speech is not None:
            text = " ".join(entry.speech.text.split())
            if not text:
                continue
            if entry.speech.role == "assistant":
                reactions.append(Words(text, entry.at_ms))
            elif entry.speech.role == "system":
                reactions.append(Note(text, entry.at_ms))
            elif exchanges and not exchanges[-1].reactions:
                exchanges[-1].texts.append(text)
                exchanges[-1].ended_ms = entry.speech.ended_ms
            else:
                exchanges.append(_Open([text], entry.at_ms, entry.speech.ended_ms, []))
        elif entry.kind == "tool-calls":
            message += 1
            together = message if len(entry.tools) > 1 else None
            reactions.extend(_past(tool, names or {}, together) for tool in entry.tools)
    return Script(
        opening=tuple(opening),
        exchanges=tuple(
            Exchange(" ".join(each.texts), each.started_ms, each.ended_ms, tuple(each.reactions))
            for each in exchanges
        ),
        handed_over_ms=handed_over_ms,
    )


@dataclass(slots=True)
class _Open:
    texts: list[str]
    started_ms: int
    ended_ms: int | None
    reactions: list[Reaction]


def _past(tool: ToolUse, names: Mapping[str, str], message: int | None) -> PastTool:
    return PastTool(
        name=names.get(tool.name, tool.name),
        arguments=arguments_of(tool),
        result=None if tool.running else tool.output,
        at_ms=tool.started_ms,
        tool_call_id=tool.tool_call_id,
        outcome=outcome_of(tool),
        message=message,
    )
