"""Writes of the lowest layer: audit entries and API keys.

Owns how a key is made, stored and recognised; it must not know HTTP or what a key opens.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from voiceplatform.base.models import ApiKey, AuditEntry, Organisation

# Which route needs which is in docs/rest.md; no scope includes another.
SCOPES: dict[str, str] = {
    "read": "Read assistants, tools, squads, numbers, calls and other objects",
    "write": "Create, change and delete assistants, tools, squads, numbers and other objects",
    "calls": "Start, change, control and delete calls",
    "admin": "Create, change and delete credentials",
    "transcripts": "Read what was said in calls",
    "numbers": "Move numbers, set who answers them, put them back",
}
DEFAULT_SCOPES = ("read", "write")
KEY_PREFIX = "vp_"
_KEY_BYTES = 30  # 40 characters of URL-safe base64, 240 bits
_SHOWN_CHARACTERS = 8
_LAST_USED_EVERY = dt.timedelta(minutes=1)


class UnknownScope(ValueError):
    """A scope that does not exist; use one of ``SCOPES``."""


class ExpiryInThePast(ValueError):
    """The key would never have worked; choose a later moment, or none."""


def actor_label(actor: Any) -> str:
    """Return how an audit entry names ``actor``: ``user:name``, ``key:prefix`` or ``system``."""
    if actor is None:
        return "system"
    if isinstance(actor, str):
        return actor
    if isinstance(actor, ApiKey):
        return f"key:{actor.prefix}"
    return f"user:{actor.get_username()}"


def audit_write(
    *,
    actor: Any,
    action: str,
    organisation: Organisation | None,
    target: models.Model | None = None,
    details: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Record who did or saw what.

    Args:
        actor: a user, an ``ApiKey``, a ready label, or None for the system itself.
        action: dotted words, e.g. ``transcript.view``.
        target: the row it happened to; its label is kept as it reads now.
        details: JSON without secrets, transcripts or phone numbers.
    """
    return AuditEntry.objects.create(
        actor=actor_label(actor)[:200],
        action=action,
        organisation=organisation,
        target_type=target._meta.label_lower if target is not None else "",
        target_id=str(target.pk) if target is not None else "",
        target_label=str(target)[:200] if target is not None else "",
        details=dict(details or {}),
    )


def _key_hash(clear: str) -> str:
    # The key has 240 random bits, so a fast hash cannot be searched; no salt keeps it one lookup.
    return hashlib.sha256(clear.encode()).hexdigest()


@transaction.atomic
def api_key_create(
    *,
    organisation: Organisation,
    name: str,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    expires_at: dt.datetime | None = None,
    actor: Any = None,
) -> tuple[ApiKey, str]:
    """Make a key and return its row and the clear key, which is not stored anywhere.

    Args:
        expires_at: the first moment at which it no longer works; None: never.

    Raises:
        UnknownScope: a scope is not in ``SCOPES``.
        ExpiryInThePast: ``expires_at`` is not in the future.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise UnknownScope(f"unknown scope {unknown[0]!r}. Fix: use some of {', '.join(SCOPES)}.")
    if expires_at is not None and expires_at <= timezone.now():
        raise ExpiryInThePast("the expiry is in the past. Fix: choose a later moment, or none.")
    clear = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    key = ApiKey.objects.create(
        organisation=organisation,
        name=name,
        prefix=clear[:_SHOWN_CHARACTERS],
        key_hash=_key_hash(clear),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    audit_write(
        actor=actor,
        action="api_key.create",
        organisation=organisation,
        target=key,
        details={
            "scopes": key.scopes,
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
    )
    return key, clear


def api_key_check(clear: str) -> ApiKey | None:
    """Return the live key that ``clear`` is, or None; note its use at most once a minute.

    Live is neither revoked nor expired. The lookup is by hash, so its time says nothing about how
    much of a guess was right.
    """
    if not clear.startswith(KEY_PREFIX):
        return None
    now = timezone.now()
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    key: ApiKey | None = (
        ApiKey.objects.select_related("organisation")
        .filter(unexpired, key_hash=_key_hash(clear), revoked_at__isnull=True)
        .first()
    )
    if key is None:
        return None
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _LAST_USED_EVERY)
    if key.last_used_at is None or key.last_used_at < now - _LAST_USED_EVERY:
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    return key


def api_key_is_live(key: ApiKey) -> bool:
    """Tell whether ``key`` still opens anything; for whoever keeps a line open with it."""
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return ApiKey.objects.filter(unexpired, pk=key.pk, revoked_at__isnull=True).exists()


@transaction.atomic
def api_key_revoke(*, key: ApiKey, actor: Any = None) -> bool:
    """Revoke ``key`` for good; False when it was revoked already."""
    done = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
        revoked_at=timezone.now()
    )
    if done:
        audit_write(actor=actor, action="api_key.revoke", organisation=key.organisation, target=key)
    return bool(done)
