"""Recordings of past calls, fetched from the old stack because a person asked for it.

Owns who may be fetched (never a caller who refused; never where an organisation masks words), that
the purpose is said and kept, and the form: both sides on two channels, the caller first, sealed as
our own recordings are. Nothing is fetched by an import. It must not know pages.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import Call, ImportedCall, Recording
from calls.parity.logs.sides import caller_channel, caller_first, frames_of, joined, samples_of
from calls.parity.sound_file import SoundFile, SoundUnreadable, sound_file
from calls.selectors.records import speech_of
from calls.services.call_log_store import look_again
from calls.services.privacy import keeping_for
from calls.services.recording_files import (
    MOST_BYTES,
    NotSound,
    sound_delete,
    sound_store,
    wav_header,
)
from calls.services.sequences import recordings_of
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import audit_write

KIND: Final = "past-recordings"
TASK: Final = "calls.tasks.run_past_recordings"
SOFT_LIMIT_SECONDS: Final = 55 * 60
BELL: Final = JobBell(TASK, (KIND,))

MOST_CALLS: Final = 500
# It is held in memory once to find the caller's channel: an hour of two channels at 8 kHz.
MOST_FETCHED: Final = min(MOST_BYTES, 128 * 2**20)
_PIECE: Final = 256 * 1024
_NO_CONSENT: Final = "the caller did not agree to be recorded"
_KEPT: Final = (Recording.State.STORED, Recording.State.RECORDING, Recording.State.READY)

log = structlog.get_logger(__name__)

Fetch = Callable[[str], bytes]


class FetchRefused(ValueError):
    """Recordings may not be fetched like that; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What is stored of a recording. ``channels``: 2, the caller first; 1, the caller alone; 0, one
    channel with both.
    """

    wav: bytes
    channels: int
    duration_seconds: int


def fetch_begin(
    *,
    organisation: Organisation,
    calls: Sequence[Any],
    purpose: str,
    actor: Any,
    api_key: str = "",
) -> Job:
    """Queue the fetching of the recordings of imported calls.

    Args:
        purpose: what they are for and on which ground, in a person's words; kept in the audit.
        api_key: the old stack's private key of this organisation, where its storage wants one;
            sealed, and gone when the job ends. The installation's own key is never taken: calls
            of one organisation may name files that it opens for another.

    Raises:
        FetchRefused: a key that cannot be sent, no purpose, no call, too many, or none of this
            organisation.
    """
    if len(purpose.strip()) < 10:
        raise FetchRefused(
            "the purpose is missing. Fix: say what the recordings are for and on which ground they "
            "may be used; it is kept"
        )
    api_key = api_key.strip()
    if api_key:
        try:
            VapiApi(api_key=api_key, base_url=settings.VAPI_BASE_URL).close()
        except VapiApiError as error:
            raise FetchRefused(str(error)) from error
    ids = list(
        ImportedCall.objects.for_organisation(organisation)
        .filter(call__in=uuids_in(map(str, calls)))
        .values_list("call_id", flat=True)
    )
    if not ids:
        raise FetchRefused("no imported call was chosen. Fix: choose calls whose log is here")
    if len(ids) > MOST_CALLS:
        raise FetchRefused(f"{len(ids)} calls. Fix: at most {MOST_CALLS} at once")
    with transaction.atomic():
        job = job_create(
            organisation=organisation,
            kind=KIND,
            actor=actor,
            parameters={"calls": [str(each) for each in ids], "purpose": purpose[:300]},
            total=len(ids),
            secret=api_key,
        )
        audit_write(
            actor=actor,
            action="recording.fetch",
            organisation=organisation,
            target=job,
            details={"purpose": purpose[:300], "calls": len(ids)},
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def fetch_job_run(job_id: uuid.UUID | str) -> None:
    """Do one job to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _do)


def _do(running: RunningJob) -> None:
    # The key goes to Vapi's own API alone; without one, its storage is asked as anybody may.
    client = VapiApi(api_key=running.secret() or "none", base_url=settings.VAPI_BASE_URL)
    with client:
        recordings_fetch(running, _fetching(client, running))


def _fetching(client: VapiApi, running: RunningJob) -> Fetch:
    def fetch(url: str) -> bytes:
        found = bytearray()

        def take(piece: bytes) -> None:
            found.extend(piece)
            running.cancelled()  # keeps the lease while it takes long

        client.download(url, take, most_bytes=MOST_FETCHED)
        return bytes(found)

    return fetch


def recordings_fetch(running: RunningJob, fetch: Fetch) -> None:
    """Fetch the recordings of a job's calls one after another; what is here already stays."""
    parameters = running.job.parameters
    ids = list(parameters.get("calls", ()))
    stored, problems = 0, []
    for done, call_id in enumerate(ids):
        if running.cancelled():
            running.end(
                Job.State.CANCELLED, f"Cancelled. {stored} fetched.", counts=(done, len(ids))
            )
            return
        running.progress(done, len(ids), f"{stored} fetched")
        try:
            stored += recording_fetch(call_id, fetch, hold=running.hold)
        except FetchRefused as refusal:
            problems.append(f"{call_id}: {refusal}")
        except DecryptionError:
            problems.append(f"{call_id}: what is stored of it was sealed with a key that is gone")
    words = f"{stored} of {len(ids)} recordings fetched."
    if problems:
        words += f" {len(problems)} could not be; the first: {problems[0]}."
    state = Job.State.DONE if stored or not problems else Job.State.FAILED
    running.end(
        state,
        words,
        result={"model": "calls.recording", "is_list": True, "problems": problems[:100]},
        counts=(len(ids), len(ids)),
    )


