"""What may be asked of Twilio's REST API, where, as whom, and when it is asked again.

Pure: the one wrapper around the API obeys it. Owns the list of what is never sent, the meaning of
an answer, and the waits. Twilio knows no idempotency key, so a write whose answer was lost is never
repeated before a look (twilio.md 5.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from calls.numbers.switch.writes import FORM_NAMES

# ``later``: not done, ask again. ``unclear``: done or not. ``gone``: there is nothing of that name.
Answer = Literal["done", "gone", "refused", "later", "unclear"]
# Whether a request without an answer had left: ``unsent`` when no connection came about.
Silence = Literal["", "unsent", "lost"]

WAITS_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
JITTER_SHARE: Final = 0.5
# Room for the write and the look after the last wait (``TIMEOUT_SECONDS`` of the client, twice).
_LAST_CALLS_SECONDS: Final = 8.0

_NUMBER: Final = re.compile(r"/IncomingPhoneNumbers/PN[0-9a-f]{32}\.json$")
_NUMBERS: Final = re.compile(r"/IncomingPhoneNumbers\b")
_APPLICATIONS: Final = re.compile(r"/Applications\b")
_LABEL: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ACCOUNT: Final = re.compile(r"AC[0-9a-f]{32}")
_KEY: Final = re.compile(r"SK[0-9a-f]{32}")


def why_never(method: str, path: str, form: Mapping[str, str | list[str]]) -> str:
    """Return why a request must not be sent, '' if it may.

    A number is changed in its voice fields alone; one that is deleted is lost (twilio.md 5.1). A
    TwiML app is read only: a write would move every number that uses it (5.5).
    """
    method = method.upper()
    if method not in {"GET", "POST"}:
        return f"{method} is never sent to Twilio"
    if method == "GET":
        return ""
    if _APPLICATIONS.search(path):
        return "a TwiML app may serve other numbers and is never written"
    if _NUMBERS.search(path):
        if not _NUMBER.search(path):
            return "numbers are not bought or listed by a write"
        others = sorted(set(form) - set(FORM_NAMES.values()))
        if others:
            return f"{', '.join(others)}: of a number the voice fields alone are written"
        if form.get("TrunkSid") and "VoiceApplicationSid" in form:
            return "a trunk deletes the TwiML app by itself; only one of them is sent"
        if form.get("VoiceApplicationSid") and "TrunkSid" in form:
            return "a TwiML app deletes the trunk by itself; only one of them is sent"
    return ""


def answer_of(status: int, *, silence: Silence = "") -> Answer:
    """Say what an answer means.

    Args:
        status: the HTTP status, 0 if there was no answer.
        silence: what is known of a request without one.
    """
    if status == 0:
        return "later" if silence == "unsent" else "unclear"
    if 200 <= status < 300:
        return "done"
    if status == 404:
        return "gone"
    if status == 429:
        # 20429: turned away before it was read.
        return "later"
    if status >= 500:
        return "unclear"
    return "refused"


@dataclass(frozen=True, slots=True)
class NextTry:
    """What follows an answer. ``look``: fetch, and write again only if it is still to be done."""

    kind: Literal["none", "again", "look"]
    wait_seconds: float = 0.0


def next_try(
    method: str,
    answer: Answer,
    *,
    attempts: int,
    jitter: float,
    left_seconds: float,
    retry_after_seconds: float | None = None,
) -> NextTry:
    """Decide whether and when a request is made again.

    Args:
        attempts: how often it was made, from 1.
        jitter: 0..1, so that many numbers do not come back at once.
        left_seconds: until the whole must be over.
        retry_after_seconds: what Twilio asked for; it makes the wait longer, never shorter.
    """
    if answer in ("done", "gone", "refused") or attempts > len(WAITS_SECONDS):
        return NextTry("none")
    wait = WAITS_SECONDS[attempts - 1] * (1 + JITTER_SHARE * jitter)
    wait = max(wait, retry_after_seconds or 0.0)
    if wait + _LAST_CALLS_SECONDS > left_seconds:
        return NextTry("none")
    is_repeatable = method.upper() == "GET" or answer == "later"
    return NextTry("again" if is_repeatable else "look", wait)


def api_host(region: str, edge: str = "") -> str:
    """Return the host of Twilio's API in a region (twilio.md 6.2, 7.5).

    Raises:
        ValueError: a part is no host label; a secret must not be sent to a made-up host.
    """
    region, edge = region.strip().lower() or "us1", edge.strip().lower()
    if not _LABEL.fullmatch(region) or (edge and not _LABEL.fullmatch(edge)):
        raise ValueError("a region and an edge are words such as ie1 and dublin")
    if edge:
        return f"api.{edge}.{region}.twilio.com"
    return "api.twilio.com" if region == "us1" else f"api.{region}.twilio.com"


@dataclass(frozen=True, slots=True)
class Login:
    """As whom Twilio is asked, for which account."""

    account_sid: str
    user: str
    password: str = field(repr=False)


def login_for(
    account_sid: str, *, auth_token: str = "", key_sid: str = "", key_secret: str = ""
) -> Login:
    """Return the login of an account: its API key if it has one, else its token.

    A sub-account is asked with its own, never with its parent's: its webhooks are signed with its
    own token, so it has to be entered anyway (twilio.md 1.1). Keys and tokens are of one region
    (5.6), and a key signs nothing.

    Raises:
        ValueError: the text says what is missing, without any of it.
    """
    if not _ACCOUNT.fullmatch(account_sid):
        raise ValueError("an account SID is AC and 32 hexadecimal digits")
    if key_sid or key_secret:
        if not _KEY.fullmatch(key_sid) or not key_secret:
            raise ValueError("an API key is SK and 32 hexadecimal digits, and its secret")
        return Login(account_sid, key_sid, key_secret)
    if not auth_token:
        raise ValueError("the account has neither an auth token nor an API key")
    return Login(account_sid, account_sid, auth_token)
