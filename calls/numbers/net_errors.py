"""What Twilio's list of errors says about nets: whose request failed, and whether the fallback too.

Pure. Owns which of our addresses a caller waits for. That a call is among these errors says that
somebody had to answer in our place; what they did with the caller is not in them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from calls.numbers.switch.net import is_same_site
from calls.numbers.switch.writes import VOICE_PATH

# What is told after the fact; no caller waits for its answer (twilio.md 2.4, 4.5, 4.6).
_TOLD: Final = ("/twilio/status", "/twilio/stream-status", "/twilio/recording", "/twilio/amd")
_OURS: Final = "/twilio/"


@dataclass(frozen=True, slots=True)
class Noted:
    """One error of Twilio's list, about a request that it made for a call."""

    call_sid: str
    code: str
    url: str = field(repr=False)
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A call that our site did not answer.

    Attributes:
        in_call: the call had been answered before; else it rang.
        fallback_failed: an address that is not ours failed for it too, afterwards.
    """

    call_sid: str
    in_call: bool
    fallback_failed: bool
    code: str
    at: dt.datetime


def read(row: Mapping[str, Any]) -> Noted | None:
    """Return an entry of Twilio's ``Notifications`` list; None if it is about no call."""
    call_sid, url = str(row.get("call_sid") or ""), str(row.get("request_url") or "")
    try:
        at = parsedate_to_datetime(str(row.get("message_date") or row.get("date_created") or ""))
    except ValueError:
        return None
    if not call_sid or not url:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return Noted(call_sid, str(row.get("error_code") or ""), url, at)


def unanswered(notes: Iterable[Noted], *, our_url: str) -> list[Unanswered]:
    """Return the calls that waited for an answer of ours in vain, the earliest first.

    Args:
        our_url: our public origin.
    """
    calls: dict[str, list[Noted]] = {}
    for note in notes:
        calls.setdefault(note.call_sid, []).append(note)
    found = []
    for call_sid, each in calls.items():
        ours = [note for note in each if _caller_waits(note.url, our_url)]
        if not ours:
            continue
        first = min(ours, key=lambda note: note.at)
        # Twilio's times are whole seconds, so the fallback's failure may bear the same one.
        fallback_failed = any(
            note.at >= first.at and not is_same_site(note.url, our_url) for note in each
        )
        in_call = urlsplit(first.url).path != VOICE_PATH
        found.append(Unanswered(call_sid, in_call, fallback_failed, first.code, first.at))
    return sorted(found, key=lambda call: call.at)


def _caller_waits(url: str, our_url: str) -> bool:
    path = urlsplit(url).path
    return is_same_site(url, our_url) and path.startswith(_OURS) and not path.startswith(_TOLD)
