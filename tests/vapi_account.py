"""A stand-in of Vapi's REST API as an httpx transport: lists as vapi.md 1.5 says, and misbehaviour.

Written from the reference, not captured. It must not be kinder than Vapi: lists are bare arrays or
page envelopes, newest first, never longer than asked for, and every request needs the private key.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from django.utils import timezone

from assistants.vapi_api import VapiApi

KEY = "planted-vapi-key-0xC0FFEE"
ENVELOPES = (
    *("structured-output", "eval", "chat", "session", "campaign", "eval/simulation"),
    *("eval/simulation/personality", "eval/simulation/scenario", "eval/simulation/suite"),
)


class VapiAccount:
    """Objects by route; ``before`` may answer or raise instead of the account."""

    def __init__(self, objects: Mapping[str, list[dict[str, Any]]] | None = None) -> None:
        self.objects = {route: list(rows) for route, rows in (objects or {}).items()}
        self.before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.asked: list[str] = []
        self.waited: list[float] = []

    def client(self, *, key: str = KEY, base_url: str = "https://api.vapi.test") -> VapiApi:
        """Return a client of this account that never really waits."""
        transport = httpx.MockTransport(self._answer)
        return VapiApi(
            api_key=key,
            base_url=base_url,
            make_client=lambda: httpx.AsyncClient(transport=transport),
            sleep=self.waited.append,
        )

    def requests(self) -> Counter[str]:
        """Return how often each path was asked."""
        return Counter(url.partition("?")[0] for url in self.asked)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.strip("/")
        self.asked.append(f"{path}?{request.url.query.decode()}")
        assert request.method == "GET"
        other = self.before(request)
        if other is not None:
            return other
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return self.refusal(401, "Invalid Key. Hint, you may be using the public key")
        if path in self.objects:
            return self._list(path, dict(request.url.params))
        route, _, object_id = path.rpartition("/")
        for row in self.objects.get(route, []):
            if row["id"] == object_id:
                return httpx.Response(200, json=row)
        return self.refusal(404, f"Cannot GET /{path}")

    def _list(self, route: str, params: dict[str, str]) -> httpx.Response:
        rows = sorted(self.objects[route], key=lambda row: str(row["createdAt"]), reverse=True)
        limit = int(params.get("limit", "100"))
        assert 1 <= limit <= 1000
        if route in ENVELOPES:
            page = int(params.get("page", "1"))
            shown = rows[(page - 1) * limit : page * limit]
            meta = {"itemsPerPage": limit, "totalItems": len(rows), "currentPage": page}
            return self._json({"results": shown, "metadata": meta})
        for name, keeps in (
            ("createdAtLt", lambda at, bound: at < bound),
            ("createdAtLe", lambda at, bound: at <= bound),
            ("createdAtGe", lambda at, bound: at >= bound),
        ):
            if name in params:
                rows = [row for row in rows if keeps(row["createdAt"], params[name])]
        return self._json(rows[:limit])

    def _json(self, value: Any) -> httpx.Response:
        # json= refuses lone surrogates and NaN; Vapi's answers are what its users stored.
        return httpx.Response(200, content=json.dumps(value).encode())

    @staticmethod
    def refusal(status: int, message: str) -> httpx.Response:
        """Return Vapi's error body (vapi.md 1.4)."""
        body = {"message": message, "error": "Refused", "statusCode": status}
        return httpx.Response(status, json=body)


def at(minute: int) -> str:
    """Return a moment in Vapi's form."""
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def object_id(kind: int, number: int) -> str:
    """Return an id."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


def assistant(number: int, *, minute: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return an assistant as GET /assistant answers it."""
    return {
        "id": object_id(1, number),
        "orgId": object_id(9, 1),
        "createdAt": at(number if minute is None else minute),
        "updatedAt": at(number),
        "name": f"Desk {number}",
        "model": {
            "provider": "openai",
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "Be kind."}],
            **fields.pop("model", {}),
        },
        **fields,
    }


def tool(number: int, **fields: Any) -> dict[str, Any]:
    """Return a function tool as GET /tool answers it."""
    return {
        "id": object_id(2, number),
        "orgId": object_id(9, 1),
        "createdAt": at(number),
        "updatedAt": at(number),
        "type": "function",
        "function": {"name": f"look_up_{number}"},
        "server": {"url": "https://tools.example.com/x"},
        **fields,
    }


def whole_call(number: int, *, at: dt.datetime | None = None, **fields: Any) -> dict[str, Any]:
    """Return a call as GET /call answers it: two turns and one tool call."""
    began = at or timezone.now() - dt.timedelta(hours=number + 1)
    text = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    done = (began + dt.timedelta(seconds=30)).isoformat(timespec="milliseconds")
    return {
        "id": f"{number:08x}-0000-7000-8000-00000000ca11",
        "type": "inboundPhoneCall",
        "status": "ended",
        "createdAt": text,
        "updatedAt": done,
        "startedAt": text,
        "endedAt": done,
        "endedReason": "customer-ended-call",
        "customer": {"number": "+14155550142"},
        "cost": 0.05,
        "artifact": {
            "messages": [
                {"role": "user", "message": f"Order {number}?", "secondsFromStart": 1.0},
                {
                    "role": "tool_calls",
                    "secondsFromStart": 2.0,
                    "toolCalls": [
                        {"id": f"call_{number}", "function": {"name": "find", "arguments": "{}"}}
                    ],
                },
                {
                    "role": "tool_call_result",
                    "toolCallId": f"call_{number}",
                    "name": "find",
                    "result": "open",
                    "secondsFromStart": 2.5,
                },
                {"role": "bot", "message": "It is open.", "secondsFromStart": 3.0},
            ]
        },
        **fields,
    }
