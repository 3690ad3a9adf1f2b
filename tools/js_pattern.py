"""JavaScript's ``RegExp.test`` for patterns that other people wrote, in time that is bounded.

A pattern of an assistant runs beside live calls, so it must not be able to take seconds, as one
that backtracks can. It is compiled to a machine without memory (Thompson) and run over all its
states at once: the work grows with text times pattern, and has a limit. What such a machine cannot
do, references to groups, is refused. An inline ``(?i)`` is accepted as Vapi does (vapi.md 3.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Literal

MAX_PATTERN: Final = 1_000  # characters
MAX_TEXT: Final = 2_000  # characters; of a longer message the end counts
MAX_PROGRAM: Final = 4_000  # steps
MAX_STEPS: Final = 200_000
_MAX_LEVELS: Final = 30
_LINE_ENDS: Final = frozenset("\n\r\u2028\u2029")
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS: Final = frozenset("0123456789")
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "f": "\f", "0": "\0"}
_COUNTS: Final = re.compile(r"\{(\d{1,4})(,?)(\d{0,4})\}", re.ASCII)

Test = Callable[[str], bool]
Place = Literal["start", "end", "word", "no word"]


class PatternError(ValueError):
    """The pattern cannot be read, or takes too much work; nothing is known about the text."""


class _Step:
    """One step of a machine: take a character, go two ways, test the place, look around, or end."""

    __slots__ = ("behind", "inner", "lines", "negated", "other", "place", "test", "to")

    def __init__(self) -> None:
        self.test: Test | None = None
        self.place: Place | None = None
        self.lines = self.behind = self.negated = False
        self.inner: _Step | None = None
        self.to: _Step | None = None
        self.other: _Step | None = None


# Writes a piece of a machine in front of the step that follows it, and returns its first step.
Emit = Callable[[_Step], _Step]


def found_in(pattern: str, text: str) -> bool:
    """Tell whether ``pattern`` matches anywhere in ``text``.

    Raises:
        PatternError: no answer can be given.
    """
    return _Run(text[-MAX_TEXT:]).finds(_machine(pattern))


@lru_cache(maxsize=256)
def _machine(pattern: str) -> _Step:
    if len(pattern) > MAX_PATTERN:
        raise PatternError("the pattern is too long")
    return _Reader(pattern).machine()


class _Run:
    """The states of machines over one text; counts its work."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = MAX_STEPS
        self._looked: dict[tuple[_Step, int], bool] = {}

    def finds(self, first: _Step) -> bool:
        """Tell whether a machine comes to its end from any place."""
        begun: set[_Step] = set()
        for at in range(len(self._text) + 1):
            states, ended = self._reached([first, *begun], at)
            if ended:
                return True
            begun = self._taken(states, at)
        return False

    def _matches(self, first: _Step, begin: int, end: int | None) -> bool:
        """Tell whether a machine comes from ``begin`` to its end, at ``end`` if one is given."""
        begun = {first}
        for at in range(begin, len(self._text) + 1):
            states, ended = self._reached(begun, at)
            if ended and end in (None, at):
                return True
            begun = self._taken(states, at)
            if not begun or at == end:
                return False
        return False

    def _taken(self, states: Iterable[_Step], at: int) -> set[_Step]:
        """Return where the states go that take the character at ``at``."""
        if at >= len(self._text):
            return set()
        character = self._text[at]
        return {
            step.to
            for step in states
            if step.test is not None and step.to is not None and step.test(character)
        }

    def _reached(self, begun: Iterable[_Step], at: int) -> tuple[set[_Step], bool]:
        """Return what can be reached without taking a character, and whether the end is in it."""
        stack, states, ended = list(begun), set[_Step](), False
        while stack:
            step = stack.pop()
            if step in states:
                continue
            self._left -= 1
            if self._left < 0:
                raise PatternError("the pattern takes too much work")
            states.add(step)
            if step.test is not None:
                continue
            if step.to is None:
                ended = True
                continue
            if step.place is not None:
                passes = self._is_at(step.place, at, lines=step.lines)
            else:
                passes = step.inner is None or self._sees(step, at)
            if passes:
                stack.append(step.to)
                if step.other is not None:
                    stack.append(step.other)
        return states, ended

    def _is_at(self, place: Place, at: int, *, lines: bool) -> bool:
        text = self._text
        if place == "start":
            return at == 0 or (lines and text[at - 1] in _LINE_ENDS)
        if place == "end":
            return at == len(text) or (lines and text[at] in _LINE_ENDS)
        before = at > 0 and text[at - 1] in _WORD
        after = at < len(text) and text[at] in _WORD
        return (before != after) == (place == "word")

    def _sees(self, step: _Step, at: int) -> bool:
        inner, key = step.inner, (step, at)
        if inner is not None and key not in self._looked:
            self._looked[key] = (
                any(self._matches(inner, begin, at) for begin in range(at, -1, -1))
                if step.behind
                else self._matches(inner, at, None)
            )
        return self._looked[key] != step.negated


