"""A caller is erased from every table, file and recording, and is told of by nobody afterwards."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone
from requests import ConnectTimeout
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from assistants.models import StoredResource
from calls.models import (
    AssistantActivation,
    Call,
    CallHandover,
    CallInputChunk,
    Erasure,
    ImportedCall,
    MissedCall,
)
from calls.selectors.erasures import erased_sids
from calls.services import erasure
from calls.services.call_fixture import fixture_noted
from calls.services.call_records import call_rename
from calls.services.caller_export import caller_export
from calls.services.erasure import (
    CallerIsOnCall,
    NotANumber,
    caller_erase,
    calls_of_caller,
    erasure_preview,
)
from calls.services.erasure_jobs import KIND, erasure_run, erasure_start
from calls.services.reconciler import _note_missed
from calls.standins.twilio_account import AccountRest, RestError
from calls.standins.twilio_carrier import Carrier
from calls.telephony.twilio_client import CarrierCall
from tests import factories
from tests.integration.privacy.scan import where
from voiceplatform.base.models import AuditEntry, Job
from voiceplatform.base.services import audit_write

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NUMBER = "+14155550133"
WORDS = "parrot-words-of-jane-roe"


class Recordings:
    """Twilio's recordings behind the official SDK, without a socket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.held: dict[str, list[str]] = {}
        self.fails: Exception | int | None = None
        recordings = self

        def request(self: Any, method: str, uri: str, *args: Any, **kwargs: Any) -> Response:
            recordings.asked.append(f"{method} {uri.partition('/Accounts/')[2].partition('/')[2]}")
            if isinstance(recordings.fails, Exception):
                raise recordings.fails
            if recordings.fails:
                return Response(recordings.fails, json.dumps({"message": "no", "code": 20500}))
            sid = uri.rpartition("/")[2].removesuffix(".json")
            if method == "DELETE":
                for held in recordings.held.values():
                    if sid in held:
                        held.remove(sid)
                return Response(204, "")
            call_sid = uri.split("/Calls/")[1].split("/")[0]
            rows = [
                {"sid": each, "call_sid": call_sid} for each in recordings.held.get(call_sid, [])
            ]
            page = {"recordings": rows, "next_page_uri": None, "page_size": 50}
            return Response(200, json.dumps(page))

        monkeypatch.setattr(TwilioHttpClient, "request", request)


@pytest.fixture(autouse=True)
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    return Recordings(monkeypatch)


def a_call(**columns: Any) -> Call:
    """Make an ended call of the caller that left something in every table that calls reach."""
    call = factories.make_call(
        **{"caller": NUMBER, "status": "ended", "metrics": {"note": WORDS}} | columns,
        turns=[{"text": f"Hello {WORDS}", "text_unheard": WORDS}],
        tool_invocations=[{"arguments_json": json.dumps({"a": WORDS}), "output": WORDS}],
    )
    exchange = factories.make_tool_exchange(call, request=WORDS, response=f"{WORDS} {NUMBER}")
    call.tool_invocations.update(exchange=exchange)
    CallInputChunk.objects.create(call=call, ordinal=0, data=zlib.compress(WORDS.encode()))
    event = factories.make_event(call=call, payload={"customer": NUMBER, "said": WORDS})
    factories.make_attempt(event, response_excerpt=WORDS)
    factories.make_refusal(call.account, call=call, url=f"https://x.example/{call.pk}")
    factories.make_control(call, text=WORDS)
    factories.make_recording(call)
    missed = factories.make_missed_call(call.number, caller=NUMBER)
    for call_sid in (call.call_sid, missed.call_sid):
        factories.make_firing(call.number, call_sid=call_sid)
    factories.make_incident(call.number, calls=(call,))
    AssistantActivation.objects.create(
        call=call,
        ordinal=0,
        revision=call.revision,
        started_ms=0,
        first_ordinal=0,
        variables={"a": WORDS},
    )
    CallHandover.objects.create(
        call=call,
        attempt_ms=10_000,
        instead="fallback",
        outcome={"reason": WORDS},
        answer={"body": WORDS},
        status_asked={"fields": NUMBER},
    )
    factories.make_scenario(source="extracted", source_call=call, document={"caller": WORDS})
    factories.make_shadow_call(factories.make_run(), call, problem=WORDS)
    factories.make_parity_call(
        factories.make_run(),
        source_call=call,
        document={"caller": WORDS},
        sequence={"tools": WORDS},
        transcript=[WORDS],
    )
    live = factories.make_parity_call(factories.make_run(kind="live"))
    factories.make_run_dial(live, call=call, number=call.number, heard=[[{"text": WORDS}]])
    factories.make_caller_clip(live.run, source_call=call, audio_mulaw=WORDS.encode())
    ImportedCall.objects.create(
        call=call,
        organisation=call.organisation,
        log_id=str(uuid.uuid4()),
        facts={"note": WORDS},
        recordings={"stereo": f"https://x.example/{call.pk}"},
    )
    call_rename(call=call, name=WORDS, actor=None)
    audit_write(actor=None, action="t", organisation=call.organisation, details={"to": NUMBER})
    LogEntry.objects.create(
        user=factories.make_user(), object_id=str(call.pk), object_repr=WORDS, action_flag=2
    )
    factories.make_job(call.organisation, finished_at=timezone.now(), parameters={"to": NUMBER})
    return call


