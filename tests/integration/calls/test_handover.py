"""A ringing call is handed to the stack that had its number, by proxy (ADR 0007, 0036)."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from calls.media.database import in_database
from calls.models import Call, CallHandover, OldStack, OutboxEvent, PhoneNumber
from calls.numbers.switch.voice import Target
from calls.services import old_stacks
from calls.services.call_handover import handover_abandoned
from calls.services.call_start import call_start
from calls.services.call_take_back import NEVER_CONNECTED, taken_back_words
from calls.services.number_routes import previous_set
from calls.services.status_forward import statuses_forward
from calls.standins.old_stack import STATUS_PATH, TWIML, VOICE_PATH, OldAnswer
from calls.wire.twilio_voice import voice_request
from tests import factories
from tests.integration.calls.rig import PUBLIC, Rig, sign, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

FALLBACK_PATH = "/old/fallback"
Moved = Callable[..., Awaitable[Rig]]


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]


@pytest.fixture
def moved(rig: Rig) -> Iterator[Moved]:
    """Have the rig's number on route vapi, its calls having gone to the old stack before."""

    async def move(*, target: dict[str, str] | None = None, **columns: Any) -> Rig:
        origin = rig.standin_origin
        whole = Target(
            **{  # type: ignore[arg-type]  # texts all
                "kind": "url",
                "url": origin + VOICE_PATH,
                "status_callback": origin + STATUS_PATH,
                **(target or {}),
            }
        )
        for name, value in {"route": "vapi", **columns}.items():
            setattr(rig.number, name, value)

        def store() -> None:
            rig.number.save()
            previous_set(rig.number, whole)

        await in_database(store)
        return rig

    yield move


async def _handover(call: Call) -> CallHandover:
    return await in_database(CallHandover.objects.get, call=call)


async def _voice_outcome(call: Call) -> dict[str, Any]:
    """Return what came of asking the old stack's voice address."""
    return dict(((await _handover(call)).outcome or {})["voice"])


async def test_twilios_request_goes_on_signed_for_that_url_and_its_answer_is_verbatim(
    moved: Moved,
) -> None:
    rig = await moved()
    form = rig.form(CallerName="", StirVerstat="TN-Validation-Passed-A", Unheard="ü & =")
    headers = {"I-Twilio-Idempotency-Token": "t-1", "X-Forwarded-For": "203.0.113.9"}
    answer = await rig.post("/twilio/voice", form, headers=headers)
    assert (answer.status, answer.body) == (200, TWIML)
    (asked,) = rig.old.asked(VOICE_PATH)
    assert (asked.method, asked.form, asked.is_signed) == ("POST", form, True)
    assert asked.headers["i-twilio-idempotency-token"] == "t-1"
    assert "x-forwarded-for" not in asked.headers
    call = await rig.only_call()
    assert (call.stack, call.status, call.route_code) == ("vapi", "ringing", "route-vapi")
    assert call.route_reason == "route vapi"
    row = await _handover(call)
    assert (row.is_taken, row.both_reached, row.instead) == (True, False, "fallback")
    assert (await _voice_outcome(call))["status"] == 200
    assert rig.model_sessions == []


async def test_a_repeat_is_given_the_same_answer_and_the_old_stack_is_asked_once(
    moved: Moved,
) -> None:
    rig = await moved()
    rig.old.delay_seconds = 0.3
    form = rig.form()
    answers = await asyncio.gather(*(rig.post("/twilio/voice", form) for _ in range(3)))
    answers += [await rig.post("/twilio/voice", form)]
    assert [answer.body for answer in answers] == [TWIML] * 4
    assert len(rig.old.asked(VOICE_PATH)) == 1
    # After the end the old stack's words are not kept any longer.
    call = await rig.only_call()
    await rig.post("/twilio/status", rig.form(CallSid=call.call_sid, CallStatus="completed"))
    assert (await _handover(call)).answer is None


