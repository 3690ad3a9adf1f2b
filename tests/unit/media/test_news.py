"""News that wait to be stored: folded, bounded, in order."""

from __future__ import annotations

import pytest

from calls.bridge.effects import CallNews
from calls.media.news import MOST_WAITING, WaitingNews

pytestmark = pytest.mark.unit


def waiting(*news: CallNews) -> WaitingNews:
    made = WaitingNews()
    for each in news:
        made.add(each)
    return made


def shown(made: WaitingNews) -> list[str]:
    return [f"{each.kind} {each.turn} {each.text}".strip() for each in made.take()]


def test_pieces_fold_and_everything_else_stays() -> None:
    made = waiting(
        CallNews(1, "speech-started", 0, turn=1),
        CallNews(2, "words", 0, turn=1, text="I"),
        CallNews(3, "output", 0, turn=2, text="He"),
        CallNews(4, "words", 0, turn=1, text="I want"),
        CallNews(5, "output", 0, turn=2, text="llo"),
        CallNews(6, "words", 0, turn=2, text="Hello"),
        CallNews(7, "conversation", 0, turn=1),
        CallNews(8, "conversation", 0, turn=2),
        CallNews(9, "speech-started", 0, turn=1),
    )
    assert shown(made) == [
        *("speech-started 1", "words 1 I want", "output 2 Hello", "words 2 Hello"),
        *("conversation 2", "speech-started 1"),
    ]
    assert len(made) == 0


def test_what_could_not_be_stored_goes_first_again() -> None:
    made = waiting(CallNews(2, "said", 0, turn=1))
    made.put_back([CallNews(1, "said", 0, turn=0)])
    assert shown(made) == ["said 0", "said 1"]


def test_when_too_much_waits_pieces_go_first_then_the_oldest() -> None:
    made = WaitingNews()
    for number in range(MOST_WAITING + 5):
        made.add(CallNews(2 * number, "words", 0, turn=number, text="piece"))
        made.add(CallNews(2 * number + 1, "said", 0, turn=number))
    kept = made.take()
    assert len(kept) <= MOST_WAITING
    assert kept[-1].turn == MOST_WAITING + 4
    assert sum(each.kind == "said" for each in kept) >= MOST_WAITING - 5
    assert made.dropped + len(kept) == 2 * (MOST_WAITING + 5)
