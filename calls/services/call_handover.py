"""Calls that are handed to the stack before us: their rows, and what is stored of each exchange.

Owns the record from the decision to the end: one exchange for each call, ended once, by whoever
comes first. It asks nobody; ``calls.telephony.handover`` does, between two steps of this module. A
repeat of the webhook finds the answer that was given, or waits for the one that is on its way.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import Call, CallHandover, PhoneNumber, TwilioAccount
from calls.numbers.old_stack import outcome_of
from calls.numbers.route import Decision
from calls.previous.answers import Answer
from calls.previous.cookies import Cookie
from calls.previous.errand import Outcome
from calls.previous.target import Asked
from calls.services import old_stacks
from calls.services.number_moves import webhook_seen
from calls.services.previous_targets import previous_of
from calls.services.route_facts import Facts
from voiceplatform.base.fields import DecryptionError

# TwiML is a few hundred bytes; sound is not kept, and is asked for again.
_KEPT_BYTES: Final = 16 * 1024
_BATCH: Final = 200  # rows of one write (design.md 9)
# After its time and so much more, whoever asked is taken to be dead.
_GRACE: Final = dt.timedelta(seconds=1)
# Nobody of ours answers after it.
_NO_NET: Final = ("fallback", "nobody")
# Sealed, and for the message of the call's end alone.
_NOT_NEEDED: Final = ("cookies", "status_url", "status_asked")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the old stack for one call; ``has_net``: we answer if it gives nothing."""

    call_id: str
    voice: Asked
    fallback: Asked
    auth_token: str = field(repr=False)
    attempt_ms: int
    has_net: bool
    stack_id: int | None
    was_taken: bool = False


def handed_over(
    number: PhoneNumber,
    account: TwilioAccount,
    base: Mapping[str, Any],
    decision: Decision,
    facts: Facts,
) -> tuple[Call, Question]:
    """Store a call that the old stack is given, and return what that is asked.

    Args:
        account: whose token signs it.
        base: the columns of every call.
    """
    stack = facts.stack or old_stacks.stack_made(number, facts.target)
    status = facts.target.status
    with transaction.atomic():
        call = Call.objects.create(
            **base, stack=Call.Stack.VAPI, status=Call.Status.RINGING, started_at=timezone.now()
        )
        CallHandover.objects.create(
            call=call,
            old_stack=stack,
            attempt_ms=decision.attempt_ms,
            instead=decision.instead,
            status_url=status.url,
            status_method=status.method,
        )
        webhook_seen(number=number, call_sid=call.call_sid, caller=call.caller)
    if stack is not None:
        old_stacks.begun(stack, old_stacks.now_ms())
    return call, Question(
        call_id=str(call.pk),
        voice=facts.target.voice,
        fallback=facts.target.fallback,
        auth_token=account.auth_token,
        attempt_ms=decision.attempt_ms,
        has_net=decision.instead not in _NO_NET,
        stack_id=stack.pk if stack is not None else None,
    )


def handover_question(call_id: str) -> Question | Answer | None:
    """Return what is to be asked for a call that came before, or the answer that it was given.

    None: it gave none, and the call is somebody else's.
    """
    rows = CallHandover.objects.select_related("call__twilio_account", "call__number")
    row = rows.defer("answer", *_NOT_NEEDED).filter(call_id=call_id).first()
    if row is None or row.call.stack != Call.Stack.VAPI:
        return None
    if row.ended_at is not None and not row.is_taken:
        return None
    stored = _answer_of(row)
    if stored is not None:
        return Answer(str(stored["content_type"]), base64.b64decode(stored["body"]))
    number = row.call.number
    assert number is not None, "the call of a number was handed over"
    target = previous_of(number)
    return Question(
        call_id=call_id,
        voice=target.voice,
        fallback=target.fallback,
        auth_token=row.call.account.auth_token,
        attempt_ms=row.attempt_ms,
        has_net=row.instead not in _NO_NET,
        stack_id=row.old_stack_id,
        was_taken=row.is_taken,
    )


