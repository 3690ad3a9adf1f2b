"""Phone numbers, e-mail addresses, names and dates in what people say, and whether two agree.

Pure. Owns how each is found in a transcript, spoken or written, and the form in which two of them
are compared. Rules for English; what no rule finds is not counted, so a figure made of these says
of how many it was made. It must not decide which of two stacks is right.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from calls.parity.forms import country_code
from calls.parity.spoken_dates import dates_of
from calls.parity.spoken_digits import Token, digit_of, runs_of, tokens_of

Kind = Literal["phone", "email", "name", "date"]
KINDS: Final[tuple[Kind, ...]] = ("phone", "email", "name", "date")
# Shorter ones are house numbers, codes and prices.
LEAST_PHONE_DIGITS: Final = 7
_MOST_PHONE_DIGITS: Final = 15
_NORTH_AMERICAN: Final = 10

_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_SIGNS: Final = {
    word: sign
    for sign, words in (
        (".", "dot point period ."),
        ("_", "underscore _"),
        ("-", "dash hyphen minus -"),
        ("+", "plus +"),
    )
    for word in words.split()
}
_DOTS: Final = frozenset({"dot", "point", "period", "."})
_NAMED: Final = re.compile(
    r"\b(?:my (?:full |last |first )?name(?: is|'s)|the name(?: is|'s)|under the name(?: of)?|"
    r"name is)\s+",
    re.IGNORECASE,
)
# Weaker beginnings: what follows is a name only where it is written like one.
_PERHAPS: Final = re.compile(r"\b(?:i am|i'm|this is|it's|it is|call me)\s+", re.IGNORECASE)
_SPEAKING: Final = re.compile(r"\b([A-Z][\w'-]+(?: [A-Z][\w'-]+)?) speaking\b")
_NAME_WORD: Final = re.compile(r"[^\W\d_][\w'’-]*", re.UNICODE)
_SPELLED: Final = re.compile(r"(?<![\w'’])(?:[A-Za-z][ .,-]{1,2}){2,}[A-Za-z]\b")
_NO_NAMES: Final = frozenset(
    {
        *("and", "i", "the", "a", "my", "is", "with", "from", "calling", "at", "on", "it", "its"),
        *("spelled", "spelt", "that", "thats", "but", "so", "please", "you", "can", "phone"),
        *("not", "here", "just", "looking", "sorry", "yes", "no", "well", "for", "to", "of"),
    }
)


@dataclass(frozen=True, slots=True)
class Entity:
    """One of them in a text. ``value`` is the form that is compared, ``said`` as it stands there,
    ``start`` and ``end`` where, in characters.
    """

    kind: Kind
    value: str
    said: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the old side set against one of the new; None: the other side has none."""

    kind: Kind
    old: Entity | None
    new: Entity | None
    agrees: bool = False


def entities_of(text: str, moment: dt.date | None = None) -> tuple[Entity, ...]:
    """Return what a text holds, in its order.

    Args:
        moment: the day on which it was said, from which "tomorrow" is counted.
    """
    found: list[Entity] = []
    rest = text
    for reader in (_emails, lambda rest: _dates(rest, moment), _phones, _names):
        for each in reader(rest):
            found.append(each)
            # What is an address is no name, and what is a date is no phone number.
            rest = rest[: each.start] + "|" * (each.end - each.start) + rest[each.end :]
    return tuple(sorted(found, key=lambda each: each.start))


def entity(kind: Kind, value: str, moment: dt.date | None = None) -> Entity:
    """Return a value that stands alone, such as an argument of a tool, as what it is said to be."""
    for each in entities_of(value, moment):
        if each.kind == kind:
            return each
    plain = _plain(value)
    if kind == "phone":
        plain = re.sub(r"[^0-9+]", "", value) or plain
    return Entity(kind, plain, value, 0, len(value))