@pytest.fixture
def instance_file() -> Iterator[Path]:
    made: list[Path] = []
    folder = Path(settings.VAR_DIR) / "spool"

    def make(name: str, text: str = WORDS) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(text, encoding="utf-8")
        made.append(path)
        return path

    yield make  # type: ignore[misc]  # a function that makes files
    for path in made:
        path.unlink(missing_ok=True)


def test_after_an_erasure_nothing_planted_is_in_any_row_or_file(
    recordings: Recordings, instance_file: Any, tmp_path: Path
) -> None:
    call, outbound = a_call(), a_call(direction="outbound", caller="+15550100001", callee=NUMBER)
    other = factories.make_call(caller="+14155550199", status="ended", turns=[{"text": "Stays"}])
    recordings.held[call.call_sid] = ["RE1", "RE2"]
    spool = instance_file(f"{call.pk}.inputs")
    fixture = tmp_path / "test_call.py"
    fixture.write_text(f'"""erase-marker: call_id={call.pk}"""\n{WORDS}', encoding="utf-8")
    fixture_noted(call, [fixture])
    for planted in (NUMBER, WORDS):
        assert len(where(planted)) >= 10
    tombstone = caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    for planted in (NUMBER, WORDS, str(call.pk), outbound.call_sid):
        left = [
            line for line in where(planted) if "target_id=" not in line and "object_id=" not in line
        ]
        assert left == [], planted
    assert not spool.exists() and not fixture.exists()
    assert recordings.held[call.call_sid] == []
    assert Call.objects.get() == other and other.turns.get().text == "Stays"
    assert tombstone.problems == []
    assert tombstone.counts["calls.call"] == 2 and tombstone.counts["recordings at Twilio"] == 2
    assert tombstone.counts["files"] == 4 and tombstone.counts["calls.turn"] == 2
    assert tombstone.finished_at is not None
    entry = AuditEntry.objects.get(action="caller.erase")
    assert entry.target_id == str(tombstone.pk) and entry.details["counts"]["calls.call"] == 2
    # What was done to the calls stays told, without the calls' names.
    assert AuditEntry.objects.filter(action="call.rename", target_label="erased").count() == 2


def test_every_table_that_hangs_on_a_call_is_planted_above() -> None:
    """A table that is added later must be planted here too, or nothing proves that it is erased."""
    a_call()
    tables = set(
        erasure_preview(organisation=factories.default_organisation(), number=NUMBER).counts
    )
    reached = {model._meta.label_lower for model in _below_all(Call)}
    assert reached <= tables, f"plant rows of {reached - tables} in a_call()"


def _below_all(model: Any) -> set[Any]:
    from calls.services.call_rows import below

    found = {child for child, _ in below(model)}
    return found.union(*(_below_all(child) for child in found))


