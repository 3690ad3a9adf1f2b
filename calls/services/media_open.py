"""A media socket knocks: check who it is and consume its token, before anything is accepted."""

from __future__ import annotations

import hmac
from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.models import Call, TwilioAccount
from calls.services.call_plan import StreamTicket, ticket_for
from calls.services.call_start import media_token
from calls.services.contract import ContractForbids
from calls.services.recordings import recording_review
from calls.services.reports import call_began_enqueue
from calls.services.spool import spools_replay
from calls.telephony.security import stream_signature_valid
from voiceplatform.base.fields import DecryptionError


class MediaRefused(Exception):
    """The handshake proves nothing; answer 403. The message is for our log only."""


class MediaUnsigned(MediaRefused):
    """The signature is missing or wrong; ``account`` is the one that should have signed."""

    def __init__(self, account: TwilioAccount) -> None:
        super().__init__("wrong signature")
        self.account = account


def media_open(
    *, call_id: str, token: str, url: str, signature: str, draining: bool = False
) -> StreamTicket:
    """Return the ticket of a stream and mark its token used, in one conditional UPDATE.

    While ``draining`` only a call that had a stream before may have its next one: it is on.

    Raises:
        MediaUnsigned: wrong signature, or none.
        MediaRefused: unknown call, wrong, used or expired token, draining, a connection that the
            number may not use any more, or a secret that no key opens.
    """
    call = (
        Call.objects.select_related(
            *("twilio_account", "number", "revision", "connection", "policy_wording__policy"),
            "activation__squad",
        )
        .filter(pk=call_id)
        .first()
    )
    if call is None:
        raise MediaRefused("unknown call")
    account = call.account
    tokens = [account.auth_token, account.auth_token_secondary]
    if not stream_signature_valid(tokens, url, signature):
        raise MediaUnsigned(account)
    if not hmac.compare_digest(media_token(call).encode(), token.encode()):
        raise MediaRefused("wrong token")
    if draining and call.stream_count < 2:
        raise MediaRefused("this process is shutting down")
    if call.consent_state == Call.Consent.PENDING:
        raise MediaRefused("the caller has not been asked yet, or has not answered")
    now = timezone.now()
    changes: dict[str, Any] = {"media_token_used_at": now, "alive_at": now}
    if call.next_step.get("why"):
        # This stream is told why; a later one resumes for a reason of its own.
        changes["next_step"] = {"kind": "resume"}
    taken = (
        Call.objects.filter(
            pk=call.pk,
            media_token_used_at__isnull=True,
            media_token_expires_at__gt=now,
            stream_count=call.stream_count,
        )
        .exclude(status=Call.Status.ENDED)
        .update(**changes)
    )
    if not taken:
        raise MediaRefused("the token has been used, or has expired, or the call is over")
    if spools_replay(str(call.pk)):
        # The stream goes on from what the last one could not store.
        call.refresh_from_db()
    try:
        return ticket_for(call)
    except (ContractForbids, DecryptionError) as error:
        raise MediaRefused(str(error)) from error


def stream_began(*, call_id: str) -> None:
    """Note that the stream is up: the call is in progress."""
    with transaction.atomic():
        call = Call.objects.select_for_update().get(pk=call_id)
        if call.started_at is not None:
            return
        call.started_at = timezone.now()
        if call.status == Call.Status.RINGING:
            call.status = Call.Status.IN_PROGRESS
            call_began_enqueue(call)
        call.save(update_fields=["started_at", "status"])
        recording_review(call.pk)
