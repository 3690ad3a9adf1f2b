"""Recordings at Twilio (twilio.md 4.5): begun, looked at, fetched, deleted; blocks, so in threads.

The only module that deletes anything at Twilio, and recordings are all it can delete. Everything
goes through the SDK but the sound itself, which the SDK cannot fetch in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException

from calls.telephony.twilio_client import GONE_CODES, TwilioAccess, client_for
from voiceplatform.base import http

_NOT_FOUND = 404
# Far more than a call has; a listing without an end must not hold an erasure up.
_MOST = 200
_CHUNK_BYTES = 64 * 1024
EVENTS = ("in-progress", "completed", "absent")

log = structlog.get_logger(__name__)


class RecordingsRemain(Exception):
    """Twilio did not say that they are gone; the message says why. Try again later."""


class CallIsOver(Exception):
    """Twilio records no call that has ended."""


class RecordingSilent(Exception):
    """Twilio gave no answer that can be used; ask later. The text says why, without secrets."""


class RecordingGone(Exception):
    """Twilio knows no such recording, or not yet (twilio.md 4.5)."""


@dataclass(frozen=True, slots=True)
class CarrierRecording:
    """A recording as Twilio has it; ``status`` is Twilio's word."""

    recording_sid: str
    status: str
    duration_seconds: int = 0
    channels: int = 0
    started_at: datetime | None = None


def recording_begin(
    access: TwilioAccess, call_sid: str, *, callback_url: str, look_first: bool
) -> CarrierRecording:
    """Have Twilio record both sides of a call from now on, each on a channel of its own.

    Silence is left in, so that offsets are those of the call (twilio.md 4.5).

    Args:
        look_first: an earlier request got no answer and may have been carried out all the same.

    Raises:
        CallIsOver: there is nothing to record.
        RecordingSilent: Twilio did not say.
    """
    with _asking(call_sid):
        calls = client_for(access).calls(call_sid)
        if look_first:
            for each in calls.recordings.list(limit=_MOST):
                if str(each.status) == "in-progress":
                    return _recording(each)
        try:
            made = calls.recordings.create(
                recording_channels="dual",
                recording_track="both",
                trim="do-not-trim",
                recording_status_callback=callback_url,
                recording_status_callback_method="POST",
                recording_status_callback_event=list(EVENTS),
            )
        except TwilioRestException as error:
            if error.code in GONE_CODES or error.status == _NOT_FOUND:
                raise CallIsOver(f"Twilio answered {error.status}, code {error.code}") from error
            raise
        return _recording(made)


def recording_look(access: TwilioAccess, recording_sid: str) -> CarrierRecording:
    """Return a recording as Twilio has it now.

    Raises:
        RecordingGone: Twilio knows of none.
        RecordingSilent: Twilio did not say.
    """
    with _asking(recording_sid):
        try:
            return _recording(client_for(access).recordings(recording_sid).fetch())
        except TwilioRestException as error:
            if error.status == _NOT_FOUND:
                raise RecordingGone("Twilio knows no such recording") from error
            raise


def recording_sound(access: TwilioAccess, recording_sid: str) -> Iterator[bytes]:
    """Yield the WAV file of a recording, both channels, in pieces.

    Raises:
        RecordingGone: it is not there, or not yet.
        RecordingSilent: Twilio did not give it, or not all of it.
    """
    url = f"{access.origin}/2010-04-01/Accounts/{access.account_sid}/Recordings/{recording_sid}.wav"
    try:
        with (
            http.client(read_seconds=20.0) as client,
            client.stream(
                "GET",
                url,
                params={"RequestedChannels": "2"},
                auth=access.login,
            ) as response,
        ):
            if response.status_code == _NOT_FOUND:
                raise RecordingGone("Twilio has no file of it yet")
            if response.status_code != 200:
                raise RecordingSilent(f"Twilio answered {response.status_code}")
            yield from response.iter_bytes(_CHUNK_BYTES)
    except http.HTTPError as error:
        raise RecordingSilent(f"Twilio was not reached ({type(error).__name__})") from error


def recordings_delete(access: TwilioAccess, call_sid: str, recording_sid: str = "") -> int:
    """Delete what Twilio recorded of a call and return how many; none of a call it does not know.

    What is still being recorded is stopped first.

    Args:
        recording_sid: this one only.

    Raises:
        RecordingsRemain: some may be left.
    """
    client = client_for(access)
    count = 0
    try:
        sids = [(recording_sid, "")] if recording_sid else _sids(client, call_sid)
        for sid, status in sids:
            if status == "in-progress" or (recording_sid and _is_going_on(client, sid)):
                client.calls(call_sid).recordings(sid).update(status="stopped")
            try:
                client.recordings(sid).delete()
            except TwilioRestException as error:
                if error.status != _NOT_FOUND:
                    raise
            count += 1
    except TwilioRestException as error:
        if error.status == _NOT_FOUND:
            return count
        log.warning("recordings_not_deleted", call_sid=call_sid, status=error.status)
        raise RecordingsRemain(f"Twilio answered {error.status}") from error
    except (TwilioException, RequestException) as error:
        log.warning("recordings_not_deleted", call_sid=call_sid, error=type(error).__name__)
        raise RecordingsRemain(f"Twilio could not be asked ({type(error).__name__})") from error
    return count


def _sids(client: Any, call_sid: str) -> list[tuple[str, str]]:
    rows = client.calls(call_sid).recordings.list(limit=_MOST)
    return [(str(each.sid), str(each.status or "")) for each in rows]


def _is_going_on(client: Any, recording_sid: str) -> bool:
    return str(client.recordings(recording_sid).fetch().status) in {"in-progress", "paused"}


@contextmanager
def _asking(sid: str) -> Iterator[None]:
    try:
        yield
    except TwilioRestException as error:
        log.warning("recording_refused", sid=sid, status=error.status, code=error.code)
        words = f"Twilio answered {error.status}, code {error.code}"
        raise RecordingSilent(words) from error
    except (TwilioException, RequestException, ValueError) as error:
        raise RecordingSilent(f"Twilio was not reached ({type(error).__name__})") from error


def _recording(row: Any) -> CarrierRecording:
    return CarrierRecording(
        recording_sid=str(row.sid),
        status=str(row.status or ""),
        duration_seconds=max(int(row.duration or 0), 0),
        channels=int(row.channels or 0),
        started_at=row.start_time or row.date_created,
    )
