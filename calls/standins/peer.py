"""What a sans-I/O peer hands to the shell that carries it: frames to send, a close, a refusal. It
owns these values only; it must not know any vendor.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """One WebSocket frame: `str` goes out as text, `bytes` as binary."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Close:
    """End of the socket. 1006 is a connection cut without a close frame."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer to the upgrade request instead of 101: an HTTP status."""

    status: int


Output = Send | Close | Refuse
