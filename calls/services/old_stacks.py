"""How the stacks before us fare, kept in rows that all processes share.

Owns reading and noting; what it means is ``calls.numbers.old_stack``. A row is changed by a
conditional UPDATE on its version: whoever loses the race reads again, and a note that is lost is
harmless, for the next call brings another one. No lock is held while anybody is asked over HTTP.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import OldStack, PhoneNumber
from calls.numbers import old_stack
from calls.numbers.old_stack import Attempt, Health, Outcome, Standing
from calls.previous.target import PreviousTarget
from calls.services.previous_targets import origin_of, previous_of
from voiceplatform.base.services import audit_write

_TRIES = 5

log = structlog.get_logger(__name__)


def now_ms() -> int:
    """Return the clock of attempts: milliseconds since 1970, which all processes share."""
    return time.time_ns() // 1_000_000


def stack_for(number: PhoneNumber) -> OldStack | None:
    """Return the row of the number's old stack; None where nothing was noted of it yet."""
    return stack_at(number, previous_of(number))


def stack_at(number: PhoneNumber, target: PreviousTarget) -> OldStack | None:
    """Return the row of the old stack at ``target``, where the number's calls went."""
    origin = origin_of(target.voice.url)
    if not origin:
        return None
    assert number.organisation_id is not None, "every number has an organisation"
    rows = OldStack.objects.for_organisation(number.organisation_id)
    row: OldStack | None = rows.filter(origin=origin).first()
    return row


def stack_made(number: PhoneNumber, target: PreviousTarget) -> OldStack | None:
    """Return that row, made if need be; None where nothing can be asked."""
    origin = origin_of(target.voice.url)
    if not origin:
        return None
    assert number.organisation_id is not None, "every number has an organisation"
    row, _ = OldStack.objects.get_or_create(organisation_id=number.organisation_id, origin=origin)
    return row


def health_of(row: OldStack | None) -> Health:
    """Return what is known of an old stack; without a row, or with one of another version: up."""
    if row is None or not row.health:
        return Health()
    try:
        return Health.from_json(row.health)
    except (KeyError, TypeError, ValueError):
        return Health()


def health_for(number: PhoneNumber) -> Health:
    """Return what is known of the number's old stack."""
    return health_of(stack_for(number))


def standing_for(number: PhoneNumber, call_sid: str, now_ms: int) -> Standing:
    """Tell how the number's old stack stands for one call."""
    return old_stack.standing(health_for(number), call_sid=call_sid, now_ms=now_ms)


def stack_words(number: PhoneNumber) -> str:
    """Say how the number's old stack fares, for people."""
    return health_words(stack_for(number))


def health_words(row: OldStack | None) -> str:
    """Say how an old stack fares, for people."""
    health = health_of(row)
    if row is None or not row.health:
        return "Nothing speaks against it."
    since = dt.datetime.fromtimestamp(health.since_ms / 1000, dt.UTC)
    words = {
        "up": f"It answers; {sum(health.recent)} of the last {len(health.recent)} calls were lost.",
        "down": "It is down: qualified assistants answer its callers at once.",
        "probing": "It was down, and some callers find out whether it is back.",
    }[health.state]
    return words if not health.since_ms else f"{words} Since {since:%Y-%m-%d %H:%M} UTC."


def begun(stack: OldStack, now_ms: int) -> None:
    """Note that a caller is being handed over; ``stack`` as it was read for them."""
    if old_stack.begun(health_of(stack), now_ms) != health_of(stack):
        _note(stack.pk, lambda health: old_stack.begun(health, now_ms))


def ended(stack_id: int, *, outcome: Outcome, begun_ms: int, ended_ms: int) -> None:
    """Note what became of an attempt."""
    _note(stack_id, lambda health: old_stack.ended(health, Attempt(outcome, begun_ms, ended_ms)))


def stack_mended(*, stack_id: int, actor: Any) -> bool:
    """Take a person's word that an old stack works again: the next caller is handed over.

    If that is lost it is down again, and nobody has waited longer than a probe does.

    Returns:
        False when nothing speaks against it, so that there is nothing to take back.
    """
    for _ in range(_TRIES):
        row = OldStack.objects.select_related("organisation").get(pk=stack_id)
        before = health_of(row)
        after = old_stack.mended(before, now_ms())
        if after == before:
            return False
        with transaction.atomic():
            if _changed(row, after):
                audit_write(
                    actor=actor,
                    action="oldstack.mended",
                    organisation=row.organisation,
                    target=row,
                    details={"before": before.state, "after": after.state},
                )
                return True
    return False


def _changed(row: OldStack, after: Health) -> bool:
    return bool(
        OldStack.objects.filter(pk=row.pk, version=row.version).update(
            health=after.as_json(), version=row.version + 1, changed_at=timezone.now()
        )
    )


def _note(stack_id: int, change: Callable[[Health], Health]) -> None:
    for _ in range(_TRIES):
        row = OldStack.objects.filter(pk=stack_id).first()
        if row is None:
            return
        before = health_of(row)
        after = change(before)
        if after == before or _is_as_good(before, after):
            return
        if _changed(row, after):
            if after.state != before.state:
                log.warning(
                    "old_stack_changed", stack_id=str(row.pk), before=before.state, now=after.state
                )
            return


def _is_as_good(before: Health, after: Health) -> bool:
    """Tell whether nothing follows from a change: an answer of a stack that has lost no attempt.

    So a stack in good health costs no write a call.
    """
    return (
        before.state == after.state == "up"
        and not any(after.recent)
        and not any(before.recent)
        and before.row == after.row == 0
    )
