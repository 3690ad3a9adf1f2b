"""News of a live call as rows of the outbox, in the transaction of what they tell of.

A row holds what happened and when, a few hundred bytes; the envelope around it is made when it is
sent (ADR 0027, ``calls.events.composed``): a call has dozens of these, and each would carry the
whole assistant. Must not be called on the audio path.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from calls.bridge.effects import CallNews
from calls.events.composed import to_compose
from calls.events.outbox import Destination, Told, endpoint_of, events_enqueue
from calls.events.receivers import messages_wanted, receivers_of
from calls.models import Call, EventDestination, OutboxEvent
from calls.numbers.destinations import is_sip
from calls.services.server_messages.selection import THINNED, messages_of
from calls.services.server_messages.targets import Target, target_of
from tools.wire import vapi_messages as wire

# A receiver that has refused an event of this call so often gets no more of the frequent ones.
_FAILING_ATTEMPTS: Final = 2


def news_enqueue(
    *, call_id: str, stream_number: int, news: Sequence[CallNews], target: Target | None
) -> int:
    """Write what ``target`` and a team's receivers want of the news; return how many are new.

    In the caller's transaction. The same news twice are one event. Who fails is not told of what
    is frequent; the others are.
    """
    call = Call.objects.get(pk=call_id)
    if call.activation_id is not None:
        # Another assistant may have taken over: it has a server and a filter of its own
        # (vapi.md 2.5).
        target = target_of(call)
    audiences: list[tuple[Destination | EventDestination, frozenset[str]]] = []
    if target is not None:
        audiences.append((target.destination, target.messages))
    audiences += [(row, messages_wanted(row)) for row in receivers_of(call)]
    wanted = [
        (who, [(name, each) for each in news for name in messages_of(each.kind, messages)])
        for who, messages in audiences
    ]
    frequent = any(name in THINNED for _, found in wanted for name, _ in found)
    failing = _failing_endpoints(call) if frequent else frozenset()
    now_ms = time.time_ns() // 1_000_000
    told = [
        (
            who,
            [
                Told(
                    name,
                    f"{name}:{call.pk}:{stream_number}:{each.number}",
                    to_compose(kind=name, own=own_members(each), now_ms=now_ms),
                )
                for name, each in found
                if name not in THINNED or endpoint_of(who) not in failing
            ],
        )
        for who, found in wanted
    ]
    return events_enqueue(call=call, told=told) if any(found for _, found in told) else 0


def _failing_endpoints(call: Call) -> frozenset[str]:
    pending = OutboxEvent.objects.filter(call=call, state=OutboxEvent.State.PENDING)
    failing = pending.filter(attempt_count__gte=_FAILING_ATTEMPTS)
    return frozenset(failing.values_list("endpoint", flat=True).distinct().order_by())


def own_members(news: CallNews) -> dict[str, Any]:
    """Return what a message says beside its envelope; conversations are read when it is sent."""
    kind, turn, role = news.kind, news.turn, news.role
    if kind in ("speech-started", "speech-stopped"):
        started = kind == "speech-started"
        status: Any = "started" if started else "stopped"
        return wire.speech_update(status=status, role=role, turn=turn)
    if kind in ("words", "said"):
        return wire.transcript(role=role, text=news.text, is_final=kind == "said")
    if kind == "sounds":
        return wire.speech_started(text=news.text, turn=turn)
    if kind == "interrupted":
        return wire.user_interrupted(turn=turn)
    if kind == "output":
        return wire.model_text(text=news.text, turn=turn)
    if kind == "calls":
        return wire.model_call(_object(news.text), turn=turn)
    if kind == "voiced":
        return wire.voice_input(text=news.text)
    if kind == "language":
        return wire.language_change(language=news.text)
    if kind == "control":
        to = news.text.partition("forward:")[2]
        forward = wire.transfer_destination(to, is_sip=is_sip(to)) if to else None
        return wire.phone_call_control(forward_to=forward)
    return {}


def _object(text: str) -> Mapping[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}
