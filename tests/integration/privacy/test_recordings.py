"""A recording begins only when it may, is fetched once, and goes wherever it has to go."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from calls.bridge.effects import PolicyLinePlayed
from calls.models import Call, Recording, RecordingRemoval, RedactionRule
from calls.services import recording_work
from calls.services.call_records import call_erase
from calls.services.caller_export import caller_export
from calls.services.erasure import caller_erase
from calls.services.journal import batch_store
from calls.services.recording_files import path_of, sound_delete
from calls.services.recording_work import recordings_work
from calls.services.recordings import recording_report_apply, recording_review
from calls.services.retention import retention_run, rule_of
from calls.services.vapi_objects import artifact_object
from calls.standins.scenario import Scenario
from calls.standins.twilio_account import AccountRest, RestError
from calls.standins.twilio_carrier import Carrier
from calls.telephony import recordings as carrier_recordings
from calls.telephony.recordings import RecordingGone, RecordingSilent
from calls.wire.twilio_voice import recording_report
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NUMBER = "+14155550144"


class Twilio:
    """The stand-in's REST surface behind the official SDK, without a socket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.carrier = Carrier("https://voice.example.com", "token", "AC" + "1" * 32)
        self.account = AccountRest(self.carrier)
        self.book = self.account.book
        self.down = False
        twilio = self

        def request(
            self: Any, method: str, uri: str, params: Any = None, data: Any = None, **_: Any
        ) -> Response:
            if twilio.down:
                return Response(503, "{}")
            path = "/" + urlsplit(uri).path.split("/Accounts/")[1].split("/", 1)[1]
            form = parse_qs(urlencode(data or params or {}, doseq=True))
            try:
                status, body = asyncio.run(twilio.handle(method, path, form))
            except RestError as error:
                return Response(error.status, json.dumps({"code": error.code, "message": "no"}))
            return Response(status, json.dumps(body) if status != 204 else "")

        monkeypatch.setattr(TwilioHttpClient, "request", request)
        monkeypatch.setattr(carrier_recordings, "recording_sound", self.sound)
        # What follows a call runs on a loop; here each request has one of its own.
        monkeypatch.setattr(type(self.book), "_follow", self._follow)

    async def _follow(self, made: Any) -> None:
        return None

    async def handle(self, method: str, path: str, form: Any) -> Any:
        return self.account.handle(method, path.removesuffix(".json"), form)

    def sound(self, access: Any, recording_sid: str) -> Iterator[bytes]:
        if self.down:
            raise RecordingSilent("Twilio answered 503")
        found = self.book.file(recording_sid, 2)
        if found is None:
            raise RecordingGone("Twilio has no file of it yet")
        return iter([found])

    def knows(self, call: Call) -> None:
        live = self.carrier._new_call("+1", "+2", self.carrier.voice_for("+1"), Scenario("r"))
        live.call_sid, live.status = call.call_sid, "in-progress"
        self.carrier.calls[call.call_sid] = live

    @property
    def made(self) -> list[Any]:
        return list(self.book.made.values())

    def ends(self, call: Call) -> None:
        for made in self.made:
            made.stop()
        Call.objects.filter(pk=call.pk).update(
            status="ended", ended_at=timezone.now(), ended_reason="customer-ended-call"
        )


@pytest.fixture(autouse=True)
def twilio(monkeypatch: pytest.MonkeyPatch) -> Twilio:
    return Twilio(monkeypatch)


@pytest.fixture
def calls() -> Iterator[list[Call]]:
    made: list[Call] = []
    yield made
    for call in made:
        sound_delete(call.pk)


@pytest.fixture
def a_call(twilio: Twilio, calls: list[Call]) -> Any:
    def make(consent: str = "none", document: Any = None, **columns: Any) -> Call:
        organisation = factories.default_organisation()
        organisation.records_calls = True
        organisation.save()
        policy = factories.make_policy(recording_consent=consent, wordings={"en": "Recorded."})
        call = factories.make_call(
            number=factories.make_number(policy=policy),
            caller=NUMBER,
            policy_wording=policy.wordings.get(),
            **columns,
        )
        if document is not None:
            revision = call.revision
            assert revision is not None
            rows: QuerySet[Any] = QuerySet(type(revision)).filter(
                pk=revision.pk
            )  # its own manager refuses
            rows.update(document=document, document_redacted=document)
        twilio.knows(call)
        calls.append(call)
        return call

    return make


def _row(call: Call) -> Recording:
    return Recording.objects.get(call=call)


