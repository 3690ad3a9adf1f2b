"""Listeners of a call that an earlier media process still carries (ADR 0023, 0025).

A media process that has a successor takes no connections any more, so it opens its rooms to the
successor on a unix socket beside the others of the instance. Owns that socket and its framing: one
line that asks for a call, one that answers, then pieces of kind, length and content. Who may listen
has been decided before; only processes of this instance can open the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
from pathlib import Path
from typing import Final

from calls.media.listening import SEND_SECONDS, TRY_LATER, Send, attend, rooms

_PATTERN: Final = "listen-*.sock"
_ASK_SECONDS: Final = 1.0
_TEXT, _SOUND, _CLOSE = b"t", b"s", b"c"
_HEAD: Final = struct.Struct("!cI")
_LONGEST_BYTES: Final = 1_048_576


async def serve(run_dir: Path) -> None:
    """Serve this process's rooms to its siblings until cancelled."""
    path = run_dir / _name()
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(_answer, path)
    path.chmod(0o600)
    try:
        async with server:
            await server.serve_forever()
    finally:
        path.unlink(missing_ok=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def send(piece: bytes | str) -> None:
        kind = _TEXT if isinstance(piece, str) else _SOUND
        writer.write(_framed(kind, piece))
        await writer.drain()

    async def gone() -> int:
        await reader.read()
        return 0

    try:
        async with asyncio.timeout(_ASK_SECONDS):
            call_id, channels = (await reader.readline()).decode().split()
        room = rooms.find(call_id)
        writer.write(b"here\n" if room is not None else b"no\n")
        if room is not None:
            if room.is_full:
                end = (TRY_LATER, "too many listen to this call already")
            else:
                end = await attend(room, 2 if channels == "2" else 1, send, gone())
            writer.write(_framed(_CLOSE, json.dumps(end)))
    except (OSError, ValueError, TimeoutError):
        return  # whoever asked is no sibling, or is gone
    finally:
        writer.close()


def _framed(kind: bytes, piece: bytes | str) -> bytes:
    content = piece.encode() if isinstance(piece, str) else piece
    return _HEAD.pack(kind, len(content)) + content


class Line:
    """The way to a call in another process; close it in the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def carry(self, send: Send) -> tuple[int, str]:
        """Pass on what is heard and return why the other side closes; code 0: it is gone."""
        try:
            while True:
                kind, size = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                if size > _LONGEST_BYTES:
                    return 0, ""
                content = await self._reader.readexactly(size)
                if kind == _CLOSE:
                    code, reason = json.loads(content)
                    return int(code), str(reason)
                # While this waits nothing is read: the room notices, and drops the oldest.
                async with asyncio.timeout(SEND_SECONDS):
                    await send(content.decode() if kind == _TEXT else content)
        except TimeoutError:
            return TRY_LATER, "too slow: nothing was read for ten seconds"
        except asyncio.IncompleteReadError:
            return 0, ""

    async def close(self) -> None:
        """Let go of it."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _siblings(run_dir: Path) -> list[Path]:
    return [path for path in sorted(run_dir.glob(_PATTERN)) if path.name != _name()]


def _name() -> str:
    return f"listen-{os.getpid()}.sock"


async def find(run_dir: Path, call_id: str, channels: int) -> Line | None:
    """Return the way to a call that another process of this instance carries, None if none does."""
    for path in _siblings(run_dir):
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # its process was killed
            continue
        except OSError:
            continue
        line = Line(reader, writer)
        try:
            writer.write(f"{call_id} {channels}\n".encode())
            async with asyncio.timeout(_ASK_SECONDS):
                if await reader.readline() == b"here\n":
                    return line
        except (OSError, TimeoutError):
            pass
        await line.close()
    return None
