"""The rows of a live run's calls: one for each place whatever Twilio answers; one that rings."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.db import connection
from django.utils import timezone

from calls.models import Call, ParityCall, ParityRun, RunDial
from calls.parity.live_caller import Event
from calls.parity.sequence import Sequence, ToolCall, sequence_dump, sequence_load
from calls.services import live_dials
from calls.services.live_dials import (
    DialRefused,
    DialUnclear,
    dial_claim,
    dial_hang_up,
    dial_look_up,
    dial_of,
    dial_place,
    dial_report,
    dial_taken,
    dial_void,
    has_waited,
    strangers_between,
)
from calls.services.live_lines import line_goes_on, line_left, line_next
from calls.services.retention import retention_run, rule_of
from calls.telephony.twilio_rest import TwilioRest
from tests import factories
from voiceplatform.base import http
from voiceplatform.base.jobs import job_create
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FROM = "+15550108888"
SID = "CA" + "1" * 32


class Wire(http.BaseTransport):
    """Answers in turn and keeps what was asked; the last answer is given for ever."""

    def __init__(self, *answers: http.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[http.Request]()

    def handle_request(self, request: http.Request) -> http.Response:
        """Answer."""
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def place(stack: str = "direct", **columns: Any) -> ParityCall:
    run = factories.make_run(kind="live", number=factories.make_number(), **columns)
    return factories.make_parity_call(run, stack=stack)


def rest(call: ParityCall, *answers: http.Response | Exception) -> tuple[TwilioRest, Wire]:
    wire = Wire(*answers)
    assert call.run.number is not None
    account = call.run.number.twilio_account
    return TwilioRest(account, within_seconds=0, sleep=lambda _: None, transport=wire), wire


def claim(call: ParityCall, **given: Any) -> RunDial | None:
    assert call.run.number is not None
    return dial_claim(call, **{"number": call.run.number, "caller_e164": FROM, **given})


@pytest.fixture
def no_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_dials, "BETWEEN", dt.timedelta(0))


def test_the_row_is_there_before_twilio_is_asked_and_names_itself_in_every_address() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None and dial.state == "claimed"
    twilio, wire = rest(call, http.Response(201, json={"sid": SID}))
    dial_place(dial, twilio, most_seconds=90)
    (request,) = wire.asked
    form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
    assert call.run.number is not None
    assert (form["To"], form["From"]) == (call.run.number.number_e164, FROM)
    assert form["TimeLimit"] == "90"
    events = parse_qs(request.content.decode())["StatusCallbackEvent"]
    assert events == ["initiated", "answered", "completed"]
    assert form["Url"].endswith(f"/twilio/run-caller/{dial.pk}")
    assert form["StatusCallback"].endswith(f"/twilio/run-caller-status/{dial.pk}")
    assert (dial.state, dial.caller_sid) == ("placed", SID)


@pytest.mark.usefixtures("no_spacing")
def test_one_place_has_one_call_and_one_line_rings_once() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    assert claim(call) is None  # the same place
    other = factories.make_parity_call(call.run, position=1, index=1)
    assert claim(other) is None  # the same line rings
    assert claim(other, caller_e164="+15550109999") is not None
    third = factories.make_parity_call(call.run, position=2, index=2)
    RunDial.objects.filter(pk=dial.pk).update(expected_until=None)
    assert claim(third) is not None  # it has come in
    dial_void(dial, "never came")
    assert dial_of(call) is None
    assert RunDial.objects.filter(parity_call=call).count() == 1


def test_a_call_is_expected_for_its_whole_time_from_when_twilio_is_asked() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    # The number was looked up at Twilio first, which had little to spare.
    soon = timezone.now() + dt.timedelta(seconds=5)
    RunDial.objects.filter(pk=dial.pk).update(expected_until=soon)
    twilio, _ = rest(call, http.Response(201, json={"sid": SID}))
    dial_place(dial, twilio, most_seconds=90)
    assert dial.expected_until is not None
    waited = dt.timedelta(seconds=live_dials.COMES_SECONDS)
    assert dial.expected_until > timezone.now() + waited


def test_a_call_of_which_nobody_knows_is_waited_for_from_when_twilio_was_asked() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    long_ago = timezone.now() - dt.timedelta(seconds=50)
    RunDial.objects.filter(pk=dial.pk).update(created_at=long_ago)
    twilio, _ = rest(call, http.ReadTimeout("late"))
    with pytest.raises(DialUnclear):
        dial_place(dial, twilio, most_seconds=90)
    dial.refresh_from_db()
    assert not has_waited(dial, 30)
    RunDial.objects.filter(pk=dial.pk).update(expected_until=None)
    dial.refresh_from_db()
    assert has_waited(dial, 30)


@pytest.mark.parametrize("changes", [{"expected_until": None}, {"state": "void"}])
def test_a_call_that_nobody_would_expect_is_not_placed(changes: dict[str, Any]) -> None:
    """Another call from that number took its turn, or a stranger's was taken for it."""
    call = place()
    dial = claim(call)
    assert dial is not None
    RunDial.objects.filter(pk=dial.pk).update(**changes)
    twilio, wire = rest(call, http.Response(201, json={"sid": SID}))
    with pytest.raises(DialUnclear):
        dial_place(dial, twilio, most_seconds=90)
    assert not wire.asked
    assert dial_of(call) is None