def _due() -> int:
    Recording.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())
    RecordingRemoval.objects.update(next_attempt_at=timezone.now())
    return recordings_work()


def _told(call: Call, twilio: Twilio, status: str = "completed", **fields: str) -> bool:
    form = {
        "CallSid": call.call_sid,
        "RecordingSid": twilio.made[0].sid,
        "RecordingStatus": status,
        "RecordingDuration": "3",
        "RecordingChannels": "2",
        **fields,
    }
    return recording_report_apply(report=recording_report(form), account=call.twilio_account)


def _stored(call: Call, twilio: Twilio) -> Recording:
    recording_review(call.pk)
    _due()
    twilio.ends(call)
    _told(call, twilio)
    _due()
    row = _row(call)
    assert row.state == "stored", row.problem
    return row


def test_a_recorded_call_is_fetched_checked_and_then_deleted_at_twilio(
    twilio: Twilio, a_call: Any
) -> None:
    call = a_call()
    recording_review(call.pk)
    recording_review(call.pk)
    assert _row(call).state == "wanted" and twilio.made == []
    assert recordings_work() == 1
    (made,) = twilio.made
    assert (made.channels, made.callback) == (2, "https://voice.example.com/twilio/recording")
    assert _row(call).state == "recording" and recordings_work() == 0
    made.misses = 2
    twilio.ends(call)
    assert _told(call, twilio) and _told(call, twilio)  # Twilio repeats
    for _ in range(2):  # not ready at hang-up: 404 (twilio.md 4.5)
        recordings_work()
        assert _row(call).state == "ready" and "no file" in _row(call).problem
        Recording.objects.update(next_attempt_at=timezone.now())
    assert twilio.account.recordings
    recordings_work()
    row = _row(call)
    assert row.state == "stored" and row.size_bytes and len(row.sha256) == 64
    assert path_of(call.pk).is_file()
    recordings_work()
    assert twilio.account.recordings == {} and not RecordingRemoval.objects.exists()
    assert _told(call, twilio, "in-progress") and _row(call).state == "stored"
    call = Call.objects.get(pk=call.pk)
    artifact = artifact_object(call)
    assert "/mono-recording?" in artifact["recordingUrl"]
    assert artifact["recording"]["stereoUrl"] == artifact["stereoRecordingUrl"]
    assert "twilio" not in json.dumps(artifact).lower()


def test_twilio_keeps_its_copy_where_the_organisation_says_so(twilio: Twilio, a_call: Any) -> None:
    call = a_call()
    organisation = call.organisation
    organisation.keeps_recordings_at_carrier = True
    organisation.save()
    _stored(call, twilio)
    _due()
    assert twilio.account.recordings and not RecordingRemoval.objects.exists()


@pytest.mark.parametrize(
    "document",
    [
        {"artifactPlan": {"recordingEnabled": False}},
        {"recordingEnabled": False},
        {"compliancePlan": {"hipaaEnabled": True}},
        {"artifactPlan": {"recordingEnabled": True}, "hipaaEnabled": True},
    ],
)
def test_an_assistant_that_does_not_want_it_or_keeps_nothing_is_not_recorded(
    a_call: Any, document: dict[str, Any]
) -> None:
    call = a_call(document=document)
    recording_review(call.pk)
    assert not Recording.objects.exists()


def test_no_recording_without_the_switch_under_a_masking_rule_or_under_ask(a_call: Any) -> None:
    asked = a_call("ask", policy_played_at=timezone.now())
    refused = a_call(policy_refused_at=timezone.now())
    plain = a_call()
    for call in (asked, refused):
        recording_review(call.pk)
    RedactionRule.objects.create(effective_from=dt.date(2026, 1, 1))
    recording_review(plain.pk)
    RedactionRule.objects.all().delete()
    organisation = plain.organisation
    organisation.records_calls = False
    organisation.save()
    recording_review(plain.pk)
    assert not Recording.objects.exists()


def _batch(call: Call, **news: Any) -> None:
    given: dict[str, Any] = {"turns": [], "tools": [], "policy": None, "pieces": []}
    batch_store(call_id=str(call.pk), stream_number=1, **given | news)


def test_a_notice_is_heard_before_anything_is_recorded(twilio: Twilio, a_call: Any) -> None:
    call = a_call("notice")
    recording_review(call.pk)
    _batch(call)
    assert not Recording.objects.exists()
    _batch(call, policy=PolicyLinePlayed(at_ms=900))
    assert recordings_work() == 1 and len(twilio.made) == 1


