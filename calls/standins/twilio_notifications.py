"""Twilio's list of errors at the stand-in: which requests of which call failed.

The account's list and one call's, as ``Notifications`` of the REST API has them. Twilio calls that
resource deprecated in favour of its monitor's alerts; it is served all the same. It must not decide
what an error is: calls note them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def notifications_of(
    calls: Iterable[Any], account_sid: str, call_sid: str = ""
) -> list[dict[str, Any]]:
    """Return the entries of all calls, or of one, the newest first."""
    rows = [
        {
            **note,
            "account_sid": account_sid,
            "api_version": "2010-04-01",
            "log": "0",
            "message_text": f"errorCode={note['error_code']}",
            "more_info": f"https://www.twilio.com/docs/errors/{note['error_code']}",
            "date_created": note["message_date"],
            "date_updated": note["message_date"],
            "uri": f"/2010-04-01/Accounts/{account_sid}/Notifications/{note['sid']}.json",
        }
        for call in calls
        if not call_sid or call.call_sid == call_sid
        for note in call.notifications
    ]
    return rows[::-1]
