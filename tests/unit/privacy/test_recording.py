"""Which consent lets a call be recorded, what Twilio says of one, and how the sound is kept."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime
from itertools import product
from typing import Any, get_args

import pytest

from calls.privacy.recording import ConsentState, may_record
from calls.services.recording_files import (
    PIECE_BYTES,
    NotSound,
    folder,
    mixed,
    path_of,
    sound_delete,
    sound_read,
    sound_store,
)
from calls.services.recording_links import link_opens, recording_url
from calls.standins.twilio_recordings import wav
from calls.wire.twilio_voice import VoiceFormError, recording_report

pytestmark = pytest.mark.unit

ALLOWED = {
    *(("none", "open"), ("none", "heard"), ("none", "agreed")),
    *(("notice", "heard"), ("notice", "agreed")),
    ("ask", "agreed"),
}


def test_only_these_states_of_consent_allow_a_recording() -> None:
    pairs = product(("none", "notice", "ask", "", "later"), get_args(ConsentState))
    assert {pair for pair in pairs if may_record(*pair)} == ALLOWED


def _form(**fields: str) -> dict[str, str]:
    return {"CallSid": "CA" + "1" * 32, "RecordingSid": "RE" + "2" * 32, **fields}


def test_a_recording_callback_is_read() -> None:
    report = recording_report(
        _form(
            RecordingStatus="completed",
            RecordingDuration="12",
            RecordingChannels="2",
            RecordingStartTime="Mon, 23 Nov 2026 01:02:03 +0000",
        )
    )
    assert (report.status, report.duration_seconds, report.channels) == ("completed", 12, 2)
    assert report.started_at == datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "Mon, 99 Nov 2026 01:02:03 +0000", "\x00"])
def test_a_callback_with_odd_fields_is_read_all_the_same(text: str) -> None:
    report = recording_report(
        _form(RecordingStartTime=text, RecordingDuration=text, RecordingChannels="9")
    )
    assert (report.started_at, report.duration_seconds, report.channels) == (None, 0, 2)


@pytest.mark.parametrize("field", ["CallSid", "RecordingSid"])
def test_a_callback_without_its_ids_is_refused(field: str) -> None:
    with pytest.raises(VoiceFormError, match=field):
        recording_report(_form() | {field: "RE1"})


@pytest.fixture
def call_id() -> Any:
    made = uuid.uuid4()
    yield made
    sound_delete(made)


def test_sound_is_sealed_on_the_disk_and_comes_back_whole_or_in_parts(call_id: uuid.UUID) -> None:
    sound = wav(20, 2)  # three pieces
    assert len(sound) > 2 * PIECE_BYTES
    written = sound_store(call_id, (sound[at : at + 1000] for at in range(0, len(sound), 1000)))
    assert (written.size_bytes, written.channels) == (len(sound), 2)
    assert b"".join(sound_read(call_id)) == sound
    for first, last in ((0, 9), (PIECE_BYTES - 2, PIECE_BYTES + 2), (len(sound) - 5, None)):
        end = len(sound) if last is None else last + 1
        assert b"".join(sound_read(call_id, first, last)) == sound[first:end]
    raw = path_of(call_id).read_bytes()
    assert b"RIFF" not in raw and sound[1000:1020] not in raw
    assert path_of(call_id).stat().st_mode & 0o077 == 0
    assert str(call_id) in path_of(call_id).name  # an erasure finds it by that


@pytest.mark.parametrize("sound", [b"", b"<html>", wav(1, 2)[:-7], b"RIFF" + b"\xff" * 60])
def test_what_is_no_whole_wav_file_is_not_kept(call_id: uuid.UUID, sound: bytes) -> None:
    with pytest.raises(NotSound):
        sound_store(call_id, [sound])
    assert not [path for path in folder().iterdir() if str(call_id) in path.name]


def test_two_channels_are_mixed_into_their_mean() -> None:
    sound = wav(1, 2)
    mono = b"".join(mixed([sound[:1004], sound[1004:]]))
    left, right = struct.unpack_from("<hh", sound, 44 + 4 * 100)
    assert struct.unpack_from("<h", mono, 44 + 2 * 100)[0] == (left + right) >> 1
    assert len(mono) - 44 == (len(sound) - 44) // 2 and mono[22] == 1
    single = wav(1, 1)
    assert b"".join(mixed([single])) == single


def test_an_address_opens_its_own_recording_for_seven_days(call_id: uuid.UUID) -> None:
    def parts(url: str) -> tuple[str, str]:
        query = dict(each.split("=", 1) for each in url.partition("?")[2].split("&"))
        return query["expires"], query["token"]

    expires, token = parts(recording_url(call_id, "mono"))
    assert link_opens(call_id, "mono", expires, token)
    assert not link_opens(call_id, "stereo", expires, token)
    assert not link_opens(uuid.uuid4(), "mono", expires, token)
    assert not link_opens(call_id, "mono", str(int(expires) + 1), token)
    assert not link_opens(call_id, "mono", "", "ü")
    assert not link_opens(call_id, "mono", *parts(recording_url(call_id, "mono", now_seconds=0)))
