"""Bodies on Twilio's paths are limited before Django spools them to disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from voiceplatform.body_limit import with_body_limit

pytestmark = pytest.mark.unit

LIMIT = 100


async def _ask(
    chunks: Iterable[bytes], *, length: bytes | None = None, path: str = "/twilio/voice"
) -> tuple[list[int], int]:
    """Return (statuses answered, bytes that the application was given)."""
    waiting = [*chunks]
    statuses: list[int] = []
    taken = 0

    async def receive() -> dict[str, Any]:
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            taken += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = [] if length is None else [(b"Content-Length", length)]
    scope = {"type": "http", "path": path, "headers": headers}
    await with_body_limit(application, prefix="/twilio/", limit_bytes=LIMIT)(scope, receive, send)
    return statuses, taken


async def test_an_announced_length_over_the_limit_is_refused_before_the_application() -> None:
    for length in (b"101", b"9" * 5000, b"-1", b""):
        assert await _ask([b"x"], length=length) == ([413], 0)


@pytest.mark.parametrize("chunks", [2, 3, 1000])
async def test_a_body_of_unknown_length_is_refused_when_it_passes_the_limit(chunks: int) -> None:
    assert await _ask([b"x" * 60] * chunks) == ([413], 60)


async def test_a_body_within_the_limit_and_other_paths_pass() -> None:
    assert await _ask([b"x" * 50] * 2, length=b"100") == ([200], 100)
    assert await _ask([b"x" * 60] * 3, path="/assistant") == ([200], 180)
