"""The switch of hearing along: what holds for a number whatever call comes, and turning it.

Owns the way from rows to ``calls.parity.shadow_rules.Standing``, and who confirmed what. Takes no
call; ``shadow_offers`` does.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.models import PhoneNumber, ShadowSwitch
from calls.parity.shadow_rules import MOST_HERE, MOST_PERCENT, Standing, why_never
from calls.services.call_plan import connection_for
from calls.services.contract import contract_problem, marks_of, talk_problem
from calls.services.previous_targets import previous_of
from calls.services.privacy import is_compliant
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.services import actor_label, audit_write


class ShadowRefused(Exception):
    """The switch cannot be turned like that; the message names the cause and the fix."""


class ShadowOvertaken(ShadowRefused):
    """Somebody else has changed the switch since it was shown."""


def standing_of(number: PhoneNumber, notice: str) -> Standing:
    """Return what is true of a number whatever call comes."""
    policy, assistant = number.policy, number.assistant
    revision = assistant.current_revision if assistant is not None else None
    try:
        connection = connection_for(number)
        forbidden = contract_problem(number, connection) if connection is not None else ""
        if connection is not None and assistant is not None and not forbidden:
            forbidden = talk_problem(marks_of(assistant), connection)
        masked = is_compliant(revision)
    except DecryptionError:
        connection, forbidden, masked = None, "", True
    return Standing(
        has_policy=policy is not None,
        is_reviewed=policy is not None and policy.reviewed_at is not None,
        processor=policy.second_processor.strip() if policy is not None else "",
        consent=policy.recording_consent if policy is not None else "ask",  # type: ignore[arg-type]  # its choices
        notice=notice.strip(),
        # A squad's first member answers, and hands on: what is compared is one assistant.
        has_assistant=revision is not None and number.squad_id is None,
        has_connection=connection is not None,
        has_previous=bool(previous_of(number).voice),
        forbidden=forbidden,
        masked=masked,
    )


def switch_of(number: PhoneNumber) -> ShadowSwitch | None:
    """Return the number's switch, None where nobody has made one."""
    row: ShadowSwitch | None = ShadowSwitch.objects.filter(number=number).first()
    return row


def shadow_set(
    *,
    number: PhoneNumber,
    is_on: bool,
    percent: int,
    most_at_once: int,
    notice: str,
    confirms: bool,
    actor: Any,
    seen_version: int | None = None,
) -> ShadowSwitch:
    """Turn the switch of a number.

    Args:
        confirms: whoever acts says that callers are told who listens besides; needed to turn it
            on, and anew when the words of the notice change.
        seen_version: of the switch as it was shown; None: there was none.

    Raises:
        ShadowRefused: values out of range, somebody else has changed it, or no call may be heard.
    """
    for name, value, most in (
        ("the share", percent, MOST_PERCENT),
        ("calls at once", most_at_once, MOST_HERE),
    ):
        if not 1 <= value <= most:
            raise ShadowRefused(f"{name} is {value}. Fix: give 1 to {most}.")
    never = why_never(standing_of(number, notice)) if is_on else ""
    if never:
        raise ShadowRefused(f"it cannot be turned on: {never}.")
    with transaction.atomic():
        PhoneNumber.objects.select_for_update().only("pk").get(pk=number.pk)
        row = switch_of(number) or ShadowSwitch(number=number, organisation=number.organisation)
        if not row._state.adding and row.version != seen_version:
            raise ShadowOvertaken("somebody else has changed it meanwhile. Fix: look at it again.")
        renewed = confirms and is_on
        if is_on and not renewed and (row.confirmed_at is None or row.notice != notice.strip()):
            raise ShadowRefused(
                "nobody has confirmed that callers are told who listens. Fix: confirm it."
            )
        row.is_on, row.percent, row.most_at_once = is_on, percent, most_at_once
        row.notice = notice.strip()
        row.version += 1
        if renewed:
            row.confirmed_by, row.confirmed_at = actor_label(actor)[:200], timezone.now()
        row.save()
        audit_write(
            actor=actor,
            action="shadow.set",
            organisation=number.organisation,
            target=row,
            details={"on": is_on, "percent": percent, "at_once": most_at_once},
        )
    return row
