"""One port for all stand-ins: a uvicorn server that routes to the applications of the Realtime, the
Twilio, the tool server's and the old stack's stand-in, for a process of its own or inside a test.
It must not contain vendor behaviour.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn

from calls.standins import old_voice
from calls.standins.asgi import Receive, Scope, Send, respond_json
from calls.standins.book import StandinBook
from calls.standins.old_stack import OldStackApp
from calls.standins.realtime_app import RealtimeApp
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tool_server import ToolServerApp
from calls.standins.twilio_carrier import Carrier
from calls.standins.twilio_rest import TwilioApp

DEFAULT_ACCOUNT_SID = "AC" + "5" * 32
DEFAULT_AUTH_TOKEN = "standin-auth-token"  # noqa: S105 - the stand-in's own, worth nothing elsewhere


class StandinApp:
    """Routes by path: Realtime, `/tools/`, `/old/`, Twilio REST and `/standin/`, `/healthz`."""

    def __init__(self, book: StandinBook, carrier: Carrier) -> None:
        self.book, self.carrier = book, carrier
        self.realtime = RealtimeApp(book)
        self.tools = ToolServerApp()
        self.old = OldStackApp(carrier.webhooks.auth_token)
        self.old_voice = old_voice.OldVoiceApp()
        self.twilio = TwilioApp(carrier)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        path = scope.get("path", "")
        if self.realtime.serves(path):
            await self.realtime(scope, receive, send)
        elif scope["type"] == "websocket" and path == old_voice.PATH:
            await self.old_voice(scope, receive, send)
        elif scope["type"] == "http" and path.startswith(old_voice.API):
            await self.old_voice.api(scope, receive, send)
        elif scope["type"] == "http" and path == "/healthz":
            await respond_json(send, 200, {"status": "ok"})
        elif scope["type"] == "http" and self.tools.serves(path):
            await self.tools(scope, receive, send)
        elif scope["type"] == "http" and self.old.serves(path):
            await self.old(scope, receive, send)
        elif scope["type"] == "http":
            await self.twilio(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal; open sockets are cut."""
        self.force_exit = self.should_exit
        self.should_exit = True


def make_server(app: StandinApp) -> uvicorn.Server:
    """Return a uvicorn server for `app`: sans-I/O WebSockets, no compression, quiet."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config)


async def serve(sock: socket.socket, app: StandinApp) -> None:
    """Serve on a bound socket until a signal or cancellation."""
    await make_server(app).serve(sockets=[sock])


@dataclass(frozen=True, slots=True)
class RunningStandins:
    """Stand-ins in this process: where they are and what they hold."""

    base_url: str
    app: StandinApp

    @property
    def book(self) -> StandinBook:
        """Return the state shared by the stand-ins."""
        return self.app.book

    @property
    def carrier(self) -> Carrier:
        """Return the telephone company."""
        return self.app.carrier

    @property
    def tools(self) -> ToolServerApp:
        """Return the tool server, at `base_url` + `/tools/<anything>`."""
        return self.app.tools

    @property
    def realtime_url(self) -> str:
        """Return the URL of the GA Realtime socket."""
        return self.base_url.replace("http://", "ws://") + "/v1/realtime"

    @property
    def openai_base_url(self) -> str:
        """Return the value for the OpenAI SDK's base_url."""
        return self.base_url + "/v1"


@asynccontextmanager
async def running_standins(
    *,
    platform_url: str = "",
    account_sid: str = DEFAULT_ACCOUNT_SID,
    auth_token: str = DEFAULT_AUTH_TOKEN,
    profile: RealtimeProfile | None = None,
) -> AsyncIterator[RunningStandins]:
    """Run the stand-ins on a free loopback port for the length of the block."""
    book = StandinBook(profile)
    carrier = Carrier(platform_url, auth_token, account_sid, book=book)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    app = StandinApp(book, carrier)
    server = make_server(app)
    # `_serve`'s public wrapper would take over the process's signals, which belong to the test.
    task = asyncio.create_task(server._serve([sock]))
    try:
        yield RunningStandins(f"http://127.0.0.1:{sock.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        await app.twilio.close()
        await task
        sock.close()
