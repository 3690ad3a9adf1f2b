"""Two lists of tool calls beside each other: what stands in both, and what moved.

Pure. Owns the longest common subsequence of names, with ties broken so that repeats of one tool
meet the repeat with the same arguments, and the freedom of calls that one message asked for
(docs/adr/0042-parallel-calls-have-no-order.md). It must not know what arguments mean.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from calls.parity.sequence import ToolCall, canonical_arguments

Alike = Callable[[ToolCall, ToolCall], bool]
Tools = Sequence[ToolCall]

# Orders that are tried for both calls together; beyond that the names of a message are sorted.
_MOST_ORDERS: Final = 720


@dataclass(frozen=True, slots=True)
class Aligned:
    """``rows`` side by side, with None where a side has nothing; and what stands alone in them.

    ``reordered``: pairs of calls that both made, at places that do not match. The number of each
    is settled: omitted and extra are what the counts of names differ by, reordered what is left.
    """

    rows: tuple[tuple[ToolCall | None, ToolCall | None], ...]
    reordered: tuple[tuple[ToolCall, ToolCall], ...]
    omitted: tuple[ToolCall, ...]
    extra: tuple[ToolCall, ...]


def align(old: Tools, new: Tools, alike: Alike) -> Aligned:
    """Lay two calls beside each other so that as many tools as possible match.

    Of several ways that match as many it takes the same one whichever call is called the old one:
    they are laid beside each other in an order of their own.

    Args:
        alike: whether two calls of one tool have the same arguments; it only breaks ties.
    """
    is_turned = _comes_later(old, new)
    best: tuple[int, int] | None = None
    chosen: tuple[Tools, Tools, list[tuple[int, int]]] = ((), (), [])
    for before, after in _orders(new, old) if is_turned else _orders(old, new):
        score, matches = _matches(before, after, alike)
        if best is None or score > best:
            best, chosen = score, (before, after, matches)
        if score == (len(old), len(new)) and len(old) == len(new):
            break
    if is_turned:
        after, before, matches = chosen
        chosen = (before, after, [(at_old, at_new) for at_new, at_old in matches])
    return _aligned(*chosen, alike)


def _comes_later(old: Tools, new: Tools) -> bool:
    one, two = ([tool.name for tool in tools] for tools in (old, new))
    if one != two:
        return one > two
    left, right = ([canonical_arguments(tool.arguments) for tool in side] for side in (old, new))
    return left > right


def _aligned(old: Tools, new: Tools, matches: list[tuple[int, int]], alike: Alike) -> Aligned:
    rows: list[tuple[ToolCall | None, ToolCall | None]] = []
    left: list[ToolCall] = []
    right: list[ToolCall] = []
    at_old = at_new = 0
    for i, j in (*matches, (len(old), len(new))):
        left += old[at_old:i]
        right += new[at_new:j]
        rows += [(tool, None) for tool in old[at_old:i]]
        rows += [(None, tool) for tool in new[at_new:j]]
        if i < len(old):
            rows.append((old[i], new[j]))
        at_old, at_new = i + 1, j + 1
    reordered = tuple(_moved(left, right, alike))
    moved = {id(tool) for pair in reordered for tool in pair}
    return Aligned(
        rows=tuple(rows),
        reordered=reordered,
        omitted=tuple(tool for tool in left if id(tool) not in moved),
        extra=tuple(tool for tool in right if id(tool) not in moved),
    )


def _moved(
    left: list[ToolCall], right: list[ToolCall], alike: Alike
) -> Iterator[tuple[ToolCall, ToolCall]]:
    """Yield pairs of one name among what matched nothing, first those with the same arguments."""
    waiting: dict[str, list[ToolCall]] = defaultdict(list)
    for tool in right:
        waiting[tool.name].append(tool)
    rest: list[ToolCall] = []
    for tool in left:
        same = next((each for each in waiting[tool.name] if alike(tool, each)), None)
        if same is None:
            rest.append(tool)
            continue
        waiting[tool.name] = [each for each in waiting[tool.name] if each is not same]
        yield tool, same
    for tool in rest:
        if waiting[tool.name]:
            yield tool, waiting[tool.name].pop(0)


def _matches(old: Tools, new: Tools, alike: Alike) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return (matches, of these alike) at its largest, and the places that give it."""
    wide = len(new) + 1
    table = [[(0, 0)] * wide for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        row, below = table[i], table[i + 1]
        for j in range(len(new) - 1, -1, -1):
            best = max(below[j], row[j + 1])
            if old[i].name == new[j].name:
                many, same = below[j + 1]
                best = max(best, (many + 1, same + alike(old[i], new[j])))
            row[j] = best
    places: list[tuple[int, int]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        if old[i].name == new[j].name:
            many, same = table[i + 1][j + 1]
            if table[i][j] == (many + 1, same + alike(old[i], new[j])):
                places.append((i, j))
                i, j = i + 1, j + 1
                continue
        if table[i][j] == table[i + 1][j]:
            i += 1
        else:
            j += 1
    return table[0][0], places


def _orders(old: Tools, new: Tools) -> Iterator[tuple[Tools, Tools]]:
    """Yield every order that both calls may have had, the logged one first.

    Too many of them are replaced by one in which the calls of a message are sorted by name.
    """
    shared = Counter(tool.name for tool in old) & Counter(tool.name for tool in new)
    one, two = _groups(old), _groups(new)
    ways = math.prod(_ways(group, shared) for group in (*one, *two))
    if ways > _MOST_ORDERS:
        yield _sorted(one), _sorted(two)
        return
    for before in _linear(one, shared):
        for after in _linear(two, shared):
            yield before, after


def _groups(tools: Tools) -> list[list[ToolCall]]:
    """Return the calls by message: those of one message that follow each other are a group."""
    groups: list[list[ToolCall]] = []
    for tool in tools:
        last = groups[-1][-1] if groups else None
        if last is not None and tool.message is not None and tool.message == last.message:
            groups[-1].append(tool)
        else:
            groups.append([tool])
    return groups


def _ways(group: list[ToolCall], shared: Counter[str]) -> int:
    if len({tool.name for tool in group}) == 1 or not any(shared[each.name] for each in group):
        return 1
    return math.factorial(min(len(group), 10))


def _linear(groups: list[list[ToolCall]], shared: Counter[str]) -> Iterator[list[ToolCall]]:
    orders: list[Iterable[Iterable[ToolCall]]] = [
        (group,) if _ways(group, shared) == 1 else itertools.permutations(group) for group in groups
    ]
    for way in itertools.product(*orders):
        yield [tool for group in way for tool in group]


def _sorted(groups: list[list[ToolCall]]) -> list[ToolCall]:
    return [tool for group in groups for tool in sorted(group, key=lambda each: each.name)]
