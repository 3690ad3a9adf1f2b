"""The two sides of a recorded call: which channel is the caller's, and both put in our order.

Pure. Owns the decision, which is never a guess: no document of Vapi's says on which channel of its
stereo file the caller is, so who spoke when, by the log, has to tell. Two files of one side each
need no decision. It must not know files, rows or addresses.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Iterable
from typing import Final

from calls.conversation import Speech
from calls.parity.rehear import Span
from calls.parity.sound_file import SoundFile, SoundUnreadable

# By how much the two ways of assigning the channels must differ: the loudness of who speaks beside
# who does not, over both sides. 12 dB; echo on a line is below that.
_CLEARLY: Final = 4.0
# So many frames are looked at in a turn; its loudness needs no more.
_LOOKED_AT: Final = 4000
# What is as loud as silence on a line tells nothing.
_QUIET: Final = 30.0
_LEAST_TURN_MS: Final = 300


def _mulaw_table() -> tuple[int, ...]:
    """Return the 256 values of G.711 mu-law as 16-bit samples."""
    found = []
    for byte in range(256):
        value = ~byte & 0xFF
        size = (((value & 0x0F) << 3) + 0x84 << ((value & 0x70) >> 4)) - 0x84
        found.append(-size if value & 0x80 else size)
    return tuple(found)


_MULAW: Final = _mulaw_table()


def samples_of(sound: SoundFile) -> array.array[int]:
    """Return the samples of all channels, frame by frame, as 16-bit numbers."""
    if sound.is_mulaw:
        return array.array("h", (_MULAW[byte] for byte in sound.sound))
    whole = len(sound.sound) // (2 * sound.channels) * 2 * sound.channels
    samples = array.array("h")
    samples.frombytes(sound.sound[:whole])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def frames_of(samples: array.array[int]) -> bytes:
    """Return samples as the bytes of a WAV file."""
    if sys.byteorder == "big":
        samples = array.array("h", samples)
        samples.byteswap()
    return samples.tobytes()


def joined(caller: SoundFile, assistant: SoundFile) -> bytes:
    """Return two sides as the frames of two channels, the caller's first; the shorter is padded.

    Raises:
        SoundUnreadable: one of them has two channels, or their rates differ.
    """
    if caller.channels != 1 or assistant.channels != 1 or caller.rate != assistant.rate:
        raise SoundUnreadable("the two sides are no two channels of one recording")
    one, other = samples_of(caller), samples_of(assistant)
    length = max(len(one), len(other))
    both = array.array("h", bytes(4 * length))
    both[0 : 2 * len(one) : 2] = one
    both[1 : 2 * len(other) : 2] = other
    return frames_of(both)


def caller_channel(sound: SoundFile, speech: Iterable[Speech]) -> int | None:
    """Return the channel of the caller, 0 or 1; None where the log and the sound do not tell.

    Whoever speaks by the log must be louder on one channel than who does not, clearly, over all
    turns of both.
    """
    if sound.channels != 2:
        return None
    samples = samples_of(sound)
    loudness: dict[str, list[tuple[float, float]]] = {"user": [], "assistant": []}
    for each in speech:
        if each.role not in loudness:
            continue
        span = _span(each)
        found = _loudness(samples, span, sound.rate)
        if found is not None:
            loudness[each.role].append(found)
    if not loudness["user"] or not loudness["assistant"]:
        return None
    user = [sum(each) / len(each) for each in zip(*loudness["user"], strict=True)]
    other = [sum(each) / len(each) for each in zip(*loudness["assistant"], strict=True)]
    if max(*user, *other) < _QUIET:
        return None
    first = (user[0] + 1) * (other[1] + 1)
    second = (user[1] + 1) * (other[0] + 1)
    if first > second * _CLEARLY:
        return 0
    return 1 if second > first * _CLEARLY else None


def caller_first(sound: SoundFile, channel: int) -> bytes:
    """Return the frames of a stereo sound with the caller, on ``channel`` now, on the first."""
    samples = samples_of(sound)
    if channel == 1:
        samples[0::2], samples[1::2] = samples[1::2], samples[0::2]
    return frames_of(samples)


def _span(speech: Speech) -> Span:
    guess_ms = speech.started_ms + max(_LEAST_TURN_MS, 60 * len(speech.text))
    return Span(speech.started_ms, speech.ended_ms or guess_ms)


def _loudness(samples: array.array[int], span: Span, rate: int) -> tuple[float, float] | None:
    first, last = (at * rate // 1000 for at in (span.start_ms, span.end_ms))
    last = min(last, len(samples) // 2)
    if (last - first) * 1000 < _LEAST_TURN_MS * rate:
        return None
    step = max(1, (last - first) // _LOOKED_AT)
    sums = []
    for channel in (0, 1):
        some = samples[2 * first + channel : 2 * last : 2 * step]
        sums.append(math.sqrt(sum(each * each for each in some) / max(1, len(some))))
    return sums[0], sums[1]
