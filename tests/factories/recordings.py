"""Recordings of calls with their sound on the disk, and deletions that Twilio owes."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from calls.models import Call, Recording, RecordingRemoval, TwilioAccount
from calls.services.recording_files import sound_store
from calls.standins.twilio_recordings import wav
from tests.factories.base import sid


def make_recording(call: Call, *, sound: bytes | None = None, **columns: Any) -> Recording:
    """Make a recording of ``call`` that is stored here, two seconds of tones unless given."""
    written = sound_store(call.pk, [wav(2, 2) if sound is None else sound])
    defaults: dict[str, Any] = {
        "state": Recording.State.STORED,
        "recording_sid": sid("RE"),
        "channels": written.channels,
        "duration_seconds": 2,
        "size_bytes": written.size_bytes,
        "sha256": written.sha256,
        "stored_at": timezone.now(),
    }
    return Recording.objects.create(
        organisation=call.organisation, call=call, **{**defaults, **columns}
    )


def make_removal(account: TwilioAccount, **columns: Any) -> RecordingRemoval:
    """Make a deletion of recordings that Twilio has not done yet."""
    defaults: dict[str, Any] = {
        "call_sid": sid("CA"),
        "reason": "stored here",
        "next_attempt_at": timezone.now(),
    }
    return RecordingRemoval.objects.create(
        organisation=account.organisation, account=account, **{**defaults, **columns}
    )
