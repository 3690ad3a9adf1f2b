"""The sound that listeners get: both sides in the caller's time, decoded and resampled."""

from __future__ import annotations

import math
from array import array

import pytest

from calls.bridge.holding import mulaw
from calls.media.listening_audio import BothSides, Renderer

pytestmark = pytest.mark.unit

SILENT = b"\xff"


def samples(piece: bytes) -> list[int]:
    """Return the samples of a piece."""
    found = array("h")
    found.frombytes(piece)
    return list(found)


def tone(count: int, amplitude: int = 8000, hertz: int = 400) -> bytes:
    """Return a tone in mu-law."""
    waves = (math.sin(2 * math.pi * hertz * at / 8000) for at in range(count))
    return bytes(mulaw(round(amplitude * wave)) for wave in waves)


def test_every_mulaw_byte_becomes_its_sample() -> None:
    """Against the encoder of the hold tone: what it writes of a decoded sample is the same byte."""
    every = bytes(range(256))
    decoded = samples(Renderer(1).render(every, SILENT * 256))[1::2]
    again = bytes(mulaw(sample) for sample in decoded)
    # Minus zero and zero are one sample.
    assert [byte for byte in range(256) if again[byte] != byte] == [0x7F]
    assert (decoded[0x00], decoded[0x80], decoded[0xFF]) == (-32124, 32124, 0)


def test_the_assistant_is_heard_when_it_is_played_not_when_it_was_sent() -> None:
    sides = BothSides()
    sides.said(b"\x01" * 400)
    for _ in range(3):
        sides.heard(b"\xaa" * 160)
    caller, assistant = sides.take()
    assert caller == b"\xaa" * 480
    assert assistant == b"\x01" * 400 + SILENT * 80
    assert sides.take() == (b"", b"")


def test_what_is_cleared_is_not_heard() -> None:
    sides = BothSides()
    sides.said(b"\x01" * 800)
    sides.heard(b"\xaa" * 160)
    sides.cleared()
    sides.said(b"\x02" * 100)
    sides.heard(b"\xaa" * 160)
    assert sides.take()[1] == b"\x01" * 160 + b"\x02" * 100 + SILENT * 60


def test_mono_is_both_sides_at_16_khz_without_wrapping_round() -> None:
    loud = tone(800, amplitude=30_000)
    mixed = samples(Renderer(1).render(loud, loud))
    assert len(mixed) == 1600
    assert max(mixed) == 32_767 and min(mixed) == -32_767
    alone = samples(Renderer(1).render(loud, SILENT * 800))
    assert max(alone) < 31_000
    assert alone[1::2] == samples(Renderer(1).render(SILENT * 800, loud))[1::2]


def test_stereo_keeps_the_sides_apart() -> None:
    both = samples(Renderer(2).render(tone(800), SILENT * 800))
    assert len(both) == 3200
    left, right = both[0::2], both[1::2]
    assert max(left) > 7000 and set(right) == {0}
    assert left == samples(Renderer(1).render(tone(800), SILENT * 800))


def test_pieces_join_without_a_step() -> None:
    whole = tone(1600)
    at_once = Renderer(1).render(whole, SILENT * 1600)
    one = Renderer(1)
    in_pieces = b"".join(
        one.render(whole[at : at + 160], SILENT * 160) for at in range(0, 1600, 160)
    )
    assert in_pieces == at_once
    steps = [abs(b - a) for a, b in zip(samples(at_once), samples(at_once)[1:], strict=False)]
    assert max(steps) < 2000  # a 400 Hz tone of 8000 moves by 1300 a sample at 16 kHz


def test_an_odd_or_empty_piece_is_no_problem() -> None:
    assert Renderer(1).render(b"", b"") == b""
    assert len(Renderer(2).render(b"\x00", b"\xff")) == 8
