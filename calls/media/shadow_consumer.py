"""The Channels consumer of a fork's socket: one call of the old stack, heard along.

It takes frames and sends none: on a unidirectional stream anything sent is an error of ours
(31924). It is no live call: nobody waits for it when this process ends, and it takes no line of
those that have callers of ours on them. Whatever happens in here, the old stack's call goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from channels.consumer import AsyncConsumer
from django.db import DatabaseError

from calls.media import live, shadowing
from calls.media.asgi_frames import AsgiFrames
from calls.media.database import in_database, in_database_at_last
from calls.media.shadowing import Going, Ports, Shadowing, now_ms
from calls.parity.past import PastTool
from calls.parity.shadow import Shadow
from calls.parity.shadow_delay import Legs
from calls.services.media_open import MediaRefused, MediaUnsigned
from calls.services.shadow_open import (
    ShadowTicket,
    legs_dialled,
    shadow_goes_on,
    shadow_open,
    shadow_results,
)
from calls.services.shadow_store import shadow_store
from calls.telephony.addresses import stream_url
from calls.telephony.refusals import refusals, stream_knock
from calls.telephony.twilio_client import fork_stop

# Twilio ends a fork that was stopped by closing its socket (twilio.md 2.5).
STOP_SECONDS: Final = 3.0
# Its own: while Twilio hangs, our callers' calls are not to wait for a thread.
_TWILIO = ThreadPoolExecutor(8, thread_name_prefix="shadow-twilio")

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)


class ShadowConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One fork, from the handshake to the stored pair."""

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the socket."""
        message: Any = await receive()
        if message["type"] != "websocket.connect":
            return
        ticket = await self._admit(scope)
        if ticket is None:
            await _refuse(send)
            return
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        any_code = bool(scope.get("extensions"))
        frames = AsgiFrames(receive, send, any_code=any_code)
        # All that it is told comes so much later, the begin of the stream too.
        shadow = Shadow(ticket.plan, now_ms() + shadowing.PACE.hold_ms)
        carried = Shadowing(frames, ticket.endpoint, shadow, _ports(ticket))
        log.info("shadow_accepted", shadow_id=ticket.shadow_id, call_id=ticket.call_id)
        try:
            await carried.run()
        finally:
            # Also when this task is cancelled: what was heard up to then is told as cut.
            shadow.give_up("this process ended", now_ms())
            stored = asyncio.shield(
                asyncio.ensure_future(
                    in_database_at_last(
                        shadow_store,
                        shadow_id=ticket.shadow_id,
                        shadowed=shadow.result,
                        shown=ticket.shown,
                    )
                )
            )
            await stored
            await _let_go(ticket, frames, carried.stream_sid)
        log.info(
            "shadow_ended",
            shadow_id=ticket.shadow_id,
            cut=shadow.result.cut,
            turns=len(shadow.result.turns),
            tool_calls=len(shadow.result.calls),
        )

    async def _admit(self, scope: Any) -> ShadowTicket | None:
        headers = dict(scope["headers"])
        raw_path = scope.get("raw_path") or scope["path"].encode()
        arguments = scope["url_route"]["kwargs"]
        shadow_id = str(arguments["shadow_id"])
        url = stream_url(raw_path.decode("latin-1").split("?")[0])
        signature = headers.get(b"x-twilio-signature", b"").decode("latin-1")
        if live.is_draining():
            return None
        try:
            return await in_database(
                shadow_open,
                shadow_id=shadow_id,
                token=arguments["token"],
                url=url,
                signature=signature,
            )
        except MediaUnsigned as refusal:
            reason = str(refusal)
            refusals.count(stream_knock(refusal.account, url, signature, shadow_id))
        except MediaRefused as refusal:
            reason = str(refusal)
        except DatabaseError as error:
            reason = f"the database does not answer ({type(error).__name__})"
        log.warning("shadow_refused", shadow_id=shadow_id, reason=reason)
        return None


async def _refuse(send: Any) -> None:
    """Refuse a handshake; every server answers 403."""
    await send({"type": "websocket.close", "code": 1008, "reason": ""})


def _ports(ticket: ShadowTicket) -> Ports:
    async def going() -> Going:
        if live.is_draining():
            return "stop"
        try:
            if not await in_database(shadow_goes_on, ticket.shadow_id):
                return "stop"
        except DatabaseError:
            return ""  # the store at the end will wait for it
        return ""

    # Whatever tools our revision has: the old stack may put somebody through by other means.
    async def legs() -> Legs | None:
        return await _at_twilio(legs_dialled, ticket.access, ticket.plan.call_sid)

    async def leave(stream_sid: str) -> None:
        await _at_twilio(fork_stop, ticket.access, ticket.plan.call_sid, stream_sid)

    async def results() -> Sequence[PastTool]:
        try:
            return await in_database(shadow_results, ticket.call_id)
        except DatabaseError:
            return ()

    return Ports(
        going=going,
        legs=legs,
        leave=leave,
        results=results if ticket.plan.result_ms else None,
    )


async def _at_twilio(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a request to Twilio in a thread of these."""
    return await asyncio.get_running_loop().run_in_executor(_TWILIO, partial(work, *args, **kwargs))


async def _let_go(ticket: ShadowTicket, frames: AsgiFrames, stream_sid: str) -> None:
    """Stop the fork at Twilio, which closes the socket; what still comes is not looked at."""
    if stream_sid and not frames.is_closed:
        await _at_twilio(fork_stop, ticket.access, ticket.plan.call_sid, stream_sid)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while await frames.receive() is not None:
                    pass
        except TimeoutError:
            log.warning("shadow_fork_not_closed", shadow_id=ticket.shadow_id)
    await frames.close(1000)
