"""Handoffs that a person or a program asks for by a command: who is meant, and their plan.

Owns what a command's destination means when it is given and when it is carried out; the change is
the bridge's (``calls.bridge.handover``), and what assistants exist is ``handoffs``' to say.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Final

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError

from calls.bridge.successor import Successor
from calls.models import Call
from calls.services.contract import ContractForbids
from calls.services.handoffs import Target, record_of, taken_over_by, target_of
from calls.services.tool_kinds.handoff import call_to_hand, plan_of_handed
from calls.wire.vapi_control import Control, ControlWireError
from tools.handoffs import Destination, destination
from voiceplatform.base.fields import DecryptionError

NOBODY_THERE: Final = "The assistant that was to take the call over is not there any more."
UNPREPARED: Final = "The assistant cannot take the call over now; the log says why."

log = structlog.get_logger(__name__)


def handoff_check(call: Call, control: Control) -> None:
    """Refuse a handoff to somebody who is not there.

    Raises:
        ControlWireError: the destination names no published assistant, or several.
    """
    found = _target(call, destination(control.destination))
    if found is None:
        raise ControlWireError(
            [
                "destination names no assistant that could take the call: it must be published "
                "here, and the only one of its name; or a squad of this organisation"
            ]
        )


def handoff_prepared(call_id: str, control: Control, control_id: uuid.UUID) -> Control | str:
    """Return a handoff with the plan of whoever takes over, or in words why there is none.

    Reads the database, at the moment of the handoff: variables and publications count as they are.
    """
    try:
        call = call_to_hand(call_id)
        place = destination(control.destination)
        target = _target(call, place)
        if target is None or place is None:
            return NOBODY_THERE
        handed = taken_over_by(call, target, "{}")
        successor = Successor(
            plan_of_handed(handed, target), place.context, record=record_of(handed)
        )
    except (ObjectDoesNotExist, ValidationError, DecryptionError, ContractForbids) as error:
        log.error("handoff_not_prepared", call_id=call_id, error=type(error).__name__)
        return UNPREPARED
    handoff_id = f"control-{control_id.hex}"
    return replace(control, successor=successor.to_json(), handoff_id=handoff_id)


def _target(call: Call, place: Destination | None) -> Target | None:
    if place is None:
        return None
    squad = call.activation.squad if call.activation is not None else None
    # What a command spells out is known again for its number, not made anew for each call.
    owner = call.number_id if call.number_id is not None else call.organisation_id
    assert owner is not None, "every call has an organisation"
    return target_of(call.organisation, place, squad=squad, owner=owner)
