"""The talk page's socket: the only reader and writer of that framing (ADR 0020).

Ours at both ends, and small. Binary frames are G.711 mu-law at 8 kHz, in 20 ms pieces from the
microphone, of any length to the loudspeaker. Text frames are JSON objects with a ``type``:

    from the page   played {name}: the mark has been reached · key {digit} · stop: the person ends
    to the page     clear · mark {name} · what ``page_text`` is given (turn, tool, ended, ...)

The page can name nothing but these, so it cannot write the carrier's messages by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FRAME_BYTES = 160  # 20 ms
MAX_AUDIO_BYTES = 1_600  # a page that was held up sends what it has, at most 200 ms in one frame
MAX_TEXT_CHARACTERS = 200
MAX_MARK_CHARACTERS = 100
KEYS = "0123456789*#"


class WebWireError(ValueError):
    """A frame of the page has not this module's shape; count it and go on."""


@dataclass(frozen=True, slots=True)
class Audio:
    """What the microphone heard, mu-law."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Played:
    """The loudspeaker has reached a mark, or ``clear`` has dropped it."""

    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the telephone was pressed: one of 0 to 9, * and #."""

    digit: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The person ends the talk."""


def read(frame: str | bytes) -> Audio | Played | Key | Stop:
    """Return what the page said.

    Raises:
        WebWireError: too long, not JSON, or no message of the page's.
    """
    if isinstance(frame, bytes):
        if not 0 < len(frame) <= MAX_AUDIO_BYTES:
            raise WebWireError("no audio, or too much of it")
        return Audio(frame)
    if len(frame) > MAX_TEXT_CHARACTERS:
        raise WebWireError("too long")
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise WebWireError("not JSON") from error
    kind = message.get("type") if isinstance(message, dict) else None
    if kind == "stop":
        return Stop()
    if kind == "key":
        digit = message.get("digit")
        if not isinstance(digit, str) or len(digit) != 1 or digit not in KEYS:
            raise WebWireError("no key")
        return Key(digit)
    name = message.get("name") if kind == "played" else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_MARK_CHARACTERS:
        raise WebWireError("unknown message")
    return Played(name)


def page_text(kind: str, values: Mapping[str, Any] | None = None) -> str:
    """Return a text frame for the page; ASCII, so that no text can break it."""
    return json.dumps({"type": kind, **(values or {})}, separators=(",", ":"))
