"""One recorded call on stand-ins, from the stream to our own copy: over sockets, with callbacks."""

from __future__ import annotations

import asyncio

import pytest

from calls.media.database import in_database
from calls.models import Recording
from calls.services import recordings
from calls.services.recording_files import path_of, sound_delete, sound_read
from calls.services.recording_work import recordings_work
from calls.telephony.recordings import RecordingGone, recording_look
from calls.telephony.twilio_client import TwilioAccess
from tests.integration.calls.rig import Rig, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def _switch_on(rig: Rig) -> None:
    organisation = rig.number.organisation
    organisation.records_calls = True
    organisation.save()


async def _until_state(state: str) -> Recording:
    async with asyncio.timeout(30):
        while True:
            row = await in_database(lambda: Recording.objects.first())
            if row is not None and row.state == state:
                return row
            await asyncio.sleep(0.02)


async def test_a_call_is_recorded_fetched_and_deleted_at_twilio(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker's part, when it is told; the work itself is done below, in its own thread.
    told: list[str] = []
    monkeypatch.setattr(recordings, "task_tell", told.append)
    await in_database(_switch_on, rig)
    call_task = asyncio.create_task(rig.call("hello"))
    row = await _until_state("wanted")
    await until(lambda: told == [recordings.TASK], what="the worker is told", seconds=30)
    await asyncio.to_thread(_work)
    assert (await call_task).ok
    row = await _until_state("ready")
    assert row.channels == 2 and row.duration_seconds >= 1 and row.offset_ms is not None
    await asyncio.to_thread(_work)
    row = await _until_state("stored")
    call = await rig.only_call()
    try:
        assert b"".join(sound_read(call.pk))[:4] == b"RIFF"
        account = rig.number.twilio_account
        access = TwilioAccess(account.account_sid, account.auth_token, account.api_base_url)
        with pytest.raises(RecordingGone):
            await asyncio.to_thread(recording_look, access, row.recording_sid)
    finally:
        sound_delete(call.pk)
    assert not path_of(call.pk).exists()


def _work() -> None:
    from django.db import connections

    try:
        recordings_work()
        recordings_work()
    finally:
        connections.close_all()


async def test_an_unsigned_recording_callback_is_refused_and_an_unknown_call_not_found(
    rig: Rig,
) -> None:
    form = rig.form() | {"RecordingSid": "RE" + "1" * 32, "RecordingStatus": "completed"}
    for signature in ("", "x"):
        answer = await rig.post("/twilio/recording", form, signature=signature)
        assert (answer.status, answer.body) == (403, "the request is not signed by Twilio")
    assert (await rig.post("/twilio/recording", form)).status == 404
    assert (await rig.post("/twilio/recording", form | {"RecordingSid": ""})).status == 400