def test_an_account_is_asked_for_one_call_a_second() -> None:
    call = place()
    dial = claim(call)
    other = factories.make_parity_call(call.run, position=1, index=1)
    assert dial is not None and claim(other, caller_e164="+15550109999") is None
    RunDial.objects.filter(pk=dial.pk).update(created_at=timezone.now() - dt.timedelta(seconds=2))
    assert claim(other, caller_e164="+15550109999") is not None


def test_a_refusal_frees_the_place_and_silence_does_not() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    twilio, _ = rest(call, http.Response(400, json={"code": 21210, "message": "not yours"}))
    with pytest.raises(DialRefused, match="21210"):
        dial_place(dial, twilio, most_seconds=90)
    assert dial_of(call) is None
    RunDial.objects.all().delete()
    dial = claim(call)
    assert dial is not None
    twilio, wire = rest(call, http.ReadTimeout("late"))
    with pytest.raises(DialUnclear):
        dial_place(dial, twilio, most_seconds=90)
    assert len(wire.asked) == 1
    assert dial_of(call) == dial
    assert dial.state == "claimed"


def _listed(sid: str, at: dt.datetime, direction: str = "outbound-api") -> dict[str, str]:
    return {"sid": sid, "direction": direction, "date_created": format_datetime(at)}


@pytest.mark.usefixtures("no_spacing")
def test_a_call_that_another_program_may_have_placed_is_never_taken_for_the_runs() -> None:
    call, now = place(), timezone.now()
    dial = claim(call)
    assert dial is not None
    rows = [_listed(SID, now)]
    twilio, wire = rest(call, http.Response(200, json={"calls": rows, "next_page_uri": None}))
    assert dial_look_up(dial, twilio) == "unclear"
    dial.refresh_from_db()
    assert (dial.state, dial.caller_sid) == ("claimed", "")
    assert (wire.asked[0].method, len(wire.asked)) == ("GET", 1)


@pytest.mark.usefixtures("no_spacing")
def test_calls_that_cannot_be_the_runs_say_that_none_was_placed() -> None:
    call, now = place(), timezone.now()
    factories.make_run_dial(caller_sid="CA" + "2" * 32)
    dial = claim(call)
    assert dial is not None
    rows = [
        _listed("CA" + "3" * 32, now, "inbound"),
        _listed("CA" + "2" * 32, now),  # another place's
        _listed("CA" + "4" * 32, now - dt.timedelta(minutes=5)),
    ]
    twilio, _ = rest(call, http.Response(200, json={"calls": rows, "next_page_uri": None}))
    assert dial_look_up(dial, twilio) == "none"


def test_a_call_that_told_itself_while_twilios_list_was_asked_is_kept() -> None:
    dial = claim(place())
    assert dial is not None
    dial_report(dial, caller_sid=SID, status="initiated", seconds=0)
    assert not dial_void(dial, "Twilio never placed it", only_unknown=True)
    assert (dial.state, dial.caller_sid) == ("placed", SID)


def told_to_the_leg(dial: RunDial) -> str:
    """Return what our leg is told when it asks, as Twilio does by its address."""
    assert dial.number is not None
    account = dial.number.twilio_account
    told = line_next(dial_id=str(dial.pk), account=account, caller_sid=SID, is_over=False)
    assert told is not None
    return told.kind


