"""What the next stream of a call is told of the earlier ones: turns that were heard, and tools.

A tool call that was cut off with its stream is run again only if its tool says that this does no
harm (``idempotent`` in its document); of any other the model is told that nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone

from calls.bridge.continuity import FASTEST_CHARACTER_MS
from calls.bridge.controls import OPERATOR_ITEM
from calls.bridge.core import POLICY_ITEM_ID
from calls.bridge.plan import HistoryItem
from calls.bridge.successor import passed_on
from calls.bridge.toolbox import LOST_RESULT
from calls.bridge.transcript import heard_part
from calls.models import Call, ToolInvocation, Turn
from calls.privacy.patterns import has_masks
from calls.services.handoffs import context_of_row
from calls.services.privacy import keeping_for
from tools.rejection import needs_liquid
from tools.spec import SERVED_KINDS, ToolSpec

HISTORY_TURNS = 40
# In the place of words that the model had heard, but of which no text came in time.
LOST_WORDS = "(The caller spoke here. The words were lost with the line: ask for them again.)"


def lost_stream_close(call: Call) -> None:
    """Close what a stream left open that cannot report any more: turns, and tools that still ran.

    A stream that is only late replaces this with what it knows.
    """
    gone_ms = _gone_ms(call)
    for turn in Turn.objects.filter(call=call, ended_ms__isnull=True):
        turn.ended_ms = max(turn.started_ms, gone_ms)
        if turn.role == Turn.Role.ASSISTANT:
            # Text runs ahead of audio; nobody has heard more than there was time to say.
            most = (turn.ended_ms - turn.started_ms) // FASTEST_CHARACTER_MS
            turn.text, rest = heard_part(turn.text, most, len(turn.text))
            turn.text_unheard = f"{rest} {turn.text_unheard}".strip()
            turn.interrupted = True
        turn.save(update_fields=["text", "text_unheard", "interrupted", "ended_ms"])
    call.tool_invocations.filter(state=ToolInvocation.State.RUNNING).update(
        state=ToolInvocation.State.ERROR, output=LOST_RESULT
    )


def _gone_ms(call: Call) -> int:
    begun = call.started_at
    return 0 if begun is None else round((timezone.now() - begun).total_seconds() * 1000)


def history_of(call: Call, tools: Iterable[ToolSpec]) -> tuple[tuple[HistoryItem, ...], int, int]:
    """Return (what was said and done, next free ordinal, ms so far) of a call's earlier streams."""
    turns = list(Turn.objects.filter(call=call).order_by("ordinal"))
    parts = _Parts(call)
    shown = turns[-HISTORY_TURNS:]
    specs = {tool.name: tool for tool in tools}
    since_ms = shown[0].started_ms if len(shown) < len(turns) else 0
    rows = [row for row in call.tool_invocations.all() if row.started_ms >= since_ms]
    keeps_words = keeping_for(call).words
    spoke = [turn for turn in shown if turn.role == Turn.Role.CALLER]
    lost = spoke[-1] if spoke and not spoke[-1].text else None
    for turn in shown:
        while rows and rows[0].started_ms < turn.started_ms:
            parts.add(rows[0].started_ms, _tool(rows.pop(0), specs, keeps_words))
        if turn is lost:
            parts.add_turn(turn, HistoryItem("user", LOST_WORDS))
        elif (
            turn.text
            and (turn.role != Turn.Role.SYSTEM or turn.item_id.startswith(OPERATOR_ITEM))
            # A line that was cut off is played again, from its beginning.
            and not (turn.item_id == POLICY_ITEM_ID and call.policy_played_at is None)
        ):
            parts.add_turn(turn, HistoryItem(turn.role, turn.text))  # type: ignore[arg-type]  # choices
    for row in rows:
        parts.add(row.started_ms, _tool(row, specs, keeps_words))
    elapsed_ms = max((turn.ended_ms or turn.started_ms for turn in turns), default=0)
    # Silence and the gap between two streams count too, for the ceiling and in the times told.
    elapsed_ms = max(elapsed_ms, _gone_ms(call))
    return parts.told(), turns[-1].ordinal + 1 if turns else 0, elapsed_ms


class _Parts:
    """What was said and done, by the assistant that had the call, in order."""

    def __init__(self, call: Call) -> None:
        is_handed = call.activation_id is not None
        rows = call.activations.order_by("ordinal").defer("variables") if is_handed else ()
        self._later = [row for row in rows if row.ordinal]
        self._items: list[list[HistoryItem]] = [[] for _ in range(len(self._later) + 1)]

    def add_turn(self, turn: Turn, item: HistoryItem) -> None:
        """Add what was said; its number says whose part it belongs to."""
        number = sum(row.first_ordinal <= turn.ordinal for row in self._later)
        self._items[number].append(item)

    def add(self, started_ms: int, items: Iterable[HistoryItem]) -> None:
        """Add what a tool did; the call that hands over belongs to the part that it ends."""
        number = sum(row.started_ms <= started_ms for row in self._later)
        self._items[number] += items

    def told(self) -> tuple[HistoryItem, ...]:
        """Return what the assistant that has the call now knows (vapi.md 8.2)."""
        known: tuple[HistoryItem, ...] = ()
        for row, own in zip(self._later, self._items, strict=False):
            known = passed_on(known, own, context_of_row(row))
        return (*known, *self._items[-1])


def _tool(row: ToolInvocation, specs: dict[str, ToolSpec], keeps_words: bool) -> list[HistoryItem]:
    spec = specs.get(row.name)
    if spec is not None and spec.kind not in SERVED_KINDS:
        return []  # ending and transferring are the bridge's own and do not outlive a stream
    lost = row.state == ToolInvocation.State.RUNNING or row.output == LOST_RESULT
    # What the model wrote is not there any more where it was masked or never kept.
    is_whole = keeps_words and not has_masks(row.arguments_json)
    again = lost and is_whole and spec is not None and spec.idempotent and _can_be_run_again(spec)
    text = "" if again else LOST_RESULT if lost else row.output
    return [HistoryItem("tool", text, row.tool_call_id, row.name, row.arguments_json, again)]


def _can_be_run_again(spec: ToolSpec) -> bool:
    """Tell whether a row has all that a call needs, and nobody would have to judge it first.

    Of arguments that only a server may read the row has none.
    """
    return not spec.hidden and not needs_liquid(spec.rejection)
