"""The Channels consumer of the talk page's socket.

The browser stands where Twilio does on the phone: the same driver, bridge and pool of threads carry
it. Owns the handshake and what the page is shown live; like the media consumer it takes ``receive``
and ``send`` itself. What is said passes through and is stored nowhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import structlog
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from channels.consumer import AsyncConsumer
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.db import DatabaseError
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from calls.bridge.effects import (
    DispatchTool,
    Effect,
    NextStep,
    RecordHandoff,
    RecordTool,
    RecordTurn,
    StreamEnded,
)
from calls.bridge.reasons import EndCause
from calls.media import live
from calls.media.database import in_database, in_database_at_last
from calls.media.driver import CallDriver, Finished, Ports
from calls.media.pool import Prepared
from calls.media.realtime_client import dial
from calls.models import Call, Talk
from calls.services.handoffs import with_record
from calls.services.mcp_servers import mcp_told
from calls.services.talk import TalkRefused, talk_answered, talk_finish, talk_open
from calls.services.talk_plan import (
    ACCOUNT_SID,
    TalkTicket,
    call_like,
    talk_ticket,
    talk_tool_run,
)
from calls.services.tool_rejection import judged
from calls.web.frames import WebFrames

log = structlog.get_logger(__name__)


class PageJournal:
    """The journal of a talk: what a call would store is shown and forgotten."""

    def __init__(self, frames: WebFrames) -> None:
        self._frames = frames
        self.turns: dict[int, RecordTurn] = {}
        self.handed: Mapping[str, Any] = {}

    def write(self, effect: Effect) -> None:
        """Show a turn or a tool call."""
        if isinstance(effect, RecordTurn):
            self.turns[effect.ordinal] = effect
            self._frames.tell("turn", dataclasses.asdict(effect))
        elif isinstance(effect, RecordTool):
            self._frames.tell("tool", dataclasses.asdict(effect))
        elif isinstance(effect, RecordHandoff):
            self.handed = effect.record
            self._frames.tell("handoff", {"to": effect.to_name, "at_ms": effect.at_ms})

    def write_inputs(self, text: str) -> None:
        """Forget a piece of the replay record."""

    async def set_next_step(self, step: NextStep, dial_to: str = "") -> None:
        """Show what would happen to a caller now; nothing does."""
        self._frames.tell("next", {"step": step, "dial_to": dial_to})


class TalkConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One talk, from the handshake to its end."""

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the socket."""
        message: Any = await receive()
        if message["type"] != "websocket.connect":
            return
        opened = await self._admit(scope)
        if opened is None:
            # Every server answers 403; the media consumer says why no other status is sent.
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        talk, ticket = opened
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        frames = WebFrames(
            receive,
            send,
            stream_sid=ticket.stream_sid,
            call_sid=ticket.plan.call_sid,
            account_sid=ACCOUNT_SID,
        )
        await self._carry(talk, ticket, frames)

    async def _admit(self, scope: Any) -> tuple[Talk, TalkTicket] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        arguments = scope["url_route"]["kwargs"]
        try:
            if not same_origin(headers.get(b"origin", ""), headers.get(b"host", "")):
                raise TalkRefused("another origin")
            if live.is_draining() or live.active_count() >= settings.MAX_CONCURRENT_CALLS:
                raise TalkRefused("this process takes no more calls")
            return await in_database(
                _open,
                talk_id=str(arguments["call_id"]),
                token=arguments["token"],
                session=session_of(headers.get(b"cookie", "")),
            )
        except TalkRefused as refusal:
            reason = str(refusal)
        except DatabaseError as error:
            reason = f"the database does not answer ({type(error).__name__})"
        log.warning("talk_refused", call_id=str(arguments["call_id"]), reason=reason)
        return None

    async def _carry(self, talk: Talk, ticket: TalkTicket, frames: WebFrames) -> None:
        plan, journal = ticket.plan, PageJournal(frames)
        variables: dict[str, Any] = {}

        async def connect(model: str = "") -> Prepared:
            endpoint = ticket.endpoint
            if model:
                told = await mcp_told(driver.awaited_plan, as_now)
                endpoint = dataclasses.replace(endpoint, model=model, mcp=told)
            return Prepared(await dial(endpoint))

        def as_now() -> Call:
            call = call_like(talk, variables)
            return with_record(call, journal.handed) if journal.handed else call

        async def run_tools(calls: Sequence[DispatchTool], finished: Finished) -> None:
            asked = await judged(plan=driver.plan, calls=calls, finished=finished, load=as_now)
            for effect in asked:
                result, request = await talk_tool_run(
                    talk=talk,
                    plan=driver.plan,
                    effect=effect,
                    turns=list(journal.turns.values()),
                    load=as_now,
                    variables=variables,
                )
                if request is not None:
                    shown = dataclasses.asdict(request)
                    frames.tell("request", {"tool_call_id": effect.tool_call_id, **shown})
                finished(effect.tool_call_id, result)

        driver = CallDriver(
            plan,
            frames,
            Ports(connect=connect, run_tools=run_tools, hang_up=frames.hang_up, journal=journal),
            keep_audio=False,
        )
        entry = live.enter(end_now=driver.shut_down, name=plan.call_id)
        frames.tell("ready", {"model": plan.model, "voice": plan.session.voice})
        log.info("talk_accepted", call_id=plan.call_id, calls_tools=talk.calls_tools)
        ended = StreamEnded(EndCause.CRASHED.ended_reason, call_over=False)
        try:
            ended = await driver.run()
        finally:
            try:
                await self._end(ticket, ended, frames)
            finally:
                live.leave(entry)

    async def _end(self, ticket: TalkTicket, ended: StreamEnded, frames: WebFrames) -> None:
        talk_id = ticket.plan.call_id
        # A stand-in counts tokens as the model does, and costs nothing.
        metrics = {**ended.metrics, **({"spend_microusd": 0} if ticket.is_free else {})}
        shown = {key: metrics.get(key) for key in ("stream_ms", "spend_microusd")}
        await frames.leave({"ended_reason": ended.ended_reason, **shown})
        await in_database_at_last(
            talk_finish,
            talk_id=talk_id,
            ended_reason=ended.ended_reason,
            metrics=metrics,
        )
        log.info("talk_ended", call_id=talk_id, ended_reason=ended.ended_reason)


def _open(*, talk_id: str, token: str, session: SessionBase) -> tuple[Talk, TalkTicket]:
    talk = talk_open(talk_id=talk_id, token=token, session=session)
    ticket = talk_ticket(talk=talk)
    talk_answered(talk_id=talk_id, model=ticket.plan.model)
    return talk, ticket


def same_origin(origin: str, host: str) -> bool:
    """Tell whether a handshake comes from a page of this very address.

    Cookies travel with every socket that any site opens, so the origin has to be looked at.
    """
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    place = urlsplit(origin)
    if place.scheme not in {"http", "https"} or not host or place.netloc.lower() != host.lower():
        return False
    return validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)


def session_of(cookies: str) -> SessionBase:
    """Return the browser's session; an empty one where there is none. Reads no row yet."""
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return store