async def test_a_get_number_is_asked_by_get_and_relative_addresses_become_its_own(
    moved: Moved,
) -> None:
    rig = await moved(target={"method": "GET"})
    rig.old.answers[VOICE_PATH] = OldAnswer(
        "<Response><Gather action='next?x=1'><Play>/beep.wav</Play></Gather>"
        "<Redirect>https://a.example/r</Redirect></Response>"
    )
    body = (await rig.voice()).body
    base = rig.standin_origin
    assert f"action='{base}/old/twilio/next?x=1'" in body
    assert f"<Play>{base}/beep.wav</Play>" in body
    assert "<Redirect>https://a.example/r</Redirect>" in body
    (asked,) = rig.old.asked(VOICE_PATH)
    assert (asked.method, asked.is_signed) == ("GET", True)


async def test_the_get_of_twilio_itself_and_json_are_forwarded_as_a_form(moved: Moved) -> None:
    rig = await moved()
    form = rig.form()
    path = "/twilio/voice?" + urlencode(form)
    headers = {"X-Twilio-Signature": sign(PUBLIC + path, {})}
    assert (await rig.request("GET", path, headers=headers)).body == TWIML
    (asked,) = rig.old.asked(VOICE_PATH)
    assert (asked.method, asked.form, asked.is_signed) == ("POST", form, True)


async def test_redirects_and_cookies_are_followed_and_the_end_is_told_with_them(
    moved: Moved,
) -> None:
    rig = await moved()
    rig.old.answers[VOICE_PATH] = OldAnswer(
        status=307,
        body="",
        headers=(("location", "/old/second"), ("set-cookie", "call=7; Path=/old/")),
    )
    form = rig.form()
    assert (await rig.post("/twilio/voice", form)).body == TWIML
    (second,) = rig.old.asked("/old/second")
    assert (second.method, second.form, second.is_signed) == ("POST", form, True)
    assert second.headers["cookie"] == "call=7"
    ended = {**form, "CallStatus": "completed", "CallDuration": "9"}
    assert (await rig.post("/twilio/status", ended)).status == 204
    assert (await rig.post("/twilio/status", ended)).status == 204
    assert rig.old.asked(STATUS_PATH) == [], "Twilio is answered before anybody is asked"
    assert await in_database(statuses_forward) == 1
    assert await in_database(statuses_forward) == 0
    (told,) = rig.old.asked(STATUS_PATH)
    assert (told.form, told.is_signed, told.headers["cookie"]) == (ended, True, "call=7")
    row = await _handover(await rig.only_call())
    assert (row.status_asked, row.cookies, row.status_due_at) == (None, None, None)
    assert (row.status_outcome or {})["is_taken"]
    assert not await in_database(OutboxEvent.objects.exists)


async def test_a_status_callback_that_never_arrived_is_tried_again_and_one_that_may_have_is_not(
    moved: Moved,
) -> None:
    rig = await moved(target={"status_callback": "http://127.0.0.1:9/status"})
    form = rig.form()
    await rig.post("/twilio/voice", form)
    await rig.post("/twilio/status", {**form, "CallStatus": "completed"})
    assert await in_database(statuses_forward) == 0
    row = await _handover(await rig.only_call())
    assert (row.status_attempts, (row.status_outcome or {})["reached"]) == (1, "no")
    assert row.status_due_at is not None and row.status_due_at > timezone.now()
    rig.old.answers[STATUS_PATH] = OldAnswer(status=500)
    again = {"status_due_at": timezone.now(), "status_url": rig.standin_origin + STATUS_PATH}
    await in_database(lambda: CallHandover.objects.update(**again))
    assert await in_database(statuses_forward) == 1
    row = await _handover(await rig.only_call())
    assert (row.status_due_at, (row.status_outcome or {})["status"]) == (None, 500)


