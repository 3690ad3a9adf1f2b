"""Finds personal data in text and replaces it: numbers, addresses, dates of birth, own patterns.

Pure, and in time that grows with the text alone, whatever the text is. What is masked stays
masked: a second pass changes nothing. Digits are also found where English words spell them ("four
one five", "double oh", "fifty-five"); numbers spelled in another language are not, nor is one that
several turns share, unless a turn is nothing but digits. It must not know rows or who asks.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from calls.privacy.custom import compiled

PHONE: Final = "phone"
EMAIL: Final = "email"
CARD: Final = "card"
SSN: Final = "ssn"
BIRTH: Final = "birth"
KINDS: Final = (PHONE, EMAIL, CARD, SSN, BIRTH)

# No work without a bound: of a longer text, or a longer body of many texts, nothing is kept.
LONGEST_TEXT: Final = 20_000
LONGEST_BODY: Final = 200_000

_MASK_OF: Final = {
    PHONE: "[phone]",
    EMAIL: "[email]",
    CARD: "[card]",
    SSN: "[ssn]",
    BIRTH: "[date]",
}
_NUMBER: Final = "[number]"
_HIDDEN: Final = "[hidden]"
_MASK: Final = re.compile(r"\[(?:phone|email|card|ssn|date|number|hidden)\]")

_EMAIL: Final = re.compile(r"[\w.%+'\-]{1,64}@(?:[\w\-]{1,63}\.){1,8}[^\W\d_]{2,24}")
# As transcribers write what was spelled: "john dot smith at example dot com".
_SPELLED_EMAIL: Final = re.compile(
    r"\b(?:\w{1,40} (?:dot|underscore|dash|hyphen|plus) ){0,4}\w{1,40} at (?:\w{1,40} dot ){1,3}"
    r"(?:com|net|org|edu|gov|info|biz|io|co|ai|app|me|us|uk|ca|de|fr|es|it|nl|ch|at|eu)\b",
    re.IGNORECASE,
)
_UNFINISHED_EMAIL: Final = re.compile(r"[\w.%+'\-]{1,64}@[\w.\-]{0,100}\s*$")

_WORDS: Final = dict(
    zip(
        "zero oh o one two three four five six seven eight nine ten eleven twelve thirteen "
        "fourteen fifteen sixteen seventeen eighteen nineteen hundred".split(),
        "0 0 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 00".split(),
        strict=True,
    )
)
_TENS: Final = dict(
    zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), "23456789", strict=True)
)
_TIMES: Final = {"double": 2, "triple": 3}
_UNIT: Final = "one|two|three|four|five|six|seven|eight|nine"
# A word right behind digits begins anew, and so do letters of a date: once the digits are masked
# they would, and a second pass has to find what the first one found.
_BEGINS: Final = r"(?<![^\W\d])"
_GROUP: Final = re.compile(
    r"(?:(?P<plus>\+ ?)|(?<!\w)|(?<=\d)(?!\d|\())(?:\(?(?P<digits>\d+)"
    rf"|(?:(?P<times>double|triple)[ \-](?P<what>zero|oh|o|{_UNIT})"
    rf"|(?P<tens>{'|'.join(_TENS)})(?:[ \-](?P<unit>{_UNIT})(?![^\W_]))?"
    rf"|(?P<word>{'|'.join(_WORDS)}))(?![^\W_])"
    r")",
    re.IGNORECASE,
)
# What may stand between the groups of one number; a comma only with a space behind it, so that
# the thousands of an amount are not joined.
_BETWEEN: Final = re.compile(r"(?!,(?:[^\s]|$))[\s.,()/\-\u2010-\u2015\u00b7]{1,3}")
_LONGEST_GROUP: Final = 19
_LONGEST_RUN: Final = 40  # digits; more are no number that somebody tells

_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_ORDINAL: Final = (
    r"(?:\d{1,2}(?:st|nd|rd|th)?|(?:twenty|thirty)[ \-](?:first|second|third|fourth|fifth|sixth"
    r"|seventh|eighth|ninth)|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth"
    r"|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth"
    r"|nineteenth|twentieth|thirtieth)"
)
_SPOKEN_YEAR: Final = (
    r"(?:nineteen|twenty)[ \-](?:(?:hundred|oh|o)(?:[ \-]\w{3,9})?|\w{3,9}teen|ten|eleven|twelve"
    rf"|(?:{'|'.join(_TENS)})(?:[ \-](?:{_UNIT}))?)|two thousand(?: and)?(?: \w{{3,9}}){{0,1}}"
)
_YEAR: Final = rf"(?P<year>(?:19|20)\d\d|{_SPOKEN_YEAR})"
_ENDS: Final = r"(?:\b|(?<=\d)(?!\d))"
_DATES: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<by>[\-/.])\d{1,2}(?P=by)\d{1,2}(?!\d)",
        r"(?<!\d)\d{1,2}(?P<by>[\-/.])\d{1,2}(?P=by)(?P<year>\d{4}|\d\d)(?!\d)",
        rf"{_BEGINS}{_MONTH}\.?\s(?:the\s)?{_ORDINAL},?\s(?:of\s)?{_YEAR}{_ENDS}",
        rf"{_BEGINS}(?!(?<=\d)\d)(?:the\s)?{_ORDINAL}\s(?:of\s)?{_MONTH}\.?,?\s{_YEAR}{_ENDS}",
    )
)
# Without separators, where the text speaks of a birth.
_BARE_DATE: Final = re.compile(r"(?<![^\W_])\d{8}(?!\d)")
_OF_BIRTH: Final = re.compile(
    r"birth|(?<![a-z])born(?![a-z])|(?<![a-z])d\.?o\.?b(?![a-z])", re.IGNORECASE
)
_OF_SSN: Final = re.compile(r"social[\s_\-]?security|(?<![a-z])ssn(?![a-z])", re.IGNORECASE)
_OLDEST_YEAR: Final = 1900
_PAST_YEAR: Final = re.compile(
    r"nineteen|two|twenty[ \-](?:oh|o|ten|eleven|twelve|\w+teen)\b", re.IGNORECASE
)

Find = Callable[[str], Iterable["Span"]]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text, from ``start`` up to ``end``, and what stands there instead."""

    start: int
    end: int
    mask: str


