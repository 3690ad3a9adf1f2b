"""The caller's channel of a past recording is told from who spoke when, or not at all."""

from __future__ import annotations

import array
import math

import pytest

from calls.conversation import Role, Speech
from calls.parity.logs.sides import caller_channel, caller_first, joined, samples_of
from calls.parity.sound_file import SoundFile, SoundUnreadable

pytestmark = pytest.mark.unit

RATE = 8000
TURNS: tuple[tuple[Role, int, int], ...] = (
    ("assistant", 200, 1200),
    ("user", 1500, 2500),
    ("assistant", 2700, 3700),
)


def speech() -> list[Speech]:
    return [Speech(role, "words", begin, end) for role, begin, end in TURNS]


def side(role: str, *, loud: int = 9000, seconds: float = 4) -> array.array[int]:
    """Return one side: a tone where its speaker speaks."""
    spans = [(begin, end) for who, begin, end in TURNS if who == role]
    return array.array(
        "h",
        (
            round(loud * math.sin(place / 5))
            if any(begin <= place * 1000 / RATE < end for begin, end in spans)
            else 0
            for place in range(round(seconds * RATE))
        ),
    )


def stereo(first: array.array[int], second: array.array[int]) -> SoundFile:
    both = array.array("h", bytes(4 * len(first)))
    both[0::2], both[1::2] = first, second
    return SoundFile(both.tobytes(), 2, RATE, False)


def mono(samples: array.array[int], rate: int = RATE) -> SoundFile:
    return SoundFile(samples.tobytes(), 1, rate, False)


@pytest.mark.parametrize(
    ("order", "channel"), [(("user", "assistant"), 0), (("assistant", "user"), 1)]
)
def test_whoever_speaks_by_the_log_is_loud_on_one_channel(
    order: tuple[str, str], channel: int
) -> None:
    sound = stereo(side(order[0]), side(order[1]))
    assert caller_channel(sound, speech()) == channel
    frames = caller_first(sound, channel)
    first = array.array("h", frames)[0::2]
    assert first == side("user")


def test_echo_of_the_other_side_changes_nothing() -> None:
    user, other = side("user"), side("assistant")
    echoed = array.array("h", (a + b // 8 for a, b in zip(user, other, strict=True)))
    assert caller_channel(stereo(other, echoed), speech()) == 1


@pytest.mark.parametrize("case", ["both alike", "silence", "one speaker", "one channel"])
def test_where_it_cannot_be_told_nothing_is_guessed(case: str) -> None:
    user, other = side("user"), side("assistant")
    mixed = array.array("h", (a + b for a, b in zip(user, other, strict=True)))
    sound, turns = {
        "both alike": (stereo(mixed, mixed), speech()),
        "silence": (stereo(side("user", loud=0), side("user", loud=0)), speech()),
        "one speaker": (stereo(user, other), speech()[:1]),
        "one channel": (mono(mixed), speech()),
    }[case]
    assert caller_channel(sound, turns) is None


def test_two_files_of_one_side_each_are_joined_with_the_caller_first() -> None:
    caller, other = side("user", seconds=3), side("assistant")
    both = array.array("h", joined(mono(caller), mono(other)))
    assert both[0::2][: len(caller)] == caller and both[1::2] == other
    assert not any(both[0::2][len(caller) :])
    with pytest.raises(SoundUnreadable):
        joined(mono(caller), mono(other, rate=16000))


def test_mu_law_is_read_by_its_published_values() -> None:
    # G.711: the ends of both halves, both zeros, and one between.
    found = samples_of(SoundFile(bytes((0x00, 0x7F, 0x80, 0xFF, 0xAB)), 1, RATE, True))
    assert list(found) == [-32124, 0, 32124, 0, 5116]
