"""Notices to people, in the three forms in which they leave: signed JSON, Slack's text, mail.

The only writer of these formats. Version 1, 2026-11-23: receivers must ignore keys they do not
know. A notice holds ids and figures, never a telephone number, a name or a word of a call; what
looks like a number is masked here once more, because these texts end in mailboxes and chat rooms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NOTICE = "notice"
NOTICE_VERSION = 1

_NUMBER = re.compile(r"(?<!\w)\+\d[\d ().-]{5,18}\d(?!\w)")
_LINES = re.compile(r"[\r\n]+")


def without_numbers(text: str) -> str:
    """Return ``text`` with every international telephone number masked."""
    return _NUMBER.sub("[number]", text)


def json_notice(
    event_id: str, *, subject: str, words: str, ids: Mapping[str, str], at: str
) -> dict[str, Any]:
    """Return what a webhook is posted.

    Args:
        at: when it happened, ISO 8601 in UTC.

    >>> json_notice("6f96…", subject="Number sent home", words="", ids={}, at="")["type"]
    'notice'
    """
    return {
        "type": NOTICE,
        "schema_version": NOTICE_VERSION,
        "event_id": event_id,
        "at": at,
        "subject": without_numbers(subject),
        "words": without_numbers(words),
        "ids": {str(name): str(value) for name, value in ids.items()},
    }


def slack_notice(*, subject: str, words: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return a message for Slack's incoming webhooks, and what speaks their language.

    ``&``, ``<`` and ``>`` are Slack's control characters and are escaped (Slack, "Formatting text
    for app surfaces"), so that no text can mention a channel or hide a link.
    """
    lines = [f"*{_escaped(subject)}*", _escaped(words)]
    lines += [f"{_escaped(name)}: {_escaped(value)}" for name, value in ids.items()]
    return {"text": "\n".join(filter(None, lines))}


def mail_notice(*, subject: str, words: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return subject and body of a mail; a line break in a subject would be a header more."""
    lines = [without_numbers(words), "", *(f"{name}: {value}" for name, value in ids.items())]
    return {
        "subject": _LINES.sub(" ", without_numbers(subject))[:200],
        "body": "\n".join(lines).strip() + "\n",
    }


def _escaped(text: str) -> str:
    masked = without_numbers(str(text))
    return masked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
