"""Delivers outbox events: one POST each, several at a time, every one with a deadline.

At least once: the stable event id is in a header, so a receiver that has seen it may ignore it. One
endpoint never has more than its share of what is under way, so that a silent one, or one with ten
thousand events to come, delays nobody else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import structlog
from django.utils import timezone

from calls.events.mail import mail_send
from calls.events.outbox import Attempt, claim, claimed_sealed, due_events, settle
from calls.events.retry import retry_after
from calls.events.targets import NoTarget, Target, headers_of, proofs, target_of
from calls.media.database import in_database
from calls.models import OutboxEvent
from tools.auth import NotAuthorised
from tools.exchange import AnswerTooLarge, close_client, shared_client
from voiceplatform.base import egress, http
from voiceplatform.base.fields import DecryptionError

__all__ = ["AT_ONCE", "PER_ENDPOINT", "body_of", "deliver", "deliver_now", "drain", "headers_of"]

AT_ONCE = 32
PER_ENDPOINT = 4
LOOK_FOR = 2 * AT_ONCE
LOOK_SECONDS = 1.0
# A POST that begins when the budget ends is over before Celery's soft limit of 60 s and before the
# lease: a receiver may want 300 s (Vapi's limit), but an attempt must always be recorded.
BUDGET_SECONDS = 25.0
LONGEST_SECONDS = 30.0
MAX_RESPONSE_BYTES = 4_096

log = structlog.get_logger(__name__)


def body_of(event: OutboxEvent) -> bytes:
    """Return the bytes that are posted, the same for every attempt."""
    # ASCII: a transcript may hold half of a surrogate pair, which UTF-8 cannot.
    return json.dumps(event.payload, separators=(",", ":")).encode("ascii")


async def deliver(client: http.AsyncClient, event: OutboxEvent) -> Attempt:
    """Post one event and return what came of it; raises nothing the receiver could cause."""
    begun = time.monotonic()

    def attempt(**result: Any) -> Attempt:
        return Attempt(duration_ms=round((time.monotonic() - begun) * 1000), **result)

    try:
        target = await in_database(target_of, event)
        body = body_of(event)
        patience = min(float(target.destination.timeout_seconds), LONGEST_SECONDS)
    except DecryptionError as error:
        return attempt(error=str(error))
    except (NoTarget, TypeError, ValueError) as error:
        words = str(error) if isinstance(error, NoTarget) else "its row cannot be read"
        return attempt(error=words, is_final=True)
    try:
        async with asyncio.timeout(patience):
            if target.is_mail:
                mailbox = target.destination.url
                sent = asyncio.to_thread(mail_send, mailbox, event.payload, str(event.pk))
                return attempt(**await sent)
            return attempt(**await _answer(client, event, target, body))
    except TimeoutError:
        return attempt(error=f"no answer within {patience:g} s")
    except (egress.EgressRefused, NotAuthorised) as error:
        return attempt(error=str(error))
    except (AnswerTooLarge, http.HTTPError, http.InvalidURL, OSError, ValueError) as error:
        # The name alone: httpx may quote the URL, and a URL may carry a token.
        return attempt(error=type(error).__name__)


async def _answer(
    client: http.AsyncClient, event: OutboxEvent, target: Target, body: bytes
) -> dict[str, Any]:
    place = egress.destination(target.destination.url)
    headers = headers_of(event, target.destination, body)
    if place.authorization:
        headers.setdefault("Authorization", place.authorization)
    headers |= await proofs(target, event, place.url, body, headers)
    if target.passage is not None:
        client = await shared_client(target.passage)
    said = b""
    async with client.stream("POST", place.url, content=body, headers=headers) as response:
        async for part in response.aiter_bytes():
            said += part
            if len(said) >= MAX_RESPONSE_BYTES:
                break
    return {
        "status_code": response.status_code,
        "response_excerpt": said.decode("utf-8", "replace"),
        "retry_after_seconds": retry_after(response.headers.get("retry-after", ""), timezone.now()),
    }


class _Drain:
    """What one drain has under way: tasks, the event of each and its endpoint.

    Looking for what is due reads all of it, so a look brings more than there are places, and the
    next one comes when nothing of it can begin, or it is old.
    """

    def __init__(self, client: http.AsyncClient) -> None:
        self._client = client
        self.running: dict[asyncio.Task[bool], tuple[Any, str]] = {}
        self.attempts = 0
        self._found: dict[Any, str] = {}
        self._looked = float("-inf")
        self._failures: list[BaseException] = []
        self._failed: set[Any] = set()

    async def top_up(self) -> None:
        """Begin with what is due, until every place is taken or nobody may have another one."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._found.clear()
        while len(self.running) < AT_ONCE:
            if not self._begin() and not await self._look():
                return

    def _begin(self) -> int:
        """Begin with what was found, as far as there are places; return how many."""
        under_way, begun = self._under_way(), 0
        for event_id, endpoint in list(self._found.items()):
            if len(self.running) >= AT_ONCE:
                break
            if under_way[endpoint] < PER_ENDPOINT:
                under_way[endpoint] += bool(endpoint)
                del self._found[event_id]
                task = asyncio.create_task(deliver_one(self._client, event_id))
                self.running[task] = event_id, endpoint
                begun += 1
        return begun

    async def _look(self) -> bool:
        """Find what is due at endpoints that may have more; tell whether there is any."""
        in_hand = {event_id for event_id, _ in self.running.values()}
        counts = self._under_way()
        due = await in_database(
            due_events,
            LOOK_FOR,
            held=self._failed | in_hand | self._found.keys(),
            full=[endpoint for endpoint, count in counts.items() if count >= PER_ENDPOINT],
        )
        self._looked = time.monotonic()
        self._found.update(due)
        return bool(due)

    def _under_way(self) -> Counter[str]:
        return Counter(endpoint for _, endpoint in self.running.values() if endpoint)

    async def step(self) -> None:
        """Wait until one of them is done."""
        done, _ = await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            event_id, _ = self.running.pop(task)
            error = task.exception()
            if error is not None:
                # A fault of ours in one event, or of the database, is not the others' affair.
                log.error("event_not_handled", event_id=str(event_id), error=type(error).__name__)
                self._failed.add(event_id)
                self._failures.append(error)
            elif task.result():
                self.attempts += 1
            else:
                # Another worker had it, and so it may have the rest of what was found.
                self._found.clear()

    def end(self) -> int:
        """Return the attempts; raise what failed, for the task's record."""
        if self._failures:
            raise BaseExceptionGroup("events that could not be handled", self._failures)
        return self.attempts


async def drain() -> int:
    """Deliver what is due until nothing is or the time budget is spent; return the attempts.

    Raises:
        BaseExceptionGroup: some events could not be handled; the others were.
    """
    deadline = time.monotonic() + BUDGET_SECONDS
    async with egress.egress_client(read_seconds=LONGEST_SECONDS) as client:
        work = _Drain(client)
        try:
            while True:
                if time.monotonic() < deadline:
                    await work.top_up()
                if not work.running:
                    break
                await work.step()
        finally:
            # An error of ours in one must not cut the POSTs of the others short.
            await asyncio.gather(*work.running, return_exceptions=True)
            await close_client()
    return work.end()


async def deliver_one(client: http.AsyncClient, event_id: Any) -> bool:
    """Claim an event, post it and store what came of it; False if somebody else has it."""
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


async def deliver_now(event_id: Any) -> bool:
    """Make one attempt for one event, in this process; False if a worker has it."""
    async with egress.egress_client(read_seconds=LONGEST_SECONDS) as client:
        try:
            return await deliver_one(client, event_id)
        finally:
            await close_client()
