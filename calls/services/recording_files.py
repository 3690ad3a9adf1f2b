"""The sound of recorded calls on this instance's disk: sealed in pieces, written whole or not.

Owns the folder, the form of a file and the check that what was written can be read back. A file
bears the id of its call, so that an erasure finds it by name. Knows no rows and asks no rights.
"""

from __future__ import annotations

import array
import base64
import hashlib
import os
import struct
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from voiceplatform.base.fields import seal, unseal

# Clear bytes a piece: a whole number of sample frames, and milliseconds to open.
PIECE_BYTES: Final = 256 * 1024
# Four hours of two channels at 8 kHz and 16 bits, the longest call there is, and its header.
MOST_BYTES: Final = 4 * 3600 * 32_000 + 64 * 1024
_LENGTH: Final = struct.Struct(">I")
_PCM: Final = 1
_HEADER_BYTES: Final = 44
_UNKNOWN: Final = 0xFFFFFFFF  # the length of a file that was streamed


class NotSound(ValueError):
    """What came is no whole WAV file, or larger than a call can be; the text says which."""


@dataclass(frozen=True, slots=True)
class Written:
    """What lies on the disk, of the sound itself: bytes, their SHA-256 and the channels."""

    size_bytes: int
    sha256: str
    channels: int


def folder() -> Path:
    """Return where recordings lie."""
    return Path(settings.VAR_DIR) / "recordings"


def path_of(call_id: uuid.UUID) -> Path:
    """Return the file of a call's recording, whether it is there or not."""
    return folder() / f"{call_id}.wav.sealed"


def sound_store(
    call_id: uuid.UUID,
    chunks: Iterable[bytes],
    *,
    before_placing: Callable[[], None] = lambda: None,
) -> Written:
    """Write the WAV file that ``chunks`` make up, read it back, and put it in its place.

    Args:
        before_placing: asked when it is whole; what it raises leaves the place as it was.

    Raises:
        NotSound: it is none, not whole, or too large; nothing is left on the disk.
        OSError: the disk does not take it.
    """
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    target = path_of(call_id)
    partial = target.with_name(f"{call_id}.{uuid.uuid4().hex[:8]}.part")
    digest, size, head = hashlib.sha256(), 0, b""
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in _pieces(chunks):
                size += len(piece)
                if size > MOST_BYTES:
                    raise NotSound("it is larger than a call can be")
                head = head or piece[: 4 * 1024]
                digest.update(piece)
                sealed = base64.urlsafe_b64decode(seal(piece))
                file.write(_LENGTH.pack(len(sealed)) + sealed)
            file.flush()
            os.fsync(file.fileno())
        channels = _channels(head, size)
        again = hashlib.sha256()
        for piece in _part(partial, 0, None):
            again.update(piece)
        if again.digest() != digest.digest():
            raise NotSound("it cannot be read back as it was written")
        before_placing()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return Written(size, digest.hexdigest(), channels)


def sound_read(call_id: uuid.UUID, first: int = 0, last: int | None = None) -> Iterator[bytes]:
    """Yield the WAV file of a call, a piece at a time.

    Args:
        first: the first byte to give; ``last`` the last one, the file's unless given.

    Raises:
        FileNotFoundError: there is none.
        DecryptionError: its key has gone.
    """
    return _part(path_of(call_id), first, last)


def mixed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield two channels of 16-bit sound as one, each sample the mean of both; else as it came."""
    pieces = iter(pieces)
    first = next(pieces, b"")
    if not _is_plain_stereo(first):
        yield first
        yield from pieces
        return
    size = struct.unpack_from("<I", first, 40)[0] // 2
    rate = struct.unpack_from("<I", first, 24)[0]
    yield wav_header(size, channels=1, rate=rate)
    yield _mean(first[_HEADER_BYTES:])
    for piece in pieces:
        # A piece is as long as the others, so the frames of all begin where those of the first do.
        yield _mean(piece)


def wav_header(data_bytes: int, *, channels: int, rate: int = 8000) -> bytes:
    """Return the header of 16-bit sound: 44 bytes, RIFF format 1."""
    frame = 2 * channels
    form = struct.pack("<HHIIHH", _PCM, channels, rate, rate * frame, frame, 16)
    return struct.pack(
        "<4sI4s4sI16s4sI",
        *(b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16, form, b"data", data_bytes),
    )


def sound_delete(call_id: uuid.UUID) -> bool:
    """Delete the file of a call; tell whether there was one.

    Raises:
        OSError: it is there and stays.
    """
    with suppress(FileNotFoundError):
        path_of(call_id).unlink()
        return True
    return False


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PIECE_BYTES:
            yield bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
    if waiting:
        yield bytes(waiting)


def _part(path: Path, first: int, last: int | None) -> Iterator[bytes]:
    at = 0
    with path.open("rb") as file:
        while (last is None or at <= last) and (head := file.read(_LENGTH.size)):
            length = _LENGTH.unpack(head)[0]
            if at + PIECE_BYTES <= first:
                file.seek(length, os.SEEK_CUR)
            else:
                piece = unseal(base64.urlsafe_b64encode(file.read(length)))
                yield piece[max(first - at, 0) : None if last is None else last + 1 - at]
            at += PIECE_BYTES


def _channels(head: bytes, size: int) -> int:
    """Return the channels of a WAV file that begins with ``head``.

    Raises:
        NotSound: it is none, or shorter than it says.
    """
    if len(head) < _HEADER_BYTES or head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt ":
        raise NotSound("it is no WAV file")
    claimed = struct.unpack_from("<I", head, 4)[0]
    if claimed != _UNKNOWN and claimed + 8 > size:
        raise NotSound("it is not whole")
    return int(struct.unpack_from("<H", head, 22)[0])


def _is_plain_stereo(head: bytes) -> bool:
    if len(head) < _HEADER_BYTES or head[36:40] != b"data":
        return False
    kind, channels = struct.unpack_from("<HH", head, 20)
    return (kind, channels, struct.unpack_from("<H", head, 34)[0]) == (_PCM, 2, 16)


def _mean(frames: bytes) -> bytes:
    samples = array.array("h")
    samples.frombytes(frames[: len(frames) // 4 * 4])
    if sys.byteorder == "big":
        samples.byteswap()
    both = zip(samples[0::2], samples[1::2], strict=True)
    mean = array.array("h", [(left + right) >> 1 for left, right in both])
    if sys.byteorder == "big":
        mean.byteswap()
    return mean.tobytes()
