"""Values that carry secrets show none: a repr ends up in logs, tracebacks and error trackers."""

from __future__ import annotations

import pytest

from calls.events.outbox import Destination
from calls.media.realtime_client import Endpoint
from calls.telephony.twilio_client import TwilioAccess
from tools.servers import Bearer, Hmac, OAuth2, Passage, ToolServer

pytestmark = pytest.mark.unit

SECRET = "the-parrot-sings"


@pytest.mark.parametrize(
    "value",
    [
        Endpoint("wss://x/", "openai_ga", "m", SECRET),
        TwilioAccess("AC1", SECRET),
        Destination(f"https://x/?token={SECRET}", {"X-Vapi-Secret": SECRET}, signing_secret=SECRET),
        ToolServer(f"https://x/?token={SECRET}", SECRET, {"Authorization": SECRET}),
        ToolServer("https://x/", credential=Bearer(SECRET), passage=Passage(key_pem=SECRET)),
        OAuth2(f"https://x/?token={SECRET}", "me", SECRET),
        Hmac(SECRET),
        Passage(SECRET, SECRET, f"http://me:{SECRET}@proxy/"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repr_shows_no_secret(value: object) -> None:
    assert SECRET not in repr(value)
