"""A number without an assistant: its server says who answers (vapi.md 5.3, trap 19)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from assistants.models import Assistant
from assistants.resource_services import resource_store
from assistants.selectors import NUMBER_KIND, assistant_list
from calls.media.database import in_database
from calls.models import Call, OutboxEvent, PhoneNumber
from calls.services import assistant_request
from calls.services.assistant_request import request_apply
from calls.services.call_finish import status_apply
from calls.services.call_plan import plan_for
from calls.standins.twiml import parse_twiml
from calls.wire.twilio_voice import StatusReport
from tests import factories
from tests.integration.calls.rig import Rig, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DOCUMENT = {
    "name": "From the server",
    "firstMessage": "Hello, {{name}}.",
    "model": {"provider": "openai", "messages": [{"role": "system", "content": "Be brief."}]},
}


def _bare(number: PhoneNumber, url: str, **document: Any) -> None:
    """Take the number's assistant away and give it a server."""
    PhoneNumber.objects.filter(pk=number.pk).update(assistant=None)
    resource_store(
        organisation=number.organisation,
        kind=NUMBER_KIND,
        resource_id=number.pk,
        document={"server": {"url": url, "secret": "numbers"}, **document},
        actor=None,
    )


# -- what follows from each answer ----------------------------------------------------------------


def asking(**document: Any) -> Call:
    """Return a call whose number's server is being asked."""
    number = factories.make_number()
    _bare(number, "https://who.example.com", **document)
    number.refresh_from_db()
    return factories.make_call(
        number=number, revision=None, status="ringing", started_at=None, stream_count=1,
        next_step={"kind": "ask"}, connection=factories.make_connection(),
    )  # fmt: skip


def answered(call: Call, answer: Any) -> tuple[str, Call]:
    text = answer if answer is None or isinstance(answer, str) else json.dumps(answer)
    start = request_apply(call_id=str(call.pk), text=text)
    call.refresh_from_db()
    return start.answer, call


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "assistant-request-failed"),
        ("<html>", "assistant-request-failed"),
        ({"error": "We are closed"}, "assistant-request-returned-error"),
        ({"error": {}}, "assistant-request-returned-unspeakable-error"),
        ({}, "assistant-request-returned-no-assistant"),
        ({"workflowId": "w"}, "assistant-request-returned-no-assistant"),
        ({"assistantId": "none-such"}, "assistant-request-returned-invalid-assistant"),
        ({"assistant": {"name": "x"}}, "assistant-request-returned-invalid-assistant"),
        ({"destination": {"number": "911"}}, "assistant-request-returned-invalid-assistant"),
    ],
)
def test_without_an_assistant_the_caller_is_told_and_the_call_says_why(
    answer: Any, reason: str
) -> None:
    said, call = answered(asking(), answer)
    assert (said, call.status, call.ended_reason) == ("say", "ended", reason)
    assert answered(call, {"assistant": DOCUMENT})[0] == "say"  # too late: the same again


def test_the_fallback_destination_takes_a_call_that_nobody_answers_for() -> None:
    fallback = {"type": "number", "number": "+15550100077", "message": ""}
    said, call = answered(asking(fallbackDestination=fallback), None)
    assert (said, call.status) == ("dial", "forwarding")
    assert (call.next_step["to"], call.next_step["say"]) == ("+15550100077", "")
    # What a server wants said to the caller is said, fallback or not.
    assert answered(asking(fallbackDestination=fallback), {"error": "Closed"})[0] == "say"


def test_a_destination_is_dialled_at_once_and_the_end_says_so() -> None:
    answer = {"destination": {"type": "number", "number": "+15550100099"}}
    said, call = answered(asking(), answer)
    assert (said, call.next_step["to"]) == ("dial", "+15550100099")
    assert call.next_step["say"] == "Transferring the call now"
    assert answered(call, None)[0] == "dial"  # a repeat is answered the same
    status_apply(report=StatusReport(
        call_sid=call.call_sid, call_status="completed", duration_seconds=9, sequence_number=3,
        error_code="",
    ))  # fmt: skip
    call.refresh_from_db()
    assert call.ended_reason == "assistant-request-returned-forwarding-phone-number"


def test_a_saved_assistant_answers_with_the_revision_that_is_live() -> None:
    call = asking()
    saved = factories.make_assistant(call.organisation)
    said, call = answered(call, {"assistantId": str(saved.pk)})
    assert said == "direct"
    assert call.revision_id == saved.current_revision_id
    assert call.next_step == {"kind": "resume"}


