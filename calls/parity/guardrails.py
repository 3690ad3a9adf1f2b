"""Explicit instructions against drift: what drifts again and again, and the sentence against it.

Pure. Owns the patterns that pairs of calls show, the rule that turns one into an instruction, the
split into calls that proposals may see and calls that judge them, and the place of instructions in
a prompt. It must not apply anything: a person does.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from calls.parity.bounds import lower
from calls.parity.comparison import SURE, fisher
from calls.parity.differ import Difference
from calls.parity.forms import Kind as FieldKind

PatternKind = Literal["omitted", "extra", "order", "argument"]

# A pattern is proposed that was seen twice, in so large a share that it is no accident.
LEAST_SEEN: Final = 2
LEAST_SHARE: Final = 0.02
MOST_PROPOSALS: Final = 12
HELD_OUT_SHARE: Final = 0.4
_BEGIN: Final = "## Rules for your tools"
_ABOUT: Final = "Follow these rules in every call."

_FORMS: Final[Mapping[FieldKind, str]] = {
    "phone": "as the caller said it, in international form, every digit",
    "email": "exactly as the caller spelled it, in lower case",
    "name": "as the caller said it, without a title",
    "date": "as YYYY-MM-DD, counted from today's date",
    "id": "exactly as it was given, letter by letter",
    "number": "as digits",
    "text": "in the caller's own words",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way to drift. ``other``: the tool it should stand before (``omitted``, ``order``), ''
    for none. ``path`` and ``field``: of a wrong argument.
    """

    kind: PatternKind
    tool: str
    other: str = ""
    path: str = ""
    field: FieldKind | None = None

    @property
    def words(self) -> str:
        """Return the pattern in one line; the same pattern gives the same line."""
        if self.kind == "omitted":
            return f"{self.tool} is left out" + (f" before {self.other}" if self.other else "")
        if self.kind == "extra":
            return f"{self.tool} is called where the old stack does not"
        if self.kind == "order":
            return f"{self.tool} is called after {self.other} instead of before"
        return f"{self.tool} gets another {self.path}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """An instruction and what it rests on: seen in so many of the pairs that were looked at."""

    pattern: Pattern
    instruction: str
    seen: int
    looked_at: int


@dataclass(frozen=True, slots=True)
class Observed:
    """One pair: ``key`` says which past call or scenario it is of."""

    key: str
    difference: Difference


def is_held_out(key: str, seed: int, share: float = HELD_OUT_SHARE) -> bool:
    """Tell whether a call judges proposals and is never seen by them.

    By the call alone: a pair keeps its side however often a run is made, so nothing that was
    proposed from it is ever verified on it.
    """
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def patterns_of(difference: Difference) -> set[Pattern]:
    """Return every way in which one pair drifts, each once."""
    found: set[Pattern] = set()
    rows = difference.aligned
    moved = set(difference.reordered)
    for index, row in enumerate(rows):
        if row.kind == "omitted" and row.old is not None:
            found.add(Pattern("omitted", row.old.name, other=_follows(rows, index)))
        elif row.kind == "extra" and row.new is not None:
            found.add(Pattern("extra", row.new.name))
    for name in moved:
        late, early = _out_of_order(rows, name)
        if late:
            found.add(Pattern("order", late, other=early))
    for each in difference.arguments:
        path = _bare(each.path)
        found.add(Pattern("argument", each.tool, path=path, field=each.kind))
    return found


def _follows(rows: Sequence[Any], index: int) -> str:
    """Return the next tool of the old stack that both called: what the omitted one prepares."""
    for row in rows[index + 1 :]:
        if row.kind == "same" and row.old is not None:
            return str(row.old.name)
    return ""


def _out_of_order(rows: Sequence[Any], name: str) -> tuple[str, str]:
    """Return the tool that should come first and the one our stack called before it, of which
    ``name`` is one.
    """
    old = [row.old.name for row in rows if row.old is not None]
    new = [row.new.name for row in rows if row.new is not None]
    if name not in old or name not in new:
        return "", ""
    at_old, at_new = old.index(name), new.index(name)
    for each in reversed(new[:at_new]):
        if each in old[at_old + 1 :]:
            return name, each
    for each in new[at_new + 1 :]:
        if each in old[:at_old]:
            return each, name
    return "", ""


def _bare(path: str) -> str:
    """Return a path without the indexes of one call: ``guests[0].phone`` is ``guests.phone``."""
    kept, depth = [], 0
    for letter in path:
        depth += letter == "["
        if not depth:
            kept.append(letter)
        depth -= letter == "]"
    return "".join(kept)


def instruction_of(pattern: Pattern) -> str:
    """Return the sentence against a pattern, by rule; a person may reword it."""
    tool = pattern.tool
    if pattern.kind == "omitted":
        if pattern.other == "endCall":
            return f"Always call {tool} before you end the call."
        if pattern.other == "transferCall":
            return f"Always call {tool} before you transfer the call."
        if pattern.other:
            return f"Always call {tool} before you call {pattern.other}."
        if tool in {"endCall", "transferCall"}:
            return f"Call {tool} yourself when it is time; do not wait for the caller to hang up."
        return f"Do not answer from memory: call {tool} first, and say only what it returned."
    if pattern.kind == "extra":
        return f"Do not call {tool} unless the caller asked for exactly that."
    if pattern.kind == "order":
        return f"Call {tool} first, wait for its result, and only then call {pattern.other}."
    form = _FORMS.get(pattern.field or "text", _FORMS["text"])
    return f"When you call {tool}, give {pattern.path} {form}."


def proposals(pairs: Iterable[Observed], *, seed: int) -> tuple[Proposal, ...]:
    """Return instructions against what drifts again and again, the most frequent first.

    Pairs that are held out are not looked at, and neither are pairs that say nothing.
    """
    counts: Counter[Pattern] = Counter()
    looked_at = 0
    for pair in pairs:
        if is_held_out(pair.key, seed) or pair.difference.says_nothing:
            continue
        looked_at += 1
        counts.update(patterns_of(pair.difference))
    chosen = [
        Proposal(pattern, instruction_of(pattern), seen, looked_at)
        for pattern, seen in counts.items()
        if seen >= LEAST_SEEN and lower(seen, looked_at) >= LEAST_SHARE
    ]
    chosen.sort(key=lambda each: (-each.seen, each.pattern.words))
    return tuple(_without_echoes(chosen)[:MOST_PROPOSALS])


def _without_echoes(chosen: list[Proposal]) -> list[Proposal]:
    """Leave out a sentence that two patterns share, and the lesser of "before A" and "before B"."""
    kept: list[Proposal] = []
    said: set[str] = set()
    omitted: defaultdict[str, int] = defaultdict(int)
    for each in chosen:
        if each.instruction in said:
            continue
        if each.pattern.kind == "omitted":
            omitted[each.pattern.tool] += 1
            if omitted[each.pattern.tool] > 2:
                continue
        said.add(each.instruction)
        kept.append(each)
    return kept


@dataclass(frozen=True, slots=True)
class Effect:
    """How often a pattern was seen on held-out calls, before and after, of how many pairs."""

    before: int
    before_of: int
    after: int
    after_of: int

    @property
    def p_value(self) -> float:
        """Return how often both shares would be as far apart if nothing had changed (Fisher)."""
        return fisher(self.before, self.before_of, self.after, self.after_of)

    @property
    def verdict(self) -> Literal["better", "no-better", "too-few"]:
        """Say whether it helped: seen less often, by more than chance explains (5%).

        "too-few" where it was seen less often and chance explains it as well, or where it was not
        seen on held-out calls before, so that nothing can show.
        """
        if not self.before_of or not self.after_of or not self.before:
            return "too-few"
        if self.after * self.before_of >= self.before * self.after_of:
            return "no-better"
        return "better" if self.p_value < SURE else "too-few"


def effect(
    words: str, before: Iterable[Observed], after: Iterable[Observed], *, seed: int
) -> Effect:
    """Return what an instruction changed, on calls that were held out and in no others.

    Args:
        words: the pattern, as ``Pattern.words`` says it.
    """
    counts: list[int] = []
    for pairs in (before, after):
        held = [
            pair
            for pair in pairs
            if is_held_out(pair.key, seed) and not pair.difference.says_nothing
        ]
        counts.append(
            sum(any(p.words == words for p in patterns_of(pair.difference)) for pair in held)
        )
        counts.append(len(held))
    return Effect(*counts)


# ---- in a prompt --------------------------------------------------------------------------------


def instructions_in(prompt: str) -> tuple[str, ...]:
    """Return the instructions that stand in a prompt's own section, in their order."""
    lines = prompt.splitlines()
    if _BEGIN not in lines:
        return ()
    found: list[str] = []
    for line in lines[lines.index(_BEGIN) + 1 :]:
        if line.startswith("- "):
            found.append(line[2:].strip())
        elif line.startswith("#"):
            break
    return tuple(found)


def with_instructions(prompt: str, added: Iterable[str]) -> str:
    """Return a prompt with instructions in a section at its end, each once.

    What stands in the section already stays; a prompt without one gets it behind its last word.
    """
    new = [" ".join(each.split()) for each in added]
    known = list(instructions_in(prompt))
    every = list(dict.fromkeys([*known, *(each for each in new if each)]))
    if every == known:
        return prompt
    return "\n".join([_before(prompt), _BEGIN, _ABOUT, *(f"- {each}" for each in every)]) + (
        _after(prompt)
    )


def _before(prompt: str) -> str:
    lines = prompt.splitlines()
    kept = lines[: lines.index(_BEGIN)] if _BEGIN in lines else lines
    text = "\n".join(kept).rstrip()
    return f"{text}\n" if text else ""


def _after(prompt: str) -> str:
    """Return what follows the section: another section that somebody put behind it."""
    lines = prompt.splitlines()
    if _BEGIN not in lines:
        return ""
    start = lines.index(_BEGIN) + 1
    rest = next((i for i in range(start, len(lines)) if lines[i].startswith("#")), len(lines))
    return "\n\n" + "\n".join(lines[rest:]) if rest < len(lines) else ""
