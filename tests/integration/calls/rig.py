"""Our server, the stand-ins and a number that answers, in one event loop, for integration tests.

The public origin is the one of the test settings; ``reach`` tells the carrier where it really is,
as DNS and a proxy would.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from calls.media import live
from calls.media.database import in_database
from calls.media.pool import pool
from calls.models import Call, PhoneNumber, Turn
from calls.standins.book import StandinBook
from calls.standins.old_stack import OldStackApp
from calls.standins.old_voice import OldVoiceApp
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario
from calls.standins.server import StandinApp, make_server
from calls.standins.tool_server import ToolServerApp
from calls.standins.twilio_call import CallReport
from calls.standins.twilio_carrier import Carrier
from calls.telephony.refusals import refusals
from tests import factories
from tests.integration.events.sdk_messages import SDK_TYPES, check_own, told_messages
from voiceplatform.serving import server_config

# Every call of every test is told as much as it can be, and each message is checked at the end.
MESSAGES = [
    *("status-update", "assistant.started", "speech-update", "transcript", "conversation-update"),
    *("model-output", "voice-input", "assistant.speechStarted", "end-of-call-report", "hang"),
    *("tool-calls", "user-interrupted", "transfer-update", "phone-call-control"),
    "language-change-detected",
]
GREETING = "Hello, this is the front desk."
PUBLIC = "https://voice.example.com"
TOKEN = "the-account-token"
SECONDARY_TOKEN = "the-next-account-token"
CALLER = "+15550107777"
T = TypeVar("T")


def sign(url: str, form: Mapping[str, str], token: str = TOKEN) -> str:
    """Sign as Twilio does (twilio.md 1.4), written from the reference and not from the SDK."""
    text = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What our server answered."""

    status: int
    body: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Rig:
    """Everything a test of the call path touches."""

    port: int
    standin_origin: str
    carrier: Carrier
    number: PhoneNumber
    session: aiohttp.ClientSession
    old: OldStackApp
    old_voice: OldVoiceApp
    tools: ToolServerApp
    twilio_log: list[tuple[str, str, Any]]
    model_frames: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def account_sid(self) -> str:
        """The account of the number."""
        return self.number.twilio_account.account_sid

    @property
    def model_sessions(self) -> list[RealtimePeer]:
        """Every socket that was opened to the model, in order."""
        return list(self.carrier.book.sessions)

    def form(self, **fields: str) -> dict[str, str]:
        """Return the fields of a voice webhook of a new call."""
        return {
            "CallSid": "CA" + uuid.uuid4().hex,
            "AccountSid": self.account_sid,
            "From": CALLER,
            "To": self.number.number_e164,
            "CallStatus": "ringing",
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
            "CallerName": "",
            **fields,
        }

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        """Send any request to our server."""
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(
            method, url, headers=dict(headers or {}), allow_redirects=False, **options
        ) as response:
            text = await response.text(errors="replace")
            return Answer(response.status, text, dict(response.headers))

    async def post(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        signature: str | None = None,
        token: str = TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST a form as Twilio would; ``signature`` overrides the right one, '' leaves it out."""
        value = sign(PUBLIC + path, form, token) if signature is None else signature
        sent = {**({"X-Twilio-Signature": value} if value else {}), **(headers or {})}
        return await self.request("POST", path, headers=sent, data=dict(form))

    async def voice(self, **fields: str) -> Answer:
        """POST a voice webhook."""
        return await self.post("/twilio/voice", self.form(**fields))

    async def media(
        self,
        path: str,
        *,
        signature: str | None = None,
        token: str = TOKEN,
        origin: str | None = None,
    ) -> ClientConnection:
        """Open a media socket; ``path`` as in the TwiML."""
        value = sign(PUBLIC.replace("https", "wss") + path, {}, token)
        value = value if signature is None else signature
        return await connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers={"x-twilio-signature": value} if value else {},
            origin=origin,  # type: ignore[arg-type]  # websockets' NewType of str
            compression=None,
            proxy=None,
            max_size=None,
        )

    async def call(self, scenario: str | Scenario = "hello", **options: Any) -> CallReport:
        """Place a call and return Twilio's report of it once our side has stored it."""
        report = await self.carrier.place_call(
            self.number.number_e164, CALLER, scenario=scenario, **options
        )
        await self.idle()
        return report

    async def idle(self) -> None:
        """Wait until no stream is live."""
        async with asyncio.timeout(15):
            await live.wait_until_idle()

    async def rows(self) -> list[Call]:
        """Return every call, oldest first."""
        return await in_database(lambda: list(Call.objects.order_by("created_at")))

    async def only_call(self) -> Call:
        """Return the one call there is."""
        (call,) = await self.rows()
        return call

    async def spoken(self, call: Call) -> list[tuple[str, str]]:
        """Return (role, text) of a call's transcript."""
        turns = await in_database(lambda: list(Turn.objects.filter(call=call).order_by("ordinal")))
        assert [turn.ordinal for turn in turns] == list(range(len(turns)))
        return [(turn.role, turn.text) for turn in turns if turn.text]


async def until(condition: Callable[[], object], *, what: str, seconds: float = 10.0) -> None:
    """Wait for a condition of this process; fail naming ``what``."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - state without an event to wait for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s in vain: {what}") from None


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """A server that takes connections and never answers the upgrade; yields a socket URL."""
    handlers: set[asyncio.Task[Any]] = set()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def stream_path(twiml: str) -> str:
    """Return the path of the stream in a TwiML document."""
    return (
        twiml.partition("<Stream ")[2]
        .partition('url="')[2]
        .partition('"')[0]
        .partition("voice.example.com")[2]
    )


def _make_line(origin: str, account_sid: str) -> PhoneNumber:
    account = factories.make_account(
        account_sid=account_sid,
        auth_token=TOKEN,
        auth_token_secondary=SECONDARY_TOKEN,
        api_base_url=origin,
    )
    connection = factories.make_connection(
        realtime_url=f"{origin.replace('http', 'ws')}/v1/realtime",
        rest_base_url=f"{origin}/v1",
        api_key="sk-standin",
    )
    return factories.make_number(
        twilio_account=account,
        connection=connection,
        assistant=factories.make_assistant(
            first_message=GREETING,
            server_url=f"{origin}/told",
            document={
                "firstMessage": GREETING,
                "server": {"url": f"{origin}/told"},
                "serverMessages": MESSAGES,
            },
        ),
    )


def _check_what_was_told() -> None:
    for message in told_messages():
        if message["type"] in SDK_TYPES:
            check_own(message)


async def _started(server: uvicorn.Server, listener: socket.socket) -> None:
    """Start a server without its main loop, which only polls for an end ten times a second."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])


@asynccontextmanager
async def serving(*servers: uvicorn.Server) -> AsyncIterator[list[int]]:
    """Serve on free loopback ports; all end together."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in servers]
    for server, listener in zip(servers, listeners, strict=True):
        await _started(server, listener)
    try:
        yield [listener.getsockname()[1] for listener in listeners]
    finally:
        ends = zip(servers, listeners, strict=True)
        await asyncio.gather(*(server.shutdown(sockets=[listener]) for server, listener in ends))


@asynccontextmanager
async def running_rig(profile: RealtimeProfile | None = None) -> AsyncIterator[Rig]:
    """Run everything for the length of the block; nothing is left in the process afterwards."""
    from voiceplatform.asgi import application

    frames: list[list[dict[str, Any]]] = []
    book = StandinBook(profile)
    _tap(book, frames)
    carrier = Carrier(PUBLIC, TOKEN, factories.sid("AC"), book=book)
    platform = uvicorn.Server(server_config(application))
    standins = StandinApp(book, carrier)
    standin = make_server(standins)
    async with (
        serving(platform, standin) as (port, standin_port),
        aiohttp.ClientSession() as session,
    ):
        carrier.webhooks.reach = {PUBLIC: f"http://127.0.0.1:{port}"}
        origin = f"http://127.0.0.1:{standin_port}"
        number = await in_database(_make_line, origin, carrier.account_sid)
        try:
            others = standins.old, standins.old_voice, standins.tools, standins.twilio.log
            yield Rig(port, origin, carrier, number, session, *others, frames)
        finally:
            await carrier.close()
            live.end_all_now()
            live._process._ending = False
            await live.wait_until_idle()
            await in_database(_check_what_was_told)
            for call_id in list(pool._tasks):
                pool.discard(call_id)
            await asyncio.gather(*pool._closing)
            refusals.forget()


def _tap(book: StandinBook, frames: list[list[dict[str, Any]]]) -> None:
    """Keep every frame that the model's stand-in receives, per session."""
    make = book.new_session

    def new_session(*args: Any, **kwargs: Any) -> RealtimePeer:
        peer = make(*args, **kwargs)
        mine: list[dict[str, Any]] = []
        frames.append(mine)
        receive = peer.receive

        def tapped(frame: str | bytes, now_ms: int) -> None:
            mine.append(json.loads(frame))
            receive(frame, now_ms)

        peer.receive = tapped  # type: ignore[method-assign]
        return peer

    book.new_session = new_session  # type: ignore[method-assign]
