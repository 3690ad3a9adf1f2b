"""The ledger of what the caller has heard."""

from __future__ import annotations

import pytest

from calls.bridge.playback import MAX_AHEAD_BYTES, MAX_HELD_BYTES, Playback
from calls.wire.twilio_media import StreamWriter
from tests.unit.bridge.line import mulaw

pytestmark = pytest.mark.unit


class Book:
    """A ledger and the kinds of messages it wrote."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.book = Playback(StreamWriter("MZ1"), self.out.append)

    def add(self, ms: int, item_id: str = "a", now_ms: int = 0) -> bool:
        return self.book.add(item_id, mulaw(ms), 8 * ms, now_ms)

    def kinds(self) -> list[str]:
        found = [text.split('"')[3] for text in self.out]
        self.out.clear()
        return found


@pytest.fixture
def book() -> Book:
    return Book()


def test_o23_one_mark_for_every_100_ms_and_one_at_the_end(book: Book) -> None:
    for _ in range(12):
        book.add(20)
    assert book.kinds().count("mark") == 2
    book.book.complete("a", 0)
    assert book.kinds() == ["mark"]


def test_complete_at_a_mark_sends_no_second_one(book: Book) -> None:
    book.add(100)
    assert book.kinds() == ["media", "mark"]
    book.book.complete("a", 0)
    assert book.kinds() == []


def test_an_echo_means_heard_up_to_the_mark(book: Book) -> None:
    for _ in range(3):
        book.add(100)
    book.book.echo("g1:2", 200)
    assert book.book.heard_bytes("a", 200) == 1600
    assert not book.book.silent


def test_what_a_pause_keeps_back_is_heard_after_the_pause(book: Book) -> None:
    book.book.pause(300)
    book.add(500, now_ms=100)
    assert book.kinds() == []
    assert book.book.wait_ms(100) == 200 + 500
    book.book.resume(300)
    assert book.kinds() == ["media", "mark"]
    assert book.book.wait_ms(300) == 500
    # The line was empty: it is heard from when it was sent, not from when it was kept back.
    assert book.book.heard_bytes("a", 500) == 8 * 200


def test_a_later_echo_covers_marks_that_were_lost(book: Book) -> None:
    for _ in range(3):
        book.add(100)
    book.book.echo("g1:3", 300)
    assert book.book.silent


def test_t13_the_estimate_never_passes_the_next_mark(book: Book) -> None:
    book.add(100)
    book.add(100)
    assert book.book.heard_bytes("a", 60) == 480
    assert book.book.heard_bytes("a", 5000) == 800


def test_the_estimate_counts_from_the_send_for_clear_has_to_travel_too(book: Book) -> None:
    for _ in range(4):
        book.add(100)
    book.book.echo("g1:1", 180)  # a round trip of 80 ms
    assert book.book.heard_bytes("a", 250) == (250 - 15) * 8


def test_what_was_on_its_way_when_the_stream_stopped_was_not_heard(book: Book) -> None:
    for _ in range(4):
        book.add(100)
    book.book.echo("g1:1", 180)  # a round trip of 80 ms
    assert book.book.heard_bytes("a", 250, stopped=True) == (250 - 80 - 15) * 8
    assert book.book.heard_bytes("a", 180, stopped=True) == 100 * 8


def test_without_any_echo_nothing_was_heard_when_the_stream_stopped(book: Book) -> None:
    book.add(100)
    assert book.book.heard_bytes("a", 90) == 90 * 8
    assert book.book.heard_bytes("a", 90, stopped=True) == 0


def test_an_echo_later_than_the_line_needs_holds_the_estimate_back(book: Book) -> None:
    for _ in range(4):
        book.add(100)
    book.book.echo("g1:1", 180)
    book.book.echo("g1:2", 310)  # 30 ms later than the other
    assert book.book.heard_bytes("a", 350) == (350 - 15 - 30) * 8


def test_t13_an_overdue_echo_ends_the_estimate_at_its_mark(book: Book) -> None:
    for _ in range(4):
        book.add(100)
    book.book.echo("g1:1", 180)
    assert book.book.heard_bytes("a", 200 + 80 + 15) == (295 - 15) * 8
    assert book.book.heard_bytes("a", 200 + 80 + 16) == 200 * 8


def test_the_estimate_starts_anew_after_an_underrun(book: Book) -> None:
    book.add(100)
    book.book.echo("g1:1", 100)
    book.add(100, now_ms=5000)
    assert book.book.heard_bytes("a", 5010) == 880


def test_t10_echoes_after_clear_do_not_advance_playback(book: Book) -> None:
    book.add(100)
    book.add(100)
    book.book.clear(50)
    book.add(100, "b", 60)
    for name in ("g1:1", "g1:2"):
        book.book.echo(name, 70)
    assert book.book.stale_marks == 2
    assert book.book.heard_bytes("b", 60) == 0
    book.book.echo("g2:1", 160)
    assert book.book.silent


@pytest.mark.parametrize(
    "name",
    ["", "g1", "g1:", "g1:x", "g1:0", "g1:2", "g1:\u0661", "g9:1", "g1:-1", "g1:" + "9" * 400],
)
def test_unknown_marks_move_nothing(book: Book, name: str) -> None:
    book.add(100)
    book.book.echo(name, 100)
    assert (book.book.stale_marks, book.book.silent) == (1, False)


def test_a_mark_that_comes_twice_counts_once(book: Book) -> None:
    book.add(100)
    book.book.echo("g1:1", 100)
    book.book.echo("g1:1", 101)
    assert book.book.stale_marks == 1


def test_clear_cuts_the_audible_item_and_names_the_unheard_ones(book: Book) -> None:
    book.add(100, "a")
    book.add(100, "b")
    book.book.echo("g1:1", 100)
    cuts = book.book.clear(140)
    assert [(cut.item.item_id, cut.heard_bytes) for cut in cuts] == [("b", 320)]
    book.add(100, "c", 150)
    assert [cut.item.item_id for cut in book.book.clear(150)] == ["c"]


def test_clear_says_nothing_to_twilio_when_nothing_is_queued(book: Book) -> None:
    book.add(100)
    book.book.echo("g1:1", 100)
    book.kinds()
    cuts = book.book.clear(120)
    assert book.kinds() == []
    # The model has not finished the item: what it still makes will not be played.
    assert [(cut.item.item_id, cut.heard_bytes) for cut in cuts] == [("a", 800)]


def test_clear_twice_cuts_once(book: Book) -> None:
    book.add(100)
    assert book.book.clear(50)
    assert book.book.clear(60) == []


@pytest.mark.parametrize(("heard_ms", "all_of_it"), [(900, True), (899, False)])
def test_o10_within_100_ms_of_a_complete_end_counts_as_heard(
    book: Book, heard_ms: int, all_of_it: bool
) -> None:
    book.add(1000)
    book.book.complete("a", 0)
    assert [cut.heard_all for cut in book.book.clear(heard_ms)] == [all_of_it]


def test_near_the_end_of_an_unfinished_item_is_still_a_cut(book: Book) -> None:
    book.add(1000)
    assert [cut.heard_all for cut in book.book.clear(1000)] == [False]


def test_an_item_is_finished_when_complete_and_heard_in_either_order(book: Book) -> None:
    book.add(100, "a")
    book.book.echo("g1:1", 100)
    assert book.book.finished == []
    book.book.complete("a", 110)
    book.add(100, "b", 120)
    book.book.complete("b", 120)
    book.book.echo("g1:2", 220)
    assert [item.item_id for item in book.book.finished] == ["a", "b"]


def test_beyond_30_seconds_audio_is_held_and_released_by_echoes(book: Book) -> None:
    for _ in range(31):
        book.add(1000)
    assert book.book.sent_bytes == MAX_AHEAD_BYTES
    assert book.book.held_bytes == 8000
    assert book.book.ahead_ms == 31_000
    book.book.complete("a", 0)
    book.kinds()
    book.book.echo("g1:1", 1000)
    assert book.kinds() == ["media", "mark"]
    assert book.book.held_bytes == 0


def test_held_audio_has_a_bound_and_a_count(book: Book) -> None:
    for _ in range(30):
        book.add(1000)
    size = MAX_HELD_BYTES // 8
    assert book.add(size)
    assert not book.add(20)
    assert book.book.dropped_bytes == 160


def test_clear_forgets_held_audio_first(book: Book) -> None:
    for _ in range(30):
        book.add(1000)
    book.add(500, "b")
    cuts = book.book.clear(0)
    assert [cut.item.item_id for cut in cuts] == ["a", "b"]
    assert (book.book.dropped_bytes, book.book.held_bytes, book.book.ahead_ms) == (4000, 0, 0)


def test_lost_marks_are_given_up_when_their_time_has_passed(book: Book) -> None:
    book.add(100, now_ms=50)
    assert book.book.deadline_ms(2000) == 50 + 100 + 2000
    book.book.complete("a", 60)
    book.book.give_up_marks(2150)
    assert book.book.silent
    assert book.book.missing_marks == 1
    assert book.book.finished[0].assumed


def test_what_is_added_now_is_heard_after_what_is_queued(book: Book) -> None:
    book.add(100)
    book.add(100)
    assert book.book.wait_ms(0) == 200
    assert book.book.wait_ms(40) == 160


def test_clip_items_are_ours(book: Book) -> None:
    book.book.add("clip-policy", mulaw(20), 160, 0, interruptible=False)
    assert not book.book.interruptible
    assert not book.book.unfinished
