"""What a client may do to the record of a call: give it a name, and erase it for good.

A name stands in the call's companion document (``assistants.selectors.CALL_KIND``). Owns both
writes; ending or steering a live call is not this module's.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from assistants.models import StoredResource
from assistants.resource_services import resource_delete, resource_store
from assistants.selectors import CALL_KIND
from calls.models import Call, OutboxEvent
from calls.services.recording_files import sound_delete
from calls.services.recordings import call_recording_forget
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.services import audit_write


class CallInUse(Exception):
    """The call goes on, or what happened in it is not told yet; try again later."""


@transaction.atomic
def call_rename(*, call: Call, name: str | None, actor: Any) -> None:
    """Give ``call`` a name; None takes it away.

    Raises:
        RowGone: it was erased meanwhile.
    """
    _lock(call)  # two who give the first name would both make its companion
    companion = StoredResource.objects.filter(pk=call.pk, kind=CALL_KIND).first()
    resource_store(
        organisation=call.organisation,
        kind=CALL_KIND,
        document={"name": name},
        actor=actor,
        resource=companion,
        resource_id=call.pk,
        created_at=call.created_at,
    )
    audit_write(actor=actor, action="call.rename", organisation=call.organisation, target=call)


@transaction.atomic
def call_erase(*, call: Call, actor: Any) -> None:
    """Erase ``call``: its words, tool calls, recorded inputs and the reports that repeat them.

    The audit entry stays. Twilio is told to delete our recording; nothing is erased where reports
    were sent.

    Raises:
        CallInUse: the call has not ended, or a report of it is still on its way.
        RowGone: it was erased meanwhile.
    """
    row = _lock(call)
    if row.status != Call.Status.ENDED:
        raise CallInUse(f"call {row.pk} has not ended. Fix: end it, then delete it.")
    waiting = row.events.filter(state=OutboxEvent.State.PENDING).exists()
    if waiting or row.report_due_at is not None:
        raise CallInUse(f"reports of call {row.pk} are still on their way. Fix: try again later.")
    audit_write(actor=actor, action="call.delete", organisation=call.organisation, target=call)
    companion = StoredResource.objects.filter(pk=call.pk, kind=CALL_KIND).first()
    if companion is not None:
        resource_delete(resource=companion, actor=actor)
    call_recording_forget(row.pk)
    row.delete()
    transaction.on_commit(lambda: sound_delete(call.pk))


def _lock(call: Call) -> Call:
    """Return ``call`` as it is now, locked until the transaction ends.

    Raises:
        RowGone: it is not there any more.
    """
    row: Call | None = Call.objects.select_for_update(of=("self",)).filter(pk=call.pk).first()
    if row is None:
        raise RowGone(f"Call {call.pk} was not found.")
    return row
