"""Samples of voices: rendered once each by the default connection; a failure names its fix."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from celery import current_app

from assistants.models import VoiceChoice
from assistants.services import assistant_publish
from assistants.voice_table import voices_seed
from calls.models import ProviderConnection
from calls.services import voice_sample
from calls.services.voice_sample import (
    MOST_CHARACTERS,
    NO_CONNECTION,
    line_of,
    sample_audio,
    samples_of,
    samples_render,
    samples_start,
    spoken_lines,
    wav_of_mulaw,
)
from calls.standins.tones import encode
from calls.tasks import render_voice_samples
from tests import factories
from tests.integration.admin.speech import SpeechServer, speech
from voiceplatform.base.jobs import job_cancel
from voiceplatform.base.models import AuditEntry, Job, Organisation

__all__ = ["speech"]

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

VOICES = ("marin", "coral", "sage", "shimmer")
GREETING = "Hello, this is Harbour Dental."


@pytest.fixture(autouse=True)
def var_dir(settings: Any, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path
    return tmp_path


@pytest.fixture
def connection() -> ProviderConnection:
    return factories.make_connection(factories.make_organisation(), is_default=True, name="OpenAI")


def make_choice(organisation: Organisation, *greetings: str, language: str = "en") -> VoiceChoice:
    for number, greeting in enumerate(greetings or (GREETING,)):
        assistant_publish(
            organisation=organisation,
            document={
                "name": f"Desk {number}",
                "firstMessage": greeting,
                "voice": {"provider": "11labs", "voiceId": "sarah"},
                "transcriber": {"language": language},
            },
            source="import",
            actor=None,
        )
    voices_seed([organisation])
    return VoiceChoice.objects.get(organisation=organisation)


def start(choice: VoiceChoice, *voices: str) -> Job | None:
    line = spoken_lines(choice)[0]
    return samples_start(choice=choice, line=line, voices=voices or VOICES, actor=None)


def rendered(choice: VoiceChoice, *voices: str) -> Job:
    job = start(choice, *voices)
    assert job is not None
    samples_render(job.pk)
    job.refresh_from_db()
    return job


def test_the_candidates_say_the_assistants_own_line(
    connection: ProviderConnection, speech: SpeechServer
) -> None:
    choice = make_choice(connection.organisation)
    line = spoken_lines(choice)[0]
    assert (line.text, line.is_own) == (GREETING, True)
    job = rendered(choice)
    assert (job.state, job.done_count, job.total_count) == ("done", 4, 4)
    key = f"Bearer {connection.api_key}"
    assert sorted(speech.asked) == sorted((voice, GREETING, key) for voice in VOICES)
    found = samples_of(choice, line, VOICES)
    assert all(sample.file_name and not sample.error for sample in found.samples)
    assert (found.is_pending, found.problem) == (False, "")
    assert sample_audio(choice, line, "sage") == wav_of_mulaw(encode(GREETING))


def test_what_was_rendered_once_is_not_paid_for_again(
    connection: ProviderConnection, speech: SpeechServer
) -> None:
    choice = make_choice(connection.organisation)
    rendered(choice, "marin", "coral")
    assert start(choice, "marin", "coral") is None
    job = rendered(choice, *VOICES)
    assert set(job.parameters["voices"]) == {"sage", "shimmer"}
    assert sorted(speech.voices) == sorted(VOICES)


def test_a_second_click_gets_the_job_that_is_under_way(connection: ProviderConnection) -> None:
    choice = make_choice(connection.organisation)
    first, second = start(choice), start(choice)
    assert first is not None
    assert second is not None
    assert first.pk == second.pk
    line = spoken_lines(choice)[0]
    assert samples_of(choice, line, VOICES).is_pending
    assert AuditEntry.objects.filter(action="voice.listen").count() == 1


def test_a_job_is_done_once(connection: ProviderConnection, speech: SpeechServer) -> None:
    choice = make_choice(connection.organisation)
    job = start(choice)
    assert job is not None
    render_voice_samples(str(job.pk))
    render_voice_samples(str(job.pk))
    assert len(speech.asked) == 4


def test_another_text_or_model_is_another_sample(
    connection: ProviderConnection, speech: SpeechServer
) -> None:
    choice = make_choice(connection.organisation)
    rendered(choice, "marin")
    line = spoken_lines(choice)[0]
    ProviderConnection.objects.update(speech_model="another-tts")
    assert sample_audio(choice, line, "marin") is None
    rendered(choice, "marin")
    assert len(speech.asked) == 2


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (401, "The key was refused. Fix: put a valid key into the connection."),
        (403, "The key may not make speech."),
        (404, "Fix: check the REST address and the speech model"),
        (429, "The provider's limit or credit is used up."),
        (500, "Fix: try again"),
        (0, "Fix: check the REST address of the connection"),
    ],
)
def test_a_refusal_says_how_to_mend_it_and_asks_no_further(
    connection: ProviderConnection, speech: SpeechServer, status: int, fix: str
) -> None:
    choice = make_choice(connection.organisation)
    speech.status["*"] = status
    job = rendered(choice)
    assert job.state == "failed"
    assert job.message.startswith("OpenAI ")
    assert fix in job.message
    assert connection.api_key not in job.message
    assert len(speech.asked) == 1
    found = samples_of(choice, spoken_lines(choice)[0], VOICES)
    assert (found.is_pending, found.problem) == (False, job.message)
    assert [sample.error for sample in found.samples] == [""] * 4  # no single voice is to blame


def test_a_voice_that_the_speech_model_lacks_does_not_silence_the_others(
    connection: ProviderConnection, speech: SpeechServer
) -> None:
    choice = make_choice(connection.organisation)
    speech.status["coral"] = 400
    assert rendered(choice).state == "failed"
    found = {s.voice: s for s in samples_of(choice, spoken_lines(choice)[0], VOICES).samples}
    assert {voice for voice, sample in found.items() if sample.file_name} == {
        *("marin", "sage", "shimmer")
    }
    assert "does not have this voice" in found["coral"].error
    speech.status.clear()
    rendered(choice)  # what failed may be asked again
    again = samples_of(choice, spoken_lines(choice)[0], VOICES)
    assert all(sample.file_name for sample in again.samples)
    assert again.problem == ""


def test_without_a_default_connection_nothing_is_queued_and_the_fix_is_named() -> None:
    organisation = factories.make_organisation()
    factories.make_connection(organisation)
    factories.make_connection(factories.make_organisation(), is_default=True)
    choice = make_choice(organisation)
    line = spoken_lines(choice)[0]
    assert start(choice) is None
    assert samples_of(choice, line, VOICES).problem == NO_CONNECTION
    assert sample_audio(choice, line, "marin") is None
    assert not Job.objects.exists()


def test_a_connection_that_went_away_meanwhile_fails_the_job(
    connection: ProviderConnection, speech: SpeechServer
) -> None:
    choice = make_choice(connection.organisation)
    job = start(choice)
    assert job is not None
    ProviderConnection.objects.update(is_default=False)
    samples_render(job.pk)
    job.refresh_from_db()
    assert (job.state, job.message) == ("failed", NO_CONNECTION)
    assert speech.asked == []


def test_a_cancelled_job_asks_nobody(connection: ProviderConnection, speech: SpeechServer) -> None:
    choice = make_choice(connection.organisation)
    job = start(choice)
    assert job is not None
    assert job_cancel(job=job, actor=None)
    samples_render(job.pk)
    assert speech.asked == []
    assert not samples_of(choice, spoken_lines(choice)[0], VOICES).is_pending


def test_a_job_that_no_worker_takes_says_so_and_is_taken_up_later(
    connection: ProviderConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = make_choice(connection.organisation)
    job = start(choice)
    assert job is not None
    Job.objects.update(created_at=job.created_at - voice_sample._WORKER_TAKES * 2)
    found = samples_of(choice, spoken_lines(choice)[0], VOICES)
    assert found.is_pending
    assert "No worker has begun" in found.problem
    told: list[Any] = []
    monkeypatch.setattr(
        current_app, "send_task", lambda *args, **_: told.append(args), raising=False
    )
    assert voice_sample.BELL.poke_waiting() == 1
    assert told == [(voice_sample.TASK,)]


def test_lines_are_rendered_for_a_caller_nobody_knows(connection: ProviderConnection) -> None:
    choice = make_choice(
        connection.organisation, "Hi {{customer.name}}, this is\n  {% if x %}no{% endif %}Anna."
    )
    assert spoken_lines(choice)[0].text == "Hi , this is Anna."


def test_a_line_that_tells_the_time_stays_one_sample_for_the_day(
    connection: ProviderConnection, speech: SpeechServer
) -> None:
    choice = make_choice(connection.organisation, 'It is {{"now" | date: "%H:%M:%S"}}.')
    rendered(choice, "marin")
    assert sample_audio(choice, spoken_lines(choice)[0], "marin") is not None


def test_a_long_greeting_is_cut_where_a_sentence_ends(connection: ProviderConnection) -> None:
    choice = make_choice(connection.organisation, "This is a sentence. " * 30)
    text = spoken_lines(choice)[0].text
    assert text.endswith("sentence.")
    assert MOST_CHARACTERS - 25 < len(text) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    ("language", "text"), [("de", "Guten Tag"), ("es", "Hola"), ("sv", "Hello")]
)
def test_an_assistant_that_waits_gets_a_plain_greeting_in_its_language(
    connection: ProviderConnection, language: str, text: str
) -> None:
    choice = make_choice(connection.organisation, "", language=language)
    line = spoken_lines(choice)[0]
    assert line.text.startswith(text)
    assert not line.is_own


def test_one_assistant_of_several_can_be_chosen(connection: ProviderConnection) -> None:
    choice = make_choice(connection.organisation, "Hello from one.", "", "Hello from three.")
    lines = spoken_lines(choice)
    assert [line.text for line in lines] == ["Hello from one.", "Hello from three."]
    assert line_of(lines, lines[1].assistant_id) == lines[1]
    assert line_of(lines, "gone") == lines[0]


def test_a_voice_that_nobody_uses_can_be_heard_all_the_same() -> None:
    organisation = factories.make_organisation()
    choice = factories.make_voice_choice(organisation)
    assert spoken_lines(choice)[0].text == "Hello, how can I help you today?"


def test_only_the_newest_files_are_kept(
    connection: ProviderConnection,
    speech: SpeechServer,
    monkeypatch: pytest.MonkeyPatch,
    var_dir: Path,
) -> None:
    monkeypatch.setattr(voice_sample, "MOST_FILES", 2)
    rendered(make_choice(connection.organisation))
    files = list((var_dir / "voice-samples").iterdir())
    assert len(files) == 2
    assert {path.suffix for path in files} == {".wav"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


@pytest.mark.parametrize("size", [0, 1, 8000])
def test_a_sample_is_a_riff_file_of_mu_law(size: int) -> None:
    audio = bytes(range(256)) * 32
    wav = wav_of_mulaw(audio[:size])
    assert wav[:4] == b"RIFF"
    assert struct.unpack("<I", wav[4:8])[0] == len(wav) - 8
    assert struct.unpack("<HHIIHH", wav[20:36]) == (7, 1, 8000, 8000, 1, 8)
    place = wav.index(b"data")
    assert struct.unpack("<I", wav[place + 4 : place + 8])[0] == size
    assert wav[place + 8 : place + 8 + size] == audio[:size]
