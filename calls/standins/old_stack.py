"""The stack that had the numbers before, for rehearsals and tests: it answers Twilio's webhooks
with TwiML, checks each signature with the official SDK for its own URL, and keeps what it was
asked. It can hang, fail and refuse on order. It is a peer: it must not import the platform.

Paths: anything under ``/old/``; ``/old/twilio/inbound_call`` and ``/old/twilio/status`` are those
of Vapi (vapi.md 7.2). ``PUT /old/mode`` sets how it behaves, e.g. ``{"mode": "hanging"}`` or
``{"delay_seconds": 0.3}``; ``GET /old/ledger`` tells what arrived, ``DELETE`` forgets it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args
from urllib.parse import parse_qsl

from twilio.request_validator import RequestValidator

from calls.standins.asgi import (
    BodyTooLarge,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    respond,
    respond_json,
)

PREFIX: Final = "/old/"
VOICE_PATH: Final = PREFIX + "twilio/inbound_call"
STATUS_PATH: Final = PREFIX + "twilio/status"
KEPT_REQUESTS: Final = 5000
_LOOK_SECONDS: Final = 0.05
TWIML: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Response><Say>The old stack is speaking.</Say><Hangup/></Response>"
)

# ``up``: it answers. ``hanging``: it takes requests and answers when it hangs no more, if anybody
# still waits. ``failing``: 500.
# ``refusing``: 400, as Vapi answers for a call that does not ring (twilio.md 5.5).
Mode = Literal["up", "hanging", "failing", "refusing"]


@dataclass(frozen=True, slots=True)
class OldAnswer:
    """What a path answers; ``headers`` may come more than once (``Set-Cookie``)."""

    body: str | bytes = TWIML
    status: int = 200
    content_type: str = "text/xml"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OldRequest:
    """One request as it arrived; header names in lower case, ``at`` in epoch seconds."""

    at: float
    method: str
    path: str
    url: str
    form: dict[str, str]
    headers: dict[str, str]
    is_signed: bool
    mode: str = "up"


@dataclass(slots=True)
class OldStackApp:
    """The stack: ``mode`` and ``delay_seconds`` for all, ``answers`` by path, the ``ledger``."""

    auth_token: str
    mode: Mode = "up"
    delay_seconds: float = 0.0
    answers: dict[str, OldAnswer] = field(default_factory=dict)
    ledger: deque[OldRequest] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def serves(self, path: str) -> bool:
        """Tell whether a path is this stack's."""
        return path.startswith(PREFIX)

    def asked(self, path: str = "") -> list[OldRequest]:
        """Return the requests of a path, oldest first; of all paths without one."""
        return [each for each in self.ledger if path in {"", each.path}]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method, path = scope["method"], scope["path"]
        try:
            raw = await read_body(receive)
        except BodyTooLarge:
            await respond_json(send, 413, {"message": "too large"})
            return
        if path == PREFIX + "mode" and method == "PUT":
            await self._configure(raw, send)
        elif path == PREFIX + "ledger":
            if method == "DELETE":
                self.ledger.clear()
            await respond_json(send, 200, [asdict(request) for request in self.ledger])
        else:
            await self._answer(scope, raw, receive, send)

    async def _configure(self, raw: bytes, send: Send) -> None:
        try:
            wanted = dict(json.loads(raw))
            mode = wanted.get("mode", self.mode)
            if mode not in get_args(Mode):
                raise ValueError(f"mode is one of {list(get_args(Mode))}")
            delay_seconds = float(wanted.get("delay_seconds", self.delay_seconds))
        except (ValueError, TypeError) as error:
            await respond_json(send, 400, {"message": str(error)})
            return
        self.mode, self.delay_seconds = mode, delay_seconds
        await respond_json(send, 200, {"mode": mode, "delay_seconds": delay_seconds})

    async def _answer(self, scope: Scope, raw: bytes, receive: Receive, send: Send) -> None:
        request = self._request(scope, raw)
        self.ledger.append(request)
        if self.mode == "hanging" and await self._hung_up(receive):
            return
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.mode == "failing":
            await respond(send, 500, b"out of order", "text/plain")
        elif self.mode == "refusing":
            await respond(send, 400, b"the call is not ringing", "text/plain")
        elif not request.is_signed:
            await respond(send, 403, b"not signed by Twilio", "text/plain")
        elif scope["path"] == STATUS_PATH and STATUS_PATH not in self.answers:
            await respond(send, 204, b"", "text/plain")
        else:
            await _send(send, self.answers.get(scope["path"], OldAnswer()))

    async def _hung_up(self, receive: Receive) -> bool:
        """Hang until the mode changes; tell whether the other side has gone before."""
        gone = asyncio.ensure_future(receive())
        try:
            while self.mode == "hanging" and not gone.done():
                await asyncio.wait({gone}, timeout=_LOOK_SECONDS)
            return gone.done()
        finally:
            gone.cancel()

    def _request(self, scope: Scope, raw: bytes) -> OldRequest:
        headers = headers_of(scope)
        query = scope["query_string"].decode("latin-1")
        target = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        url = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}{target}"
        url += f"?{query}" if query else ""
        posted = scope["method"] == "POST"
        form: dict[str, Any] = dict(
            parse_qsl(raw.decode() if posted else query, keep_blank_values=True)
        )
        signature = headers.get("x-twilio-signature", "")
        validator = RequestValidator(self.auth_token)
        is_signed = bool(signature) and validator.validate(url, form if posted else {}, signature)
        return OldRequest(
            at=time.time(),
            method=scope["method"],
            path=scope["path"],
            url=url,
            form=form,
            headers=headers,
            is_signed=bool(is_signed),
            mode=self.mode,
        )


async def _send(send: Send, answer: OldAnswer) -> None:
    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
    fields = [("content-type", answer.content_type), ("content-length", str(len(body)))]
    raw = [(name.encode(), value.encode()) for name, value in (*fields, *answer.headers)]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
