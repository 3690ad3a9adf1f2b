"""What calls and phone numbers look like over REST: Vapi's shapes (vapi.md 6.3, 6.5, 7.1).

The shapes are ``calls.services.vapi_objects``'s, which webhooks use too; here stands only what REST
leaves out.
"""

from __future__ import annotations

from typing import Any

from calls.models import Call, PhoneNumber
from calls.services.vapi_objects import artifact_object, call_object, phone_number_object


def number_json(number: PhoneNumber) -> dict[str, Any]:
    """Return the number as Vapi shows it."""
    return phone_number_object(number)


def call_json(call: Call, *, with_artifact: bool) -> dict[str, Any]:
    """Return the call as Vapi shows it; what was said only with ``with_artifact``."""
    document = call_object(call)
    if with_artifact:
        document["artifact"] = artifact_object(call)
    return document
