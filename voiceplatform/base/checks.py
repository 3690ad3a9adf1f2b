"""System checks of the lowest layer: keys and origins. Each names its fix.

==========  ==================================================================
base.E001   SECRET_KEY is missing
base.E002   FIELD_ENCRYPTION_KEYS is missing or holds something that is no key
base.E003   the stored canary does not open under FIELD_ENCRYPTION_KEYS
base.E004   PUBLIC_BASE_URL is neither https nor a loopback address
base.E005   PUBLIC_BASE_URL is not a bare origin
base.E006   a vendor's URL is neither encrypted nor on a loopback address
base.E007   SMTP_* and MAIL_FROM do not make a mail server that can be used
base.W001   DEBUG is on although the origin is public
==========  ==================================================================
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections

MAKE_SECRET_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105 - a command, no secret
MAKE_FIELD_KEY = (
    "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is a name or address of this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@register(Tags.security)
def check_keys(**_: Any) -> list[CheckMessage]:
    """Report missing and malformed keys (base.E001, base.E002)."""
    found: list[CheckMessage] = []
    if settings.SECRET_KEY_MISSING:
        found.append(
            Error(
                "SECRET_KEY is missing, so sessions and links would break at every restart.",
                hint=f"Set SECRET_KEY (or SECRET_KEY_FILE) to the output of: {MAKE_SECRET_KEY}",
                id="base.E001",
            )
        )
    reason = _field_key_fault(settings.FIELD_ENCRYPTION_KEYS)
    if reason:
        found.append(
            Error(
                f"FIELD_ENCRYPTION_KEYS {reason}, so no secret can be stored or read.",
                hint=f"Set it to keys, newest first, commas between; make one: {MAKE_FIELD_KEY}",
                id="base.E002",
            )
        )
    return found


def _field_key_fault(keys: list[str]) -> str:
    """Return what is wrong with the list of keys, '' when nothing is; never a key itself."""
    if not keys:
        return "is missing"
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            return f"holds something at position {position} that is not a key"
    return ""


@register(Tags.database)
def check_canary(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report keys that do not open what is stored (base.E003)."""
    from voiceplatform.base.canary import canary_opens  # models are loaded after checks
    from voiceplatform.base.models import EncryptionCanary

    if "default" not in (databases or ()) or _field_key_fault(settings.FIELD_ENCRYPTION_KEYS):
        return []
    try:
        tables = connections["default"].introspection.table_names()
        if EncryptionCanary._meta.db_table not in tables or canary_opens():
            return []
    except DatabaseError:
        return []  # a database that is away is readiness's message, and migrate's
    return [
        Error(
            "The keys in FIELD_ENCRYPTION_KEYS do not open the secrets stored in this database.",
            hint="Put the key they were sealed with back into FIELD_ENCRYPTION_KEYS (behind the "
            "newest one), or restore the database that belongs to these keys.",
            id="base.E003",
        )
    ]


@register(Tags.security)
def check_public_base_url(**_: Any) -> list[CheckMessage]:
    """Report an origin that Twilio cannot or must not be sent to (base.E004, E005, W001)."""
    url: str = settings.PUBLIC_BASE_URL
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError when it is no number
    except ValueError:
        return [_not_an_origin(url)]
    if not _is_origin(parts):
        return [_not_an_origin(url)]
    host = parts.hostname or ""
    found: list[CheckMessage] = []
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        found.append(
            Error(
                f"PUBLIC_BASE_URL={url!r} is neither https nor a loopback address: callers' audio "
                "and every signed webhook would travel in the clear.",
                hint="Use the https origin that Twilio reaches, e.g. https://voice.example.com.",
                id="base.E004",
            )
        )
    if settings.DEBUG and not is_loopback(host):
        found.append(
            Warning(
                "DEBUG is on although PUBLIC_BASE_URL is not a loopback address: error pages show "
                "settings and data to strangers.",
                hint="Set DEBUG=0.",
                id="base.W001",
            )
        )
    return found


@register(Tags.security)
def check_mail(**_: Any) -> list[CheckMessage]:
    """Report a mail server that cannot be used, or only in the clear (base.E007)."""
    faults: list[tuple[str, str]] = []
    if settings.SMTP_SECURITY not in ("starttls", "tls", "none"):
        faults.append(("SMTP_SECURITY is none of starttls, tls and none.", "Set one of them."))
    if settings.EMAIL_HOST:
        if "@" not in settings.DEFAULT_FROM_EMAIL:
            faults.append(
                (
                    "SMTP_HOST is set and MAIL_FROM is no mail address.",
                    "Set MAIL_FROM, e.g. voice@example.com.",
                )
            )
        if settings.SMTP_SECURITY == "none" and not is_loopback(settings.EMAIL_HOST):
            faults.append(
                (
                    "SMTP_SECURITY=none would send notices and a password in the clear.",
                    "Set SMTP_SECURITY=starttls or tls; none is for a server on loopback.",
                )
            )
        if bool(settings.EMAIL_HOST_USER) != bool(settings.EMAIL_HOST_PASSWORD):
            faults.append(
                (
                    "Of SMTP_USER and SMTP_PASSWORD only one is set, so nobody signs in.",
                    "Set both, or neither where the server wants none.",
                )
            )
    return [Error(words, hint=fix, id="base.E007") for words, fix in faults]


VENDOR_URLS = ("OPENAI_REALTIME_URL", "OPENAI_BASE_URL", "TWILIO_API_BASE_URL")


@register(Tags.security)
def check_vendor_urls(**_: Any) -> list[CheckMessage]:
    """Report vendor URLs over which keys and audio would travel in the clear (base.E006)."""
    found: list[CheckMessage] = []
    for name in VENDOR_URLS:
        url: str = getattr(settings, name)
        parts = urlsplit(url)
        encrypted = parts.scheme in {"https", "wss"} and parts.hostname
        local = parts.scheme in {"http", "ws"} and is_loopback(parts.hostname or "")
        if url and not (encrypted or local):
            scheme = "wss" if "REALTIME" in name else "https"
            found.append(
                Error(
                    f"{name} is neither encrypted nor on a loopback address: keys and callers' "
                    "audio would travel in the clear.",
                    hint=f"Use a {scheme} URL, or leave {name} out for the vendor's own.",
                    id="base.E006",
                )
            )
    return found


def _is_origin(parts: SplitResult) -> bool:
    """Tell whether the URL is scheme, host and maybe a port, and nothing else."""
    junk = parts.path or parts.query or parts.fragment or parts.username or parts.password
    clean = not any(letter.isspace() or letter in '\\"<>' for letter in parts.geturl())
    return bool(parts.scheme and parts.hostname) and not junk and clean


def _not_an_origin(url: str) -> CheckMessage:
    return Error(
        f"PUBLIC_BASE_URL={url!r} is not an origin: only scheme, host and port belong there.",
        hint="Remove path, query and user, e.g. https://voice.example.com.",
        id="base.E005",
    )
