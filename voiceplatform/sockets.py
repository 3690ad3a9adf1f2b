"""The WebSocket side of both ASGI applications; owns the fall-through, no consumer.

The media route stands outside any origin validator: Twilio sends no ``Origin`` and Channels'
validator refuses such handshakes (T1); a signature and a token prove who calls. A path that no
route knows is closed cleanly, where ``URLRouter`` alone would raise and answer 500 (T2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.routing import URLRouter
from django.urls import re_path


async def refuse(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Close a handshake that no route knows; the client reads 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def websocket_application(routes: list[Any] | None = None) -> URLRouter:
    """Return the router over ``routes`` (default: those of calls) with its fall-through."""
    if routes is None:
        from calls.routing import websocket_urlpatterns  # needs the app registry

        routes = websocket_urlpatterns
    # Channels routes to ASGI applications with the functions that Django types for views.
    return URLRouter([*routes, re_path(r"", refuse)])  # type: ignore[arg-type]  # see above