def test_a_call_that_twilio_still_lists_is_not_written_down_again() -> None:
    call, other = a_call(), factories.make_call(status="ended")
    missed = MissedCall.objects.get()
    caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    sids = [call.call_sid, missed.call_sid, other.call_sid]
    assert erased_sids(sids) == {call.call_sid, missed.call_sid}
    now = timezone.now()
    listed = CarrierCall(
        call_sid=call.call_sid, status="completed", direction="inbound", from_=NUMBER,
        to=call.callee, started_at=now - dt.timedelta(hours=1),
        ended_at=now - dt.timedelta(minutes=50),
        duration_seconds=600,
    )  # fmt: skip
    type(call.number).objects.update(updated_at=now - dt.timedelta(days=1))
    assert _note_missed(call.account, [listed], now) == 0
    assert _note_missed(call.account, [replace(listed, call_sid="CA" + "0" * 32)], now) == 1


def test_a_second_erasure_finds_nothing_and_says_so() -> None:
    call = a_call()
    caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    again = caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    assert again.counts == {} and again.problems == []


def test_other_organisations_keep_their_calls_of_the_same_person() -> None:
    theirs = a_call(organisation=factories.make_organisation())
    mine = a_call()
    caller_erase(organisation=mine.organisation, number=NUMBER, actor="system")
    assert list(Call.objects.all()) == [theirs]
    assert theirs.turns.exists()


def test_while_a_call_goes_on_nothing_is_erased() -> None:
    call = a_call()
    factories.make_call(caller=NUMBER, status="in-progress")
    for act in (erasure_preview, lambda **given: caller_erase(**given, actor="system")):
        with pytest.raises(CallerIsOnCall, match="Fix: end the call"):
            act(organisation=call.organisation, number=NUMBER)
    assert call.turns.exists() and not Erasure.objects.exists()


def test_the_caller_is_the_other_side_of_either_direction() -> None:
    organisation = factories.default_organisation()
    inbound = factories.make_call(caller=NUMBER)
    outbound = factories.make_call(direction="outbound", callee=NUMBER)
    factories.make_call(direction="outbound", caller=NUMBER)  # our own number, one of ours calls
    factories.make_call(callee=NUMBER)
    assert set(calls_of_caller(organisation, NUMBER)) == {inbound, outbound}


