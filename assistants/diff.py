"""What changed between two documents: texts by words, everything else by key path.

Pure and total: any two JSON values give a finite list of changes. A secret never appears in one,
only that it was set, changed or removed. Owns which list elements belong together; how a change
looks on a page is the admin's matter.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from assistants.wire.files import step
from voiceplatform.base.redaction import redact

Kind = Literal["added", "removed", "changed", "moved", "secret"]
SpanKind = Literal["same", "removed", "added", "gap"]

_WORDS: Final = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)
_MOST_WORDS: Final = 6000  # of one replaced passage; beyond it the passage is shown whole
# Of an element here with an equal one there: a thousand empty lines on both sides have a million,
# and each is looked at again and again.
_MOST_MATCHES: Final = 4_000_000
_IDENTITIES: Final = ("id", "toolId", "assistantId", "name", "assistantName", "key")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a compared text; a gap stands for ``lines`` unchanged lines left out."""

    kind: SpanKind
    text: str = ""
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    ``words`` is filled when both sides are texts of several words. A ``secret`` has no values;
    ``new`` says ``set``, ``changed`` or ``removed``.
    """

    path: str
    kind: Kind
    old: Any = None
    new: Any = None
    words: tuple[Span, ...] = ()


def changes(old: Any, new: Any) -> list[Change]:
    """Return every difference between two documents, in the order of ``new``."""
    return list(_changes("$", _Side(old, redact(old)), _Side(new, redact(new))))


@dataclass(frozen=True, slots=True)
class _Side:
    """A value as it is and as it may be shown."""

    raw: Any
    shown: Any

    def child(self, key: str | int) -> _Side:
        """Return the side below; ``key`` must not be hidden."""
        return _Side(self.raw[key], self.shown[key])

    def hides(self, name: str) -> bool:
        """Tell whether ``name`` holds a secret here."""
        return name in self.raw and name not in self.shown


def _changes(path: str, old: _Side, new: _Side) -> Iterator[Change]:
    if isinstance(old.raw, Mapping) and isinstance(new.raw, Mapping):
        yield from _object_changes(path, old, new)
    elif isinstance(old.raw, list) and isinstance(new.raw, list):
        yield from _list_changes(path, old, new)
    elif _differs(old.raw, new.raw):
        if not _differs(old.shown, new.shown):
            yield Change(path, "secret", new="changed")
            return
        words: tuple[Span, ...] = ()
        if _is_text(old.shown) and _is_text(new.shown):
            words = tuple(word_spans(old.shown, new.shown))
        yield Change(path, "changed", old.shown, new.shown, words)


def _object_changes(path: str, old: _Side, new: _Side) -> Iterator[Change]:
    for name in (*new.raw, *(name for name in old.raw if name not in new.raw)):
        below = step(path, name)
        if old.hides(name) or new.hides(name):
            before, after = old.raw.get(name), new.raw.get(name)
            if _differs(before, after):
                was, is_set = before not in (None, ""), after not in (None, "")
                words = "changed" if was == is_set else "set" if is_set else "removed"
                yield Change(below, "secret", new=words)
        elif name not in old.raw:
            yield Change(below, "added", new=new.shown[name])
        elif name not in new.raw:
            yield Change(below, "removed", old=old.shown[name])
        else:
            yield from _changes(below, old.child(name), new.child(name))


def _list_changes(path: str, old: _Side, new: _Side) -> Iterator[Change]:
    found = pairs(old.raw, new.raw)
    order = [before for before, after in found if before is not None and after is not None]
    if order != sorted(order):
        yield Change(path, "moved")
    for before, after in found:
        if before is None and after is not None:
            yield Change(step(path, after), "added", new=new.shown[after])
        elif after is None and before is not None:
            yield Change(step(path, before), "removed", old=old.shown[before])
        elif before is not None and after is not None:
            yield from _changes(step(path, after), old.child(before), new.child(after))


def pairs(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """Return which element of ``old`` became which of ``new``, in the order of ``new``.

    Objects that all have an identity (an id, a name, a function's name) are matched by it. Else
    equal elements are matched, and what stands between two matches is matched by position.
    """
    found: list[tuple[int | None, int | None]] = []
    before, after = [_identity(item) for item in old], [_identity(item) for item in new]
    if None not in before + after and len({*before}) == len(old) and len({*after}) == len(new):
        places = {identity: index for index, identity in enumerate(before)}
        kept = {*after}
        found += [(places.get(identity), index) for index, identity in enumerate(after)]
        found += [(index, None) for index, ident in enumerate(before) if ident not in kept]
        return found
    for _, a, a_end, b, b_end in _opcodes([_text(x) for x in old], [_text(x) for x in new]):
        shared = min(a_end - a, b_end - b)
        found += [(a + offset, b + offset) for offset in range(shared)]
        found += [(index, None) for index in range(a + shared, a_end)]
        found += [(None, index) for index in range(b + shared, b_end)]
    return found


def _identity(item: Any) -> tuple[str, str] | None:
    if not isinstance(item, Mapping):
        return None
    kind = _text(item.get("type"))
    for name in _IDENTITIES:
        if isinstance(item.get(name), str):
            return f"{kind} {name}", item[name]
    function = item.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        return f"{kind} function", function["name"]
    return None


def word_spans(old: str, new: str) -> list[Span]:
    """Return both texts as one: same, removed and added stretches, word by word.

    Lines are matched first and words only inside passages that differ, so a long prompt takes
    time in proportion to what changed in it.
    """
    spans: list[Span] = []
    a_lines, b_lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for tag, a, a_end, b, b_end in _opcodes(a_lines, b_lines):
        before, after = "".join(a_lines[a:a_end]), "".join(b_lines[b:b_end])
        if tag == "equal":
            spans.append(Span("same", before))
        else:
            spans += _passage(before, after)
    return _joined(spans)


def _passage(old: str, new: str) -> Iterator[Span]:
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    if not a or not b or len(a) + len(b) > _MOST_WORDS:
        yield Span("removed", old)
        yield Span("added", new)
        return
    # What both begin and end with stays where a reader expects it, whatever else might match.
    head = _shared(a, b)
    tail = _shared(a[head:][::-1], b[head:][::-1])
    yield Span("same", "".join(a[:head]))
    a_rest, b_rest = a[head : len(a) - tail], b[head : len(b) - tail]
    for tag, i, i_end, j, j_end in _opcodes(a_rest, b_rest):
        if tag == "equal":
            yield Span("same", "".join(a_rest[i:i_end]))
        else:
            yield Span("removed", "".join(a_rest[i:i_end]))
            yield Span("added", "".join(b_rest[j:j_end]))
    yield Span("same", "".join(a[len(a) - tail :]))


def _opcodes(old: Sequence[str], new: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    """Return how ``old`` becomes ``new`` in the words of difflib, in bounded time.

    Where too much is alike to be told apart, all between the common beginning and end is replaced.
    """
    counts = Counter(new)
    if sum(number * counts[each] for each, number in Counter(old).items()) <= _MOST_MATCHES:
        return SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    a_end, b_end = len(old) - tail, len(new) - tail
    return [
        ("equal", 0, head, 0, head),
        ("replace", head, a_end, head, b_end),
        ("equal", a_end, len(old), b_end, len(new)),
    ]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words two texts begin with alike."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Merge neighbours, and let a word or two between two longer changes belong to both.

    Else a rewritten sentence would be cut into confetti, one word at a time.
    """
    runs: list[list[str]] = []  # removed, added; equal where nothing changed
    for span in spans:
        removed = span.text if span.kind != "added" else ""
        added = span.text if span.kind != "removed" else ""
        if span.text and runs and _is_same(runs[-1]) == (span.kind == "same"):
            runs[-1] = [runs[-1][0] + removed, runs[-1][1] + added]
        elif span.text:
            runs.append([removed, added])
    merged: list[list[str]] = []
    for index, run in enumerate(runs):
        follows_change = bool(merged) and not _is_same(merged[-1])
        is_island = _is_same(run) and follows_change and index + 1 < len(runs)
        belongs = is_island and _is_short(run[0], merged[-1], runs[index + 1])
        if follows_change and (belongs or not _is_same(run)):
            merged[-1] = [merged[-1][0] + run[0], merged[-1][1] + run[1]]
        else:
            merged.append(run)
    return [span for run in merged for span in _spans(run)]


def _is_same(run: Sequence[str]) -> bool:
    return run[0] == run[1]


def _is_short(island: str, before: Sequence[str], after: Sequence[str]) -> bool:
    """Tell whether the changes on both sides have at least twice the words between them."""
    least = min(max(len(text.split()) for text in run) for run in (before, after))
    return "\n" not in island and 2 * len(island.split()) <= least


def _spans(run: Sequence[str]) -> list[Span]:
    removed, added = run
    if _is_same(run):
        return [Span("same", removed)]
    both = (Span("removed", removed), Span("added", added))
    return [span for span in both if span.text]


def with_gaps(spans: Sequence[Span], context_lines: int = 2) -> list[Span]:
    """Shorten unchanged stretches to ``context_lines`` lines beside each change."""
    shown: list[Span] = []
    for index, span in enumerate(spans):
        lines = span.text.splitlines(keepends=True)
        head = context_lines if index else 0
        tail = context_lines if index < len(spans) - 1 else 0
        hidden = len(lines) - head - tail
        if span.kind != "same" or hidden < 2:
            shown.append(span)
            continue
        parts = (
            Span("same", "".join(lines[:head])),
            Span("gap", lines=hidden),
            Span("same", "".join(lines[len(lines) - tail :]) if tail else ""),
        )
        shown += [part for part in parts if part.text or part.lines]
    return shown


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) > 3


def _differs(one: Any, other: Any) -> bool:
    # Python takes 1, 1.0 and true for equal; in JSON they are three values.
    return bool(one != other) or _text(one) != _text(other)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
