"""Samples of Realtime voices: an assistant's own first line, spoken by each candidate.

Owns what is spoken, by which connection, where the audio is kept and the job that makes it. The
audio is rendered as policy wordings are, so people hear what the telephone carries. Which voice is
chosen then is ``assistants.voice_table``'s.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import transaction
from django.utils import timezone

from assistants import prompt
from assistants.models import VoiceChoice
from assistants.voice_table import FirstLine, first_lines
from assistants.voices import REALTIME_VOICES
from calls.models import ProviderConnection
from calls.services.wording import RenderError, speech_render
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.services import audit_write

KIND: Final = "voice-samples"
TASK: Final = "calls.tasks.render_voice_samples"
MOST_CHARACTERS: Final = 300  # half a minute of speech; what is rendered is paid for
MOST_FILES: Final = 300

_WORKER_TAKES: Final = dt.timedelta(seconds=30)
_OPEN: Final = (Job.State.QUEUED, Job.State.RUNNING)
_GREETINGS: Final[Mapping[str, str]] = {
    "en": "Hello, how can I help you today?",
    "es": "Hola, ¿en qué puedo ayudarle hoy?",
    "fr": "Bonjour, comment puis-je vous aider ?",
    "de": "Guten Tag, wie kann ich Ihnen helfen?",
}
NO_CONNECTION: Final = (
    "No model connection is the default of this organisation, so nothing can be spoken. Fix: open "
    'one under Connections and tick "Use it where a number names no other".'
)
NO_WORKER: Final = (
    "No worker has begun to speak yet. Fix: see that the worker process runs; it takes this up by "
    "itself."
)
# What the speech endpoint answered, and what a person does about it.
_FIXES: Final[Mapping[int, str]] = {
    0: "Fix: check the REST address of the connection, and that this server may reach it.",
    400: "Its speech model does not have this voice, or does not take the line.",
    401: "The key was refused. Fix: put a valid key into the connection.",
    403: "The key may not make speech. Fix: allow it at the provider, or use another key.",
    404: "Fix: check the REST address and the speech model of the connection.",
    429: "The provider's limit or credit is used up. Fix: wait, or raise it there.",
}
_ONLY_THIS_VOICE: Final = frozenset({200, 400})
_TOO_LONG: Final = (
    "It took longer than a minute and was stopped; voices that were ready can be heard. Fix: press "
    "the button again for the others."
)

BELL: Final = JobBell(TASK, (KIND,), is_alone=False, too_long=_TOO_LONG)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A line that candidates say: whose it is, and the text as it is spoken."""

    assistant_id: str
    assistant_name: str
    text: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One candidate: where its audio is, '' until there is any, or why there is none."""

    voice: str
    file_name: str
    error: str


@dataclass(frozen=True, slots=True)
class Samples:
    """The candidates of one page and how far their rendering is."""

    samples: tuple[Sample, ...]
    is_pending: bool
    problem: str
    done: int
    total: int


def speaking_connection(organisation: Organisation) -> ProviderConnection | None:
    """Return the organisation's default connection, its key still sealed."""
    defaults = ProviderConnection.objects.filter(organisation=organisation, is_default=True)
    return defaults.defer("api_key").first()


def spoken_lines(choice: VoiceChoice) -> list[Spoken]:
    """Return the lines to choose from, at least one: a plain greeting where nobody has its own."""
    lines = [_spoken(line) for line in first_lines(choice)]
    return [line for line in lines if line.is_own] or lines[:1] or [_plain("en")]


def line_of(lines: Sequence[Spoken], assistant_id: str) -> Spoken:
    """Return the line of ``assistant_id``, or the first one when that has none."""
    return next((line for line in lines if line.assistant_id == assistant_id), lines[0])


def samples_of(choice: VoiceChoice, line: Spoken, voices: Sequence[str]) -> Samples:
    """Return what can be heard already, and what hinders the rest."""
    connection = speaking_connection(choice.organisation)
    if connection is None:
        silent = tuple(Sample(voice, "", "") for voice in voices)
        return Samples(silent, False, NO_CONNECTION, 0, 0)
    job = _newest_job(choice, line)
    result = job.result if job is not None and isinstance(job.result, dict) else {}
    errors = result.get("errors", {})
    storage = _storage()
    found = []
    for voice in voices:
        name = sample_name(connection, voice, line.text)
        is_there = storage.exists(name)
        found.append(
            Sample(voice, name if is_there else "", "" if is_there else errors.get(voice, ""))
        )
    is_missing = any(not sample.file_name for sample in found)
    if job is None or not is_missing:
        return Samples(tuple(found), False, "", 0, 0)
    return Samples(tuple(found), job.state in _OPEN, _problem(job), job.done_count, job.total_count)