@pytest.mark.parametrize("took_it", [True, False])
async def test_a_caller_who_hangs_up_while_the_old_stack_is_asked_is_told_of_if_it_took_the_call(
    moved: Moved, took_it: bool
) -> None:
    rig = await moved()
    form = rig.form()
    await rig.post("/twilio/voice", form)
    under_way = {"ended_at": None, "is_taken": False}
    await in_database(lambda: CallHandover.objects.update(**under_way))
    ended = {**form, "CallStatus": "completed"}
    assert (await rig.post("/twilio/status", ended)).status == 204
    assert await in_database(statuses_forward) == 0, "it has not answered yet"
    answered = {"ended_at": timezone.now(), "is_taken": took_it, "status_due_at": timezone.now()}
    await in_database(lambda: CallHandover.objects.update(**answered))
    assert await in_database(statuses_forward) == took_it
    assert [asked.form for asked in rig.old.asked(STATUS_PATH)] == [ended] * took_it
    row = await _handover(await rig.only_call())
    assert (row.status_asked, row.status_due_at) == (None, None)


async def test_a_number_without_a_status_callback_is_handed_over_all_the_same(
    moved: Moved,
) -> None:
    rig = await moved(target={"status_callback": ""})
    form = rig.form()
    assert (await rig.post("/twilio/voice", form)).body == TWIML
    await rig.post("/twilio/status", {**form, "CallStatus": "completed"})
    assert await in_database(statuses_forward) == 0
    assert rig.old.asked(STATUS_PATH) == []
    # A row that has the old address alone, of an older version, too.
    await in_database(lambda: PhoneNumber.objects.update(previous_target=None))
    assert (await rig.voice()).body == TWIML


async def test_other_types_pass_through_and_an_app_number_is_asked_at_the_apps_url(
    moved: Moved,
) -> None:
    rig = await moved(target={"kind": "app", "sid": factories.sid("AP")})
    rig.old.answers[VOICE_PATH] = OldAnswer("Goodbye.", content_type="text/plain")
    answer = await rig.voice()
    assert (answer.body, answer.headers["Content-Type"]) == ("Goodbye.", "text/plain")
    rig.old.answers[VOICE_PATH] = OldAnswer(b"RIFF\x00\xff", content_type="audio/x-wav")
    answer = await rig.voice()
    assert answer.headers["Content-Type"] == "audio/x-wav"


async def test_the_old_fallback_is_asked_with_the_error_when_the_voice_url_fails(
    moved: Moved,
) -> None:
    fallback = {"fallback_url": "", "fallback_method": "POST"}
    rig = await moved(target=fallback)
    await moved(target={**fallback, "fallback_url": rig.standin_origin + FALLBACK_PATH})
    rig.old.answers[VOICE_PATH] = OldAnswer(status=502)
    form = rig.form()
    assert (await rig.post("/twilio/voice", form)).body == TWIML
    (asked,) = rig.old.asked(FALLBACK_PATH)
    errors = {"ErrorCode": "11200", "ErrorUrl": rig.standin_origin + VOICE_PATH}
    assert (asked.form, asked.is_signed) == ({**form, **errors}, True)
    row = await _handover(await rig.only_call())
    assert row.is_taken
    assert (await _voice_outcome(await rig.only_call()))["status"] == 502


async def test_a_qualified_assistant_answers_the_caller_whose_old_stack_gave_nothing(
    moved: Moved,
) -> None:
    rig = await moved(qualified_at=timezone.now())
    rig.old.mode = "failing"
    form = rig.form()
    answers = [await rig.post("/twilio/voice", form) for _ in range(2)]
    assert all("<Connect" in answer.body for answer in answers)
    assert answers[0].body == answers[1].body
    call = await rig.only_call()
    assert (call.stack, call.route_code, call.stream_count) == ("direct", "route-vapi", 1)
    assert "status 500" in call.route_reason
    assert "both may have been reached" in call.route_reason
    row = await _handover(call)
    assert (row.is_taken, row.both_reached, row.instead) == (False, True, "direct")
    await until(lambda: rig.model_sessions, what="the model's socket")
    # The stack that may have had the call is told of its end.
    await rig.post("/twilio/status", {**form, "CallStatus": "completed"})
    rig.old.mode = "up"
    assert await in_database(statuses_forward) == 1


