"""The check of readiness: what is planted is found, what fails hides nothing, and it ends once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db.models import TextField, Value
from django.utils import timezone

from assistants.selectors import NUMBER_KIND
from calls.doctor.checks import Result
from calls.models import AccountFacts, ModelLimit, NumberReadiness, PhoneNumber, TwilioAccount
from calls.services import readiness
from calls.services.call_finish import stream_finish
from calls.services.readiness import readiness_begin, readiness_daily, readiness_of
from calls.services.readiness_gate import blockers_of
from calls.telephony.twilio_rest import TwilioRest
from tests import factories
from tests.integration.api.client import Rest
from tests.integration.readiness.conftest import Office, policy
from voiceplatform.base.jobs import JobLost
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def codes(row: NumberReadiness, *weights: str) -> set[str]:
    return {each["code"] for each in row.findings if each["weight"] in (weights or ("blocks",))}


def kept(organisation: Any, **document: Any) -> Any:
    """Keep a number as an import does that cannot be served here."""
    return factories.make_resource(organisation, NUMBER_KIND, **document)


def test_six_planted_blockers_of_different_kinds_are_found_and_none_is_invented(
    office: Office,
) -> None:
    organisation = office.twilio.account.organisation
    planted = {
        office.number(policy=policy(reviewed=False)).number_e164: {"policy_unreviewed"},
        office.number(assistant=None).number_e164: {"no_assistant"},
        office.number(health_data=True).number_e164: {"contract"},
        office.number(resource={"voice_receive_mode": "fax"}).number_e164: {"not_voice"},
    }
    elsewhere = office.number()
    routed = office.twilio.rest.carrier.numbers.voice_regions
    routed[elsewhere.twilio_sid] = "br1"
    planted[elsewhere.number_e164] = {"region_without_streams"}
    kept(organisation, provider="vapi", number="+15550190009", name="Bought there")
    planted["+15550190009"] = {"vapi_owned"}
    ready = [office.number(kind).number_e164 for kind in (0, 2, 6)]
    job = office.check()
    assert job.state == Job.State.DONE, job.message
    found = office.found()
    assert {number: codes(row) for number, row in found.items()} == {
        **planted,
        **{number: set() for number in ready},
    }
    assert {found[number].colour for number in planted} == {"red"}
    for number in ready:
        assert codes(found[number], "look", "unknown") == set(), found[number].findings
        assert found[number].colour == "green"
    for row in found.values():
        assert row.next_step and len(row.reason) <= 90
    assert job.message.startswith("3 ready, 6 blocked")
    office.twilio.assert_decent()
    assert {method for method, _, _ in office.twilio.standins.app.twilio.log} == {"GET"}


def test_a_number_is_one_row_wherever_it_is(office: Office) -> None:
    organisation = office.twilio.account.organisation
    here = office.number()
    text = f"{here.number_e164[:2]} {here.number_e164[2:5]} {here.number_e164[5:]}"
    kept(organisation, provider="twilio", number=text)
    office.twilio.rest.carrier.numbers.add("+15550190001", voice_url="https://x.example/v")
    kept(
        organisation,
        provider="twilio",
        number="+15550190002",
        twilioAccountSid="AC" + "e" * 32,
    )
    office.check()
    found = office.found()
    assert set(found) == {here.number_e164, "+15550190001", "+15550190002"}
    row = found[here.number_e164]
    assert row.number == here and row.companion_id is not None and row.colour == "green"
    assert codes(found["+15550190001"]) == {"not_here"}
    assert found["+15550190001"].next_link == "number_add"
    assert codes(found["+15550190002"]) == {"not_in_account"}
    assert readiness_of(here) == row and blockers_of(here) == ()


def test_text_messages_are_told_of_without_their_secret(office: Office) -> None:
    here = office.number(0)
    office.check()
    row = office.found()[here.number_e164]
    assert "texts" in codes(row, "note")
    said = str(row.facts) + str(row.findings)
    assert "keep" not in said and "AP" + "9" * 32 in said


def test_an_account_that_does_not_answer_hides_no_other_one(office: Office) -> None:
    here = office.number()
    other = factories.make_account(name="Gone", api_base_url="http://127.0.0.1:9")
    # With a connection of its own: how busy that one was cannot be known.
    away = office.number(twilio_account=other, connection=factories.make_connection())
    del office.twilio.rest.carrier.numbers.resources[away.twilio_sid]
    job = office.check(within_seconds=0)
    found = office.found()
    assert found[here.number_e164].colour == "green"
    assert found[away.number_e164].colour == "grey"
    assert codes(found[away.number_e164], "unknown") >= {"account_unread"}
    assert "Gone" in job.message and job.state == Job.State.DONE
    facts = AccountFacts.objects.get(account=other)
    assert facts.error and facts.checked_at is None


def test_a_token_that_no_key_opens_hides_no_other_account(office: Office) -> None:
    here = office.number()
    sealed = factories.make_account(name="Sealed")
    lost = office.number(twilio_account=sealed, connection=factories.make_connection())
    del office.twilio.rest.carrier.numbers.resources[lost.twilio_sid]
    raw = Value("gAAAAAno-key-of-ours-made-this", output_field=TextField())
    TwilioAccount.objects.filter(pk=sealed.pk).update(auth_token=raw)
    job = office.check()
    assert job.state == Job.State.DONE and "Sealed: its token was sealed" in job.message
    found = office.found()
    assert found[here.number_e164].colour == "green", found[here.number_e164].findings
    assert found[lost.number_e164].colour == "grey"
    assert "not_readable" in codes(found[lost.number_e164], "unknown")


def test_too_many_requests_are_waited_out(office: Office) -> None:
    here = office.number()
    office.twilio.fault(status=429, method="GET", path="PhoneNumbers", times=3, retry_after="1")
    job = office.check()
    assert job.state == Job.State.DONE
    row = office.found()[here.number_e164]
    assert row.colour == "green", row.findings


def test_what_is_nowhere_any_more_is_dropped_and_a_second_check_changes_nothing(
    office: Office,
) -> None:
    here = office.number()
    numbers = office.twilio.rest.carrier.numbers
    gone = numbers.add("+15550190003", voice_url="https://x.example/v")
    office.check()
    before = {row.number_e164: (row.pk, row.findings) for row in office.found().values()}
    assert set(before) == {here.number_e164, "+15550190003"}
    del numbers.resources[gone["sid"]]
    office.check()
    after = {row.number_e164: (row.pk, row.findings) for row in office.found().values()}
    assert after == {here.number_e164: before[here.number_e164]}


def test_what_staff_entered_outlives_a_check(office: Office) -> None:
    office.number()
    AccountFacts.objects.update(calls_per_second=5, entered_at=timezone.now())
    office.check()
    facts = AccountFacts.objects.get()
    assert (facts.profile, facts.calls_per_second, facts.numbers_listed) == ("business", 5, 1)
    assert (facts.peak_calls, facts.status) == (0, "active")


def test_the_doctor_is_heard(office: Office) -> None:
    here = office.number()
    office.said_by_doctor = (
        Result("media socket", "failed", "InvalidURI", "Let the proxy pass upgrades."),
        Result(f"session {office.connection.name}", "ok", "open"),
        Result("session of another one", "failed", "no such model"),
    )
    office.check()
    row = office.found()[here.number_e164]
    assert codes(row) == {"doctor_media_socket"}
    assert row.reason == "media socket: InvalidURI"


def test_who_lost_the_job_writes_nothing_more(office: Office) -> None:
    office.number()

    def overtaken(accounts: Any, connections: Any) -> list[Result]:
        Job.objects.update(parameters={"lease": {"token": "another", "until": 9e12}})
        return [Result("public URL", "ok", "fine")]

    job = readiness_begin(organisation=office.twilio.account.organisation, actor=None)
    readiness.readiness_run(job.pk, examine=overtaken, rest=TwilioRest)
    assert not NumberReadiness.objects.exists()
    job.refresh_from_db()
    assert job.state == Job.State.RUNNING


def test_a_cancelled_check_keeps_what_was_known(office: Office) -> None:
    office.number()
    office.check()
    before = NumberReadiness.objects.get().checked_at

    def cancelled(accounts: Any, connections: Any) -> list[Result]:
        Job.objects.update(cancel_requested=True)
        return []

    job = readiness_begin(organisation=office.twilio.account.organisation, actor=None)
    PhoneNumber.objects.update(name="Changed")
    readiness.readiness_run(job.pk, examine=cancelled, rest=TwilioRest)
    job.refresh_from_db()
    assert job.state in (Job.State.CANCELLED, Job.State.DONE)
    assert NumberReadiness.objects.get().checked_at >= before


def test_numbers_that_nobody_checked_are_checked_by_the_clock_after_a_day(office: Office) -> None:
    later = timezone.now() + readiness.EVERY * 2
    assert readiness_daily(later) == 0, "there is no number"
    office.number()
    assert readiness_daily() == 0, "whoever has just entered it is still at work"
    assert readiness_daily(later) == 1
    assert Job.objects.filter(kind=readiness.KIND).count() == 1


def test_after_a_persons_check_the_next_one_is_the_clocks(office: Office) -> None:
    organisation = office.twilio.account.organisation
    assert readiness_daily() == 0
    job = readiness_begin(organisation=organisation, actor=None)
    assert readiness_begin(organisation=organisation, actor=None) == job
    assert readiness_daily() == 0
    assert readiness_daily(timezone.now() + readiness.EVERY * 2) == 1
    assert Job.objects.filter(kind=readiness.KIND).count() == 1


def test_job_lost_is_what_a_fence_raises(office: Office) -> None:
    from voiceplatform.base.jobs import job_claim

    job = readiness_begin(organisation=office.twilio.account.organisation, actor=None)
    running = job_claim(job.pk)
    assert running is not None
    running.hold()
    Job.objects.update(parameters={"lease": {"token": "another", "until": 9e12}})
    with pytest.raises(JobLost):
        running.hold()


def test_programs_read_what_the_last_check_found(office: Office) -> None:
    here = office.number(policy=policy(reviewed=False))
    rest = Rest()
    rest.key.organisation = here.organisation
    rest.key.save(update_fields=["organisation"])
    url = f"/phone-number/{here.pk}/readiness"
    before = rest("GET", url).json()
    assert (before["colour"], before["checkedAt"], before["findings"]) == ("grey", None, [])
    office.check()
    after = rest("GET", url).json()
    assert after["phoneNumberId"] == str(here.pk) and after["checkedAt"]
    assert (after["colour"], after["reason"]) == ("red", "Its call policy is not reviewed")
    assert blockers_of(here) == ("Its call policy is not reviewed",)


def test_what_a_call_was_told_of_its_limits_is_kept_when_its_stream_is_over(
    office: Office, django_capture_on_commit_callbacks: Any
) -> None:
    call = factories.make_call(number=office.number(), connection=office.connection)
    said = {"model": "gpt-realtime-2.1", "tokens": {"limit": 40_000, "remaining": 39_000}}
    with django_capture_on_commit_callbacks(execute=True):
        stream_finish(
            call_id=str(call.pk),
            ended_reason="customer-ended-call",
            call_over=True,
            metrics={"stream_ms": 1, "rate_limits": said},
        )
    row = ModelLimit.objects.get(source=ModelLimit.Source.LIVE)
    assert (row.connection, row.model, row.name) == (
        office.connection,
        "gpt-realtime-2.1",
        "tokens",
    )
    assert (row.limit, row.remaining) == (40_000, 39_000)


def test_last_months_calls_decide_whether_the_model_is_enough(office: Office) -> None:
    here = office.number()
    now = timezone.now()
    for _ in range(12):
        factories.make_call(
            number=here,
            twilio_account=office.twilio.account,
            connection=office.connection,
            status="ended",
            ended_at=now + dt.timedelta(minutes=5),
            metrics={
                "streams": [
                    {
                        "stream_ms": 60_000,
                        "responses": 4,
                        "counters": {"input_tokens": 3_000, "output_tokens": 1_000},
                    }
                ]
            },
        )
    office.check()
    row = office.found()[here.number_e164]
    assert codes(row) == {"model_too_small"}  # 12 at once, 18 with margin, 4,000 tokens each
    assert row.reason == "The model allows 40000 tokens a minute; 72000 are needed"
    assert AccountFacts.objects.get().peak_calls == 12
