"""What the Realtime stand-in says and which tools it calls: rules over the words it heard. It owns
the conversation's script; it must not know events, audio or time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

_QUOTED = re.compile(r'["\u201c](.+)["\u201d]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Speak:
    """The model says this."""

    text: str


@dataclass(frozen=True, slots=True)
class CallTool:
    """The model calls a function; `arguments_json` goes out as it stands, valid or not."""

    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class CallMcp:
    """The model calls a tool of an MCP server, which answers ``output`` or fails with ``error``."""

    server_label: str
    name: str
    arguments_json: str = "{}"
    output: str = ""
    error: str = ""


Part = Speak | CallTool | CallMcp


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What came back for one function call."""

    name: str
    output: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Why a response is due: words heard (None: no new ones), instructions, tool outputs."""

    heard: str | None = None
    instructions: str | None = None
    outputs: tuple[ToolOutput, ...] = ()
    tools: frozenset[str] = frozenset()
    out_of_band: bool = False
    # (role or kind of item, text) of the conversation as this session knows it, oldest first.
    history: tuple[tuple[str, str], ...] = ()

    @property
    def cut_off(self) -> str:
        """Return the assistant's words with which the conversation ends, '' if it does not."""
        role, text = self.history[-1] if self.history else ("", "")
        return text if role == "assistant" else ""


class Brain(Protocol):
    """Anything that decides what a response holds."""

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the response, in the order of speech."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One reaction: speech, then tool calls, then what follows when all outputs are in."""

    say: str | None = None
    tools: tuple[CallTool | CallMcp, ...] = ()
    then: Step | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """`when` is searched in the words heard (None fits all); the first fitting rule answers."""

    step: Step
    when: re.Pattern[str] | None = None
    once: bool = False


@dataclass(slots=True)
class RuleBrain:
    """Answers by rules; without a fitting one it repeats what it heard."""

    rules: list[Rule] = field(default_factory=list)
    default_say: str = "You said: {heard}"
    greeting: str = "Hello."
    out_of_band_say: str = "{}"
    _used: set[int] = field(default_factory=set)
    _after_tools: Step | None = None
    _latest: str = ""

    def matches(self, heard: str) -> bool:
        """Tell whether a rule with a `when` fits these words."""
        return any(rule.when and rule.when.search(heard) for rule in self.rules)

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the next response."""
        parts = self._rest(turn) or self._reply(turn)
        spoken = " ".join(part.text for part in parts if isinstance(part, Speak))
        self._latest = spoken or self._latest
        return parts

    def _rest(self, turn: Turn) -> list[Part]:
        """Return what is left to say when the session before this one died in mid-sentence."""
        asked = turn.instructions is not None and sentence_to_say(turn.instructions) is None
        if not asked or turn.heard is not None or turn.outputs or not turn.cut_off:
            return []
        if not self._latest.startswith(turn.cut_off):
            return []
        rest = self._latest[len(turn.cut_off) :].strip()
        return [Speak(rest)] if rest else []

    def _reply(self, turn: Turn) -> list[Part]:
        exact = sentence_to_say(turn.instructions)
        if exact is not None:
            return [Speak(exact)]
        if turn.out_of_band and (turn.instructions is not None or not turn.history):
            return [Speak(self.out_of_band_say)]
        if turn.outputs:
            # Kept: a response that dies before its first word is asked for once more.
            return self._run(self._after_tools or Step(say="Result: {output}"), turn)
        if turn.heard is None:
            return [Speak(self.greeting)]
        for index, rule in enumerate(self.rules):
            if index in self._used or not _fits(rule, turn.heard):
                continue
            if rule.once:
                self._used.add(index)
            return self._run(rule.step, turn)
        return [Speak(_fill(self.default_say, turn))]

    def _run(self, step: Step, turn: Turn) -> list[Part]:
        parts: list[Part] = [Speak(_fill(step.say, turn))] if step.say else []
        parts += step.tools
        if step.tools:  # speech in between does not forget what a running tool leads to
            self._after_tools = step.then
        return parts


def _fits(rule: Rule, heard: str) -> bool:
    return rule.when is None or rule.when.search(heard) is not None


def _fill(template: str, turn: Turn) -> str:
    output = "; ".join(result.output for result in turn.outputs)
    # Plain replacement: outputs are JSON and full of braces.
    return template.replace("{heard}", turn.heard or "").replace("{output}", output)


def sentence_to_say(instructions: str | None) -> str | None:
    """Return the quoted sentence in per-response instructions (openai_realtime.md 5.6), if any."""
    found = _QUOTED.search(instructions or "")
    if found is None:
        return None
    try:
        spoken: Any = json.loads(f'"{found[1]}"')
    except ValueError:
        spoken = found[1]
    return str(spoken)


class ScenarioBook(Protocol):
    """Where a brain for the words of a caller can be found."""

    def brain_for(self, heard: str) -> Brain | None:
        """Return a fresh brain of the scenario in which these words are said, if there is one."""
        ...


class BookBrain:
    """Takes the brain of whatever scenario its caller turns out to play.

    Only what was heard in the audio decides: there is no side channel from carrier to model.
    """

    def __init__(self, book: ScenarioBook) -> None:
        self._book = book
        self._bound: Brain | None = None
        self._unbound = RuleBrain()

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the next response."""
        if self._bound is None and turn.heard:
            self._bound = self._book.brain_for(turn.heard)
        return (self._bound or self._unbound).reply(turn)
