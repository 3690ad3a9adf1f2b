"""Text messages at the stand-in's REST API, with the numbers that Twilio's test mode refuses.

Answers a form with a message or Twilio's error; sends nothing to anybody.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

_MAX_CHARACTERS = 1600
_REFUSED_TO = {  # Twilio's magic numbers for messages
    "+15005550001": (21211, "is not a valid phone number"),
    "+15005550002": (21612, "cannot be reached"),
    "+15005550003": (21408, "is in a region without permission"),
    "+15005550004": (21610, "has unsubscribed"),
    "+15005550009": (21614, "is not a mobile number"),
}


class Messages:
    """The messages of one account. ``refuse`` raises its REST error."""

    def __init__(
        self,
        account_sid: str,
        owns: Callable[[str], bool],
        refuse: Callable[[int, int, str], Exception],
    ) -> None:
        self.account_sid, self._owns, self._refuse = account_sid, owns, refuse
        self.sent: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    def create(self, to: str, from_: str, body: str) -> dict[str, Any]:
        """Take a message; raise as Twilio refuses one."""
        if not to:
            raise self._refuse(400, 21604, "A 'To' phone number is required")
        if not from_ or not self._owns(from_):
            raise self._refuse(400, 21606, f"The 'From' phone number {from_} cannot send messages")
        if to in _REFUSED_TO:
            code, text = _REFUSED_TO[to]
            raise self._refuse(400, code, f"The number {to} {text}")
        if not body:
            raise self._refuse(400, 21602, "Message body is required")
        if len(body) > _MAX_CHARACTERS:
            raise self._refuse(400, 21617, "The body exceeds the 1600 character limit")
        message = {
            "sid": f"SM{next(self._ids):032x}",
            "account_sid": self.account_sid,
            "to": to,
            "from": from_,
            "body": body,
            "status": "queued",
            "direction": "outbound-api",
            "num_segments": str(1 + len(body) // 153),
            "error_code": None,
            "error_message": None,
        }
        self.sent.append(message)
        return message
