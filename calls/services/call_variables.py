"""Vapi's default variables of a call (vapi.md 2.10), for every text that Liquid fills in.

Owns which names a prompt may use and what they hold on a phone call. Reads rows that are loaded
already and asks for no others; rendering is ``assistants.prompt``.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from django.utils import timezone

from assistants.prompt import clock_variables, render
from calls.models import Call
from calls.services.vapi_objects import (
    call_type,
    customer_object,
    set_variables,
    transport_object,
)
from tools.defaults import Render
from voiceplatform.base.rest import iso


def variables_for(
    call: Call, now: dt.datetime | None = None, *, with_unmasked: bool = True
) -> dict[str, Any]:
    """Return the variables of ``call``; values that the assistant brings win over the defaults.

    What results of tools have set, and what was handed over with the call, wins over both.

    Args:
        now: the moment of ``now``, ``date`` and ``time``, which are UTC; the present when absent.
        with_unmasked: take what this process carries in memory where the row holds masks.
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
    own = own_variables(revision.document if revision else None)
    unmasked = unmasked_variables(call) if with_unmasked else {}
    return {**defaults, **own, **set_variables(call), **unmasked}


# Of calls of which not all may be stored: their variables while this process carries them.
_MOST_UNMASKED: Final = 1_000
_unmasked: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
_unmasked_lock = threading.Lock()


def unmasked_variables(call: Call) -> Mapping[str, Any]:
    """Return what results have set in a call as they gave it, where the row holds masks instead."""
    with _unmasked_lock:
        return _unmasked.get(str(call.pk), {})


def keep_unmasked(call: Call, values: Mapping[str, Any]) -> None:
    """Remember variables in memory only; those of the calls that were quiet longest go first."""
    with _unmasked_lock:
        _unmasked[str(call.pk)] = dict(values)
        _unmasked.move_to_end(str(call.pk))
        while len(_unmasked) > _MOST_UNMASKED:
            _unmasked.popitem(last=False)


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


def renderer_for(call: Call) -> Render:
    """Return what fills in Liquid with the variables of a call, read when the first one is met."""
    now = timezone.now()
    variables = cache(lambda: variables_for(call, now))

    def filled(text: str) -> str:
        return render(text, variables(), now)

    return filled