def test_a_call_that_tells_itself_after_its_place_was_given_up_hangs_up() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None and call.run.number is not None
    assert dial_void(dial, "nobody knows", only_unknown=True)
    assert told_to_the_leg(dial) == "hangup"


def test_where_the_answer_was_lost_twilios_first_callback_tells_the_leg() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    twilio, _ = rest(call, http.ReadTimeout("late"))
    with pytest.raises(DialUnclear):
        dial_place(dial, twilio, most_seconds=90)
    dial_report(dial, caller_sid=SID, status="initiated", seconds=0)
    dial.refresh_from_db()
    assert (dial.state, dial.caller_sid) == ("placed", SID)


def test_where_twilio_lists_no_call_none_was_placed_and_where_it_is_silent_nobody_knows() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    twilio, _ = rest(call, http.Response(200, json={"calls": [], "next_page_uri": None}))
    assert dial_look_up(dial, twilio) == "none"
    twilio, _ = rest(call, http.Response(503, json={}))
    with pytest.raises(DialUnclear):
        dial_look_up(dial, twilio)


def test_only_the_expected_caller_in_time_is_taken_and_only_once() -> None:
    call = place("vapi")
    dial = claim(call)
    assert dial is not None and call.run.number is not None
    number = call.run.number
    assert dial_taken(number, "+15550101111") is None
    assert dial_taken(factories.make_number(), FROM) is None
    assert dial_taken(number, FROM) == dial
    assert dial_taken(number, FROM) is None
    RunDial.objects.filter(pk=dial.pk).update(expected_until=timezone.now())
    assert dial_taken(number, FROM) is None  # too late


def test_a_report_of_our_leg_moves_it_once_and_one_of_another_leg_never() -> None:
    dial = factories.make_run_dial(state="placed", caller_sid=SID)
    dial_report(dial, caller_sid="CA" + "9" * 32, status="completed", seconds=4)
    dial.refresh_from_db()
    assert dial.state == "placed"
    dial_report(dial, caller_sid=SID, status="busy", seconds=0)
    dial_report(dial, caller_sid=SID, status="completed", seconds=70)
    dial.refresh_from_db()
    assert (dial.state, dial.caller_seconds, dial.problem) == ("ended", 0, "our leg ended as busy")


def test_keys_are_pressed_between_two_streams_and_the_caller_goes_on_behind_them() -> None:
    call = place()
    dial = factories.make_run_dial(call, state="placed", caller_sid=SID, number=call.run.number)
    account = dial.number.twilio_account
    asked: dict[str, Any] = {"dial_id": str(dial.pk), "account": account, "caller_sid": SID}
    first = line_next(**asked, is_over=False)
    assert first is not None and (first.kind, first.digits) == ("stream", "")
    dial.refresh_from_db()
    RunDial.objects.filter(pk=dial.pk).update(stream_used=1)
    left: dict[str, Any] = {"said_seconds": 1.5, "heard_seconds": 0.0, "stream_seconds": 9.0}
    words = [Event(10, "said", "Hello."), Event(20, "heard", "somebody's words")]
    line_left(
        dial_id=str(dial.pk), stream_number=1, step=2, events=words, ended="pressed", digits="12",
        **left,
    )  # fmt: skip
    second = line_next(**asked, is_over=False)
    assert second is not None and (second.kind, second.digits) == ("stream", "12")
    assert second.stream_path != first.stream_path
    dial.refresh_from_db()
    assert (dial.step, dial.stream_count, dial.ended_by) == (2, 2, "")
    # What the other side said is kept in the call's own rows alone.
    assert dial.heard == [
        [{"at_ms": 10, "kind": "said", "text": "Hello."}, {"at_ms": 20, "kind": "heard"}]
    ]
    RunDial.objects.filter(pk=dial.pk).update(stream_used=2)
    line_left(dial_id=str(dial.pk), stream_number=2, step=3, events=(), ended="script", **left)
    third = line_next(**asked, is_over=False)
    assert third is not None and third.kind == "hangup"
    dial.refresh_from_db()
    assert (dial.ended_by, dial.said_seconds, dial.stream_seconds) == ("script", 3.0, 18.0)
    assert line_next(**{**asked, "account": factories.make_account()}, is_over=False) is None


