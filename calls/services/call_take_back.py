"""A call comes back from the old stack, which gave Twilio nothing: we answer, or a person does.

Idempotent: whoever comes first takes it back, and a repeat is answered as the row then says. That
both stacks may have been reached is in the row's reason (ADR 0007).
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import Call, CallHandover
from calls.numbers.route import REASON_CHARACTERS
from calls.services.call_handover import lost_words
from calls.services.call_next import CallNext, call_next
from calls.services.call_start import CallStart, answer_again, columns_of_ours, started
from calls.services.handoffs import Target, squad_begins
from voiceplatform.base.fields import DecryptionError

# Vapi's word for a call whose stack never came (vapi.md 6.4).
NEVER_CONNECTED: Final = "call.in-progress.error-vapifault-transport-never-connected"
# Calls that were the old stack's by their route; of the others our own side could not take one.
_ITS_OWN: Final = frozenset({"route-vapi", "old-probe", "old-down", "canary-out", "test-old"})

# Read when our own answer needs it: a person can be reached whatever of it no key opens.
_SEALED: Final = (
    *("organisation__call_log_url", "organisation__call_log_secret", "connection__api_key"),
    *("number__connection__api_key", "number__squad__document", "variable_values"),
    *(f"number__assistant__current_revision__{name}" for name in ("document", "server_url")),
    "number__assistant__current_revision__server_secret",
)

log = structlog.get_logger(__name__)


def call_take_back(*, call_id: str, call_sid: str) -> CallStart | CallNext | None:
    """Take a call back and return how to answer Twilio; None when the ids do not belong together.

    What follows was decided when the call came: the assistant, a server that names one, or a
    person and then the last words.
    """
    with transaction.atomic():
        rows = Call.objects.select_for_update(of=("self",)).filter(pk=call_id, call_sid=call_sid)
        call: Call | None = (
            rows.select_related(
                *("organisation", "twilio_account", "policy_wording", "connection"),
                *("number__assistant__current_revision", "number__policy", "number__connection"),
                *("number__squad", "number__operator_desk", "number__twilio_account"),
            )
            .defer(*_SEALED)
            .first()
        )
        if call is None:
            return None
        if call.stack != Call.Stack.VAPI or call.status == Call.Status.ENDED:
            return answer_again(call)
        if _instead(call) == "nobody":
            return _left_alone(call)
        instead, columns, member = _followed(call)
        call.stack = Call.Stack.DIRECT
        call.route_reason = taken_back_words(call, instead)
        if instead != "fallback":
            for name, value in columns.items():
                setattr(call, name, value)
            call.started_at = None  # as of any call whose stream is still to come
            call.save()
            if member is not None:
                squad_begins(call, member)
        else:
            call.next_step = {"kind": "apologise"}
            if call.route_code in _ITS_OWN:
                call.metrics = {**call.metrics, "lost_reason": NEVER_CONNECTED}
            call.save(update_fields=["stack", "route_reason", "next_step", "metrics"])
    log.warning("call_taken_back", call_sid=call_sid, instead=instead)
    if instead == "direct":
        return started(call)
    if instead == "ask":
        return CallStart("ask", call)
    outcome = call_next(call_id=call_id, call_sid=call_sid, call_status="ringing")
    if outcome is not None and outcome.step == "apologise" and call.route_code in _ITS_OWN:
        # Nobody answered, and that was no fault of ours: whoever counts our calls must not.
        closed = Call.objects.filter(pk=call_id, status=Call.Status.ENDED)
        closed.update(stack=Call.Stack.VAPI)
    return outcome


def _left_alone(call: Call) -> CallStart:
    """End a call that a run placed for the old stack alone: no person and no assistant gets it."""
    call.route_reason = taken_back_words(call, "nobody")
    call.status, call.ended_at = Call.Status.ENDED, timezone.now()
    call.ended_reason, call.next_step = NEVER_CONNECTED, {"kind": "hangup"}
    call.save(update_fields=["route_reason", "status", "ended_at", "ended_reason", "next_step"])
    return answer_again(call)


INSTEAD_WORDS: Final = {
    "direct": "the assistant answers in its place",
    "ask": "the number's server is asked who answers in its place",
    "fallback": "a person, else the last words",
    "nobody": "nobody, since a run placed it for that stack alone",
}


def taken_back_words(call: Call, instead: str) -> str:
    """Return why the call is ours now: whatever is cut, not that both may have been reached."""
    words, both = lost_words(call)
    rest = f"{'; both may have been reached' if both else ''}; {INSTEAD_WORDS[instead]}"
    return words[: REASON_CHARACTERS - len(rest)] + rest


def _followed(call: Call) -> tuple[str, dict[str, Any], Target | None]:
    """Return what follows, with the columns and the member of a squad if that is our answer."""
    instead = _instead(call)
    if instead == "fallback" or call.number is None:
        return "fallback", {}, None
    try:
        return instead, *columns_of_ours(call.number, asks=instead == "ask")
    except DecryptionError:
        log.error("number_unreadable", number_id=str(call.number.pk), what="the assistant")
        return "fallback", {}, None


def _instead(call: Call) -> str:
    """Return what was decided to follow, if the number still has it."""
    rows = CallHandover.objects.filter(call=call)
    number = call.number
    instead: str = rows.values_list("instead", flat=True).first() or "fallback"
    if instead == "nobody":
        return instead
    if number is None or number.policy is None:
        return "fallback"
    if instead == "direct" and (
        number.assistant is None or number.assistant.current_revision is None
    ):
        return "fallback"
    return instead
