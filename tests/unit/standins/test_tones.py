"""Behaviour of words in audio: what a bit-exact path delivers is read, anything else is noticed."""

from __future__ import annotations

import importlib
import random
import time
import warnings

import pytest

from calls.standins.tones import (
    BLOCK_BYTES,
    BLOCKS,
    PREAMBLE,
    Heard,
    ToneDecoder,
    encode,
    pcm24k,
    silence,
    utterance_ms,
)

pytestmark = pytest.mark.unit

TEXT = "Hällo, a table for two at 7 pm — please? ✓"


def decode(audio: bytes, chunk_bytes: int = 160) -> list[Heard]:
    decoder = ToneDecoder()
    heard: list[Heard] = []
    for at in range(0, len(audio), chunk_bytes):
        heard += decoder.feed(audio[at : at + chunk_bytes])
    return heard + decoder.flush()


def test_all_blocks_differ_from_each_other_and_from_silence() -> None:
    blocks = {*BLOCKS, PREAMBLE[:BLOCK_BYTES], PREAMBLE[BLOCK_BYTES:]}
    assert len(blocks) == 258
    assert not any(b"\xff" * 12 in block + block for block in blocks)
    assert not any(0x7F in block for block in blocks)


@pytest.mark.parametrize("offset", [0, 1, 79, 159, 160, 333])
@pytest.mark.parametrize("chunk_bytes", [1, 80, 160, 161, 320, 4000])
def test_words_are_read_at_any_offset_and_chunking(offset: int, chunk_bytes: int) -> None:
    audio = b"\xff" * offset + encode(TEXT) + silence(100)
    assert decode(audio, chunk_bytes) == [
        Heard(TEXT, True, 0, offset, offset + utterance_ms(TEXT) * 8)
    ]


def test_utterance_ms_is_the_length_of_the_audio() -> None:
    assert len(encode(TEXT)) == utterance_ms(TEXT) * 8
    assert utterance_ms("") == 120


def test_two_utterances_back_to_back_are_two() -> None:
    assert [h.text for h in decode(encode("one") + encode("two"))] == ["one", "two"]


def test_cut_by_silence_yields_a_partial_utterance() -> None:
    audio = encode("hello world")[: 320 + 160 * 5 + 40] + silence(200)
    [heard] = decode(audio)
    assert (heard.text, heard.complete, heard.damaged_blocks) == ("hello", False, 0)
    assert heard.end_byte == 320 + 160 * 5 + 40


def test_cut_by_another_utterance_yields_a_partial_and_the_new_one() -> None:
    for cut in (320 + 160 * 5, 320 + 160 * 5 + 77):
        heard = decode(encode("hello world")[:cut] + encode("stop"))
        assert [(h.text, h.complete) for h in heard] == [("hello", False), ("stop", True)]


def test_flush_returns_what_was_being_said() -> None:
    decoder = ToneDecoder()
    assert decoder.feed(encode("hello")[: 320 + 480]) == []
    assert decoder.in_utterance
    assert [h.text for h in decoder.flush()] == ["hel"]
    assert decoder.flush() == []


def test_a_dropped_frame_is_noticed() -> None:
    audio = encode("hello world")
    for at in range(160, len(audio) - 160, 160):
        heard = decode(silence(20) + audio[:at] + audio[at + 160 :] + silence(100))
        assert not any(h.complete for h in heard), at


def test_a_dropped_misaligned_frame_is_noticed_and_the_rest_is_read() -> None:
    audio = encode("hello world")
    [heard] = decode(audio[:900] + audio[1060:] + silence(100))
    assert not heard.complete
    assert heard.damaged_blocks >= 1
    assert heard.text.endswith(" world")


def test_swapped_frames_are_noticed() -> None:
    audio = encode("hello world")
    swapped = audio[:320] + audio[480:640] + audio[320:480] + audio[640:]
    [heard] = decode(swapped + silence(100))
    assert (heard.text, heard.complete, heard.damaged_blocks) == ("ehllo world", False, 1)


def test_every_altered_byte_is_noticed() -> None:
    audio = encode("hi")
    for at in range(len(audio)):
        damaged = bytearray(audio)
        damaged[at] ^= 0x11
        assert not any(h.complete for h in decode(bytes(damaged) + silence(100))), at


def test_random_bytes_say_nothing_and_do_not_stop_later_words() -> None:
    noise = random.Random(1).randbytes(5000)
    assert [h.text for h in decode(noise + encode("ok"))] == ["ok"]


def test_pcm24k_restores_the_exact_mulaw_bytes_by_decimation() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the module leaves the library in 3.13
        audioop = importlib.import_module("audioop")
    mulaw = encode(TEXT) + silence(20)
    pcm = pcm24k(mulaw)
    kept = b"".join(pcm[at : at + 2] for at in range(0, len(pcm), 6))
    assert audioop.lin2ulaw(kept, 2) == mulaw


def test_decoding_is_far_faster_than_the_audio() -> None:
    audio = (silence(1000) + encode("the quick brown fox")) * 20
    began = time.process_time()
    decode(audio)
    assert time.process_time() - began < len(audio) / 8000 / 20
