"""Words heard through air: resampled, out of phase, with noise; what is lost is noticed."""

from __future__ import annotations

import random

import pytest

from calls.standins.realtime_input import InputBuffer
from calls.standins.realtime_vad import SpeechStarted, SpeechStopped
from calls.standins.tones import SILENCE, ToneDecoder, _mulaw, encode, silence
from calls.standins.tones_by_ear import EarDecoder, sound

pytestmark = pytest.mark.unit

WORDS = "Um zehn, bitte: für Zoë!"


def through_air(mulaw: bytes, *, shift: int = 0, noise: int = 0, gain: float = 1.0) -> bytes:
    """Return the audio as a microphone of 48 kHz would give it, begun ``shift`` samples later."""
    rng = random.Random(7)
    samples = sound(mulaw, 48_000)[shift::6]
    return bytes(_mulaw(gain * each + rng.randint(-noise, noise)) for each in samples)


@pytest.mark.parametrize("shift", [0, 1, 3, 5, 17, 400])
def test_words_arrive_whatever_the_phase(shift: int) -> None:
    air = through_air(silence(120) + encode(WORDS) + silence(100), shift=shift)
    assert ToneDecoder().feed(air) == [] or shift == 0
    heard = EarDecoder().feed(air)
    assert [(each.text, each.complete) for each in heard] == [(WORDS, True)]


@pytest.mark.parametrize("options", [{"noise": 400}, {"gain": 0.2}, {"gain": 0.3, "noise": 60}])
def test_words_arrive_through_noise_and_from_afar(options: dict[str, float]) -> None:
    air = through_air(silence(60) + encode(WORDS) + silence(100), **options)  # type: ignore[arg-type]
    heard = EarDecoder().feed(air)
    assert [(each.text, each.complete) for each in heard] == [(WORDS, True)]


def test_a_lost_block_is_noticed() -> None:
    spoken = encode(WORDS)
    cut = spoken[: 160 * 9] + spoken[160 * 10 :]
    (heard,) = EarDecoder().feed(silence(60) + cut + silence(100))
    assert not heard.complete


def test_a_word_that_is_cut_off_ends_there() -> None:
    (heard,) = EarDecoder().feed(silence(60) + encode(WORDS)[: 160 * 8] + silence(200))
    assert (heard.text, heard.complete) == (WORDS[:6], False)


def test_noise_is_no_speech_and_a_pause_in_it_ends_speech() -> None:
    buffer = InputBuffer(40)
    buffer.listen_by_ear()
    air = through_air(silence(400) + encode(WORDS) + silence(700), shift=2, noise=60)
    assert air.count(SILENCE) < len(air) // 4
    found = list(buffer.feed(air))
    assert [type(each) for each in found] == [SpeechStarted, SpeechStopped]
    assert buffer.take_words() == WORDS
