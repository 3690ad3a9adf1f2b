"""What only the model is told goes out with a session's configuration and never comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.media.realtime_client import Endpoint, RealtimeSocket
from calls.wire import realtime
from calls.wire.realtime import McpAccess, McpServer, SessionConfig

pytestmark = pytest.mark.unit

SECRET = 'planted/"0xC0FFEE'
ACCESS = McpAccess(
    "crm",
    "https://mcp.example.com/",
    (("X-Key", SECRET),),
    "planted-token",
    (SECRET, "planted-token"),
)
CONFIG = SessionConfig(mcp_servers=(McpServer("crm", "https://mcp.example.com/"),))


class EchoingConnection:
    """A peer that repeats whatever it was sent, as JSON inside JSON too."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        self.sent.append(text)

    async def recv(self) -> str | bytes:
        return json.dumps({"type": "session.updated", "said": self.sent[-1], "key": SECRET})


async def echoed(mcp: tuple[McpAccess, ...]) -> tuple[str, str]:
    """Return what was sent to a peer, and what was heard of it."""
    connection: Any = EchoingConnection()
    socket = RealtimeSocket(connection, mcp)
    await socket.send(realtime.session_update(CONFIG, "openai_ga", "cfg-1"))
    return connection.sent[0], await socket.receive() or ""


async def test_secrets_go_out_with_the_configuration_and_are_not_heard_again() -> None:
    sent, heard = await echoed((ACCESS,))
    (tool,) = json.loads(sent)["session"]["tools"]
    assert (tool["headers"], tool["authorization"]) == ({"X-Key": SECRET}, "planted-token")
    assert "planted" not in heard
    assert json.loads(heard)["key"] == "***"


async def test_without_any_nothing_is_changed() -> None:
    sent, heard = await echoed(())
    assert sent == realtime.session_update(CONFIG, "openai_ga", "cfg-1")
    assert json.loads(heard)["key"] == SECRET


def test_an_endpoint_shows_none_and_is_another_one_with_another() -> None:
    plain = Endpoint("wss://x", "openai_ga", "m", "key")
    with_crm = Endpoint("wss://x", "openai_ga", "m", "key", mcp=(ACCESS,))
    assert "planted" not in repr(with_crm)
    assert plain != with_crm and plain.line == with_crm.line