async def test_however_long_a_reason_is_it_says_that_both_may_have_been_reached(
    moved: Moved,
) -> None:
    rig = await moved()
    await rig.voice()
    call = await rig.only_call()
    lost = {"voice": {"reason": "the previous stack (" + "x" * 200 + ") did not take it"}}
    columns = {"is_taken": False, "both_reached": True, "outcome": lost, "answer": None}
    await in_database(lambda: CallHandover.objects.update(**columns))
    for instead in ("direct", "ask", "fallback"):
        reason = await in_database(taken_back_words, call, instead)
        assert "; both may have been reached; " in reason
        assert len(reason) <= 200


async def test_a_caller_whom_nobody_takes_hears_the_last_words_and_it_is_the_old_stacks_fault(
    moved: Moved,
) -> None:
    rig = await moved(fallback_message="Please call again tomorrow.")
    rig.old.mode = "failing"
    form = rig.form()
    for _ in range(2):  # and again to a repeat
        assert "Please call again tomorrow." in (await rig.post("/twilio/voice", form)).body
    assert len(rig.old.asked(VOICE_PATH)) == 1
    call = await rig.only_call()
    assert (call.stack, call.status, call.ended_reason) == ("vapi", "ended", NEVER_CONNECTED)


async def test_the_whole_call_of_a_dead_old_stack_is_ours(moved: Moved) -> None:
    rig = await moved(qualified_at=timezone.now())
    rig.old.mode = "refusing"
    report = await rig.call()
    assert (report.streams, report.errors) == (1, [])
    assert report.heard
    (call,) = await rig.rows()
    assert (call.stack, call.status) == ("direct", "ended")


async def test_callers_of_a_dead_old_stack_are_answered_at_once_and_go_back_afterwards(
    moved: Moved,
) -> None:
    rig = await moved(qualified_at=timezone.now())
    rig.old.mode = "failing"
    for _ in range(3):
        assert "<Connect" in (await rig.voice()).body
    assert len(rig.old.asked(VOICE_PATH)) == 3
    assert "<Connect" in (await rig.voice()).body
    assert len(rig.old.asked(VOICE_PATH)) == 3, "it is down, so nobody waits for it"
    assert {call.route_code for call in await rig.rows()} == {"route-vapi", "old-down"}
    rig.old.mode = "up"
    await _rest_is_over()
    codes = []
    for _ in range(3):
        await rig.voice()
        codes.append((await rig.rows())[-1].route_code)
        await _gap_is_over()
    assert codes == ["old-probe"] * 3
    assert (await rig.voice()).body == TWIML
    assert (await rig.rows())[-1].route_code == "route-vapi"


async def test_a_stack_in_good_health_costs_no_write_a_call(moved: Moved) -> None:
    rig = await moved()
    for _ in range(3):
        await rig.voice()
    stack = await in_database(OldStack.objects.get)
    assert (stack.version, stack.health, stack.origin) == (0, {}, rig.standin_origin)


async def test_a_webhook_whose_process_died_is_taken_back_by_its_repeat(moved: Moved) -> None:
    rig = await moved(qualified_at=timezone.now())
    form = rig.form()
    assert (await rig.post("/twilio/voice", form)).body == TWIML
    # As if nobody had come back from asking.
    unfinished = {"ended_at": None, "is_taken": False, "answer": None, "outcome": None}
    past = timezone.now() - dt.timedelta(seconds=60)
    await in_database(lambda: CallHandover.objects.update(begun_at=past, **unfinished))
    assert "<Connect" in (await rig.post("/twilio/voice", form)).body
    call = await rig.only_call()
    assert (call.stack, "both may have been reached" in call.route_reason) == ("direct", True)
    assert not await in_database(handover_abandoned, str(call.pk))


async def test_an_answer_that_comes_after_a_repeat_took_the_call_back_is_given_to_nobody(
    moved: Moved,
) -> None:
    rig = await moved(fallback_message="Call again.")
    rig.old.delay_seconds = 0.5
    form = rig.form()
    asking = asyncio.ensure_future(rig.post("/twilio/voice", form))
    await until(lambda: rig.old.asked(VOICE_PATH), what="the old stack")
    call = await rig.only_call()
    assert await in_database(handover_abandoned, str(call.pk))
    assert "Call again." in (await rig.post("/twilio/voice", form)).body
    assert "Call again." in (await asking).body


