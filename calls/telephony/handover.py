"""Hands a ringing call to the stack that had its number before, by proxy (ADR 0007).

Twilio's own request goes on to the previous voice URL, and to the previous fallback URL when that
fails, each signed for that URL; the answer comes back as Twilio would have read it. A
``<Redirect>`` would not do: what it asks is told that the call is in progress (twilio.md 1.1), and
the previous stack takes ringing calls only (5.5). Nothing here decides who answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest

from calls.media.database import in_database
from calls.models import Call
from calls.previous.addresses import patience_for
from calls.previous.answers import Answer
from calls.previous.errand import Errand, Outcome
from calls.previous.requests import Heard, with_error
from calls.previous.target import Asked
from calls.services import old_stacks
from calls.services.call_handover import (
    Question,
    handover_abandoned,
    handover_awaited,
    handover_ended,
    handover_question,
)
from calls.telephony.previous_stack import monotonic_ms, previous_asked

# What is left has to be worth a connection of its own.
_LEAST_FALLBACK_MS: Final = 300
_LEAST_ATTEMPT_MS: Final = 500
_LOOK_AGAIN_SECONDS: Final = 0.25

# The loop alone would forget them.
_exchanges: set[asyncio.Future[Answer | None]] = set()

Ask = Callable[[Errand], Awaitable[Outcome]]


def heard_of(request: HttpRequest, form: dict[str, str], *, own_field: str) -> Heard:
    """Return what Twilio asked us, its fields as they came.

    Args:
        form: the fields, for a request in JSON, which no previous stack is asked with.
        own_field: the one that is no field of Twilio's.
    """
    if request.method == "GET":
        fields = request.META.get("QUERY_STRING", "").encode("latin-1")
    elif request.content_type == "application/json":
        fields = urlencode({name: form[name] for name in form if name != own_field}).encode()
    else:
        fields = request.body
    return Heard(fields, tuple(request.headers.items()))


async def handed_over(
    call: Call,
    heard: Heard,
    *,
    question: Question | None,
    arrived_ms: int,
    ask: Ask = previous_asked,
) -> Answer | None:
    """Return what Twilio is given of the previous stack's answer, None if it gave nothing.

    What came of it is stored. A webhook that comes again waits for the first one and is given the
    same.

    Args:
        question: None for a webhook that came before.
        arrived_ms: when Twilio's request came, by ``monotonic_ms``: where we answer after the old
            stack, the caller's five seconds run from then.
    """
    if question is None:
        await _waited(str(call.pk))
        found = await in_database(handover_question, str(call.pk))
        if found is None or isinstance(found, Answer):
            return found
        question = found
    # What came of it is stored also when Twilio has given up on us meanwhile, and our own request
    # with it: the old stack may have the call.
    exchange = asyncio.ensure_future(_asked(question, heard, arrived_ms, ask))
    _exchanges.add(exchange)
    exchange.add_done_callback(_exchanges.discard)
    return await asyncio.shield(exchange)


async def _waited(call_id: str) -> None:
    """Wait for the exchange that another request leads; end it if that one has died."""
    while True:
        under_way = await in_database(handover_awaited, call_id)
        if under_way is None:
            await in_database(handover_abandoned, call_id)
        if not under_way:
            return
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _asked(question: Question, heard: Heard, arrived_ms: int, ask: Ask) -> Answer | None:
    begun_ms, began = old_stacks.now_ms(), monotonic_ms()
    attempt_ms = question.attempt_ms
    if question.has_net:
        spent_ms = max(began - arrived_ms, 0)
        attempt_ms = max(attempt_ms - spent_ms, min(_LEAST_ATTEMPT_MS, attempt_ms))
    fallback = None
    voice = await ask(_errand(question, question.voice, heard, attempt_ms))
    left_ms = attempt_ms - (monotonic_ms() - began)
    ended_ms = old_stacks.now_ms()
    if not voice.is_taken and question.fallback and left_ms >= _LEAST_FALLBACK_MS:
        told = with_error(heard, error_code=voice.error_code, error_url=question.voice.url)
        fallback = await ask(_errand(question, question.fallback, told, left_ms, voice))
    is_ours = await in_database(
        handover_ended,
        question.call_id,
        voice=voice,
        fallback=fallback,
        begun_ms=begun_ms,
        ended_ms=ended_ms,
        stack_id=question.stack_id,
    )
    if not (is_ours or question.was_taken):
        return None  # a repeat that took us for dead has taken the call back, and is answered
    return (fallback.answer if fallback is not None else None) or voice.answer


def _errand(
    question: Question, asked: Asked, heard: Heard, total_ms: int, before: Outcome | None = None
) -> Errand:
    return Errand(
        url=asked.url,
        method=asked.method,
        heard=heard,
        auth_token=question.auth_token,
        patience=patience_for(asked.url, total_ms=total_ms),
        own_url=settings.PUBLIC_BASE_URL,
        cookies=before.cookies if before is not None else (),
        now_ms=monotonic_ms(),
    )
