"""A tool server in Vapi's form, for rehearsals and tests: it records every request and answers each
tool as it was told, in every shape and with every fault that real servers show (vapi.md 4.6). It is
a peer: it must not import the platform.

Paths: ``POST /tools/<anything>`` is the webhook, ``GET /tools/ledger`` what arrived,
``DELETE /tools/ledger`` forgets it, ``PUT /tools/answers`` sets answers, e.g.
``{"book": {"result": "Booked", "delay_seconds": 5, "status": 201, "form": "results"}}``;
``"*"`` answers every tool that has no entry. Requests that ask something else, such as
``assistant-request``, get the ``result`` of the entry of their type. Other server messages are
recorded and get ``{}``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, get_args

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

PREFIX: Final = "/tools/"
KEPT_REQUESTS: Final = 1000
_SECRET_HEADER: Final = "x-vapi-secret"  # noqa: S105 - a header's name

_ASKING: Final = frozenset(
    {"assistant-request", "transfer-destination-request", "handoff-destination-request"}
)
_TOLD: Final = frozenset(
    {
        *("status-update", "end-of-call-report", "assistant.started", "speech-update"),
        *("conversation-update", "transcript", 'transcript[transcriptType="final"]', "hang"),
        *("user-interrupted", "model-output", "voice-input", "assistant.speechStarted"),
        *("language-change-detected", "phone-call-control", "transfer-update"),
    }
)

Form = Literal[
    "results",  # {"results": [{toolCallId, name, result}]}, the documented form
    "object",  # results is an object, not a list
    "legacy",  # {"result": ...}, of the function-call days
    "error",  # an error per call
    "top-level-error",  # one error for the request
    "wrong-id",  # results of another call
    "text",  # plain text
    "empty",  # no body
    "redirect",  # 302 to somewhere else
    "huge",  # 1 MiB
]


@dataclass(frozen=True, slots=True)
class ToolReply:
    """How a tool answers."""

    result: Any = "OK"
    delay_seconds: float = 0.0
    status: int = 200
    form: Form = "results"
    message: Any = None

    @classmethod
    def read(cls, value: Any) -> ToolReply:
        """Read a reply from JSON.

        Raises:
            ValueError: unknown keys or form.
        """
        known = {each.name for each in fields(cls)}
        if not isinstance(value, dict) or not set(value) <= known:
            raise ValueError(f"a reply is an object with some of {sorted(known)}")
        reply = cls(**value)
        if reply.form not in get_args(Form):
            raise ValueError(f"form is one of {list(get_args(Form))}")
        return reply


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One request as it arrived; header names in lower case, ``at`` in epoch seconds."""

    at: float
    path: str
    headers: dict[str, str]
    body: Any
    status: int
    names: list[str] = field(default_factory=list)
    tool_call_ids: list[str] = field(default_factory=list)


