"""The Channels consumer of Twilio's media socket.

A stock consumer hops to a thread for every message and handles one at a time (style.md 2); this
one takes ``receive`` and ``send`` itself and gives them to the driver. It has no channel layer.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from channels.consumer import AsyncConsumer
from django.db import DatabaseError

from calls.bridge.effects import DispatchTool, StreamEnded
from calls.bridge.model import configuration
from calls.bridge.reasons import EndCause
from calls.media import live
from calls.media.asgi_frames import AsgiFrames
from calls.media.database import in_database, in_database_at_last
from calls.media.desk import desk
from calls.media.driver import CallDriver, Finished, Ports
from calls.media.heartbeat import heartbeat
from calls.media.journal import CallJournal
from calls.media.listening import Room, rooms
from calls.media.pool import Prepared, pool
from calls.media.realtime_client import dial
from calls.privacy.keeping import Shown
from calls.services.call_finish import stream_finish
from calls.services.call_plan import StreamTicket
from calls.services.mcp_servers import mcp_told
from calls.services.media_open import MediaRefused, MediaUnsigned, media_open, stream_began
from calls.services.privacy import shown_of
from calls.services.tool_run import tool_run, twilio_access_for
from calls.telephony.addresses import stream_url
from calls.telephony.refusals import refusals, stream_knock
from calls.telephony.twilio_client import hang_up

NEXT_STEP_SECONDS = 5.0  # Twilio asks for it at once
RULES_AGAIN_SECONDS = 1.0

log = structlog.get_logger(__name__)


class MediaConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One media socket, from the handshake to the stored end of its stream."""

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the socket."""
        message: Any = await receive()
        if message["type"] != "websocket.connect":
            return
        ticket = await self._admit(scope, send)
        if ticket is None:
            return
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        structlog.contextvars.bind_contextvars(call_sid=ticket.plan.call_sid)
        try:
            # daphne's library raises for codes below 3000 but 1000 and leaves the socket open, so
            # 4008 and 4009 stand for 1008 and 1009 there. It is the one server without extensions.
            any_code = bool(scope.get("extensions"))
            await self._carry(ticket, AsgiFrames(receive, send, any_code=any_code))
        finally:
            structlog.contextvars.unbind_contextvars("call_sid")

    async def _admit(self, scope: Any, send: ASGISendCallable) -> StreamTicket | None:
        headers = dict(scope["headers"])
        raw_path = scope.get("raw_path") or scope["path"].encode()
        arguments = scope["url_route"]["kwargs"]
        url = stream_url(raw_path.decode("latin-1").split("?")[0])
        signature = headers.get(b"x-twilio-signature", b"").decode("latin-1")
        try:
            return await in_database(
                media_open,
                call_id=str(arguments["call_id"]),
                token=arguments["token"],
                url=url,
                signature=signature,
                draining=live.is_draining(),
            )
        except MediaUnsigned as refusal:
            reason = str(refusal)
            refusals.count(stream_knock(refusal.account, url, signature, str(arguments["call_id"])))
        except MediaRefused as refusal:
            reason = str(refusal)
        except DatabaseError as error:
            # Twilio asks the action URL what is next, which hands out another stream.
            reason = f"the database does not answer ({type(error).__name__})"
        log.warning("media_refused", call_id=str(arguments["call_id"]), reason=reason)
        await _refuse(send)
        return None

    async def _carry(self, ticket: StreamTicket, frames: AsgiFrames) -> None:
        plan = ticket.plan
        transfers = {tool.name: tool.transfer_to for tool in plan.tools if tool.transfer_to}
        journal = CallJournal(
            plan.call_id,
            ticket.stream_number,
            transfers,
            spent=lambda: (driver.spend_microusd, driver.now_ms),
            target=ticket.target,
            keeping=ticket.keeping,
        )

        async def connect(model: str = "") -> Prepared:
            if model:
                told = await mcp_told(driver.awaited_plan)
                endpoint = dataclasses.replace(ticket.endpoint, model=model, mcp=told)
                return Prepared(await dial(endpoint))
            prepared = await pool.claim(plan.call_id, ticket.endpoint, configuration(plan))
            return prepared or Prepared(await dial(ticket.endpoint))

        async def run_tools(calls: Sequence[DispatchTool], finished: Finished) -> None:
            # The assistant of this moment: the call may have been handed over.
            await tool_run(plan=driver.plan, calls=calls, finished=finished)

        async def end_at_carrier() -> None:
            access = await in_database(twilio_access_for, call_id=plan.call_id)
            await hang_up(access, plan.call_sid)

        driver = CallDriver(
            plan,
            frames,
            Ports(connect=connect, run_tools=run_tools, hang_up=end_at_carrier, journal=journal),
            keep_audio=ticket.keep_audio,
        )
        entry = live.enter(end_now=driver.shut_down, name=plan.call_id)
        room = Room(
            plan.call_id,
            lambda tap: setattr(driver, "tap", tap),
            whose=lambda: driver.plan.revision_id,
            ask=partial(_shown, plan.call_id),
            begun_with=Shown(ticket.keeping),
        )
        rooms.open(room)
        commands = desk()
        commands.open(plan.call_id, driver.control)
        heartbeat.join(plan.call_id)
        writer = asyncio.create_task(journal.run(), name="journal")
        began = asyncio.create_task(in_database_at_last(stream_began, call_id=plan.call_id))
        log.info("stream_accepted", stream_number=ticket.stream_number)
        ended = StreamEnded(EndCause.CRASHED.ended_reason, call_over=False)
        try:
            ended = await driver.run()
        except Exception:
            # The outer frame of a call: whatever went wrong, the action URL resumes the caller.
            log.exception("stream_failed")
            await frames.close(1011)
        finally:
            commands.close(plan.call_id, driver.control)
            rooms.close(room, ended)
            pool.discard(plan.call_id)
            heartbeat.leave(plan.call_id)
            writer.cancel()
            try:
                await asyncio.gather(writer, began, return_exceptions=True)
                await self._store_end(ended, journal)
            finally:
                if not ended.call_over:
                    live.expect(plan.call_id, NEXT_STEP_SECONDS)
                # Whatever the database did: a call that is over must not count as live.
                live.leave(entry)

    async def _store_end(self, ended: StreamEnded, journal: CallJournal) -> None:
        stored = await journal.close(ended, stream_finish)
        metrics = ended.metrics
        log.info(
            "stream_ended",
            ended_reason=ended.ended_reason,
            call_over=ended.call_over,
            journal_stored=stored,
            dropped_pieces=journal.dropped_pieces,
            **{
                key: metrics.get(key)
                for key in (
                    "stream_ms",
                    "first_word_ms",
                    "turn_latency_p50_ms",
                    "turn_latency_p95_ms",
                    "frames_in",
                    "caller_bytes_dropped",
                    "unheard_bytes",
                    "turns",
                    "tool_calls",
                    "counters",
                    "notes",
                )
            },
        )


async def _shown(call_id: str, revision_id: str) -> Shown | None:
    """Return what listeners may get; None: the database does not answer, ask again."""
    try:
        return await in_database(shown_of, call_id, revision_id)
    except DatabaseError as error:
        log.warning("listen_rules_not_read", call_id=call_id, error=type(error).__name__)
        await asyncio.sleep(RULES_AGAIN_SECONDS)
        return None


async def _refuse(send: Any) -> None:
    """Refuse a handshake; every server answers 403.

    uvicorn could send another status, but then logs an error for each refusal.
    """
    await send({"type": "websocket.close", "code": 1008, "reason": ""})
