"""OpenAI cannot be reached: the old stack while it rings, then a person, then the last words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree

import pytest

from calls.media.database import in_database
from calls.media.reach import FAILURES, reach
from calls.media.realtime_client import Endpoint, RealtimeUnreachable, dial
from calls.models import OutboxEvent
from calls.services.call_finish import stale_calls_close
from calls.standins.twilio_call import Callee
from tests import factories
from tests.integration.calls.rig import PUBLIC, TOKEN, Rig
from tests.integration.standins.platform import running_platform

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DESK, PREVIOUS = "+15550100042", "https://previous.example.com/inbound_call"


@pytest.fixture
async def dark(rig: Rig) -> AsyncIterator[Rig]:
    """The rig after the last calls could not reach the model."""
    connection = rig.number.connection
    assert connection is not None
    for _ in range(FAILURES):
        reach.failed(connection.realtime_url)
    yield rig
    reach.opened(connection.realtime_url)


async def _set(rig: Rig, **columns: object) -> None:
    for name, value in columns.items():
        setattr(rig.number, name, value)
    await in_database(rig.number.save)


def _verbs(body: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(body))  # noqa: S314 - our own answer


async def test_while_it_rings_the_previous_stack_takes_the_call(dark: Rig, settings: Any) -> None:
    """Twilio's request goes on as it is, signed for that URL: Vapi takes ringing calls only."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    await in_database(lambda: factories.make_desk(is_default=True))
    form = dark.form()
    async with running_platform(TOKEN) as vapi:
        url = f"{vapi.base_url}/inbound?x=1"
        vapi.answers["/inbound"] = lambda _: (200, '<Response><Dial action="next"/></Response>')
        await _set(dark, previous_voice_url=url)
        for _ in range(2):  # and again to a repeat
            (dial,) = _verbs((await dark.post("/twilio/voice", form)).body)
            assert dial.get("action") == f"{vapi.base_url}/next"
        # The repeat is given the answer of the first: it rings at the old stack once.
        assert [asked for _, asked in vapi.asked] == [form]
        assert vapi.bad_signatures == 0
    call = await dark.only_call()
    assert (call.stack, call.stream_count, call.revision_id) == ("vapi", 0, None)
    assert (call.route_code, "could not be reached" in call.route_reason) == ("model-lost", True)
    # The old stack reports to the customer's server itself; we only close the row.
    form = dark.form(CallSid=call.call_sid, CallStatus="completed", CallDuration="9")
    assert (await dark.post("/twilio/status", form)).status == 204
    await in_database(call.refresh_from_db)
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert not await in_database(OutboxEvent.objects.exists)


@pytest.mark.parametrize("answer", [(500, ""), (200, "Hello"), (200, "<Other/>"), None])
@pytest.mark.parametrize("has_desk", [True, False])
async def test_a_previous_stack_that_fails_gives_way_to_the_person_and_the_last_words(
    dark: Rig, settings: Any, answer: tuple[int, str] | None, has_desk: bool
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"] if answer is not None else []
    if has_desk:
        await in_database(lambda: factories.make_desk(is_default=True))
    async with running_platform(TOKEN) as vapi:
        vapi.answers["/inbound"] = lambda _: answer or (200, "<Response/>")
        await _set(dark, previous_voice_url=f"{vapi.base_url}/inbound")
        verbs = _verbs((await dark.voice()).body)
    assert [verb.tag for verb in verbs] == (["Say", "Dial"] if has_desk else ["Say", "Hangup"])
    call = await dark.only_call()
    assert (call.stack, call.status) == ("direct", "forwarding" if has_desk else "ended")
    # Only where the old stack may have had the request.
    assert ("both may have been reached" in call.route_reason) is (answer is not None)


@pytest.mark.parametrize(
    ("status", "url"), [("in-progress", PREVIOUS), ("ringing", PUBLIC + "/twilio/voice")]
)
async def test_an_answered_call_or_an_address_of_ours_goes_to_the_person(
    dark: Rig, status: str, url: str
) -> None:
    await _set(dark, previous_voice_url=url)
    await in_database(lambda: factories.make_desk(is_default=True, ring_seconds=12))
    form = dark.form(CallStatus=status)
    for _ in range(2):
        (dial,) = _verbs((await dark.post("/twilio/voice", form)).body)
        assert (dial.tag, dial[0].text, dial.get("timeout")) == ("Dial", DESK, "12")
        assert dial.get("answerOnBridge") == "true"
    call = await dark.only_call()
    assert (call.stack, call.status) == ("direct", "forwarding")
    assert call.metrics["operator"]["asked_by"] == "unreachable"
    # It is no stale call while people talk.
    assert await in_database(stale_calls_close) == 0


async def test_with_nobody_else_the_model_is_tried_all_the_same(dark: Rig) -> None:
    await in_database(
        lambda: factories.make_desk(is_default=True, always_open=False, destination=DESK)
    )
    report = await dark.call()
    assert report.streams == 1
    assert report.heard, "it was back"
    connection = dark.number.connection
    assert connection is not None and not reach.is_lost(connection.realtime_url)


async def test_the_person_answers_a_ringing_call_or_the_message_is_said(dark: Rig) -> None:
    await in_database(
        lambda: factories.make_desk(is_default=True, no_answer_message="We call you back.")
    )
    taken = await dark.call()
    assert (taken.dialled, taken.streams, taken.errors) == ([DESK], 0, [])
    dark.carrier.callees[DESK] = Callee("no-answer")
    missed = await dark.call()
    assert [event["text"] for event in missed.events if event["kind"] == "say"] == [
        "We call you back."
    ]
    ended = {call.call_sid: call.ended_reason for call in await dark.rows()}
    assert ended == {
        taken.call_sid: "assistant-forwarded-call",
        missed.call_sid: "call.forwarding.no-answer",
    }


async def test_a_key_that_is_refused_keeps_no_other_connection_of_the_address_from_its_callers(
    rig: Rig,
) -> None:
    await in_database(lambda: factories.make_desk(is_default=True))
    connection = rig.number.connection
    assert connection is not None
    good = connection.api_key

    def another(api_key: str, model: str = "gpt-realtime-2.1") -> Endpoint:
        return Endpoint(connection.realtime_url, "openai_ga", model, api_key)

    for _ in range(FAILURES):
        with pytest.raises(RealtimeUnreachable):
            await dial(another(""))  # refused with 401
    (connect,) = _verbs((await rig.voice()).body)
    assert connect.tag == "Connect"
    connection.api_key = ""
    await in_database(connection.save)
    (dialled,) = _verbs((await rig.voice()).body)
    assert dialled.tag == "Dial", "its own callers are spared"
    reach.opened(another("").line)
    assert good not in another(good).line