class ToolServerApp:
    """The server: ``replies`` by tool name, ``secret`` when one is demanded, the ``ledger``."""

    def __init__(self, *, secret: str = "") -> None:
        self.secret = secret
        self.replies: dict[str, ToolReply] = {}
        self.ledger: deque[ToolRequest] = deque(maxlen=KEPT_REQUESTS)

    def serves(self, path: str) -> bool:
        """Tell whether a path is this server's."""
        return path.startswith(PREFIX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method, path = scope["method"], scope["path"]
        try:
            raw = await read_body(receive)
        except BodyTooLarge:
            await respond_json(send, 413, {"message": "too large"})
            return
        if path == PREFIX + "ledger":
            if method == "DELETE":
                self.ledger.clear()
            await respond_json(send, 200, [asdict(request) for request in self.ledger])
        elif path == PREFIX + "answers" and method == "PUT":
            await self._configure(raw, send)
        elif method == "POST":
            await self._answer(scope, raw, send)
        else:
            await respond_json(send, 405, {"message": "POST a tool-calls message"})

    async def _configure(self, raw: bytes, send: Send) -> None:
        try:
            wanted = json.loads(raw)
            self.replies |= {name: ToolReply.read(value) for name, value in wanted.items()}
        except (ValueError, TypeError, AttributeError) as error:
            await respond_json(send, 400, {"message": str(error)})
            return
        await respond_json(send, 200, {name: asdict(each) for name, each in self.replies.items()})

    async def _answer(self, scope: Scope, raw: bytes, send: Send) -> None:
        headers = headers_of(scope)
        body = _parsed(raw)
        calls = _calls(body)
        names = [str(call.get("function", {}).get("name", "")) for call in calls]
        asked = _kind_of(body) if not calls and _kind_of(body) in _ASKING else ""
        reply = self.replies.get(names[0] if names else asked) or self.replies.get("*", ToolReply())
        status = reply.status
        if self.secret and headers.get(_SECRET_HEADER) != self.secret:
            status = 401
        elif not calls:
            # Reports and status updates are told, not asked: any answer will do.
            status = 200 if asked or _is_told(body) else 400
        self.ledger.append(
            ToolRequest(
                at=time.time(),
                path=scope["path"],
                headers=headers,
                body=body,
                status=status,
                names=names,
                tool_call_ids=[str(call.get("id", "")) for call in calls],
            )
        )
        if status in {400, 401}:
            await respond_json(send, status, {"message": "refused", "statusCode": status})
            return
        if not calls and not asked:
            await respond_json(send, status, {})
            return
        if reply.delay_seconds:
            await asyncio.sleep(reply.delay_seconds)
        if asked:
            result = reply.result if isinstance(reply.result, dict) else {}
            await respond_json(send, reply.status, result)
            return
        await self._send(send, reply, calls)

    async def _send(self, send: Send, reply: ToolReply, calls: list[dict[str, Any]]) -> None:
        if reply.form == "text":
            await respond(send, reply.status, str(reply.result).encode(), "text/plain")
        elif reply.form == "empty":
            await respond(send, reply.status, b"", "application/json")
        elif reply.form == "redirect":
            place = {"location": str(reply.result)}
            await respond(send, 302, b"", "text/plain", place)
        elif reply.form == "huge":
            await respond(send, reply.status, b" " * (1 << 20), "application/json")
        else:
            body = self._body(reply, calls)
            await respond_json(send, reply.status, body)

    def _body(self, reply: ToolReply, calls: list[dict[str, Any]]) -> dict[str, Any]:
        if reply.form == "legacy":
            return {"result": self._result(reply, calls[0])}
        if reply.form == "top-level-error":
            return {"error": reply.result}
        results = [self._entry(reply, call) for call in calls]
        return {"results": results[0] if reply.form == "object" else results}

    def _entry(self, reply: ToolReply, call: dict[str, Any]) -> dict[str, Any]:
        name = call.get("function", {}).get("name", "")
        own = self.replies.get(name, reply)
        entry: dict[str, Any] = {"toolCallId": call.get("id"), "name": name}
        if reply.form == "wrong-id":
            entry["toolCallId"] = "call_of_somebody_else"
        entry["error" if own.form == "error" else "result"] = self._result(own, call)
        if own.message is not None:
            entry["message"] = own.message
        return entry

    def _result(self, reply: ToolReply, call: dict[str, Any]) -> Any:
        """Fill ``{argument}`` places of a text with what the model passed."""
        arguments = call.get("function", {}).get("arguments")
        if not isinstance(reply.result, str) or not isinstance(arguments, dict):
            return reply.result
        text = reply.result
        for name, value in arguments.items():
            text = text.replace("{" + name + "}", str(value))
        return text


def _is_told(body: Any) -> bool:
    """Tell whether a body is one of Vapi's server messages that want no answer, or our own log."""
    own = body.get("type") if isinstance(body, dict) else None
    return _kind_of(body) in _TOLD or own == "call.ended"


def _kind_of(body: Any) -> str:
    message = body.get("message") if isinstance(body, dict) else None
    kind = message.get("type") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else ""


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _calls(body: Any) -> list[dict[str, Any]]:
    """Return the calls as servers in the wild read them: the list, else the oldest spelling."""
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict):
        return []
    found = message.get("toolCallList") or message.get("toolCalls") or []
    return [call for call in found if isinstance(call, dict)]
