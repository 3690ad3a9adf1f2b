"""What goes where: sockets past any origin validator, unknown ones closed, paths split (T1, T2)."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator
from django.urls import path

from voiceplatform.asgi_media import split
from voiceplatform.sockets import websocket_application

pytestmark = pytest.mark.unit


async def accept(scope: Any, receive: Any, send: Any) -> None:
    """Accept any socket and wait for its end."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


ROUTES = [path("twilio/media/<uuid:call_id>/<str:token>", accept)]
KNOWN = "/twilio/media/6f9619ff-8b86-4011-b42d-00c04fc964ff/token"


@pytest.mark.parametrize("headers", [[], [(b"origin", b"https://elsewhere.example.com")]])
async def test_t1_handshakes_pass_without_and_with_any_origin(
    headers: list[tuple[bytes, bytes]],
) -> None:
    socket = WebsocketCommunicator(websocket_application(ROUTES), KNOWN, headers)
    connected, _ = await socket.connect()
    assert connected
    await socket.disconnect()


@pytest.mark.parametrize("unknown", [KNOWN + "/", "/twilio/media/x/y", "/", "/twilio/media/", "//"])
async def test_t2_unknown_socket_paths_are_closed_cleanly(unknown: str) -> None:
    socket = WebsocketCommunicator(websocket_application(ROUTES), unknown)
    connected, code = await socket.connect()
    assert (connected, code) == (False, 1008)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/twilio/voice", "here"),
        ("/twilio/", "here"),
        ("/twilio", "there"),
        ("/twiliox/voice", "there"),
        ("/admin/", "there"),
        ("/", "there"),
    ],
)
async def test_only_twilios_paths_stay_in_the_media_process(target: str, expected: str) -> None:
    seen: list[str] = []

    def app(name: str) -> Any:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            seen.append(name)

        return run

    scope = {"type": "http", "path": target}
    await ApplicationCommunicator(split(app("here"), app("there")), scope).wait()
    assert seen == [expected]
