"""A socket to the model for the doctor's questions, in a thread that has no event loop.

Owns that no redirect is followed: what is asked goes to the address that somebody entered, with a
key of that address, or nowhere. Calls dial by ``calls.media.realtime_client``, which keeps the same
rule.
"""

from __future__ import annotations

from typing import Any

from websockets.sync.client import ClientConnection, reconnect


class _Straight(reconnect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def connect_straight(url: str, **options: Any) -> ClientConnection:
    """Open a socket as ``websockets.sync.client.connect`` does; a redirect is a refusal.

    Raises:
        InvalidStatus: the address answered otherwise, e.g. with a redirect; and what it raises.
    """
    connection = _Straight(url, **options).connect()
    # The form that is used as a context manager is what we want, and no warning of its change.
    connection.pending_legacy_warning = False
    return connection
