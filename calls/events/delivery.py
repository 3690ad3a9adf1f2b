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

from calls.events.outbox import Attempt, Destination, claim, claimed_sealed, due_ids, settle
from calls.media.database import in_database
from calls.models import OutboxEvent
from voiceplatform.base import egress, http
from voiceplatform.base.fields import DecryptionError

AT_ONCE = 20
# A POST that begins when the budget ends is over before Celery's soft limit of 60 s and before the
# lease: a receiver may want 300 s (Vapi's limit), but an attempt must always be recorded.
BUDGET_SECONDS = 25.0
LONGEST_SECONDS = 30.0
MAX_RESPONSE_BYTES = 4_096


def body_of(event: OutboxEvent) -> bytes:
    """Return the bytes that are posted, the same for every attempt."""
    # ASCII: a transcript may hold half of a surrogate pair, which UTF-8 cannot.
    return json.dumps(event.payload, separators=(",", ":")).encode("ascii")


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
    patience = min(destination.timeout_seconds, LONGEST_SECONDS)
    begun = time.monotonic()

    def attempt(**result: Any) -> Attempt:
        return Attempt(duration_ms=round((time.monotonic() - begun) * 1000), **result)

    try:
        target = egress.destination(destination.url)
        headers = headers_of(event, destination, body)
        if target.authorization:
            headers.setdefault("Authorization", target.authorization)
        async with (
            asyncio.timeout(patience),
            client.stream("POST", target.url, content=body, headers=headers) as response,
        ):
            said = b""
            async for part in response.aiter_bytes():
                said += part
                if len(said) >= MAX_RESPONSE_BYTES:
                    break
    except TimeoutError:
        return attempt(error=f"no answer within {patience:g} s")
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
    running: dict[asyncio.Task[bool], Any] = {}
    async with egress.egress_client(read_seconds=LONGEST_SECONDS) as client:
        try:
            while True:
                # A silent receiver keeps one place of many, not everybody waiting.
                if time.monotonic() < deadline and len(running) < AT_ONCE:
                    held = set(running.values())
                    due = await in_database(due_ids, AT_ONCE + len(held))
                    for due_id in [each for each in due if each not in held]:
                        if len(running) < AT_ONCE:
                            running[asyncio.create_task(_deliver_one(client, due_id))] = due_id
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del running[task]
                    attempts += task.result()
        finally:
            # An error of ours in one must not cut the POSTs of the others short.
            await asyncio.gather(*running, return_exceptions=True)
    return attempts


async def _deliver_one(client: http.AsyncClient, event_id: Any) -> bool:
    try:
        event = await in_database(claim, event_id)
    except DecryptionError as error:
        # The claim counts; people see why, and it goes out when the key is back.
        sealed = await in_database(claimed_sealed, event_id)
        await in_database(settle, sealed, Attempt(0, error=str(error)))
        return True
    if event is None:
        return False
    result = await deliver(client, event)
    await in_database(settle, event, result)
    return True