async def test_a_caller_who_hung_up_meanwhile_is_not_answered(moved: Moved) -> None:
    rig = await moved(qualified_at=timezone.now())
    rig.old.mode, rig.old.delay_seconds = "failing", 0.4
    form = rig.form()
    asking = asyncio.ensure_future(rig.post("/twilio/voice", form))
    await until(lambda: rig.old.asked(VOICE_PATH), what="the old stack")
    await rig.post("/twilio/status", {**form, "CallStatus": "canceled"})
    assert "<Connect" not in (await asking).body
    call = await rig.only_call()
    assert (call.stack, call.status) == ("vapi", "ended")
    assert rig.model_sessions == []


async def test_what_came_of_it_is_stored_also_when_twilio_has_given_up_on_us(
    moved: Moved,
) -> None:
    rig = await moved(qualified_at=timezone.now())
    rig.old.mode = "hanging"
    asking = asyncio.ensure_future(rig.voice())
    await until(lambda: rig.old.asked(VOICE_PATH), what="the old stack")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    rig.old.mode = "up"
    row = await _handover(await rig.only_call())
    async with asyncio.timeout(10):
        while row.ended_at is None:
            await asyncio.sleep(0.05)
            await in_database(row.refresh_from_db)
    assert row.is_taken


async def test_a_full_house_is_handed_to_the_old_stack(moved: Moved, settings: Any) -> None:
    settings.MAX_CONCURRENT_CALLS = 0
    rig = await moved(route="direct")
    assert (await rig.voice()).body == TWIML
    call = await rig.only_call()
    assert (call.stack, call.route_code) == ("vapi", "overflow")


async def test_a_number_on_its_way_back_to_a_trunk_is_answered(moved: Moved) -> None:
    rig = await moved(target={"kind": "trunk", "sid": factories.sid("TK"), "url": ""})
    assert "<Connect" in (await rig.voice()).body
    call = await rig.only_call()
    assert (call.stack, call.route_code) == ("direct", "on-the-way")


async def test_with_an_open_desk_nobody_is_declined_for_want_of_an_assistant(rig: Rig) -> None:
    await in_database(lambda: factories.make_desk(is_default=True))
    rig.number.assistant = None
    await in_database(rig.number.save)
    assert "<Dial" in (await rig.voice()).body
    call = await rig.only_call()
    assert (call.status, call.route_code) == ("forwarding", "no-assistant")


async def test_a_direct_call_is_routed_by_three_queries(
    rig: Rig, django_assert_max_num_queries: Any
) -> None:

    account = rig.number.twilio_account
    origin = rig.standin_origin

    def ask(**fields: str) -> str:
        request = voice_request(rig.form(**fields))
        with django_assert_max_num_queries(40) as seen:
            call_start(request=request, account=account, live_calls=0)
        return "\n".join(query["sql"] for query in seen.captured_queries)

    await in_database(previous_set, rig.number, Target("url", url=origin + VOICE_PATH))
    # What the decision does not turn on is not looked up.
    said = await in_database(ask)
    assert "calls_oldstack" not in said
    before = said.partition("INSERT")[0]
    assert 'FROM "calls_operatordesk"' not in before
    # The call, the number with all that hangs on it, the line that it has spoken first.
    assert sum(line.startswith("SELECT") for line in before.splitlines()) <= 3, before
    # Whether a move waits for it is seen with the number.
    assert "calls_numbermove" not in said.partition("INSERT")[2]


async def _rest_is_over() -> None:
    """Move the old stack's outage into the past, as its rest does."""

    def shift() -> None:
        row = OldStack.objects.get()
        health = old_stacks.health_of(row)
        past = old_stacks.now_ms() - health.rest_ms - 60_000
        row.health = replace(health, since_ms=past, last_ms=past).as_json()
        row.save()

    await in_database(shift)


async def _gap_is_over() -> None:
    def shift() -> None:
        row = OldStack.objects.get()
        health = old_stacks.health_of(row)
        row.health = replace(health, last_ms=health.last_ms - 10_000).as_json()
        row.save()

    await in_database(shift)
