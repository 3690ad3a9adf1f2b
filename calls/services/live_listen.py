"""Who may listen to a live call, and that somebody did.

Owns the consent of the one who is listened to (design.md 11) and the proof of the one who listens;
what may be shown of a call is ``privacy.shown_for``, the sound ``calls.media.listening``.
"""

from __future__ import annotations

from django.db.models import QuerySet

from calls.models import Call, CallPolicy
from calls.services.live_monitor import is_enabled, needs_key, token_fits
from calls.services.privacy import shown_for
from voiceplatform.base.models import ApiKey
from voiceplatform.base.services import api_key_check, audit_write

SCOPE = "transcripts"


class ListenRefused(Exception):
    """Nobody may listen now; ``code`` closes the socket, the text says why.

    With code 0 nothing was proved: the handshake itself is refused.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def may_listen(call: Call) -> str:
    """Return '' if the caller's consent allows a listener, else why it does not.

    A policy line counts once it has been heard to its end, a question once the caller has agreed;
    a refusal ends it for good.
    """
    if call.policy_refused_at is not None:
        return "the caller does not agree to be listened to"
    if call.consent_state == Call.Consent.PENDING:
        return "the caller has not answered yet: connect again"
    wording = call.policy_wording
    if wording is None or call.consent_state == Call.Consent.GRANTED:
        return ""
    if wording.policy.recording_consent == CallPolicy.Consent.ASK:
        return "the caller has not been asked"
    if wording.audio_mulaw and call.policy_played_at is None:
        return "the caller has not heard the notice to its end yet: connect again"
    return ""


def listen_open(*, call_id: str, token: str, authorization: str) -> None:
    """Check who knocks, and record that they listen.

    Raises:
        ListenRefused: they prove nothing, or nobody may listen to this call now.
    """
    by_token = bool(token) and token_fits(call_id, "listen", token)
    key = _key_of(authorization)
    calls: QuerySet[Call] = Call.objects.select_related(
        "organisation", "revision", "policy_wording__policy"
    ).defer("revision__document", "revision__server_url", "revision__server_secret")
    call: Call | None = calls.filter(pk=call_id).first() if by_token or key else None
    if call is None or (key is not None and key.organisation_id != call.organisation_id):
        raise ListenRefused(0, "wrong token, wrong key or unknown call")
    if key is None and needs_key(call, "listen"):
        raise ListenRefused(0, "the assistant asks for a key beside the token")
    if call.status == Call.Status.ENDED:
        raise ListenRefused(4404, "the call is over")
    if not is_enabled(call, "listen"):
        raise ListenRefused(4403, "the assistant allows no listening (monitorPlan.listenEnabled)")
    forbidden = may_listen(call) or shown_for(call).forbidden
    if forbidden:
        raise ListenRefused(4403, forbidden)
    audit_write(
        actor=key if key is not None else "listen URL",
        action="call.listen",
        organisation=call.organisation,
        target=call,
    )


def _key_of(authorization: str) -> ApiKey | None:
    words = authorization.split()
    if len(words) != 2 or words[0].lower() != "bearer":
        return None
    key = api_key_check(words[1])
    return key if key is not None and SCOPE in key.scopes else None
