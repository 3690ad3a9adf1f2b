"""A person for the caller: what the action URLs answer, stored, repeatable and signed."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from django.utils import timezone

from calls.media.database import in_database
from calls.models import Call, OperatorDesk
from calls.numbers.phrases import sentence
from calls.services.call_next import CallNext, call_after_dial, call_next
from calls.standins.scenario import parse_scenario
from calls.standins.twilio_call import Callee
from calls.telephony.signed import REQUEST_KEY
from tests import factories
from tests.integration.calls.rig import CALLER, Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DESK, NIGHT, SIP = "+15550100042", "+15550100043", "sip:desk@pbx.example.com"
CLOSED = {"always_open": False, "hours": {}}


def _call(stored: str = "operator", desk: dict[str, Any] | None = None, **columns: Any) -> Call:
    number = factories.make_number()
    if desk is not None:
        number.operator_desk = factories.make_desk(**desk)
        number.save()
    return factories.make_call(
        **{
            "number": number,
            "caller": CALLER,
            "status": Call.Status.IN_PROGRESS,
            "stream_count": 1,
            "next_step": {"kind": stored},
            **columns,
        }
    )


def _next(call: Call, key: str = "", status: str = "in-progress") -> CallNext:
    outcome = call_next(
        call_id=str(call.pk), call_sid=call.call_sid, call_status=status, request_key=key
    )
    assert outcome is not None
    call.refresh_from_db()
    return outcome


def _after(call: Call, dial_status: str, key: str = "") -> CallNext:
    outcome = call_after_dial(
        call_id=str(call.pk), call_sid=call.call_sid, dial_status=dial_status, request_key=key
    )
    assert outcome is not None
    call.refresh_from_db()
    return outcome


@pytest.mark.parametrize(
    ("desk", "step", "to"),
    [
        ({}, "dial", DESK),
        ({"destination": SIP}, "dial", SIP),
        (CLOSED, "message", ""),
        ({**CLOSED, "outside": "number", "outside_destination": NIGHT}, "dial", NIGHT),
        ({**CLOSED, "outside": "nothing"}, "resume", ""),
        ({"destination": "911"}, "message", ""),  # never dialled, whoever wrote the row
        (None, "resume", ""),
    ],
)
def test_who_asked_for_a_person_reaches_what_the_hours_say(
    transactional_db: None, desk: dict[str, Any] | None, step: str, to: str
) -> None:
    call = _call(desk=desk)
    assert _next(call).step == step
    if to:
        assert call.next_step["to"] == to
        assert call.status == "forwarding"
        assert call.metrics["operator"]["asked_by"] == "operator"
    if step == "resume":
        assert (call.stream_count, call.next_step["why"]) == (2, "transfer-failed")


def test_the_default_of_the_organisation_is_for_numbers_without_one(
    transactional_db: None,
) -> None:
    call = _call()
    other = factories.make_organisation()
    factories.make_desk(other, is_default=True, destination=NIGHT)
    assert _next(call).step == "resume", "another organisation's desk is none of ours"
    factories.make_desk(is_default=True)
    Call.objects.filter(pk=call.pk).update(next_step={"kind": "operator"})
    assert _next(call).step == "dial"
    assert call.next_step["to"] == DESK


@pytest.mark.parametrize(
    ("stored", "streams"), [("apologise", 1), ("resume", 3), ("operator", 3), ("", 7)]
)
def test_an_assistant_that_is_given_up_gives_way_to_a_person(
    transactional_db: None, stored: str, streams: int
) -> None:
    call = _call(stored, {}, stream_count=streams)
    assert _next(call).step == "dial"
    assert call.next_step["to"] == DESK


def test_without_a_person_the_numbers_last_words_are_spoken(transactional_db: None) -> None:
    call = _call("apologise", CLOSED)
    number = call.number
    assert number is not None
    assert _next(call).say == sentence("unreachable", "en")[0]
    assert (call.status, call.ended_reason) == ("ended", "phone-call-provider-closed-websocket")
    again = _call("apologise")
    assert again.number is not None
    again.number.fallback_message = "Call our other line."
    again.number.save()
    assert _next(again).say == "Call our other line."


@pytest.mark.parametrize(
    ("dial_status", "result", "reason"),
    [
        ("no-answer", "no-answer", "call.forwarding.no-answer"),
        ("busy", "busy", "call.forwarding.operator-busy"),
        ("failed", "failed", "call.in-progress.error-transfer-failed"),
        ("canceled", "failed", "call.in-progress.error-transfer-failed"),
    ],
)
def test_nobody_took_it_so_the_message_is_said_and_said_again_to_a_repeat(
    transactional_db: None, dial_status: str, result: str, reason: str
) -> None:
    call = _call(desk={"unanswered": "message", "no_answer_message": "We call you back."})
    assert _next(call).step == "dial"
    first = _after(call, dial_status)
    assert (first.step, first.say) == ("message", "We call you back.")
    assert (call.status, call.ended_reason) == ("ended", reason)
    assert call.metrics["operator"]["result"] == result
    second = _after(call, dial_status)
    assert (second.step, second.say) == (first.step, first.say)


@pytest.mark.parametrize("dial_status", ["no-answer", "busy", "failed", "canceled"])
def test_nobody_took_it_so_the_assistant_goes_on_and_a_repeat_gets_the_same_stream(
    transactional_db: None, dial_status: str
) -> None:
    call = _call(desk={})
    assert _next(call).step == "dial"
    assert [_after(call, dial_status, "k1").step for _ in range(2)] == ["resume", "resume"]
    assert (call.status, call.stream_count) == ("in-progress", 2)
    assert call.next_step == {"kind": "resume", "why": "transfer-failed"}
    # Pressed again, and unanswered again: there is no stream beyond the third.
    for streams, step in ((3, "resume"), (3, "message")):
        Call.objects.filter(pk=call.pk).update(next_step={"kind": "operator"})
        assert _next(call).step == "dial"
        outcome = _after(call, dial_status)
        assert (outcome.step, call.stream_count) == (step, streams)
    assert outcome.say == sentence("no_answer", "en")[0]


@pytest.mark.parametrize(
    ("stored", "changes"),
    [
        ("apologise", {}),  # the assistant had failed itself
        ("operator", {"policy_refused_at": timezone.now()}),  # it may not listen to this caller
    ],
)
def test_where_the_assistant_may_not_go_on_the_message_is_said(
    transactional_db: None, stored: str, changes: dict[str, Any]
) -> None:
    wording = factories.make_wording(factories.make_policy(on_refusal="human"))
    call = _call(stored, {}, policy_wording=wording, **changes)
    assert _next(call).step == "dial"
    assert _after(call, "busy").step == "message"
    assert call.ended_reason == "call.forwarding.operator-busy"


def test_after_an_emergency_the_caller_hears_what_to_dial_before_the_assistant_goes_on(
    transactional_db: None,
) -> None:
    call = _call(desk={}, emergency_at=timezone.now())
    _next(call)
    for _ in range(2):
        outcome = _after(call, "no-answer", "k")
        assert (outcome.step, outcome.say) == ("resume", sentence("emergency", "en")[0])
    assert call.policy_played_at is None, "no evidence of a line that was not said"


def test_the_next_destination_of_the_desk_is_tried_once(transactional_db: None) -> None:
    call = _call(desk={"unanswered": "number", "unanswered_destination": NIGHT})
    _next(call)
    assert [_after(call, "busy", "k1").step for _ in range(2)] == ["dial", "dial"]
    assert (call.next_step["to"], call.next_step["say"]) == (NIGHT, "")
    assert (call.status, call.metrics["operator"]["result"]) == ("forwarding", "busy")
    assert _after(call, "no-answer", "k2").step == "resume"
    taken = _call(desk={"unanswered": "number", "unanswered_destination": NIGHT})
    _next(taken)
    _after(taken, "busy", "k1")
    assert _after(taken, "completed", "k2").step == "hangup"
    assert taken.ended_reason == "assistant-forwarded-call"
    never = _call(desk={"unanswered": "number", "unanswered_destination": "911"})
    _next(never)
    assert _after(never, "busy", "k1").step == "resume"


def test_a_caller_who_hangs_up_while_the_person_rings_is_brought_nowhere(
    transactional_db: None,
) -> None:
    call = _call(desk={"unanswered": "number", "unanswered_destination": NIGHT})
    _next(call)
    outcome = call_after_dial(
        call_id=str(call.pk),
        call_sid=call.call_sid,
        dial_status="no-answer",
        call_status="completed",
    )
    assert outcome is not None
    assert outcome.step == "hangup"
    call.refresh_from_db()
    assert call.ended_reason == "customer-ended-call"


def test_somebody_took_it(transactional_db: None) -> None:
    call = _call(desk={})
    _next(call)
    assert _after(call, "completed").step == "hangup"
    assert (call.ended_reason, call.metrics["operator"]["result"]) == (
        "assistant-forwarded-call",
        "answered",
    )


def test_a_repeated_after_stream_is_answered_the_same_though_the_desk_has_closed(
    transactional_db: None,
) -> None:
    call = _call(desk={})
    first = _next(call)
    OperatorDesk.objects.update(always_open=False, destination=NIGHT)
    second = _next(call)
    assert (first.step, second.step) == ("dial", "dial")
    assert first.call.next_step == second.call.next_step


def test_a_repeated_request_gets_the_same_stream_and_the_next_one_another(
    transactional_db: None,
) -> None:
    call = _call("resume")
    assert [_next(call, key).step for key in ("k1", "k1", "k1")] == ["resume"] * 3
    assert call.stream_count == 2
    _next(call, "k2")
    assert call.stream_count == 3
    first, second = _next(call, "k3"), _next(call, "k3")
    assert (first.step, first.say) == (second.step, second.say) == ("apologise", first.say)
    assert _next(call, "k4").step == "hangup"


def test_a_refusal_that_ends_the_call_is_answered_with_the_policys_words(
    transactional_db: None,
) -> None:
    wording = factories.make_wording(factories.make_policy(refusal_message="Then not."))
    call = _call("message", policy_wording=wording)
    assert (_next(call).say, _next(call).say) == ("Then not.", "Then not.")
    assert call.ended_reason == "assistant-ended-call-after-message-spoken"
    plain = _call("message")
    assert _next(plain).say == sentence("refused", "en")[0]


def test_a_caller_who_has_hung_up_is_not_dialled_for(transactional_db: None) -> None:
    call = _call(desk={})
    assert _next(call, status="completed").step == "hangup"
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")


# ---- over HTTP -----------------------------------------------------------------------------


async def _twiml(rig: Rig, path: str, call: Call, **fields: str) -> ElementTree.Element:
    form = rig.form(
        CallSid=call.call_sid,
        AccountSid=call.twilio_account.account_sid,
        CallStatus="in-progress",
        **fields,
    )
    answer = await rig.post(f"{path}/{call.pk}", form, headers={REQUEST_KEY: "k"})
    assert answer.status == 200, answer.body
    return ElementTree.fromstring(answer.body)  # noqa: S314 - our own answer


async def test_the_webhooks_dial_and_then_say_that_nobody_is_there(rig: Rig) -> None:
    def make(**columns: Any) -> Call:
        return factories.make_call(
            number=rig.number,
            twilio_account=rig.number.twilio_account,
            status=Call.Status.IN_PROGRESS,
            stream_count=1,
            next_step={"kind": "operator"},
            callee=rig.number.number_e164,
            **columns,
        )

    await in_database(
        lambda: factories.make_desk(is_default=True, ring_seconds=17, unanswered="message")
    )
    call = await in_database(lambda: make(caller=CALLER))
    for _ in range(2):
        say, dial = await _twiml(rig, "/twilio/after-stream", call)
        assert (say.tag, say.text) == ("Say", sentence("announcement", "en")[0])
        assert dial.attrib == {
            "action": f"https://voice.example.com/twilio/after-dial/{call.pk}",
            "method": "POST",
            "timeout": "17",
            "answerOnBridge": "true",
            "callerId": CALLER,
        }
        assert [(noun.tag, noun.text) for noun in dial] == [("Number", DESK)]
    for _ in range(2):
        said = await _twiml(rig, "/twilio/after-dial", call, DialCallStatus="no-answer")
        assert [each.tag for each in said] == ["Gather", "Hangup"], "the key counts meanwhile"
        assert said[0][0].text == sentence("no_answer", "en")[0]
    # Whoever hides the number is shown as the line that was called, which is ours.
    hidden = await in_database(lambda: make(caller="anonymous"))
    _, dial = await _twiml(rig, "/twilio/after-stream", hidden)
    assert dial.attrib["callerId"] == rig.number.number_e164


async def test_key_0_brings_a_caller_to_the_operator_over_real_sockets(rig: Rig) -> None:
    await in_database(lambda: factories.make_desk(is_default=True))
    scenario = parse_scenario(
        {
            "name": "key-0",
            "caller": [
                {"dtmf": "0", "after": "greeting"},
                {"hang_up": {"silence_ms": 10_000}},
            ],
            "expect": {"ended_by": "twiml", "codes": [31921]},
        }
    )
    report = await rig.call(scenario)
    assert (report.failures, report.errors, report.dialled) == ([], [], [DESK])
    call = await rig.only_call()
    assert (call.status, call.ended_reason) == ("ended", "assistant-forwarded-call")
    assert call.metrics["operator"] == {
        "asked_by": "operator",
        "reach": "dial",
        "reason": "open at all hours",
        "result": "answered",
    }
    assert call.metrics["streams"][0]["notes"]["person"] == "key"


async def test_whom_no_operator_takes_goes_on_with_the_assistant_over_real_sockets(
    rig: Rig,
) -> None:
    await in_database(lambda: factories.make_desk(is_default=True))
    rig.carrier.callees[DESK] = Callee("busy")
    scenario = parse_scenario(
        {
            "name": "key-0-busy",
            "caller": [
                {"dtmf": "0", "after": "greeting"},
                {"hang_up": {"silence_ms": 3_000}},
            ],
            "expect": {"ended_by": "caller", "codes": [31921]},
        }
    )
    report = await rig.call(scenario)
    assert (report.failures, report.errors, report.dialled) == ([], [], [DESK])
    call = await rig.only_call()
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert (call.stream_count, call.metrics["operator"]["result"]) == (2, "busy")
    assert call.next_step.get("why", "") == ""  # the stream has been told


async def test_after_an_emergency_twilio_says_what_to_dial_and_then_connects(rig: Rig) -> None:
    def make() -> Call:
        factories.make_desk(is_default=True)
        return factories.make_call(
            number=rig.number,
            twilio_account=rig.number.twilio_account,
            status=Call.Status.FORWARDING,
            stream_count=1,
            emergency_at=timezone.now(),
            next_step={"kind": "dial", "to": DESK, "operator": "operator"},
        )

    call = await in_database(make)
    for _ in range(2):
        said = await _twiml(rig, "/twilio/after-dial", call, DialCallStatus="no-answer")
        assert [each.tag for each in said] == ["Say", "Connect"]
        assert said[0].text == sentence("emergency", "en")[0]


async def test_sip_is_dialled_as_sip(rig: Rig) -> None:
    await in_database(lambda: factories.make_desk(is_default=True, destination=SIP))
    call = await in_database(
        lambda: factories.make_call(
            number=rig.number,
            twilio_account=rig.number.twilio_account,
            stream_count=1,
            next_step={"kind": "operator"},
        )
    )
    _, dial = await _twiml(rig, "/twilio/after-stream", call)
    assert [(noun.tag, noun.text) for noun in dial] == [("Sip", SIP)]
