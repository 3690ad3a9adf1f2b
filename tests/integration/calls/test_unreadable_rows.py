"""What no key opens is opened by nobody who can do without, and never costs a caller the call."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from calls.media.database import in_database
from calls.models import Call, PhoneNumber
from calls.numbers.switch.voice import Target
from calls.services.call_start import media_token
from calls.services.media_open import media_open
from calls.services.number_routes import previous_set
from calls.standins.old_stack import TWIML, VOICE_PATH
from calls.telephony.addresses import media_path
from tests import factories
from tests.integration.calls.rig import PUBLIC, Answer, Rig, sign
from voiceplatform.base.fields import DecryptionError

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

LOST = "gAAAAAno-key-of-ours-made-this"


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]


async def _lose(table: str, column: str) -> None:
    """Have nobody's key open a column."""

    def spoil() -> None:
        with connection.cursor() as cursor:
            statement = f"UPDATE {table} SET {column} = %s"  # noqa: S608  # names of this module
            cursor.execute(statement, [LOST])

    await in_database(spoil)


async def _number(rig: Rig, *, url: str = "", **columns: Any) -> None:
    def store() -> None:
        for name, value in columns.items():
            setattr(rig.number, name, value)
        rig.number.save()
        # A voice URL too long for the plain column is in the sealed one alone.
        previous_set(rig.number, Target("url", url=url or rig.standin_origin + VOICE_PATH))
        if not url:
            PhoneNumber.objects.update(previous_voice_url="")

    await in_database(store)


async def _asked(rig: Rig) -> tuple[Answer, Call]:
    """Return the answer to a webhook, the same to its repeat, and the call's row."""
    form = rig.form()
    answer, again = [await rig.post("/twilio/voice", form) for _ in range(2)]
    assert (answer.status, again.body) == (200, answer.body)
    return answer, (await rig.rows())[-1]


async def test_a_number_that_answers_itself_needs_no_key_of_where_its_calls_went(rig: Rig) -> None:
    await _number(rig)
    await _lose("calls_phonenumber", "previous_target")
    answer, call = await _asked(rig)
    assert "<Connect" in answer.body
    assert (call.stack, call.route_code) == ("direct", "route-direct")
    token = media_token(call)
    url = f"{PUBLIC.replace('https', 'wss')}{media_path(call.pk, token)}"
    opened = partial(media_open, call_id=str(call.pk), token=token, url=url)
    assert (await in_database(opened, signature=sign(url, {}))).plan.call_id == str(call.pk)
    # Whoever saves the row of such a number leaves the token that another key may open.
    number = await in_database(PhoneNumber.objects.get)
    await in_database(number.save)
    with pytest.raises(DecryptionError):
        _ = (await in_database(PhoneNumber.objects.get)).previous_target


async def test_where_calls_went_is_unreadable_qualified_then_a_person_then_the_last_words(
    rig: Rig,
) -> None:
    await _number(rig, route="vapi", qualified_at=timezone.now())
    await _lose("calls_phonenumber", "previous_target")
    answer, call = await _asked(rig)
    assert "<Connect" in answer.body
    assert (call.stack, call.route_code) == ("direct", "old-missing")
    await in_database(lambda: PhoneNumber.objects.update(qualified_at=None))
    await in_database(lambda: PhoneNumber.objects.update(fallback_message="Call again."))
    answer, call = await _asked(rig)
    assert "Call again." in answer.body
    assert (call.status, call.route_code) == ("ended", "old-missing")
    desk = await in_database(factories.make_desk, destination="+14155550123")
    await in_database(lambda: PhoneNumber.objects.update(operator_desk=desk))
    answer, call = await _asked(rig)
    assert "+14155550123" in answer.body
    assert (call.status, call.route_code) == ("forwarding", "old-missing")
    assert rig.old.asked(VOICE_PATH) == []


async def test_the_plain_voice_address_is_asked_where_the_sealed_target_is_unreadable(
    rig: Rig,
) -> None:
    await _number(rig, route="vapi", url=rig.standin_origin + VOICE_PATH)
    await _lose("calls_phonenumber", "previous_target")
    answer, call = await _asked(rig)
    assert (answer.body, call.stack) == (TWIML, "vapi")


@pytest.mark.parametrize(
    ("table", "column"),
    [("calls_providerconnection", "api_key"), ("assistants_assistantrevision", "document")],
)
async def test_what_our_own_answer_needs_is_unreadable_the_old_stack_then_a_person(
    rig: Rig, table: str, column: str
) -> None:
    url = rig.standin_origin + VOICE_PATH
    await _number(rig, url=url, qualified_at=timezone.now(), fallback_message="Call again.")
    await _lose(table, column)
    for route in ("direct", "vapi"):
        await in_database(PhoneNumber.objects.update, route=route)
        answer, call = await _asked(rig)
        assert (answer.body, call.stack) == (TWIML, "vapi"), route
    assert [each.route_code for each in await rig.rows()] == ["unreadable", "route-vapi"]
    rig.old.mode = "failing"
    answer, call = await _asked(rig)
    assert "Call again." in answer.body
    await in_database(lambda: PhoneNumber.objects.update(route="direct"))
    await in_database(previous_set, rig.number, None)
    answer, call = await _asked(rig)
    assert ("Call again." in answer.body, call.route_code) == (True, "unreadable")
    desk = await in_database(factories.make_desk, destination="+14155550123")
    await in_database(lambda: PhoneNumber.objects.update(operator_desk=desk))
    answer, call = await _asked(rig)
    assert "+14155550123" in answer.body
    assert (call.status, call.revision_id) == ("forwarding", None)
    assert rig.model_sessions == []


async def test_a_tool_that_no_key_opens_leaves_the_caller_to_a_person(rig: Rig) -> None:
    tool = await in_database(factories.make_tool)
    assert rig.number.assistant is not None
    assistant = rig.number.assistant
    await in_database(lambda: factories.make_revision(assistant, tools=[tool]))
    await _lose("tools_tool", "server_url")
    await in_database(lambda: PhoneNumber.objects.update(fallback_message="Call again."))
    answer, call = await _asked(rig)
    assert "Call again." in answer.body
    assert (call.status, call.stream_count) == ("ended", 0)
    desk = await in_database(factories.make_desk, destination="+14155550123")
    await in_database(lambda: PhoneNumber.objects.update(operator_desk=desk))
    answer, call = await _asked(rig)
    assert "+14155550123" in answer.body
    assert rig.model_sessions == []


async def test_an_answer_of_the_old_stack_that_no_key_opens_is_asked_for_again(rig: Rig) -> None:
    await _number(rig, route="vapi", url=rig.standin_origin + VOICE_PATH)
    form = rig.form()
    assert (await rig.post("/twilio/voice", form)).body == TWIML
    await _lose("calls_callhandover", "answer")
    assert (await rig.post("/twilio/voice", form)).body == TWIML
    assert len(rig.old.asked(VOICE_PATH)) == 2
    ended = {**form, "CallStatus": "completed"}
    assert (await rig.post("/twilio/status", ended)).status == 204


async def test_an_account_whose_token_no_key_opens_sends_twilio_to_the_net(rig: Rig) -> None:
    await _lose("calls_twilioaccount", "auth_token")
    assert (await rig.voice()).status == 503