@dataclass(frozen=True, slots=True)
class _Group:
    """Digits that stand together, or a word for some."""

    start: int
    end: int
    digits: str
    is_spoken: bool = False
    has_plus: bool = False


class Redactor:
    """Masks personal data of some kinds.

    Args:
        kinds: some of ``KINDS``.
        custom: patterns of ``calls.privacy.custom``.
        year: the current one. A full date of a year before the last one counts as a date of birth;
            a later one only in a text that speaks of a birth.

    Raises:
        CustomPatternError: a pattern cannot be used.
    """

    def __init__(self, kinds: Iterable[str], custom: Iterable[str] = (), *, year: int) -> None:
        self._kinds = frozenset(kinds)
        self._custom = tuple(compiled(pattern) for pattern in custom)
        self._year = year
        self._finds_numbers = bool(self._kinds & {PHONE, CARD, SSN})

    def text(self, text: str) -> str:
        """Return ``text`` with masks."""
        return _replaced(text, self._spans(text))

    def partial(self, text: str) -> str:
        """Return a text that may go on: what could be the beginning of a number is masked too."""
        return _replaced(text, self._spans(text, goes_on=True))

    def turn(self, text: str, unheard: str = "", *, goes_on: bool = False) -> tuple[str, str]:
        """Return what was said in one turn and its unheard rest, masked as one text.

        A turn that is nothing but three digits or more is masked as a whole: people say numbers
        piece by piece.
        """
        whole = f"{text} {unheard}" if unheard else text
        spans = self._spans(whole, goes_on=goes_on, is_turn=True)
        border = len(text)
        heard = [Span(s.start, min(s.end, border), s.mask) for s in spans if s.start < border]
        # A mask that reaches over the border stands in the first part only.
        begins = border + 1
        rest = [
            Span(max(s.start - begins, 0), s.end - begins, s.mask if s.start >= border else "")
            for s in spans
            if s.end > begins
        ]
        left = _replaced(unheard, rest)
        return _replaced(text, heard), left.lstrip() if rest else left

    def body(self, text: str) -> str:
        """Return a text that may be JSON, masked value by value; '' for one that is too long."""
        if len(text) > LONGEST_BODY:
            return ""
        return self._inside(text, False)

    def value(self, node: Any) -> Any:
        """Return a copy of parsed JSON with masks in texts, numbers and names."""
        return self._value(node, False)

    def _inside(self, text: str, is_birth: bool) -> str:
        if text.lstrip()[:1] in ("{", "["):
            try:
                node = json.loads(text)
                clean = self._value(node, is_birth)
            except (ValueError, RecursionError):
                return self._masked(text, is_birth)
            return text if clean == node else json.dumps(clean, ensure_ascii=False)
        return self._masked(text, is_birth)

    def _value(self, node: Any, is_birth: bool) -> Any:
        if isinstance(node, str):
            return self._inside(node, is_birth)
        if isinstance(node, list):
            return [self._value(each, is_birth) for each in node]
        if isinstance(node, dict):
            return {
                self.text(name): self._value(each, is_birth or bool(_OF_BIRTH.search(name)))
                for name, each in node.items()
            }
        if isinstance(node, int | float) and not isinstance(node, bool):
            shown = repr(node)
            masked = self._masked(shown, is_birth)
            return node if masked == shown else masked
        return node

    def _masked(self, text: str, is_birth: bool) -> str:
        return _replaced(text, self._spans(text, is_birth=is_birth))

    def _spans(
        self, text: str, *, goes_on: bool = False, is_turn: bool = False, is_birth: bool = False
    ) -> list[Span]:
        """Return what is to be masked, in order, none overlapping."""
        if len(text) > LONGEST_TEXT:
            return [Span(0, len(text), _HIDDEN)]
        work = _Work(text)
        for pattern in self._custom:
            work.take(_matches(pattern, _HIDDEN))
        if EMAIL in self._kinds and "@" in text:
            work.take(_matches(_EMAIL, _MASK_OF[EMAIL]))
        if EMAIL in self._kinds and " at " in text.lower():
            work.take(_matches(_SPELLED_EMAIL, _MASK_OF[EMAIL]))
        if BIRTH in self._kinds:
            born = is_birth or bool(_OF_BIRTH.search(text))
            for dates in (*_DATES, *((_BARE_DATE,) if born else ())):
                work.take(partial(self._dates, dates, born))
        if self._finds_numbers:
            work.take(partial(self._numbers, bool(_OF_SSN.search(_MASK.sub(" ", text)))))
            if is_turn and not work.found:
                work.take(_only_digits)
        if goes_on:
            if EMAIL in self._kinds:
                work.take_last(_matches(_UNFINISHED_EMAIL, _MASK_OF[EMAIL]))
            if self._finds_numbers:
                work.take_last(_begun_number)
        return sorted(work.found, key=lambda span: span.start)

    def _dates(self, pattern: re.Pattern[str], born: bool, text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            if born or self._is_past(match["year"]):
                yield Span(*match.span(), _MASK_OF[BIRTH])

    def _is_past(self, written: str) -> bool:
        if not written.isdecimal():
            return bool(_PAST_YEAR.match(written))
        year = int(written)
        if len(written) == 2:
            year += 2000 if year <= self._year % 100 else 1900
        return _OLDEST_YEAR <= year < self._year - 1

    def _numbers(self, of_ssn: bool, text: str) -> Iterator[Span]:
        for run in _runs(text):
            if len(run) > 1 and sum(len(group.digits) for group in run) > _LONGEST_RUN:
                yield Span(run[0].start, run[-1].end, _NUMBER)
                continue
            first = 0
            while first < len(run):
                for last in range(_last_of(run, first), first - 1, -1):
                    kind = self._kind(run[first : last + 1], of_ssn)
                    if kind is not None:
                        yield Span(run[first].start, run[last].end, _MASK_OF[kind])
                        first = last
                        break
                first += 1

    def _kind(self, groups: Sequence[_Group], of_ssn: bool) -> str | None:
        digits = "".join(group.digits for group in groups)
        shape = tuple(len(group.digits) for group in groups)
        spelled = any(group.is_spoken for group in groups) or set(shape) == {1}
        if CARD in self._kinds and not groups[0].has_plus and is_card(digits):
            return CARD
        if SSN in self._kinds and len(digits) == 9 and (spelled or of_ssn or shape == (3, 2, 4)):
            return SSN
        if PHONE in self._kinds and _is_phone(groups, digits, shape, spelled):
            return PHONE
        return None


def has_masks(text: str) -> bool:
    """Tell whether anything in ``text`` was masked."""
    return _MASK.search(text) is not None


def is_card(digits: str) -> bool:
    """Tell whether ``digits`` can be a payment card's number: length, first digit, Luhn's sum."""
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456":
        return False
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 if each > 9 else each for each in doubled)
    return total % 10 == 0