def test_another_organisation_s_assistant_answers_nobody() -> None:
    other = factories.make_assistant(factories.make_organisation())
    said, call = answered(asking(), {"assistantId": str(other.pk)})
    assert said == "say"
    assert call.ended_reason == "assistant-request-returned-invalid-assistant"


def test_an_assistant_of_the_answer_speaks_and_is_in_no_list() -> None:
    overrides = {"variableValues": {"name": "Ada"}, "model": {"temperature": 0.6}}
    body = {"messageResponse": {"assistant": DOCUMENT, "assistantOverrides": overrides}}
    said, call = answered(asking(), body)
    assert said == "direct" and call.revision is not None
    plan = plan_for(call)
    assert plan.greeting.text == "Hello, Ada."
    assert "Be brief." in plan.session.instructions
    assert not assistant_list(call.organisation).filter(name="From the server").exists()
    # The same answer again is the same assistant.
    again = factories.make_call(
        number=call.number, revision=None, status="ringing", started_at=None, stream_count=1,
        next_step={"kind": "ask"}, connection=call.connection,
    )  # fmt: skip
    assert answered(again, body)[1].revision_id == call.revision_id
    assert Assistant.objects.filter(name="From the server").count() == 1


def test_the_first_member_of_a_squad_answers() -> None:
    call = asking()
    first = factories.make_assistant(call.organisation, name="First")
    squad = factories.make_squad(call.organisation, members=[{"assistantId": str(first.pk)}])
    said, call = answered(call, {"squadId": str(squad.pk)})
    assert said == "direct" and call.revision is not None
    assert call.revision.assistant == first
    assert call.activation is not None and call.activation.squad == squad
    assert answered(asking(), {"squad": {"members": []}})[0] == "say"


def test_overrides_lie_over_a_saved_assistant_and_leave_it_as_it_is() -> None:
    call = asking()
    saved = factories.make_assistant(call.organisation, first_message="Good day.")
    answer = {"assistantId": str(saved.pk), "assistantOverrides": {"firstMessage": "Hi there."}}
    said, call = answered(call, answer)
    assert said == "direct"
    assert plan_for(call).greeting.text == "Hi there."
    saved.refresh_from_db()
    assert saved.current_revision is not None
    assert saved.current_revision.first_message == "Good day."


# -- over the wire --------------------------------------------------------------------------------


@asynccontextmanager
async def who_answers(answer: Any, *, after_seconds: float = 0.0) -> AsyncIterator[Any]:
    """Run a server that says who answers; yields its URL and what it was asked."""
    asked: list[tuple[dict[str, str], Any]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(({k.lower(): v for k, v in request.headers.items()}, await request.json()))
        await asyncio.sleep(after_seconds)
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post("/who", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        yield f"http://127.0.0.1:{port}/who", asked
    finally:
        await runner.cleanup()


async def test_a_call_is_asked_for_once_and_answered_by_who_was_named(
    rig: Rig, settings: Any
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    async with who_answers({"assistant": DOCUMENT}, after_seconds=0.1) as (url, asked):
        await in_database(_bare, rig.number, url)
        form = rig.form()
        first, again = await asyncio.gather(
            rig.post("/twilio/voice", form), rig.post("/twilio/voice", form)
        )
    assert first.status == again.status == 200
    assert "<Stream" in first.body and first.body == again.body
    ((headers, body),) = asked
    assert headers["x-vapi-secret"] == "numbers"
    message = body["message"]
    call = await rig.only_call()
    assert message["type"] == "assistant-request"
    assert message["call"]["id"] == str(call.pk)
    assert message["call"]["status"] == "ringing"
    assert message["phoneNumber"]["number"] == rig.number.number_e164
    assert message["customer"] == {"number": "+15550107777"}
    assert "assistant" not in message


async def test_v19_a_server_that_takes_too_long_is_not_waited_for(
    rig: Rig, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert assistant_request.LIMIT_SECONDS == 7.5
    monkeypatch.setattr(assistant_request, "LIMIT_SECONDS", 1.05)
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    async with who_answers({"assistant": DOCUMENT}, after_seconds=1.6) as (url, asked):
        await in_database(_bare, rig.number, url)
        answer = await rig.voice()
        await until(lambda: asked, what="the question")
    names = [verb.name for verb in parse_twiml(answer.body, "text/xml").verbs]
    assert names == ["Say", "Hangup"]
    assert (await rig.only_call()).ended_reason == "assistant-request-failed"
    assert await in_database(OutboxEvent.objects.filter(kind="end-of-call-report").count) == 1
