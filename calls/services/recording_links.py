"""The addresses under which a call's recording is given out, and who may have it by them.

An address is ours, never Twilio's, and carries its own proof until it expires: receivers of a
report have no key. The proof is derived, so the database holds nothing that opens a recording.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any, Final, Literal

from django.conf import settings

from calls.models import Call, Recording

Mix = Literal["mono", "stereo"]
# Reports are tried for three days, and who got one has some days more. A key opens it any time.
VALID_SECONDS: Final = 7 * 24 * 3600


def recording_url(call_id: object, mix: Mix, now_seconds: float | None = None) -> str:
    """Return the address of a recording, good for seven days."""
    expires = int(now_seconds if now_seconds is not None else time.time()) + VALID_SECONDS
    base = settings.PUBLIC_BASE_URL.rstrip("/")
    token = _token(call_id, mix, str(expires))
    return f"{base}/call/{call_id}/{mix}-recording?expires={expires}&token={token}"


def link_opens(call_id: object, mix: Mix, expires: str, token: str) -> bool:
    """Tell whether an address proves that it was made here and is still good."""
    expected = _token(call_id, mix, expires).encode()
    if not hmac.compare_digest(expected, token.encode("utf-8", "replace")):
        return False
    return int(expires) > time.time()


def _token(call_id: object, mix: Mix, expires: str) -> str:
    text = f"recording:{mix}:{call_id}:{expires}".encode("utf-8", "replace")
    digest = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:24]).decode()


def recording_artifact(call: Call) -> dict[str, Any]:
    """Return what an artifact says of the recording (vapi.md 6.5); nothing unless it is stored."""
    row: Recording | None = getattr(call, "recording", None)
    if row is None or row.state != Recording.State.STORED:
        return {}
    mono, stereo = recording_url(call.pk, "mono"), recording_url(call.pk, "stereo")
    return {
        "recordingUrl": mono,
        "stereoRecordingUrl": stereo,
        "recording": {"stereoUrl": stereo, "mono": {"combinedUrl": mono}},
    }
