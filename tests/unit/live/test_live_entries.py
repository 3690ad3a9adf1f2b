"""The cursor of a live transcript: whoever comes back with it misses nothing and reads nothing
twice.
"""

from __future__ import annotations

from typing import Any

import pytest

from calls.services.live_entries import TAIL, Cursor, Entry, Snapshot, frame

pytestmark = pytest.mark.unit


def turn(ordinal: int, text: str = "", *, at_ms: int | None = None, **more: Any) -> Entry:
    data = {"ordinal": ordinal, "text": text, **more}
    return Entry(ordinal * 1000 if at_ms is None else at_ms, data if text else None)


def tool(name: str, state: str, at_ms: int) -> Entry:
    return Entry(at_ms, {"name": name, "state": state})


def live(*turns: Entry, tools: tuple[Entry, ...] = (), over: bool = False) -> Snapshot:
    status = "ended" if over else "in-progress"
    return Snapshot(status, "customer-ended-call" if over else "", over, turns, tools)


def read(cursor: Cursor, snapshot: Snapshot) -> list[tuple[str, Any]]:
    """Return (event, what it is about) of all news."""
    words = {"turn": "text", "tool": "state", "status": "status", "end": "endedReason"}
    return [(event, data[words[event]]) for event, data in cursor.events(snapshot)]


def test_all_that_is_stored_comes_in_the_order_of_speech_and_once() -> None:
    snapshot = live(turn(0, "Hello"), turn(1, "Book it"), tools=(tool("book", "running", 500),))
    cursor = Cursor()
    assert read(cursor, snapshot) == [
        *(("status", "in-progress"), ("turn", "Hello"), ("tool", "running"), ("turn", "Book it")),
    ]
    assert read(cursor, snapshot) == []


def test_a_turn_that_changes_comes_again_and_an_empty_one_not_yet() -> None:
    cursor = Cursor()
    read(cursor, live(turn(0, "Hel"), turn(1), turn(2, "Good")))
    now = live(turn(0, "Hello"), turn(1, "late words"), turn(2, "Good"))
    assert read(cursor, now) == [("turn", "Hello"), ("turn", "late words")]


@pytest.mark.parametrize("broken_after", range(70))
def test_a_reader_that_comes_back_gets_the_rest_without_gap_or_repeat(broken_after: int) -> None:
    entries = tuple(turn(n, f"words {n}" if n % 5 else "") for n in range(60))
    tools = tuple(tool(f"t{n}", "ok", n * 1500) for n in range(15))
    whole = live(*entries, tools=tools, over=True)
    everything = list(Cursor().events(whole))
    cursor, first = Cursor(), []
    events = cursor.events(whole)
    last_id = ""
    for _ in range(min(broken_after, len(everything))):
        event, data = next(events)
        first.append((event, data))
        last_id = frame(event, data, cursor).split("\n")[0].removeprefix("id: ")
    again = Cursor.read(last_id)
    rest = list(again.events(whole))
    assert first + rest == everything
    assert again.has_all(whole)


def test_what_changed_while_the_line_was_broken_comes_alone() -> None:
    before = [turn(n, f"words {n}") for n in range(40)]
    cursor = Cursor()
    read(cursor, live(*before))
    after = [*before[:38], turn(38, "other words"), before[39], turn(40, "new")]
    assert read(Cursor.read(str(cursor)), live(*after)) == [
        ("turn", "other words"),
        ("turn", "new"),
    ]


def test_a_change_before_the_tail_is_no_gap() -> None:
    """The sum does not say which one it was: the older ones come again, as replacements."""
    before = [turn(n, f"words {n}") for n in range(TAIL + 5)]
    cursor = Cursor()
    read(cursor, live(*before))
    after = [turn(0, "corrected"), *before[1:]]
    found = read(Cursor.read(str(cursor)), live(*after))
    assert found == [("turn", "corrected"), *[("turn", f"words {n}") for n in range(1, 5)]]


def test_the_end_comes_last_and_once() -> None:
    cursor = Cursor()
    read(cursor, live(turn(0, "Hello")))
    over = live(turn(0, "Hello"), turn(1, "Bye"), over=True)
    assert not Cursor.read(str(cursor)).has_all(over)
    assert read(cursor, over) == [
        ("status", "ended"),
        ("turn", "Bye"),
        ("end", "customer-ended-call"),
    ]
    assert Cursor.read(str(cursor)).has_all(over)
    # Words that came after the end are not kept back from who returns.
    late = live(turn(0, "Hello"), turn(1, "Bye then"), over=True)
    assert not Cursor.read(str(cursor)).has_all(late)
    assert read(Cursor.read(str(cursor)), late) == [("turn", "Bye then")]


@pytest.mark.parametrize(
    "text",
    ["", "42", "1~~~", "1~x~0..~9.zz.zz", "1~x~-1..~0..", "2~in-progress~0..~0..", "1" * 9000],
)
def test_a_foreign_id_begins_anew_or_is_harmless(text: str) -> None:
    found = read(Cursor.read(text), live(turn(0, "Hello")))
    assert ("turn", "Hello") in found


def test_a_cursor_of_more_than_there_is_resends_what_there_is() -> None:
    """A call whose rows went away (erased and restored) must not hide what is there."""
    cursor = Cursor()
    read(cursor, live(*(turn(n, f"words {n}") for n in range(40))))
    assert ("turn", "Hello") in read(Cursor.read(str(cursor)), live(turn(0, "Hello")))


def test_a_frame_is_one_event_whatever_was_said() -> None:
    cursor = Cursor()
    said = 'line\nbreak\r\n\n"id: 7" \u2028'
    snapshot = live(turn(0, said))
    text = "".join(frame(event, data, cursor) for event, data in cursor.events(snapshot))
    blocks = text.split("\n\n")
    assert len(blocks) == 3 and blocks[-1] == ""
    assert [line.split(":")[0] for line in blocks[1].split("\n")] == ["id", "event", "data"]
    assert "\r" not in text
    assert len(str(cursor)) < 400