@pytest.mark.parametrize("number", ["4155550133", "", "anonymous", "+1", "+1415555013x"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(NotANumber, match="Fix"):
        caller_erase(organisation=factories.default_organisation(), number=number, actor="system")


@pytest.mark.parametrize("failure", [500, 429, ConnectTimeout()])
def test_a_recording_that_may_remain_is_a_problem_that_names_it(
    recordings: Recordings, failure: Any
) -> None:
    call = a_call()
    recordings.fails = failure
    tombstone = caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    assert len(tombstone.problems) == 1 and call.call_sid in tombstone.problems[0]
    assert where(WORDS) == []


def test_what_cannot_be_erased_by_itself_is_named(instance_file: Any) -> None:
    call = a_call()
    factories.make_resource(call.organisation, customer={"number": NUMBER})
    path = instance_file("notes.txt", f"call {NUMBER} back")
    tombstone = caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    assert len(tombstone.problems) == 2
    assert (
        "1 stored resources" in tombstone.problems[0] and "spool/notes.txt" in tombstone.problems[1]
    )
    assert path.exists() and StoredResource.objects.exists()


def test_a_test_that_was_replaced_since_is_not_deleted(tmp_path: Path) -> None:
    call = a_call()
    path = tmp_path / "test_call.py"
    path.write_text("something else", encoding="utf-8")
    fixture_noted(call, [path, path])
    caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    assert path.exists()


def test_the_command_counts_first_and_erases_then() -> None:
    a_call()
    out = io.StringIO()
    call_command("erase_caller", NUMBER, "--dry-run", "--json", stdout=out)
    body = json.loads(out.getvalue())
    assert body["ok"] and body["dry_run"] and body["erased"]["calls.call"] == 1
    assert Call.objects.exists() and not Erasure.objects.exists()
    out = io.StringIO()
    call_command("erase_caller", NUMBER, stdout=out)
    assert "calls.call: 1" in out.getvalue() and NUMBER not in out.getvalue()
    assert not Call.objects.exists()
    with pytest.raises(CommandError, match="international form"):
        call_command("erase_caller", "0171")


def test_a_job_erases_and_its_number_is_gone_with_it(recordings: Recordings) -> None:
    call = a_call()
    actor = factories.make_superuser()
    job = erasure_start(organisation=call.organisation, number="+1 415 555 0133", actor=actor)
    assert job.kind == KIND and NUMBER not in json.dumps(job.parameters)
    erasure_run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE and job.message == "Erased, with 1 call."
    assert Erasure.objects.get().actor == f"user:{actor.username}"
    assert where(NUMBER) == []
    erasure_run(job.pk)  # another worker, late
    assert Erasure.objects.count() == 1


def test_a_job_that_meets_a_live_call_fails_with_the_reason() -> None:
    call = a_call(status="in-progress")
    job = erasure_start(organisation=call.organisation, number=NUMBER, actor=None)
    erasure_run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "Fix: end the call" in job.message
    assert call.turns.exists()


def test_an_export_holds_everything_and_is_audited(tmp_path: Path) -> None:
    call = a_call()
    target = tmp_path / "caller.json"
    call_command("export_caller", NUMBER, "--to", str(target), stdout=io.StringIO())
    assert target.stat().st_mode & 0o777 == 0o600
    whole = json.loads(target.read_text("utf-8"))
    assert whole["number"] == NUMBER and len(whole["calls"]) == 1
    found = whole["calls"][0]
    assert found["id"] == str(call.pk)
    assert found["turns"][0]["text"] == f"Hello {WORDS}"
    assert found["requests to tool servers"][0]["response"] == f"{WORDS} {NUMBER}"
    assert found["outbox events"][0]["payload"] == {"customer": NUMBER, "said": WORDS}
    assert found["given_by_clients"]["name"] == WORDS
    text = target.read_text("utf-8")
    assert "destination" not in found["outbox events"][0] and "hooks.example.com/vapi" not in text
    entry = AuditEntry.objects.get(action="caller.export")
    assert entry.details == {"calls": 1} and NUMBER not in str(entry.details)
    with pytest.raises(CommandError, match="cannot be made"):
        call_command("export_caller", NUMBER, "--to", str(target))
    with pytest.raises(CommandError, match="international form"):
        call_command("export_caller", "x", "--to", str(tmp_path / "other.json"))
    assert not (tmp_path / "other.json").exists()


def test_an_export_holds_nothing_that_opens_the_old_stack(tmp_path: Path) -> None:
    call = a_call()
    CallHandover.objects.filter(call=call).update(
        answer={"body": "old-stack-token"},
        cookies=[{"value": "old-stack-cookie"}],
        status_url="https://old.example/status?token=old-stack-key",
    )
    found = caller_export(organisation=call.organisation, number=NUMBER, actor=None)
    text = json.dumps(found)
    assert "both_reached" in text and "old-stack" not in text


def test_an_export_of_somebody_unknown_is_empty() -> None:
    found = caller_export(organisation=factories.default_organisation(), number=NUMBER, actor=None)
    assert found["calls"] == []


def test_the_stand_in_lists_and_deletes_recordings_of_a_call() -> None:
    async def talk() -> None:
        account = AccountRest(Carrier("https://voice.example.com", "token", "AC" + "1" * 32))
        account.carrier.calls["CA1"] = object()  # type: ignore[assignment]  # is only looked up
        account.recordings |= {"RE1": "CA1", "RE2": "CA2"}
        _, page = account.handle("GET", "/Calls/CA1/Recordings", {})
        assert [row["sid"] for row in page["recordings"]] == ["RE1"]
        assert account.handle("DELETE", "/Recordings/RE1", {}) == (204, {})
        with pytest.raises(RestError):
            account.handle("GET", "/Recordings/RE1", {})

    asyncio.run(talk())


def test_a_file_that_somebody_deletes_during_the_search_stops_no_erasure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spools and recordings of calls that are on come and go while a job looks for the number."""
    call = a_call()
    spool = Path(settings.VAR_DIR) / "spool"
    gone = [spool / "gone.inputs", spool / f"{call.pk}.inputs"]
    monkeypatch.setattr(erasure, "_instance_files", lambda: iter(gone))
    tombstone = caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    assert (tombstone.problems, Call.objects.count()) == ([], 0)
    assert tombstone.finished_at is not None
