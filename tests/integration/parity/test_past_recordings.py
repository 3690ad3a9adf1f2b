"""Recordings of past calls come on request alone, with a purpose, the caller first."""

from __future__ import annotations

import array
import json
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import (
    Call,
    CallerClip,
    ImportedCall,
    ParityCall,
    ParityScenario,
    Recording,
    RecordingRemoval,
    RetentionRule,
)
from calls.parity.logs.past_call import PastCall
from calls.parity.sound_file import sound_file
from calls.services import past_recordings
from calls.services.call_log_store import Store
from calls.services.past_recordings import FetchRefused, fetch_begin, recording_fetch
from calls.services.recording_files import path_of, sound_read, wav_header
from calls.services.recording_work import recordings_work
from calls.services.recordings import recording_remove
from tests import factories
from tests.unit.parity.test_sides import TURNS, side, stereo
from voiceplatform.base.jobs import JobLost
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

PURPOSE = "Parity of the booking desk; consent was asked by the old stack"


def wav(samples: array.array[int], channels: int = 1) -> bytes:
    raw = samples.tobytes()
    return wav_header(len(raw), channels=channels) + raw


FILES = {
    "https://x.example/customer.wav": wav(side("user")),
    "https://x.example/assistant.wav": wav(side("assistant")),
    "https://x.example/stereo.wav": wav(
        array.array("h", stereo(side("assistant"), side("user")).sound), channels=2
    ),
}


def fetch(url: str) -> bytes:
    if url not in FILES:
        raise VapiApiError("status 404")
    return FILES[url]


def a_past_call(**columns: Any) -> ImportedCall:
    names = columns.pop("names", ("customer", "assistant", "stereo"))
    row = factories.make_imported_call(
        recordings={name: f"https://x.example/{name}.wav" for name in names}, **columns
    )
    for place, (role, begin, end) in enumerate(TURNS):
        row.call.turns.create(
            ordinal=place, role=role, text="words", started_ms=begin, ended_ms=end
        )
    return row


@pytest.mark.parametrize("names", [("customer", "assistant"), ("stereo",)])
def test_the_caller_is_on_the_first_channel_whatever_the_old_stack_had(names: Any) -> None:
    row = a_past_call(names=names)
    assert recording_fetch(row.call_id, fetch) is True
    stored = Recording.objects.get(call=row.call)
    assert (stored.state, stored.origin, stored.channels) == ("stored", "log", 2)
    assert stored.duration_seconds == 4
    sound = sound_file(b"".join(sound_read(row.call_id)))
    samples = array.array("h", sound.sound)
    assert samples[0::2] == side("user") and samples[1::2] == side("assistant")
    assert b"RIFF" not in path_of(row.call_id).read_bytes()[:200]  # sealed
    assert recording_fetch(row.call_id, fetch) is False


def test_where_the_channels_cannot_be_told_apart_nothing_is_stored() -> None:
    row = a_past_call(names=("stereo",))
    row.call.turns.all().delete()
    with pytest.raises(FetchRefused, match="cannot be told"):
        recording_fetch(row.call_id, fetch)
    assert not Recording.objects.exists() and not path_of(row.call_id).exists()


def test_what_may_not_be_heard_is_never_fetched() -> None:
    asked: list[str] = []

    def watched(url: str) -> bytes:
        asked.append(url)
        return fetch(url)

    with pytest.raises(FetchRefused, match="did not agree"):
        recording_fetch(a_past_call(consent="refused").call_id, watched)
    factories.make_redaction_rule(phone_numbers=True)
    with pytest.raises(FetchRefused, match="masked"):
        recording_fetch(a_past_call().call_id, watched)
    assert asked == []


def refusal_told(row: ImportedCall) -> str:
    """Import a later telling of a call, in which the caller refused."""
    past = PastCall(log_id=row.log_id, consent="refused", ended_at=row.call.ended_at)
    return Store(factories.default_organisation()).put(past)


def test_a_refusal_that_is_told_later_takes_what_was_made_of_the_call() -> None:
    row = a_past_call()
    recording_fetch(row.call_id, fetch)
    scenario = factories.make_scenario(source="extracted", source_call=row.call)
    run = factories.make_run(scenario.assistant, state="done", verdict="pass")
    pair = factories.make_parity_call(
        run, source_call=row.call, state="running", lease_token="mine", transcript=[], extras={}
    )
    dial = factories.make_run_dial(pair, heard=[[{"kind": "said", "text": "my words"}]])
    CallerClip.objects.create(
        run=run, scenario=scenario.name, turn=0, source_call=row.call, audio_mulaw=b"\x7f"
    )
    assert refusal_told(row) == "updated"
    for model in (ParityScenario, CallerClip):
        assert not model._default_manager.filter(source_call=row.call).exists()
    pair = ParityCall.objects.get(pk=pair.pk)
    assert (pair.state, pair.lease_token, pair.document) == ("failed", "", None)
    assert (pair.sequence, pair.transcript, pair.extras) == (None, None, None)
    dial.refresh_from_db()
    assert dial.heard is None
    stored = Recording.objects.get(call=row.call)
    assert (stored.state, stored.sha256) == ("removed", "")
    assert not RecordingRemoval.objects.exists()  # it was never made at Twilio for us
    recordings_work()
    assert not path_of(row.call_id).exists()
    row.refresh_from_db()
    assert row.recordings is None
    run.refresh_from_db()
    assert run.verdict == "pass"
    with pytest.raises(FetchRefused, match="did not agree"):
        recording_fetch(row.call_id, fetch)