def same(old: Entity, new: Entity) -> bool:
    """Tell whether two are the same: numbers may lack their country, years may be left out."""
    if old.kind != new.kind:
        return False
    if old.value == new.value:
        return True
    if old.kind == "phone":
        return _same_number(old.value, new.value)
    if old.kind == "date":
        left, right = old.value, new.value
        return left.startswith("--") != right.startswith("--") and left[-5:] == right[-5:]
    if old.kind == "name":
        # A family name alone against the whole name is less, not different.
        return bool(set(old.value.split()) & set(new.value.split())) and (
            set(old.value.split()) <= set(new.value.split())
            or set(new.value.split()) <= set(old.value.split())
        )
    return False


def compare(old: Iterable[Entity], new: Iterable[Entity]) -> tuple[Compared, ...]:
    """Set what one side has against what the other has.

    What agrees is paired first, the rest in order; what was said twice counts once a side.
    """
    pairs: list[Compared] = []
    left, right = _once(old), _once(new)
    for each in list(left):
        twin = next((other for other in right if same(each, other)), None)
        if twin is not None:
            pairs.append(Compared(each.kind, each, twin, agrees=True))
            left.remove(each)
            right.remove(twin)
    for kind in KINDS:
        ours = [each for each in left if each.kind == kind]
        theirs = [each for each in right if each.kind == kind]
        for index in range(max(len(ours), len(theirs))):
            pairs.append(
                Compared(
                    kind,
                    ours[index] if index < len(ours) else None,
                    theirs[index] if index < len(theirs) else None,
                )
            )
    return tuple(pairs)


def tally(pairs: Iterable[Compared]) -> dict[Kind, tuple[int, int]]:
    """Return by kind how many agree, of how many."""
    all_of: Counter[Kind] = Counter()
    agree: Counter[Kind] = Counter()
    for pair in pairs:
        all_of[pair.kind] += 1
        agree[pair.kind] += pair.agrees
    return {kind: (agree[kind], all_of[kind]) for kind in KINDS if all_of[kind]}


def _once(found: Iterable[Entity]) -> list[Entity]:
    kept: list[Entity] = []
    for each in found:
        if not any(same(each, other) for other in kept):
            kept.append(each)
    return kept


def _dates(text: str, moment: dt.date | None) -> Iterator[Entity]:
    for value, start, end in dates_of(text, moment):
        yield Entity("date", value, text[start:end], start, end)


# ---- phone numbers ----------------------------------------------------------------------------


def _phones(text: str) -> Iterator[Entity]:
    for run in runs_of(text):
        if LEAST_PHONE_DIGITS <= len(run.digits) <= _MOST_PHONE_DIGITS:
            value = ("+" if run.plus else "") + run.digits
            yield Entity("phone", value, text[run.start : run.end], run.start, run.end)


def _same_number(old: str, new: str) -> bool:
    """Tell whether one number is the other without its country, and lacks nothing else.

    Digits in front that are no country's are an area code or digits that were not heard.
    """
    short, long = sorted((old, new), key=lambda each: len(_bare_number(each)))
    left, right = _bare_number(short), _bare_number(long)
    if left == right:
        return True
    country = right.removesuffix(left)
    if len(left) < LEAST_PHONE_DIGITS or country == right or short.startswith(("+", "00")):
        return False
    if long.startswith(("+", "00")):
        return country == country_code(right)
    # Nobody said plus: it is a country where the other side has the zero that stands for one,
    # or the 1 that is dialled in North America.
    if short.startswith("0"):
        return country == country_code(right)
    return country == "1" and len(left) == _NORTH_AMERICAN


def _bare_number(value: str) -> str:
    return value.removeprefix("+").lstrip("0")


# ---- e-mail addresses -------------------------------------------------------------------------


def _emails(text: str) -> Iterator[Entity]:
    for match in _EMAIL.finditer(text):
        yield Entity("email", match[0].casefold(), match[0], match.start(), match.end())
    tokens = tokens_of(text)
    for index, token in enumerate(tokens):
        if token.text == "at":
            found = _spoken_email(text, tokens, index)
            if found is not None:
                yield found


