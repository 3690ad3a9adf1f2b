"""What a new session of the model must know of the conversation: one list of text items (7.4).

A session cannot be resumed, and assistant audio cannot be created by a client (trap O30): so
turns come back as text, of the assistant only what was heard, with each function call before its
output. Pure; the bridge sends what this returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from calls.bridge.plan import HistoryItem
from calls.bridge.toolbox import Toolbox
from calls.bridge.transcript import Transcript
from calls.wire import realtime
from calls.wire.realtime import Dialect

# About 12,000 tokens: half of what the small models can read beside instructions and tools (1.4).
MAX_CHARACTERS = 48_000


def remembered(
    transcript: Transcript,
    toolbox: Toolbox,
    *,
    without: frozenset[str],
    audio: Mapping[str, str],
    since: int = 0,
    told: frozenset[str] = frozenset(),
) -> list[HistoryItem]:
    """Return turns and tool calls of this stream in the order of speech.

    ``without`` names items that are told elsewhere; ``audio`` has those of the caller whose text
    never came (base64). Turns before the ordinal ``since`` and calls in ``told`` are left out. A
    call that still runs has no output yet.
    """
    placed: list[tuple[int, int, HistoryItem]] = []
    for turn in transcript.turns():
        if turn.item_id in without or turn.ordinal < since:
            continue
        sound = "" if turn.text or turn.role != "user" else audio.get(turn.item_id, "")
        if turn.text or sound:
            item = HistoryItem(turn.role, turn.text, item_id=turn.item_id, audio_b64=sound)
            placed.append((turn.ordinal, 1, item))
    for call in toolbox.calls():
        if call.tool_call_id in told:
            continue
        item = HistoryItem(
            "tool",
            call.output,
            tool_call_id=call.tool_call_id,
            name=call.name,
            arguments_json=call.arguments_json,
            pending=call.pending,
        )
        placed.append((call.place, 0, item))
    placed.sort(key=lambda each: each[:2])
    return [item for _, _, item in placed]


def newest(items: Sequence[HistoryItem], characters: int = MAX_CHARACTERS) -> list[HistoryItem]:
    """Return the newest items that fit, in order; a call and its output count as one."""
    kept: list[HistoryItem] = []
    for item in reversed(items):
        characters -= len(item.text) + len(item.arguments_json)
        if characters < 0 and not item.pending:
            break
        kept.append(item)
    kept.reverse()
    return kept


def item_texts(
    item: HistoryItem, new_id: Callable[[str], str], dialect: Dialect, *, item_id: str = ""
) -> list[str]:
    """Return the client events that put one item into a session."""
    if item.audio_b64:
        return [realtime.audio_item(new_id("seed"), item.audio_b64)]
    if item.role != "tool":
        return [
            realtime.message_item(new_id("seed"), item.role, item.text, dialect, item_id=item_id)
        ]
    tool_call_id = realtime.legal_id(item.tool_call_id)
    # A tool of an MCP server may have a name that no function has (trap O8).
    name = realtime.legal_name(item.name)
    # Legal JSON, whatever the model once wrote: the item would be refused.
    call = realtime.function_call(new_id("seed"), tool_call_id, name, item.arguments_json)
    if item.pending:
        return [call]
    return [call, realtime.function_output(new_id("seed"), tool_call_id, item.text)]
