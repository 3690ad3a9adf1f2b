"""Commands to live calls: asked for in one process, carried out in the one that has the call.

The way is a row. Asking inserts it and audits it; the media process that has the call claims it by
a conditional UPDATE, gives it to the bridge and writes back what came of it. A command that nobody
has claimed in time is taken back the same way, so it is never carried out later.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from calls.models import Call, CallControl
from calls.numbers.destinations import destination_of
from calls.privacy.keeping import EVERYTHING
from calls.services.control_handoff import handoff_check, handoff_prepared
from calls.services.live_monitor import is_enabled
from calls.services.privacy import keeping_for
from calls.wire.vapi_control import Control, ControlWireError
from voiceplatform.base.services import actor_label, audit_write

ANSWER_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.05
MOST_AT_ONCE: Final = 20

State = CallControl.State


class ControlRefused(Exception):
    """The call cannot be controlled now; the text says why and is for whoever asked."""


def control_ask(*, call: Call, control: Control, actor: Any) -> CallControl:
    """Leave a command for the process that has ``call``, and record who gave it.

    Raises:
        ControlRefused: the call is over, is not carried here, or its assistant allows no control.
        ControlWireError: the caller may not, or cannot, be handed to that destination.
    """
    if control.kind == "transfer":
        dial_to = destination_of(control.dial_to)
        if not dial_to:
            raise ControlWireError(
                [
                    "destination must be a phone number with + and country code, or a SIP address; "
                    "emergency, premium-rate and short numbers are never dialled"
                ]
            )
        control = replace(control, dial_to=dial_to)
    if call.status == Call.Status.ENDED:
        raise ControlRefused("The call is over.")
    if call.stack != Call.Stack.DIRECT or call.status == Call.Status.FORWARDING:
        raise ControlRefused("The call is with somebody else; this platform does not carry it now.")
    if not is_enabled(call, "control"):
        raise ControlRefused(
            "The assistant of this call allows no control (monitorPlan.controlEnabled is false)."
        )
    if control.kind == "handoff":
        handoff_check(call, control)
    with transaction.atomic():
        row: CallControl = CallControl.objects.create(
            organisation_id=call.organisation_id,
            call=call,
            kind=control.kind,
            command=control.to_json(),
            actor=actor_label(actor)[:200],
        )
        audit_write(
            actor=actor,
            action="call.control",
            organisation=call.organisation,
            target=call,
            details={"command": control.kind, "control": str(row.pk)},
        )
    return row


def control_wait(row: CallControl, *, seconds: float = ANSWER_SECONDS) -> CallControl:
    """Return a command as it stands when it is settled, or after ``seconds``.

    One that nobody has claimed by then is ``expired`` and will not be carried out.
    """
    deadline = time.monotonic() + seconds
    while True:
        row.refresh_from_db(fields=["state", "answer"])
        if row.state not in (State.WAITING, State.TAKEN):
            return row
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            break
        time.sleep(min(LOOK_SECONDS, left_seconds))
    expired = CallControl.objects.filter(pk=row.pk, state=State.WAITING).update(
        state=State.EXPIRED, settled_at=timezone.now()
    )
    if expired:
        _mask(row.pk)
    row.refresh_from_db(fields=["state", "answer"])
    return row


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that this process has claimed and must answer."""

    control_id: uuid.UUID
    call_id: str
    control: Control


def controls_take(*, call_ids: Collection[str]) -> list[Taken]:
    """Claim the commands that wait for one of these calls, oldest first."""
    since = timezone.now() - dt.timedelta(seconds=2 * ANSWER_SECONDS)
    waiting = CallControl.objects.filter(state=State.WAITING, created_at__gt=since).order_by(
        "created_at"
    )
    mine = [
        (pk, str(call_id))
        for pk, call_id in waiting.values_list("pk", "call_id")[:200]
        if str(call_id) in call_ids
    ]
    taken: list[Taken] = []
    for pk, call_id in mine[:MOST_AT_ONCE]:
        claimed = CallControl.objects.filter(pk=pk, state=State.WAITING).update(state=State.TAKEN)
        if claimed:
            command = CallControl.objects.values_list("command", flat=True).get(pk=pk)
            taken.append(Taken(pk, call_id, Control.from_json(command)))
    return taken


def control_prepared(taken: Taken) -> Control | str:
    """Return a claimed command as the bridge takes it, or in words why it cannot be carried out."""
    if taken.control.kind != "handoff":
        return taken.control
    return handoff_prepared(taken.call_id, taken.control, taken.control_id)


def control_settle(*, control_id: uuid.UUID, refusal: str) -> None:
    """Write down what came of a claimed command; its words stay as far as the call's may."""
    settled = CallControl.objects.filter(pk=control_id, state=State.TAKEN).update(
        state=State.REFUSED if refusal else State.DONE,
        answer=refusal[:300],
        settled_at=timezone.now(),
    )
    if settled:
        _mask(control_id)


def _mask(control_id: uuid.UUID) -> None:
    """Mask what was to be said, once nobody has to read it any more."""
    row = CallControl.objects.select_related("call__revision").get(pk=control_id)
    keeping = keeping_for(row.call)
    if keeping is EVERYTHING:
        return
    control = Control.from_json(row.command)
    row.command = replace(
        control,
        text=keeping.line(control.text),
        destination=keeping.variables(dict(control.destination)),
    ).to_json()
    row.save(update_fields=["command"])