def _is_phone(groups: Sequence[_Group], digits: str, shape: tuple[int, ...], spelled: bool) -> bool:
    size = len(digits)
    if not 7 <= size <= 15:
        return False
    if groups[0].has_plus or spelled:
        return True
    if digits[0] == "0":
        return size >= 9  # a trunk prefix, or 00 and 011 before a country
    if size == 7:
        return shape == (3, 4)
    own, own_shape = digits, shape
    if size == 11 and digits[0] == "1":
        own = digits[1:]
        own_shape = shape[1:] if shape[0] == 1 else (shape[0] - 1, *shape[1:])
    if len(own) == 10 and own[0] in "23456789" and own[3] in "23456789":
        if own_shape in {(10,), (3, 3, 4), (3, 7), (6, 4)}:
            return True
    return len(shape) >= 3 and max(shape) >= 3 and not _has_date(groups, shape)


def _has_date(groups: Sequence[_Group], shape: tuple[int, ...]) -> bool:
    for at in range(len(shape) - 2):
        first, _, last = shape[at : at + 3]
        year = at if first == 4 else at + 2 if last == 4 else None
        if year is not None and shape[at + 1] <= 2 and min(first, last) <= 2:
            return groups[year].digits[:2] in ("19", "20")
    return False


def _runs(text: str) -> Iterator[list[_Group]]:
    """Yield groups of digits that only separators keep apart."""
    run: list[_Group] = []
    for match in _GROUP.finditer(text):
        group = _group(match)
        is_one = len(group.digits) <= _LONGEST_GROUP
        if run and not (is_one and _BETWEEN.fullmatch(text[run[-1].end : group.start])):
            yield run
            run = []
        if is_one:
            run.append(group)
    if run:
        yield run


