"""Vapi's default variables of a call (vapi.md 2.10), for every text that Liquid fills in.

Owns which names a prompt may use and what they hold on a phone call. Reads rows that are loaded
already and asks for no others; rendering is ``assistants.prompt``.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone

from assistants.prompt import clock_variables
from calls.models import Call
from calls.services.vapi_objects import call_type, customer_object, transport_object
from voiceplatform.base.rest import iso


def variables_for(call: Call, now: dt.datetime | None = None) -> dict[str, Any]:
    """Return the variables of ``call``; values that the assistant brings win over the defaults.

    What was handed over with the call wins over both (vapi.md 2.10, 8.2).

    Args:
        now: the moment of ``now``, ``date`` and ``time``, which are UTC; the present when absent.
    """
    moment = now or timezone.now()
    revision, number = call.revision, call.number
    defaults: dict[str, Any] = {
        **clock_variables(moment),
        "customer": customer_object(call) or {},
        "phoneNumber": {"id": str(number.pk), "number": number.number_e164, "name": number.name}
        if number
        else {},
        "call": {
            "id": str(call.pk),
            "orgId": str(call.organisation_id),
            "type": call_type(call),
            "status": call.status,
            "phoneNumberId": str(call.number_id) if call.number_id else "",
            "assistantId": str(revision.assistant_id) if revision else "",
            "startedAt": iso(call.started_at or moment),
        },
        "transport": transport_object(call),
    }
    handed = call.activation.variables if call.activation is not None else None
    own = own_variables(revision.document if revision else None)
    return {**defaults, **own, **(handed or {})}


def own_variables(document: Any) -> dict[str, Any]:
    """Return ``variableValues`` that stand in a document itself, as some exports have them."""
    whole = document if isinstance(document, dict) else {}
    overrides = whole.get("assistantOverrides")
    found: dict[str, Any] = {}
    for holder in (whole, overrides if isinstance(overrides, dict) else {}):
        values = holder.get("variableValues")
        if isinstance(values, dict):
            found |= values
    return found
