"""Recordings that Twilio holds of a call: found and deleted, through the SDK, in threads.

The only module that deletes anything at Twilio, and recordings are all it can delete.
"""

from __future__ import annotations

import structlog
from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException

from calls.telephony.twilio_client import TwilioAccess, client_for

_NOT_FOUND = 404
# Far more than a call has; a listing without an end must not hold an erasure up.
_MOST = 200

log = structlog.get_logger(__name__)


class RecordingsRemain(Exception):
    """Twilio did not say that they are gone; the message says why. Try again later."""


def recordings_delete(access: TwilioAccess, call_sid: str) -> int:
    """Delete what Twilio recorded of a call and return how many; none of a call it does not know.

    Blocks, for seconds at worst.

    Raises:
        RecordingsRemain: some may be left.
    """
    client = client_for(access)
    count = 0
    try:
        for recording in client.calls(call_sid).recordings.list(limit=_MOST):
            try:
                client.recordings(recording.sid).delete()
            except TwilioRestException as error:
                if error.status != _NOT_FOUND:
                    raise
            count += 1
    except TwilioRestException as error:
        if error.status == _NOT_FOUND:
            return count
        log.warning("recordings_not_deleted", call_sid=call_sid, status=error.status)
        raise RecordingsRemain(f"Twilio answered {error.status}") from error
    except (TwilioException, RequestException) as error:
        log.warning("recordings_not_deleted", call_sid=call_sid, error=type(error).__name__)
        raise RecordingsRemain(f"Twilio could not be asked ({type(error).__name__})") from error
    return count
