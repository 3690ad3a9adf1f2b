"""Liquid text made readable: what is broken is taken out and named, the rest stays.

Owns where outputs and tags begin and end, which tags belong together, and names that Liquid cannot
spell (``{{date & time}}``). A broken tag loses its own words, never those around it: an operator's
prompt must reach the model whatever one typing error does to it. Pure and total; whether a piece is
Liquid is asked of the ``fault`` that is handed in. Linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

Fault = Callable[[str], str]  # why a piece of Liquid cannot be read, '' when it can

MAX_TOKENS: Final = 4_000
_MAX_DEPTH: Final = 20
_OPENING: Final = re.compile(r"\{[{%]")
_LOST_OUTPUT: Final = re.compile(r"\{\{-?[ \t]*[\w.\-]*")
_LOST_TAG: Final = re.compile(r"\{%-?[ \t]*\w*")
_TAG_NAME: Final = re.compile(r"\{%-?\s*(#|\w+)")
_VERBATIM: Final = ("raw", "comment", "doc")
_INNER: Final[Mapping[str, Collection[str]]] = {
    "if": ("elsif", "else"),
    "unless": ("elsif", "else"),
    "case": ("when", "else"),
    "for": ("else",),
    "tablerow": (),
    "capture": (),
    "ifchanged": (),
}
_SINGLE: Final = frozenset(
    {"assign", "echo", "increment", "decrement", "cycle", "liquid", "break", "continue", "#"}
)
_ELSEWHERE: Final = frozenset({"include", "render", "layout", "block", "extends", "import"})
# A name as people give it to a variable: words, but no Liquid.
_ODD_NAME: Final = re.compile(r"[^\W_][^\"|{}\[\]()<>=!,:;%\n]{0,100}")
_LONE_BRACE: Final = re.compile(r"\{(?=[{%])|\{\Z")
_LONGEST_LOSS: Final = 300


@dataclass(frozen=True, slots=True)
class Mended:
    """Liquid that can be read, and what had to be left out, in words for the author.

    ``template`` is None when the text is too much to be read at all.
    """

    template: str | None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Piece:
    """``kind``: text, output, tag, or verbatim (raw text and comments, kept as they are)."""

    kind: str
    source: str
    start: int
    name: str = ""


@dataclass(slots=True)
class _Block:
    """An opening tag, the tags inside that belong to it, and its end; positions of pieces."""

    name: str
    parts: list[int]
    is_lost: bool = False


@dataclass(slots=True)
class _Mending:
    text: str
    fault: Fault
    pieces: list[_Piece] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def say(self, start: int, words: str) -> None:
        line = self.text.count("\n", 0, start) + 1
        self.problems.append((start, f"line {line}: {words}"))

    def lose(self, piece: _Piece, why: str) -> None:
        self.say(piece.start, f"{_short(piece.source)} {why}")
        piece.kind, piece.source = "text", ""


def mend(text: str, fault: Fault) -> Mended:
    """Return ``text`` as Liquid without its broken parts."""
    work = _Mending(text, fault)
    if not _split(work):
        return Mended(None, (f"more than {MAX_TOKENS} variables and tags; it is not filled in",))
    for piece in work.pieces:
        if piece.kind == "output":
            _mend_output(work, piece)
    _mend_tags(work)
    return Mended(_joined(work.pieces), tuple(words for _, words in sorted(work.problems)))


def _split(work: _Mending) -> bool:
    """Cut the text into pieces; False when there are too many."""
    text, at = work.text, 0
    unended: set[str] = set()
    while (found := _OPENING.search(text, at)) is not None:
        start = found.start()
        while text.startswith(("{{{", "{{%"), start):
            start += 1  # `{{{name}}}` is a name in braces
        _add_text(work, text[at:start], at)
        at = _output_or_tag(work, start, unended)
        if len(work.pieces) > 2 * MAX_TOKENS:
            return False
    _add_text(work, text[at:], at)
    return True


def _add_text(work: _Mending, source: str, start: int) -> None:
    if source:
        work.pieces.append(_Piece("text", source, start))


def _output_or_tag(work: _Mending, start: int, unended: set[str]) -> int:
    """Add the output or tag at ``start``; return where the text goes on."""
    text = work.text
    is_output = text.startswith("{{", start)
    named = None if is_output else _TAG_NAME.match(text, start)
    name = named.group(1) if named else ""
    if name in _VERBATIM:
        end = _end_of_verbatim(text, start, name, unended)
        if end:
            work.pieces.append(_Piece("verbatim", text[start:end], start))
            return end
    following = _OPENING.search(text, start + 2)
    limit = following.start() if following else len(text)
    end = text.find("}}" if is_output else "%}", start + 2, limit)
    if end < 0:
        lost = (_LOST_OUTPUT if is_output else _LOST_TAG).match(text, start)
        after = lost.end() if lost else start + 2
        work.say(start, f"{_short(text[start:after])} is never closed and is left out")
        return after
    end += 2
    kind = "output" if is_output else "tag"
    work.pieces.append(_Piece(kind, text[start:end], start, name))
    return end


def _end_of_verbatim(text: str, start: int, name: str, unended: set[str]) -> int:
    """Return where ``{% raw %}`` and the like end, 0 when they never do."""
    if name in unended:
        return 0
    found = re.compile(r"\{%-?\s*end" + name + r"\s*-?%\}").search(text, start)
    if found is None:
        unended.add(name)
    return found.end() if found else 0


def _mend_output(work: _Mending, piece: _Piece) -> None:
    why = work.fault(piece.source)
    if not why:
        return
    dashes = ("-" if piece.source[2:3] == "-" else "", "-" if piece.source[-3:-2] == "-" else "")
    inner = piece.source[2 + len(dashes[0]) : -2 - len(dashes[1])]
    head, bar, filters = inner.partition("|")
    if not inner.strip():
        piece.kind, piece.source = "text", ""
        return
    if _ODD_NAME.fullmatch(head.strip()):
        path = "".join(f'["{part.strip()}"]' for part in head.strip().split("."))
        spelled = f"{{{{{dashes[0]} {path} {bar}{filters}{dashes[1]}}}}}"
        if not work.fault(spelled):
            piece.source = spelled
            return
    if len(piece.source) > _LONGEST_LOSS:
        # More likely prose between braces than a variable: only the braces go.
        work.say(piece.start, f"{_short(piece.source)} is no variable; its words are kept")
        piece.kind, piece.source = "text", inner
        return
    work.lose(piece, f"cannot be read ({why}) and is left out")


def _mend_tags(work: _Mending) -> None:
    open_blocks: list[_Block] = []
    opened: Counter[str] = Counter()  # how many of ``open_blocks`` have a name
    for index, piece in enumerate(work.pieces):
        if piece.kind != "tag":
            continue
        name = piece.name
        if name in _INNER:
            block = _Block(name, [index], is_lost=len(open_blocks) >= _MAX_DEPTH)
            open_blocks.append(block)
            opened[name] += 1
        elif name in _SINGLE:
            _mend_single(work, piece, open_blocks)
        elif open_blocks and name in _INNER[open_blocks[-1].name]:
            open_blocks[-1].parts.append(index)
        elif name.startswith("end") and opened[name[3:]]:
            while open_blocks[-1].name != name[3:]:
                opened[open_blocks[-1].name] -= 1
                _lose_block(work, open_blocks.pop(), "is never closed and is left out")
            block = open_blocks.pop()
            opened[block.name] -= 1
            block.parts.append(index)
            _mend_block(work, block)
        elif name in _ELSEWHERE or name.removeprefix("end") in _ELSEWHERE:
            work.lose(piece, "wants another file, and there is none; it is left out")
        elif name in _VERBATIM:
            work.lose(piece, "is never closed and is left out")
        elif name.removeprefix("end") in _INNER or name in ("else", "elsif", "when"):
            work.lose(piece, "belongs to no opening tag and is left out")
        else:
            work.lose(piece, "is no tag of Liquid and is left out")
    for block in open_blocks:
        _lose_block(work, block, "is never closed and is left out")


def _mend_single(work: _Mending, piece: _Piece, open_blocks: list[_Block]) -> None:
    in_loop = any(block.name in ("for", "tablerow") for block in open_blocks)
    if piece.name in ("break", "continue") and not in_loop:
        work.lose(piece, "is outside of every loop and is left out")
        return
    why = work.fault(piece.source)
    if why:
        work.lose(piece, f"cannot be read ({why}) and is left out")


def _mend_block(work: _Mending, block: _Block) -> None:
    """Lose the tags of a block, not its text, when one of them cannot be read."""
    if block.is_lost:
        _lose_block(work, block, f"is more than {_MAX_DEPTH} levels deep and is left out")
        return
    why = work.fault("".join(work.pieces[index].source for index in block.parts))
    if why:
        _lose_block(work, block, f"cannot be read ({why}); its tags are left out, its text stays")


def _lose_block(work: _Mending, block: _Block, why: str) -> None:
    work.lose(work.pieces[block.parts[0]], why)
    for index in block.parts[1:]:
        work.pieces[index].kind, work.pieces[index].source = "text", ""


def _joined(pieces: list[_Piece]) -> str:
    """Put the pieces together; braces of the text must not become Liquid."""
    parts: list[str] = []
    words: list[str] = []
    for piece in (*pieces, _Piece("output", "", 0)):
        if piece.kind == "text":
            words.append(piece.source)
            continue
        parts.append(_LONE_BRACE.sub("{{'{'}}", "".join(words)))
        parts.append(piece.source)
        words = []
    return "".join(parts)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:58]}…"