def _answer_of(row: CallHandover) -> dict[str, Any] | None:
    """Return the answer that was kept; one that no key opens is asked for again, as sound is."""
    try:
        return row.answer or None
    except DecryptionError:
        log.error("handover_answer_unreadable", call_id=str(row.call_id))
        return None


def handover_awaited(call_id: str) -> bool | None:
    """Tell whether an exchange is under way; None when whoever led it must have died."""
    rows = CallHandover.objects.filter(call_id=call_id)
    found = rows.values_list("attempt_ms", "begun_at", "ended_at").first()
    if found is None or found[2] is not None:
        return False
    longest = dt.timedelta(milliseconds=found[0]) + _GRACE
    return None if timezone.now() > found[1] + longest else True


def handover_ended(
    call_id: str,
    *,
    voice: Outcome,
    fallback: Outcome | None,
    begun_ms: int,
    ended_ms: int,
    stack_id: int | None,
) -> bool:
    """Store what came of an exchange; False when somebody else has ended it before.

    Args:
        begun_ms: by ``old_stacks.now_ms``, as ``ended_ms``.
    """
    final = fallback if fallback is not None and fallback.is_taken else voice
    answer = final.answer if final.is_taken else None
    kept = answer is not None and len(answer.body) <= _KEPT_BYTES
    asked = {"voice": voice.as_json()}
    if fallback is not None:
        asked["fallback"] = fallback.as_json()
    reached = voice.both_reached or (fallback is not None and fallback.both_reached)
    cookies = (fallback or voice).cookies
    columns = {
        "ended_at": timezone.now(),
        "outcome": asked,
        "is_taken": final.is_taken,
        "both_reached": reached and not final.is_taken,
        "cookies": [each.as_json() for each in cookies] or None,
        "answer": {
            "content_type": answer.content_type,
            "body": base64.b64encode(answer.body).decode(),
        }
        if answer is not None and kept
        else None,
    }
    done = CallHandover.objects.filter(call_id=call_id, ended_at=None).update(**columns)
    if stack_id is not None:
        what = outcome_of(status=voice.status or None, is_twiml=voice.is_taken)
        old_stacks.ended(stack_id, outcome=what, begun_ms=begun_ms, ended_ms=ended_ms)
    return bool(done)


def handover_abandoned(call_id: str) -> bool:
    """End an exchange of which nobody will tell any more; both may have been reached."""
    done = CallHandover.objects.filter(call_id=call_id, ended_at=None).update(
        ended_at=timezone.now(),
        outcome={"voice": {"reason": "whoever asked the previous stack died", "reached": "maybe"}},
        both_reached=True,
    )
    return bool(done)


def answers_forget() -> int:
    """Drop the answers of calls that ended without a callback; return how many."""
    kept = CallHandover.objects.filter(answer__isnull=False, call__status=Call.Status.ENDED)
    ids = list(kept.values_list("pk", flat=True)[:_BATCH])
    return CallHandover.objects.filter(pk__in=ids).update(answer=None)


def lost_words(call: Call) -> tuple[str, bool]:
    """Return why the old stack did not take a call, and whether it may have all the same."""
    rows = CallHandover.objects.filter(call=call)
    outcome, both = rows.values_list("outcome", "both_reached").first() or (None, False)
    said = outcome.get("voice", {}) if isinstance(outcome, dict) else {}
    reason = str(said.get("reason", "")).partition(". Fix:")[0]
    return reason or "no answer from the previous stack", both


def cookies_of(row: CallHandover) -> tuple[Cookie, ...]:
    """Return what the call's earlier exchanges left; none where that cannot be read."""
    try:
        return tuple(Cookie.from_json(each) for each in row.cookies or ())
    except (KeyError, TypeError):
        return ()
