"""Where a caller may be handed to: a phone number that may be dialled, or a SIP address.

Owns what counts as a destination; whether somebody is there is ``hours``.
"""

from __future__ import annotations

import re
from typing import Final

from voiceplatform.base.phones import dialable

# As Twilio's <Sip> takes it (twilio.md 4.4): user, host, optional port and parameters; no headers,
# because what stands behind a question mark would be sent along unread.
_SIP: Final = re.compile(
    r"sips?:(?P<user>[A-Za-z0-9._~!$&'()*+,=%-]{1,64})"
    r"@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,180}[A-Za-z0-9])?"
    r"(?::[0-9]{1,5})?(?:;[A-Za-z0-9-]+=[A-Za-z0-9-]+){0,4}"
)
# Extensions may be short too; these are emergency lines somewhere.
_EMERGENCY: Final = frozenset({"911", "112", "999", "000", "110", "118", "119", "988"})


def is_sip(destination: str) -> bool:
    """Tell whether a destination is a SIP address."""
    return bool(_SIP.fullmatch(destination))


def destination_of(text: str) -> str:
    """Return a destination in its normal form, '' if calls may not be handed there.

    Emergency, premium-rate and other short numbers are never dialled (design.md 10), behind a SIP
    address neither.
    """
    plain = text.strip()
    found = _SIP.fullmatch(plain)
    if found is None:
        return dialable(plain)
    user = found["user"]
    reserved = user in _EMERGENCY or (user.startswith("+") and not dialable(user))
    return "" if reserved else plain
