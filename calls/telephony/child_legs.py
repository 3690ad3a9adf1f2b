"""Who was put through to a call, and how long ago: asked of Twilio, in a thread.

Owns the two ways in which Twilio tells of it: a leg that was dialled for the call, and a conference
that the caller was moved into, where a person is called by a call of their own (twilio.md 4.4).
Owns how Twilio's own clock is read, so that ours need not be right: both times come from its
answers. It must not decide what follows from it; ``calls.parity.shadow_delay`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from calls.parity.shadow_delay import Legs
from calls.telephony.twilio_client import CarrierSilent, TwilioAccess, client_for

# Whoever asks waits no longer; a thread that goes on waiting is of no use.
_TIMEOUT_SECONDS: Final = 2
# Twilio dials up to ten at once, and lists the newest first.
_MOST_LEGS: Final = 50
# Each takes a request, and all of them are to be done before the next question.
_MOST_CONFERENCES: Final = 10


class _Dated(TwilioHttpClient):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's client, which also keeps when Twilio wrote its last answer."""

    written_at: datetime | None = None

    def request(self, *args: Any, **kwargs: Any) -> Any:
        response = super().request(*args, **kwargs)
        headers = response.headers or {}
        self.written_at = _moment(headers.get("Date"))
        return response


def child_legs(access: TwilioAccess, call_sid: str) -> Legs:
    """Return whether somebody was dialled for a call, or it was moved into a conference, and when.

    Raises:
        CarrierSilent: Twilio did not say, or has more conferences on than are looked through.
    """
    http_client = _Dated(timeout=_TIMEOUT_SECONDS)
    try:
        client = client_for(access, http_client)
        legs = client.calls.list(parent_call_sid=call_sid, limit=_MOST_LEGS, page_size=_MOST_LEGS)
        found = legs or _seats(client, call_sid)
    except TwilioRestException as error:
        raise CarrierSilent(f"Twilio answered {error.status}, code {error.code}") from error
    except (TwilioException, RequestException, ValueError) as error:
        raise CarrierSilent(f"Twilio was not reached ({type(error).__name__})") from error
    finally:
        # The SDK's objects refer to each other: their sockets would stay open until those are
        # collected, and this is asked every two seconds in a process that carries calls.
        if http_client.session is not None:
            http_client.session.close()
    if not found:
        return Legs()
    return Legs(are_some=True, ago_ms=_ago_ms(http_client.written_at, found))


def _seats(client: Client, call_sid: str) -> list[Any]:
    """Return the call's places in conferences, also where it waits for the person still.

    Else a person who takes long to come would be told of by a time that is long ago.
    """
    most = _MOST_CONFERENCES + 1
    rooms = []
    for status in ("init", "in-progress"):
        rooms += client.conferences.list(status=status, limit=most, page_size=most)
    if len(rooms) > _MOST_CONFERENCES:
        raise CarrierSilent("more conferences are on than can be looked through")
    seats = []
    for room in rooms:
        try:
            seats.append(client.conferences(room.sid).participants(call_sid).fetch())
        except TwilioRestException as error:
            if error.status != 404:
                raise
    return seats


def _ago_ms(written_at: datetime | None, legs: Iterable[Any]) -> int | None:
    """Return the age of the oldest, None where one of them has no time."""
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
