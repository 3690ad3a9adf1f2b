"""The legs that were dialled for a call, and how long ago: asked of Twilio, in a thread.

Owns how Twilio's own clock is read, so that ours need not be right: both times stand in one answer.
It must not decide what follows from it; ``calls.parity.shadow_delay`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient

from calls.parity.shadow_delay import Legs
from calls.telephony.twilio_client import CarrierSilent, TwilioAccess, client_for

# Whoever asks waits no longer; a thread that goes on waiting is of no use.
_TIMEOUT_SECONDS: Final = 2
# Twilio dials up to ten at once, and lists the newest first.
_MOST_LEGS: Final = 50


class _Dated(TwilioHttpClient):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's client, which also keeps when Twilio wrote its last answer."""

    written_at: datetime | None = None

    def request(self, *args: Any, **kwargs: Any) -> Any:
        response = super().request(*args, **kwargs)
        headers = response.headers or {}
        self.written_at = _moment(headers.get("Date"))
        return response


def child_legs(access: TwilioAccess, call_sid: str) -> Legs:
    """Return whether somebody was dialled for a call, and when first (twilio.md 4.4).

    Raises:
        CarrierSilent: Twilio did not say.
    """
    http_client = _Dated(timeout=_TIMEOUT_SECONDS)
    try:
        calls = client_for(access, http_client).calls
        legs = calls.list(parent_call_sid=call_sid, limit=_MOST_LEGS, page_size=_MOST_LEGS)
    except TwilioRestException as error:
        raise CarrierSilent(f"Twilio answered {error.status}, code {error.code}") from error
    except (TwilioException, RequestException, ValueError) as error:
        raise CarrierSilent(f"Twilio was not reached ({type(error).__name__})") from error
    if not legs:
        return Legs()
    return Legs(are_some=True, ago_ms=_ago_ms(http_client.written_at, legs))


def _ago_ms(written_at: datetime | None, legs: Iterable[Any]) -> int | None:
    """Return the age of the oldest leg, None where one of them has no time."""
    made = [_aware(leg.date_created) for leg in legs]
    times = [each for each in made if each is not None]
    if written_at is None or len(times) < len(made):
        return None
    return max(0, round((written_at - min(times)).total_seconds() * 1000))


def _aware(moment: object) -> datetime | None:
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _moment(text: object) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(str(text or "")))
    except (TypeError, ValueError):
        return None