@pytest.mark.parametrize("moment", ["before it begins", "while it goes on", "when it is stored"])
def test_a_refusal_takes_the_recording_away_here_and_at_twilio(
    twilio: Twilio, a_call: Any, moment: str
) -> None:
    call = a_call()
    recording_review(call.pk)
    if moment != "before it begins":
        _due()
        assert twilio.made[0].status == "in-progress"
    if moment == "when it is stored":
        twilio.made[0].stop()
        _told(call, twilio)
        _due()
    _batch(call, refused=True)
    _due()
    assert _row(call).state == "removed" and not path_of(call.pk).exists()
    assert twilio.account.recordings == {} and not RecordingRemoval.objects.exists()
    assert all(made.status == "completed" for made in twilio.made)
    if twilio.made:
        assert _told(call, twilio) and _row(call).state == "removed"


def test_a_refusal_while_twilio_is_being_asked_takes_away_what_began(
    twilio: Twilio, a_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = a_call()
    recording_review(call.pk)
    begin = carrier_recordings.recording_begin

    def refused_meanwhile(*args: Any, **options: Any) -> Any:
        made = begin(*args, **options)
        _batch(call, refused=True)
        return made

    monkeypatch.setattr(carrier_recordings, "recording_begin", refused_meanwhile)
    _due()
    assert len(twilio.made) == 1
    _due()
    assert twilio.account.recordings == {} and _row(call).state == "removed"


def test_an_answer_that_was_lost_makes_no_second_recording(
    twilio: Twilio, a_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = a_call()
    recording_review(call.pk)
    create = twilio.account.handle

    def lost(method: str, path: str, form: Any) -> Any:
        create(method, path, form)
        raise RestError(500, 20500, "lost")

    monkeypatch.setattr(twilio.account, "handle", lost)
    _due()
    assert _row(call).state == "wanted" and "500" in _row(call).problem
    monkeypatch.setattr(twilio.account, "handle", create)
    _due()
    assert len(twilio.made) == 1 and _row(call).recording_sid == twilio.made[0].sid


def test_a_lost_callback_is_asked_for_and_a_call_that_is_over_is_not_recorded(
    twilio: Twilio, a_call: Any
) -> None:
    call, late = a_call(), a_call()
    recording_review(call.pk)
    recordings_work()
    recording_review(late.pk)
    twilio.carrier.calls[late.call_sid].ended_at = timezone.now()
    twilio.ends(call)
    assert recordings_work() == 1
    assert _row(late).state == "failed" and "over" in _row(late).problem
    Call.objects.filter(pk=call.pk).update(ended_at=timezone.now() - dt.timedelta(minutes=3))
    _due()
    _due()
    assert _row(call).state in {"ready", "stored"}


@pytest.mark.parametrize(("status", "state"), [("absent", "absent"), ("failed", "failed")])
def test_what_twilio_could_not_record_is_said(
    twilio: Twilio, a_call: Any, status: str, state: str
) -> None:
    call = a_call()
    recording_review(call.pk)
    _due()
    _told(call, twilio, status, ErrorCode="16102")
    row = _row(call)
    assert (row.state, row.next_attempt_at) == (state, None) and "16102" in row.problem


def test_a_callback_of_another_account_or_recording_changes_nothing(
    twilio: Twilio, a_call: Any
) -> None:
    call = a_call()
    recording_review(call.pk)
    _due()
    other = factories.make_account(factories.make_organisation())
    form = {"CallSid": call.call_sid, "RecordingSid": "RE" + "9" * 32}
    report = recording_report(form | {"RecordingStatus": "completed"})
    assert not recording_report_apply(report=report, account=other)
    assert recording_report_apply(report=report, account=call.twilio_account)
    assert _row(call).state == "recording"


def test_a_fetch_is_given_up_in_the_end_and_a_deletion_never(twilio: Twilio, a_call: Any) -> None:
    call = a_call()
    recording_review(call.pk)
    _due()
    twilio.ends(call)
    _told(call, twilio)
    twilio.down = True
    Recording.objects.update(attempts=recording_work.MOST_ATTEMPTS["ready"] - 1)
    _due()
    assert _row(call).state == "failed" and "503" in _row(call).problem
    removal = factories.make_removal(call.twilio_account, call_sid=call.call_sid, attempts=5000)
    _due()
    removal.refresh_from_db()
    assert "could not be asked" in removal.problem and removal.next_attempt_at > timezone.now()
    twilio.down = False
    _due()
    assert not RecordingRemoval.objects.exists() and twilio.account.recordings == {}


def test_an_erasure_takes_file_row_and_twilios_copy_and_owes_what_twilio_does_not_do(
    twilio: Twilio, a_call: Any
) -> None:
    call = a_call()
    organisation = call.organisation
    organisation.keeps_recordings_at_carrier = True
    organisation.save()
    _stored(call, twilio)
    found = caller_export(organisation=organisation, number=NUMBER, actor=None)
    sound = base64.b64decode(found["calls"][0]["recording_wav_b64"])
    assert sound[:4] == b"RIFF"
    twilio.down = True
    tombstone = caller_erase(organisation=organisation, number=NUMBER, actor=None)
    assert not path_of(call.pk).exists() and not Recording.objects.exists()
    assert "tried again" in tombstone.problems[0]
    twilio.down = False
    _due()
    assert twilio.account.recordings == {} and not RecordingRemoval.objects.exists()


def test_retention_and_a_deleted_call_take_the_recording_along(
    twilio: Twilio, a_call: Any, django_capture_on_commit_callbacks: Any
) -> None:
    kept, deleted = a_call(), a_call()
    for call in (kept, deleted):
        factories.make_recording(call)
        twilio.ends(call)
    rule = rule_of(kept.organisation)
    assert rule.recording_days == 90
    Call.objects.filter(pk=kept.pk).update(created_at=timezone.now() - dt.timedelta(days=91))
    retention_run()
    with django_capture_on_commit_callbacks(execute=True):
        call_erase(call=Call.objects.get(pk=deleted.pk), actor=None)
    assert not path_of(deleted.pk).exists()
    assert RecordingRemoval.objects.count() == 2
    _due()
    assert _row(kept).state == "removed" and not path_of(kept.pk).exists()
    assert not RecordingRemoval.objects.exists()


def test_whole_calls_that_go_leave_no_sound(twilio: Twilio, a_call: Any) -> None:
    call = a_call(status="ended")
    factories.make_recording(call)
    rule = rule_of(call.organisation)
    rule.call_days, rule.recording_days = 10, None
    rule.save()
    Call.objects.filter(pk=call.pk).update(created_at=timezone.now() - dt.timedelta(days=11))
    retention_run()
    assert not Call.objects.filter(pk=call.pk).exists() and not path_of(call.pk).exists()
    assert RecordingRemoval.objects.get().call_sid == call.call_sid


def test_a_recording_is_given_to_keys_addresses_and_people_and_each_time_is_audited(
    client: Client, twilio: Twilio, a_call: Any
) -> None:
    call = a_call(status="ended")
    row = factories.make_recording(call)
    _, reads = factories.make_api_key(call.organisation, scopes=("read", "transcripts"))
    _, bare = factories.make_api_key(call.organisation, scopes=("read",))
    path = f"/call/{call.pk}/stereo-recording"
    answer = client.get(path, headers={"authorization": f"Bearer {reads}"})
    whole = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert len(whole) == row.size_bytes == int(answer["Content-Length"])
    part = client.get(path, headers={"authorization": f"Bearer {reads}", "range": "bytes=10-19"})
    assert part.status_code == 206 and b"".join(part.streaming_content) == whole[10:20]  # type: ignore[attr-defined]
    assert client.get(path, headers={"authorization": f"Bearer {bare}"}).status_code == 403
    assert client.get(path).status_code == 401
    shown = client.get(f"/call/{call.pk}", headers={"authorization": f"Bearer {reads}"}).json()
    for name, size in (("recordingUrl", 44 + (len(whole) - 44) // 2), ("stereoRecordingUrl", None)):
        own = shown["artifact"][name].partition("voice.example.com")[2]
        given = client.get(own)
        sound = b"".join(given.streaming_content)  # type: ignore[attr-defined]
        assert (given.status_code, len(sound)) == (200, size or len(whole))
        other = "y" if own.endswith("x") else "x"
        assert client.get(own[:-1] + other).status_code == 401
        assert client.get(own.replace("expires=1", "expires=2")).status_code == 401
    staff = factories.make_staff(call.organisation, "all")
    client.force_login(staff)
    page = f"/admin/calls/call/{call.pk}/"
    assert f'src="{page}recording/"' in client.get(f"{page}change/").content.decode()
    assert client.get(f"{page}recording/").status_code == 200
    plays = AuditEntry.objects.filter(action="recording.play", target_id=str(call.pk))
    assert sorted(entry.details["through"] for entry in plays) == ["admin", *["api"] * 4]
    path_of(call.pk).unlink()
    assert client.get(f"{page}recording/").status_code == 404
    client.force_login(factories.make_staff(call.organisation, ["calls.view_call"]))
    assert client.get(f"{page}recording/").status_code == 403