def sample_audio(choice: VoiceChoice, line: Spoken, voice: str) -> bytes | None:
    """Return a rendered sample as a WAV file, None when there is none."""
    connection = speaking_connection(choice.organisation)
    if connection is None:
        return None
    try:
        with _storage().open(sample_name(connection, voice, line.text)) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def samples_start(
    *, choice: VoiceChoice, line: Spoken, voices: Sequence[str], actor: object
) -> Job | None:
    """Have the missing samples rendered by a worker; None when none is missing or nobody can.

    A second request while the first is under way gets the same job.
    """
    wanted = [voice for voice in REALTIME_VOICES if voice in voices]
    found = samples_of(choice, line, wanted)
    missing = [sample.voice for sample in found.samples if not sample.file_name]
    if not missing or found.problem == NO_CONNECTION:
        return None
    with transaction.atomic():
        # One at a time for this row, so that a double click does not pay twice.
        VoiceChoice.objects.select_for_update().get(pk=choice.pk)
        under_way = _newest_job(choice, line)
        if under_way is not None and under_way.state in _OPEN:
            return under_way
        job = job_create(
            organisation=choice.organisation,
            kind=KIND,
            actor=actor,
            parameters={
                "voice_choice": choice.pk,
                "assistant": line.assistant_id,
                "voices": missing,
            },
            total=len(missing),
        )
        audit_write(
            actor=actor,
            action="voice.listen",
            organisation=choice.organisation,
            target=choice,
            details={"voices": missing},
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def samples_render(job_id: uuid.UUID | str) -> None:
    """Render the samples of one job; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _render)


def _render(running: RunningJob) -> None:
    job, parameters = running.job, running.job.parameters
    choice = VoiceChoice.objects.filter(
        pk=parameters.get("voice_choice"), organisation=job.organisation
    ).first()
    connection = ProviderConnection.objects.filter(
        organisation=job.organisation, is_default=True
    ).first()
    if choice is None or connection is None:
        running.end(
            Job.State.FAILED, NO_CONNECTION if choice else "The voice is not used any more."
        )
        return
    line = line_of(spoken_lines(choice), str(parameters.get("assistant", "")))
    voices = [voice for voice in parameters.get("voices", ()) if voice in REALTIME_VOICES]
    errors: dict[str, str] = {}
    broken, spoken = "", 0
    for done, voice in enumerate(voices):
        if running.cancelled():
            running.end(Job.State.CANCELLED, "Cancelled.", result={"errors": errors})
            return
        running.progress(done, len(voices), f"{voice} speaks")
        problem = _render_one(connection, voice, line.text)
        if problem is None:
            spoken += 1
            continue
        words = f"{problem}. {fix_of(problem.status)}"
        if problem.status not in _ONLY_THIS_VOICE:
            broken = words
            break
        errors[voice] = words
    _prune()
    first = broken or next(iter(errors.values()), "")
    running.end(
        Job.State.FAILED if first else Job.State.DONE,
        first or "All candidates can be heard.",
        result={"errors": errors},
        counts=(spoken, len(voices)),
    )


def _render_one(connection: ProviderConnection, voice: str, text: str) -> RenderError | None:
    name = sample_name(connection, voice, text)
    storage = _storage()
    if storage.exists(name):
        return None
    try:
        audio = wav_of_mulaw(speech_render(connection, text, voice))
    except RenderError as problem:
        log.warning("voice_sample_not_rendered", voice=voice, error=str(problem))
        return problem
    # Under another name first: a reader never sees half a file.
    part = storage.save(f"{uuid.uuid4().hex}.part", ContentFile(audio))
    Path(storage.path(part)).replace(storage.path(name))
    return None


def _problem(job: Job) -> str:
    waits = timezone.now() - job.created_at
    if job.state == Job.State.QUEUED and waits > _WORKER_TAKES:
        return NO_WORKER
    return job.message if job.state == Job.State.FAILED else ""


def fix_of(status: int) -> str:
    """Return what a person does about a speech endpoint that answered ``status``, 0 for nothing."""
    return _FIXES.get(status, "Fix: try again; if it stays, ask the provider.")


def _newest_job(choice: VoiceChoice, line: Spoken) -> Job | None:
    jobs = Job.objects.filter(
        organisation=choice.organisation_id,
        kind=KIND,
        parameters__voice_choice=choice.pk,
        parameters__assistant=line.assistant_id,
    )
    newest: Job | None = jobs.order_by("-created_at").first()
    return newest


def _spoken(line: FirstLine) -> Spoken:
    """Return a line as a caller about whom nothing is known would hear it."""
    # Noon of the day: a line that tells the time must not be another file each minute.
    noon = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)
    text = _shortened(prompt.render(line.text, {}, noon))
    if not text:
        plain = _plain(line.language)
        return Spoken(str(line.assistant_id), line.name, plain.text, False)
    return Spoken(str(line.assistant_id), line.name, text, True)


def _plain(language: str) -> Spoken:
    return Spoken("", "", _GREETINGS.get(language, _GREETINGS["en"]), False)


def _shortened(text: str) -> str:
    """Return one line of at most ``MOST_CHARACTERS``, ended where a sentence or a word ends."""
    words = " ".join(text.split())
    if len(words) <= MOST_CHARACTERS:
        return words
    head = words[:MOST_CHARACTERS]
    sentence = max(head.rfind(f"{mark} ") for mark in ".!?")
    return head[: sentence + 1] if sentence > 0 else head.rpartition(" ")[0] or head


def sample_name(connection: ProviderConnection, voice: str, text: str) -> str:
    """Return the file name of a sample; everything that changes the sound is in it."""
    spoken = (
        *(str(connection.organisation_id), connection.rest_base_url),
        *(connection.speech_model, voice, text),
    )
    return hashlib.sha256(json.dumps(spoken).encode()).hexdigest() + ".wav"


def _storage() -> FileSystemStorage:
    return FileSystemStorage(
        location=settings.VAR_DIR / "voice-samples",
        file_permissions_mode=0o600,
        directory_permissions_mode=0o700,
    )


def _prune() -> None:
    """Keep the newest files; a sample that is wanted again is rendered again."""
    folder = Path(_storage().location)
    files = (
        sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.exists() else []
    )
    for path in files[: max(len(files) - MOST_FILES, 0)]:
        path.unlink(missing_ok=True)


def wav_of_mulaw(audio: bytes) -> bytes:
    """Return mu-law at 8 kHz as a WAV file, which browsers play as it is (RIFF format 7)."""
    size = len(audio)
    form = struct.pack("<HHIIHHH", 7, 1, 8000, 8000, 1, 8, 0)
    body = b"WAVE"
    for name, data in ((b"fmt ", form), (b"fact", struct.pack("<I", size)), (b"data", audio)):
        body += name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body