@pytest.mark.usefixtures("no_spacing")
def test_what_a_dead_worker_left_keeps_the_line_a_minute_and_not_for_ever() -> None:
    call = place()
    left = claim(call)
    other = factories.make_parity_call(call.run, position=1, index=1)
    assert left is not None and claim(other) is None
    RunDial.objects.filter(pk=left.pk).update(expected_until=timezone.now())
    assert claim(other) is not None


def test_a_call_of_which_twilio_told_no_id_hangs_up_by_itself_once_its_run_is_cancelled() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None and call.run.number is not None
    twilio, wire = rest(call, http.Response(200, json={}))
    assert not dial_hang_up(dial, twilio, why="cancelled") and not wire.asked
    assert told_to_the_leg(dial) == "hangup"


def test_our_leg_hangs_up_when_its_run_is_cancelled_and_nobody_looks_after_it() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None and call.run.number is not None
    job = job_create(organisation=call.organisation, kind="parity", actor=None, parameters={})
    ParityRun.objects.filter(pk=call.run_id).update(job=job)
    Job.objects.filter(pk=job.pk).update(cancel_requested=True)
    assert told_to_the_leg(dial) == "hangup"


def test_a_line_goes_on_until_its_run_is_over_whatever_became_of_a_key() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_paritycall SET transcript = 'lost' WHERE id = %s", [call.pk])
    assert line_goes_on(str(dial.pk))
    job = job_create(organisation=call.organisation, kind="parity", actor=None, parameters={})
    ParityRun.objects.filter(pk=call.run_id).update(job=job)
    assert line_goes_on(str(dial.pk))
    over: dict[str, Any]
    for over in ({"cancel_requested": True}, {"finished_at": timezone.now()}):
        Job.objects.filter(pk=job.pk).update(**over)
        assert not line_goes_on(str(dial.pk))
        Job.objects.filter(pk=job.pk).update(cancel_requested=False, finished_at=None)
    for over in ({"state": "void"}, {"ended_by": "time"}):
        RunDial.objects.filter(pk=dial.pk).update(**over)
        assert not line_goes_on(str(dial.pk))
        RunDial.objects.filter(pk=dial.pk).update(state="on", ended_by="")
    assert line_goes_on(str(dial.pk))
    dial_id = str(dial.pk)
    dial.delete()
    assert not line_goes_on(dial_id)


def test_a_second_call_from_our_legs_number_makes_it_unknown_which_was_ours() -> None:
    call = place()
    dial = claim(call)
    assert dial is not None and call.run.number is not None
    number = call.run.number
    came = factories.make_call(number=number, caller=FROM)
    RunDial.objects.filter(pk=dial.pk).update(call=came)
    factories.make_call(number=number, caller="+15550101111")
    assert not strangers_between(dial)
    factories.make_call(number=number, caller=FROM)
    assert strangers_between(dial)


def test_what_a_run_keeps_of_its_calls_goes_with_their_own_words() -> None:
    tools = (ToolCall("book", {"name": "Ada"}, result="done"),)
    pair = place(state="done", finished_at=timezone.now())
    ParityCall.objects.filter(pk=pair.pk).update(
        transcript=[{"role": "user", "text": "Ada", "at_ms": 0}],
        sequence=sequence_dump(Sequence("1", "direct", tools)),
    )
    came = factories.make_call(number=pair.run.number, caller=FROM, status="ended")
    Call.objects.filter(pk=came.pk).update(created_at=timezone.now() - dt.timedelta(days=40))
    for state in ("void", "ended"):
        factories.make_run_dial(pair, call=came, state=state, heard=[[{"text": "Ada"}]])
    rule = rule_of(pair.organisation)
    type(rule).objects.filter(pk=rule.pk).update(
        transcript_days=30, tool_body_days=30, call_days=None, progress={}
    )
    retention_run()
    pair = ParityCall.objects.get(pk=pair.pk)
    (tool,) = sequence_load(pair.sequence).tools
    assert pair.transcript is None and (tool.name, dict(tool.arguments)) == ("book", {})
    assert [dial.heard for dial in RunDial.objects.all()] == [None, None]