class _Reader:
    """Reads a pattern and writes its machine."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._folds = self._dots = self._lines = False
        self._levels = 0
        self._steps = 0

    def machine(self) -> _Step:
        """Return the first step of the whole pattern."""
        while self._text.startswith("(?", self._at):
            end = self._text.find(")", self._at)
            flags = self._text[self._at + 2 : end]
            if end < 0 or not flags or set(flags) - set("imsu"):
                break
            self._folds = self._folds or "i" in flags
            self._dots = self._dots or "s" in flags
            self._lines = self._lines or "m" in flags
            self._at = end + 1
        emit = self._choice()
        if self._at < len(self._text):
            raise PatternError("a bracket is closed that was not opened")
        return emit(_Step())

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise PatternError("the pattern ends too early")
        self._at += 1
        return character

    def _new(self) -> _Step:
        self._steps += 1
        if self._steps > MAX_PROGRAM:
            raise PatternError("the pattern is too large")
        return _Step()

    def _split(self, one: _Step, other: _Step) -> _Step:
        step = self._new()
        step.to, step.other = one, other
        return step

    def _choice(self) -> Emit:
        self._levels += 1
        if self._levels > _MAX_LEVELS:
            raise PatternError("brackets are nested too deeply")
        ways = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            ways.append(self._sequence())
        self._levels -= 1

        def emit(after: _Step) -> _Step:
            first = ways[-1](after)
            for way in reversed(ways[:-1]):
                first = self._split(way(after), first)
            return first

        return emit

    def _sequence(self) -> Emit:
        parts: list[Emit] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))

        def emit(after: _Step) -> _Step:
            for part in reversed(parts):
                after = part(after)
            return after

        return emit

    def _repeated(self, part: Emit) -> Emit:
        counts = self._counts()
        if counts is None:
            return part
        if self._peek() == "?":
            self._at += 1  # lazy or not, it matches the same texts
        if self._peek() in ("*", "+", "?"):
            raise PatternError("there is nothing to repeat")
        least, most = counts

        def emit(after: _Step) -> _Step:
            first = after
            if most is None:
                first = self._new()
                first.to, first.other = part(first), after
            for _ in range((most or 0) - least if most is not None else 0):
                first = self._split(part(first), after)
            for _ in range(least):
                first = part(first)
            return first

        return emit

    def _counts(self) -> tuple[int, int | None] | None:
        known: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self._peek() in known:
            return known[self._next()]
        found = _COUNTS.match(self._text, self._at)
        if found is None:
            return None  # a brace is an ordinary character there
        self._at = found.end()
        low, comma, high = found.groups()
        least, most = int(low), int(high) if high else None if comma else int(low)
        if max(least, most or 0) > MAX_PROGRAM or (most is not None and most < least):
            raise PatternError("a count makes no sense")
        return least, most

    def _atom(self) -> Emit:
        character = self._next()
        if character == "(":
            return self._bracket()
        if character == "[":
            return self._take(self._class())
        if character == ".":
            if self._dots:
                return self._take(lambda _: True)
            return self._take(lambda each: each not in _LINE_ENDS)
        if character in "^$":
            return self._place("start" if character == "^" else "end")
        if character == "\\":
            return self._escape()
        if character in "*+?":
            raise PatternError("there is nothing to repeat")
        return self._take(self._is(character))

    def _bracket(self) -> Emit:
        folds = self._folds
        look = self._peek() == "?" and self._kind_of_bracket()
        inner = self._choice()
        if self._next() != ")":
            raise PatternError("a bracket is not closed")
        self._folds = folds
        if not look:
            return inner

        def emit(after: _Step) -> _Step:
            step = self._new()
            step.behind, step.negated = "<" in look, look.endswith("!")
            step.inner, step.to = inner(_Step()), after
            return step

        return emit

    def _kind_of_bracket(self) -> str:
        """Read what follows an opening bracket; return the kind of an assertion, else ''."""
        for kind in ("?<=", "?<!", "?=", "?!"):
            if self._text.startswith(kind, self._at):
                self._at += len(kind)
                return kind
        closing = ">" if self._text.startswith("?<", self._at) else ":"
        end = self._text.find(closing, self._at)
        inside = self._text[self._at + 1 : end]
        if end < 0 or (closing == ":" and set(inside) - set("ims-")):
            raise PatternError("an unknown kind of bracket")
        self._at = end + 1
        if closing == ":":
            on, _, off = inside.partition("-")
            self._folds = (self._folds or "i" in on) and "i" not in off
        return ""

    def _escape(self) -> Emit:
        character = self._next()
        if character in "bB":
            return self._place("word" if character == "b" else "no word")
        if character in "123456789" or (character == "k" and self._peek() == "<"):
            raise PatternError("references to groups are not matched")
        return self._take(self._class_of(character) or self._is(self._code(character)))

    def _class_of(self, letter: str) -> Test | None:
        known = _CLASSES.get(letter.lower())
        if known is None:
            return None
        return known if letter.islower() else lambda each: not known(each)

    def _code(self, letter: str) -> str:
        """Return the one character that an escape writes."""
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        width = {"x": 2, "u": 4}.get(letter, 0)
        digits = self._text[self._at : self._at + width]
        if width and len(digits) == width and not set(digits.lower()) - set("0123456789abcdef"):
            self._at += width
            return chr(int(digits, 16))
        if letter == "c" and self._peek().isascii() and self._peek().isalpha():
            return chr(ord(self._next()) % 32)
        return letter

    def _class(self) -> Test:
        negated = self._peek() == "^"
        self._at += negated
        tests: list[Test] = []
        while self._peek() != "]":
            tests.append(self._member())
        self._at += 1
        return lambda each: any(test(each) for test in tests) != negated

    def _member(self) -> Test:
        low, test = self._class_atom()
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return test
        self._at += 1
        high, other = self._class_atom()
        if low is None or high is None:
            return lambda each: test(each) or other(each) or each == "-"
        if low > high:
            raise PatternError("a range in the wrong order")
        if not self._folds:
            return lambda each: low <= each <= high
        return lambda each: any(low <= one <= high for one in (each, each.lower(), each.upper()))

    def _class_atom(self) -> tuple[str | None, Test]:
        character = self._next()
        if character == "\\":
            letter = self._next()
            known = self._class_of(letter)
            if known is not None:
                return None, known
            character = "\b" if letter == "b" else self._code(letter)
        return character, self._is(character)

    def _is(self, character: str) -> Test:
        if not self._folds:
            return lambda each: each == character
        same = {character, character.lower(), character.upper()}
        return lambda each: each in same or each.lower() in same or each.upper() in same

    def _take(self, test: Test) -> Emit:
        def emit(after: _Step) -> _Step:
            step = self._new()
            step.test, step.to = test, after
            return step

        return emit

    def _place(self, place: Place) -> Emit:
        lines = self._lines

        def emit(after: _Step) -> _Step:
            step = self._new()
            step.place, step.lines, step.to = place, lines, after
            return step

        return emit


_CLASSES: Final[dict[str, Test]] = {
    "d": lambda each: each in _DIGITS,
    "w": lambda each: each in _WORD,
    "s": lambda each: each.isspace() or each == "\ufeff",
}