def _spoken_email(text: str, tokens: list[Token], at: int) -> Entity | None:
    """Read "jane dot doe at example dot com" around its "at"."""
    first, local = _local_part(tokens, at)
    last, domain = _domain(tokens, at)
    if not local or "." not in domain:
        return None
    start, end = tokens[first].start, tokens[last].end
    return Entity("email", f"{local}@{domain}".casefold(), text[start:end], start, end)


def _local_part(tokens: list[Token], at: int) -> tuple[int, str]:
    parts: list[str] = []
    first = index = at
    joined = True  # the word before what was read belongs to it
    while index > 0:
        index -= 1
        word = tokens[index].text
        if word in _SIGNS and parts and index > 0:
            parts.append(_SIGNS[word])
            joined = True
        elif word.isalnum() and (joined or _spelled(word, parts[-1])):
            parts.append(digit_of(word) or word)
            first, joined = index, False
        else:
            break
    while parts and parts[-1] in ".-_+":
        parts.pop()
    return first, "".join(reversed(parts))


def _spelled(word: str, after: str) -> bool:
    """Tell whether two words without a sign between are letters or digits of one."""
    return (len(word) == 1 or bool(digit_of(word))) and (len(after) == 1 or after.isdigit())


def _domain(tokens: list[Token], at: int) -> tuple[int, str]:
    parts: list[str] = []
    last = at
    joined = True
    for index in range(at + 1, len(tokens)):
        word = tokens[index].text
        if word in _DOTS and parts and index + 1 < len(tokens):
            if tokens[index].text == "." and tokens[index + 1].start > tokens[index].end:
                break  # the end of a sentence
            parts.append(".")
            joined = True
        elif word in {"-", "dash", "hyphen"} and parts:
            parts.append("-")
            joined = True
        elif word.isalnum() and (joined or _spelled(word, parts[-1])):
            parts.append(digit_of(word) or word)
            last, joined = index, False
        else:
            break
    while parts and parts[-1] in ".-":
        parts.pop()
    return last, "".join(parts)


# ---- names ------------------------------------------------------------------------------------


def _names(text: str) -> Iterator[Entity]:
    ends: list[tuple[int, int]] = []
    for match in _NAMED.finditer(text):
        found = _name_from(text, match.end(), must_be_capital=False)
        if found is not None:
            ends.append((found.start, found.end))
            yield found
    for match in _PERHAPS.finditer(text):
        found = _name_from(text, match.end(), must_be_capital=True)
        if found is not None and not _overlaps(found.start, found.end, ends):
            ends.append((found.start, found.end))
            yield found
    for match in _SPEAKING.finditer(text):
        if not _overlaps(match.start(1), match.end(1), ends):
            ends.append((match.start(1), match.end(1)))
            yield Entity("name", _plain(match[1]), match[1], match.start(1), match.end(1))
    for match in _SPELLED.finditer(text):
        letters = re.sub(r"[^A-Za-z]", "", match[0])
        if not _overlaps(match.start(), match.end(), ends):
            yield Entity("name", letters.casefold(), match[0], match.start(), match.end())


def _name_from(text: str, at: int, *, must_be_capital: bool) -> Entity | None:
    words: list[re.Match[str]] = []
    place = at
    while len(words) < 3:
        match = _NAME_WORD.match(text, place)
        if match is None or match[0].casefold().replace("'", "") in _NO_NAMES:
            break
        if must_be_capital and not match[0][0].isupper():
            break
        if words and words[-1][0][0].isupper() != match[0][0].isupper():
            break  # a name that is written large ends where the small words begin
        if len(match[0]) == 1:
            break  # letters that are spelled out are read as such
        words.append(match)
        place = match.end() + 1
        if match.end() >= len(text) or text[match.end()] != " ":
            break
    if not words:
        return None
    start, end = words[0].start(), words[-1].end()
    return Entity("name", _plain(text[start:end]), text[start:end], start, end)


def _overlaps(start: int, end: int, spans: list[tuple[int, int]]) -> bool:
    return any(start < until and begin < end for begin, until in spans)


def _plain(text: str) -> str:
    """Return a text without case, accents and signs."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(c if c.isalnum() else " " for c in bare if not unicodedata.combining(c))
    return " ".join(kept.split())
