"""``GET /phone-number/{id}/readiness``: whether a number can be moved, for programs.

It tells what the last check found and begins none: that asks Twilio, and is a person's or the
clock's. Addresses in it are without their secrets.
"""

from __future__ import annotations

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from calls.models import PhoneNumber
from calls.selectors.readiness import readiness_view
from calls.selectors.records import number_list
from voiceplatform.base.described import Described
from voiceplatform.base.rest import ApiView

_TEXT: Final = {"type": "string"}
SCHEMA: Final = {
    "type": "object",
    "properties": {
        "phoneNumberId": _TEXT,
        "colour": {"type": "string", "enum": ["red", "amber", "grey", "green"]},
        "reason": _TEXT,
        "nextStep": _TEXT,
        "checkedAt": {"type": ["string", "null"], "format": "date-time"},
        "findings": {"type": "array", "items": {"type": "object"}},
        "facts": {"type": "array", "items": {"type": "object"}},
    },
}


class NumberReadiness(ApiView):
    """``GET /phone-number/{id}/readiness``."""

    described = Described(noun="Readiness", answers={"GET": SCHEMA}, listing="one")

    def get(self, request: Request, object_id: str) -> Response:
        """Return what the last check found of a number; grey, without a time, before the first."""
        number = self.find(number_list(self.organisation), object_id, "Phone number")
        return Response(_shown(number))


def _shown(number: PhoneNumber) -> dict[str, Any]:
    found = readiness_view(number) or {
        "colour": "grey",
        "reason": "Not checked yet",
        "next_step": "Check it now",
        "checked_at": None,
        "findings": [],
        "facts": [],
    }
    return {
        "phoneNumberId": str(number.pk),
        "colour": found["colour"],
        "reason": found["reason"],
        "nextStep": found["next_step"],
        "checkedAt": found["checked_at"],
        "findings": found["findings"],
        "facts": found["facts"],
    }