def _group(match: re.Match[str]) -> _Group:
    start, end = match.span()
    if match["digits"]:
        digits = "".join(str(int(digit)) for digit in match["digits"])
        return _Group(start, end, digits, has_plus=bool(match["plus"]))
    if match["times"]:
        digits = _WORDS[match["what"].lower()] * _TIMES[match["times"].lower()]
    elif match["tens"]:
        digits = _TENS[match["tens"].lower()]
        digits += _WORDS[match["unit"].lower()] if match["unit"] else "0"
    else:
        digits = _WORDS[match["word"].lower()]
    return _Group(start, end, digits, is_spoken=True)


def _last_of(run: Sequence[_Group], first: int) -> int:
    """Return the last group that a number beginning at ``first`` can reach."""
    total, last = 0, first
    for at in range(first, len(run)):
        total += len(run[at].digits)
        if total > _LONGEST_GROUP:
            break
        last = at
    return last


def _only_digits(text: str) -> Iterator[Span]:
    runs = list(_runs(text))
    if len(runs) == 1 and sum(len(group.digits) for group in runs[0]) >= 3:
        start, end = runs[0][0].start, runs[0][-1].end
        if not (text[:start] + text[end:]).strip(" .,!?-\n"):
            yield Span(start, end, _NUMBER)


def _begun_number(text: str) -> Iterator[Span]:
    """Yield the digits that a text ends with."""
    last = next(iter(deque(_runs(text), maxlen=1)), None)
    if last and not text[last[-1].end :].strip(" .,()/-+\n"):
        yield Span(last[0].start, len(text), _NUMBER)


class _Work:
    """A text, what is masked of it and which stretches are left to look at."""

    def __init__(self, text: str) -> None:
        self._text = text
        masks = ((match.start(), match.end()) for match in _MASK.finditer(text))
        self._free = list(_free(len(text), masks))
        self.found: list[Span] = []

    def take(self, find: Find) -> None:
        """Mask what ``find`` yields of each stretch that is left."""
        left: list[tuple[int, int]] = []
        for start, end in self._free:
            left += _free(end, self._taken(find, start, end), start)
        self._free = left

    def take_last(self, find: Find) -> None:
        """Mask what ``find`` yields at the text's end, unless it is masked."""
        if self._free and self._free[-1][1] == len(self._text):
            start, end = self._free.pop()
            self._free += _free(end, self._taken(find, start, end), start)

    def _taken(self, find: Find, start: int, end: int) -> list[tuple[int, int]]:
        spans = [
            Span(start + each.start, start + each.end, each.mask)
            for each in find(self._text[start:end])
        ]
        self.found += spans
        return [(each.start, each.end) for each in spans]


def _matches(pattern: re.Pattern[str], mask: str) -> Find:
    return lambda text: (Span(*match.span(), mask) for match in pattern.finditer(text))


def _free(end: int, taken: Iterable[tuple[int, int]], start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield what ``taken`` leaves of the stretch from ``start`` to ``end``."""
    for begin, stop in taken:
        if begin > start:
            yield start, begin
        start = stop
    if end > start:
        yield start, end


def _replaced(text: str, spans: Sequence[Span]) -> str:
    if not spans:
        return text
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += (text[at : span.start], span.mask)
        at = span.end
    return "".join((*parts, text[at:]))
