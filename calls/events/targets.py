"""Where one event goes at the moment it is sent, and the headers that prove it comes from us.

What is secret of a receiver or of a Vapi server's credential is looked up here, each time: an event
that waits for days must go out under the secret of today, and none is copied into its row.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils import timezone

from calls.events.outbox import Destination
from calls.events.signature import signed_headers
from calls.models import NoticeReceiver, OutboxEvent
from calls.services.tool_servers import credential_of
from tools.auth import Signing, credential_headers
from tools.exchange import post, shared_client
from tools.servers import Credential, Passage
from voiceplatform.base import egress

STACK_HEADER = "X-Voiceplatform-Stack"
# What a custom header may not replace: receivers dedupe and order by it.
OURS = frozenset({"x-voiceplatform-event-id", "x-voiceplatform-sequence", "x-voiceplatform-stack"})


class NoTarget(Exception):
    """There is nowhere to send an event any more; the text says why. Another try is no use."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an event goes, how the request leaves, and who vouches for it.

    ``is_mail``: the destination is a mailbox.
    """

    destination: Destination
    credential: Credential | None = None
    passage: Passage | None = None
    is_mail: bool = False


def target_of(event: OutboxEvent) -> Target:
    """Return where ``event`` goes now; reads the database.

    Raises:
        NoTarget: its receiver has been removed, or its row holds no address.
        DecryptionError: no key opens what is stored.
    """
    notified = event.notice_receiver
    if notified is not None:
        return Target(
            Destination(notified.address, secrets=notified.signing_secrets(timezone.now())),
            is_mail=notified.kind == NoticeReceiver.Kind.EMAIL,
        )
    row = event.receiver
    if row is not None:
        headers = row.headers if isinstance(row.headers, dict) else {}
        return Target(
            Destination(
                row.url,
                {str(name): str(value) for name, value in headers.items()},
                timeout_seconds=row.timeout_seconds,
                signing_secret=row.plain_secret,
                secrets=row.signing_secrets(timezone.now()),
            )
        )
    if not event.destination:
        raise NoTarget("the receiver it was for has been removed")
    try:
        destination = Destination.from_json(event.destination)
    except (TypeError, AttributeError):
        raise NoTarget("its row holds no address that this version can read") from None
    owner = event.organisation_id
    assert owner is not None, "a column that is never null"
    credential, passage = credential_of(owner, destination.credential_id)
    return Target(destination, credential, passage)


def headers_of(
    event: OutboxEvent, destination: Destination, body: bytes, now_seconds: float | None = None
) -> dict[str, str]:
    """Return the request headers; every signature is over these very bytes.

    Args:
        now_seconds: the time of this attempt, since the epoch; now unless given.
    """
    at_seconds = int(time.time() if now_seconds is None else now_seconds)
    headers = {
        name: value for name, value in destination.headers.items() if name.lower() not in OURS
    }
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    headers |= {"X-Voiceplatform-Event-Id": str(event.pk), STACK_HEADER: "direct"}
    if event.sequence:
        headers["X-Voiceplatform-Sequence"] = str(event.sequence)
    if destination.secrets:
        headers |= signed_headers(
            destination.secrets, event_id=str(event.pk), at_seconds=at_seconds, body=body
        )
    if destination.signing_secret:
        signed = f"{event.pk}.".encode() + body
        digest = hmac.new(destination.signing_secret.encode(), signed, hashlib.sha256)
        headers["X-Voiceplatform-Signature"] = f"sha256={digest.hexdigest()}"
    return headers


async def proofs(
    target: Target, event: OutboxEvent, url: str, body: bytes, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers of a credential; an explicit one wins (vapi.md traps 15 and 16).

    Args:
        given: the headers that are sent anyway.

    Raises:
        NotAuthorised: no token could be had.
    """
    if target.credential is None:
        return {}

    async def token(token_url: str, headers: dict[str, str], form: bytes) -> tuple[int, str]:
        client = await shared_client(target.passage)
        place = egress.destination(token_url)
        pairs = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        return await post(client, place, pairs, form)

    signing = Signing(url=url, body=body, now_seconds=time.time(), message_id=f"msg_{event.pk.hex}")
    names = {name.lower() for name in given}
    found = await credential_headers(target.credential, signing, token)
    return {name: value for name, value in found.items() if name.lower() not in names}
