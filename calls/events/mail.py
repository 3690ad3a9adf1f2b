"""Sends a notice as mail through the instance's mail server.

Owns that one step: a payload of ``calls.wire.notices`` becomes a message, and what the server says
becomes an attempt. The server is the instance's own setting, so the policy for addresses that
tenants enter does not stand before it. It must not decide who is told.
"""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

# RFC 5321 4.2.3: what a server answers that has taken a message.
_TAKEN = 250


def mail_send(address: str, payload: Mapping[str, Any], event_id: str) -> dict[str, Any]:
    """Send a mail and return the fields of an attempt; blocking, in threads only.

    What the server says is kept as its code alone: its words may quote the mailbox.
    """
    if not settings.EMAIL_HOST:
        return {
            "error": "no mail server is set. Fix: set SMTP_HOST and MAIL_FROM, see .env.example"
        }
    host = urlsplit(settings.PUBLIC_BASE_URL).hostname or "localhost"
    message = EmailMessage(
        subject=str(payload.get("subject", "")),
        body=str(payload.get("body", "")),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[address],
        # The same for every attempt, so that a mailbox may recognise a repeat.
        headers={"Message-ID": f"<{event_id}@{host}>", "Auto-Submitted": "auto-generated"},
        connection=get_connection(),
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as refused:
        codes = [code for code, _ in refused.recipients.values()]
        return {"status_code": codes[0] if codes else None, "error": "the mailbox was refused"}
    except smtplib.SMTPResponseException as refused:
        code = int(refused.smtp_code)
        return {"status_code": code if code > 0 else None, "error": type(refused).__name__}
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return {"error": type(error).__name__}
    return {"status_code": _TAKEN}