def recording_fetch(call_id: Any, fetch: Fetch, *, hold: Callable[[], None] = lambda: None) -> bool:
    """Fetch and store the recording of one imported call; False when it is here already.

    Raises:
        FetchRefused: it may not be fetched, is not there, or cannot be told apart.
    """
    row = (
        ImportedCall.objects.select_related(
            "call__organisation", "call__revision", "assistant__current_revision"
        )
        .defer("facts", "structured", "recordings")
        .filter(call=call_id)
        .first()
    )
    if row is None:
        raise FetchRefused("the call was erased meanwhile")
    call = row.call
    if Recording.objects.filter(call=call, state__in=_KEPT).exists():
        return False
    _check(row)
    sides = _sides(row, fetch)
    pieces = (sides.wav[at : at + _PIECE] for at in range(0, len(sides.wav), _PIECE))

    def still_mine() -> None:
        # Before the file is in its place: another worker's may lie there with its row.
        with transaction.atomic():
            hold()

    try:
        written = sound_store(call.pk, pieces, before_placing=still_mine)
    except NotSound as error:
        raise FetchRefused(str(error)) from error
    columns: dict[str, Any] = {
        "organisation": call.organisation,
        "origin": Recording.Origin.LOG,
        "state": Recording.State.STORED,
        "channels": sides.channels,
        "duration_seconds": sides.duration_seconds,
        # Vapi's clock of messages and of the sound begin together (vapi.md 6.5).
        "offset_ms": 0,
        "size_bytes": written.size_bytes,
        "sha256": written.sha256,
        "stored_at": timezone.now(),
        "problem": "",
    }
    try:
        with transaction.atomic():
            hold()
            # Locked, so that an erasure that comes now finds the file or ends the storing.
            if not Call.objects.select_for_update().filter(pk=call.pk).exists():
                raise FetchRefused("the call was erased meanwhile")
            # A log that was imported while the file was on its way may tell of a refusal.
            told = (
                ImportedCall.objects.select_for_update().filter(pk=row.pk).only("consent").first()
            )
            if told is None or told.consent == ImportedCall.Consent.REFUSED:
                raise FetchRefused(_NO_CONSENT)
            Recording.objects.update_or_create(call=call, defaults=columns)
            # Retention may have been through with this time while the file was on its way.
            look_again(call.organisation, call.created_at)
    except FetchRefused:
        sound_delete(call.pk)
        raise
    except IntegrityError:
        sound_delete(call.pk)
        raise FetchRefused("the call was erased meanwhile") from None
    log.info("past_recording_stored", call_id=str(call.pk), channels=sides.channels)
    return True


def _check(row: ImportedCall) -> None:
    if row.consent == ImportedCall.Consent.REFUSED:
        raise FetchRefused(_NO_CONSENT)
    shown = Call(organisation_id=row.organisation_id, consent=row.call.consent)
    # That of the log, else that of a call that came here: what either masks is not fetched.
    shown.revision = (
        row.assistant.current_revision if row.assistant is not None else row.call.revision
    )
    if not keeping_for(shown).inputs:
        raise FetchRefused(
            "something is masked in calls of this assistant, and a voice cannot be masked. Fix: "
            "see the redaction rules"
        )


def _sides(row: ImportedCall, fetch: Fetch) -> Sides:
    """Return a recording with its sides told apart, by the surest of the files that there are."""
    urls = recordings_of(row)
    if not urls:
        raise FetchRefused("its log names no recording, or its time here is over")
    try:
        if "customer" in urls and "assistant" in urls:
            caller, other = _sound(urls["customer"], fetch), _sound(urls["assistant"], fetch)
            return _stored(joined(caller, other), 2, caller.rate)
        if "stereo" in urls:
            return _of_stereo(row, _sound(urls["stereo"], fetch))
        name = "customer" if "customer" in urls else "mono"
        sound = _sound(urls[name], fetch)
        if sound.channels == 2:
            return _of_stereo(row, sound)
        return _stored(frames_of(samples_of(sound)), int(name == "customer"), sound.rate)
    except SoundUnreadable as error:
        raise FetchRefused(str(error).rstrip(".")) from error
    except VapiApiError as error:
        raise FetchRefused(
            f"the old stack did not give it: {error}. Fix: recordings are kept there for some "
            "weeks; give the private key of your account there where its storage wants one"
        ) from error


def _of_stereo(row: ImportedCall, sound: SoundFile) -> Sides:
    turns = [speech_of(turn) for turn in row.call.turns.order_by("ordinal")]
    channel = caller_channel(sound, turns)
    if channel is None:
        raise FetchRefused(
            "which of its channels is the caller's cannot be told from who spoke when. Fix: give "
            "a log that names customerUrl and assistantUrl"
        )
    return _stored(caller_first(sound, channel), 2, sound.rate)


def _sound(url: str, fetch: Fetch) -> SoundFile:
    return sound_file(fetch(url))


def _stored(frames: bytes, channels: int, rate: int) -> Sides:
    in_file = max(channels, 1)
    wav = wav_header(len(frames), channels=in_file, rate=rate) + frames
    return Sides(wav, channels, round(len(frames) / (2 * in_file * rate)))
