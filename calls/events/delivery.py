"""Delivers outbox events: one POST each, several at a time, every one with a deadline.

At least once: the stable event id is in a header, so a receiver that has seen it may ignore it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

from calls.events.outbox import Attempt, Destination, claim, due_ids, settle
from calls.media.database import in_database
from calls.models import OutboxEvent
from voiceplatform.base import egress, http

AT_ONCE = 20
BUDGET_SECONDS = 35.0
MAX_RESPONSE_BYTES = 4_096


def body_of(event: OutboxEvent) -> bytes:
    """Return the bytes that are posted, the same for every attempt."""
    return json.dumps(event.payload, ensure_ascii=False, separators=(",", ":")).encode()


def headers_of(event: OutboxEvent, destination: Destination, body: bytes) -> dict[str, str]:
    """Return the request headers; the signature covers event id and body."""
    headers = {
        "Content-Type": "application/json",
        **destination.headers,
        "X-Voiceplatform-Event-Id": str(event.pk),
        "X-Voiceplatform-Stack": "direct",
    }
    if destination.signing_secret:
        signed = f"{event.pk}.".encode() + body
        digest = hmac.new(destination.signing_secret.encode(), signed, hashlib.sha256)
        headers["X-Voiceplatform-Signature"] = f"sha256={digest.hexdigest()}"
    return headers


async def deliver(client: http.AsyncClient, event: OutboxEvent) -> Attempt:
    """Post one event and return what came of it; raises nothing the receiver could cause."""
    destination = Destination.from_json(event.destination)
    body = body_of(event)
    begun = time.monotonic()

    def attempt(**result: Any) -> Attempt:
        return Attempt(duration_ms=round((time.monotonic() - begun) * 1000), **result)

    try:
        target = egress.destination(destination.url)
        headers = headers_of(event, destination, body)
        if target.authorization:
            headers.setdefault("Authorization", target.authorization)
        async with (
            asyncio.timeout(destination.timeout_seconds),
            client.stream("POST", target.url, content=body, headers=headers) as response,
        ):
            said = b""
            async for part in response.aiter_bytes():
                said += part
                if len(said) >= MAX_RESPONSE_BYTES:
                    break
    except TimeoutError:
        return attempt(error=f"no answer within {destination.timeout_seconds:.0f} s")
    except egress.EgressRefused as error:
        return attempt(error=str(error))
    except (http.HTTPError, http.InvalidURL, UnicodeError, ValueError) as error:
        # The name alone: httpx may quote the URL, and a URL may carry a token.
        return attempt(error=type(error).__name__)
    return attempt(
        status_code=response.status_code, response_excerpt=said.decode("utf-8", "replace")
    )


async def drain() -> int:
    """Deliver what is due until nothing is or the time budget is spent; return the attempts."""
    deadline = time.monotonic() + BUDGET_SECONDS
    attempts = 0
    async with egress.egress_client(read_seconds=30.0) as client:
        while time.monotonic() < deadline:
            ids = await in_database(due_ids, AT_ONCE)
            if not ids:
                break
            tried = await asyncio.gather(*(_deliver_one(client, event_id) for event_id in ids))
            attempts += sum(tried)
            if not any(tried):
                break
    return attempts


async def _deliver_one(client: http.AsyncClient, event_id: Any) -> bool:
    event = await in_database(claim, event_id)
    if event is None:
        return False
    result = await deliver(client, event)
    await in_database(settle, event, result)
    return True