def test_a_refusal_that_is_told_while_its_recording_is_on_its_way_leaves_none() -> None:
    row = a_past_call(names=("mono",))
    told: list[str] = []

    def meanwhile(url: str) -> bytes:
        told.append(refusal_told(row))
        return wav(side("user"))

    with pytest.raises(FetchRefused, match="did not agree"):
        recording_fetch(row.call_id, meanwhile)
    assert told == ["updated"]
    assert not path_of(row.call_id).exists() and not Recording.objects.exists()


def test_a_request_says_what_for_and_reaches_no_other_organisation() -> None:
    row, organisation = a_past_call(), factories.default_organisation()
    ask: dict[str, Any] = {"organisation": organisation, "actor": "system"}
    with pytest.raises(FetchRefused, match="purpose"):
        fetch_begin(calls=[row.call_id], purpose="", **ask)
    theirs = a_past_call(organisation=factories.make_organisation())
    with pytest.raises(FetchRefused, match="no imported call"):
        fetch_begin(calls=[theirs.call_id], purpose=PURPOSE, **ask)
    job = fetch_begin(calls=[row.call_id, theirs.call_id], purpose=PURPOSE, **ask)
    assert job.parameters["calls"] == [str(row.call_id)]
    assert AuditEntry.objects.get(action="recording.fetch").details["purpose"] == PURPOSE


def test_a_worker_that_lost_its_job_puts_no_file_into_its_place() -> None:
    row = a_past_call()

    def lost() -> None:
        raise JobLost

    with pytest.raises(JobLost):
        recording_fetch(row.call_id, fetch, hold=lost)
    assert not path_of(row.call_id).exists() and not Recording.objects.exists()


def test_one_organisations_files_are_never_asked_for_with_the_installations_key(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.VAPI_API_KEY = "key-of-somebody-else"
    keys: list[str] = []

    def fetching(client: VapiApi, running: Any) -> Any:
        keys.append(client._key)
        return fetch

    monkeypatch.setattr(past_recordings, "_fetching", fetching)
    ask: dict[str, Any] = {"organisation": factories.default_organisation(), "actor": None}
    for given in ("", "key-of-theirs"):
        calls = [a_past_call().call_id]
        job = fetch_begin(calls=calls, purpose=PURPOSE, api_key=given, **ask)
        assert given not in json.dumps(job.parameters) or not given
        past_recordings.fetch_job_run(job.pk)
    assert keys == ["none", "key-of-theirs"]
    job.refresh_from_db()
    assert "sealed" not in job.parameters
    with pytest.raises(FetchRefused, match="no usable Vapi key"):
        fetch_begin(calls=calls, purpose=PURPOSE, api_key="two words", **ask)


def test_a_job_fetches_what_it_can_and_names_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    good, gone = a_past_call(), a_past_call(names=("mono",))
    monkeypatch.setattr(past_recordings, "_fetching", lambda client, running: fetch)
    job = fetch_begin(
        organisation=factories.default_organisation(),
        calls=[good.call_id, gone.call_id],
        purpose=PURPOSE,
        actor=None,
    )
    past_recordings.fetch_job_run(job.pk)
    job.refresh_from_db()
    assert job.state == "done" and "1 of 2 recordings fetched" in job.message
    assert "status 404" in json.dumps(job.result)


def test_a_call_that_no_key_opens_does_not_end_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, good = a_past_call(), a_past_call()
    with connection.cursor() as cursor:
        broken = "UPDATE calls_call SET variable_values = 'gAAAAAbroken' WHERE id = %s"
        cursor.execute(broken, [Call._meta.pk.get_db_prep_value(lost.call_id, connection)])
    monkeypatch.setattr(past_recordings, "_fetching", lambda client, running: fetch)
    organisation = factories.default_organisation()
    calls = [lost.call_id, good.call_id]
    job = fetch_begin(organisation=organisation, calls=calls, purpose=PURPOSE, actor=None)
    past_recordings.fetch_job_run(job.pk)
    job.refresh_from_db()
    assert job.state == "done" and "1 of 2 recordings fetched" in job.message
    assert "a key that is gone" in json.dumps(job.result)


def test_what_is_masked_in_a_call_that_came_here_is_not_fetched_of_its_log() -> None:
    assistant = factories.make_assistant()
    factories.make_redaction_rule(phone_numbers=True, assistant=assistant)
    call = factories.make_call(
        stack="vapi", status="ended", ended_reason="x", revision=assistant.current_revision
    )
    with pytest.raises(FetchRefused, match="masked"):
        recording_fetch(a_past_call(call=call).call_id, fetch)


def test_retention_looks_again_at_the_time_of_what_was_fetched() -> None:
    row = a_past_call()
    rule = RetentionRule.objects.create(organisation=row.organisation)
    recording_fetch(row.call_id, fetch)
    rule.refresh_from_db()
    assert rule.look_from == row.call.created_at


def test_what_was_fetched_goes_without_a_word_to_twilio() -> None:
    row = a_past_call()
    recording_fetch(row.call_id, fetch)
    stored = Recording.objects.get()
    recording_remove(stored, "kept long enough")
    assert not RecordingRemoval.objects.exists()
    assert stored.next_attempt_at is not None and stored.next_attempt_at <= timezone.now()
