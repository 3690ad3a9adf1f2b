"""How calls end that Twilio reports on its action URLs, and whose account may speak of a call."""

from __future__ import annotations

from typing import Any

import pytest

from calls.models import Call
from calls.services.call_next import call_after_dial, call_next
from tests import factories
from tests.integration.calls.rig import PUBLIC, Rig, sign, stream_path

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def _forwarding(**columns: Any) -> Call:
    dial = {"kind": "dial", "to": "+15550100042"}
    return factories.make_call(
        status=Call.Status.FORWARDING, stream_count=1, next_step=dial, **columns
    )


def _after(call: Call, dial_status: str, **fields: Any) -> str:
    outcome = call_after_dial(
        call_id=str(call.pk), call_sid=call.call_sid, dial_status=dial_status, **fields
    )
    assert outcome is not None
    call.refresh_from_db()
    return outcome.step


@pytest.mark.parametrize("dial_status", ["no-answer", "canceled", "busy", ""])
def test_a_caller_who_hangs_up_while_it_rings_is_not_brought_back(
    transactional_db: None, dial_status: str
) -> None:
    call = _forwarding()
    assert _after(call, dial_status, call_status="completed") == "hangup"
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert call.stream_count == 1


def test_a_transfer_that_was_taken_is_told_and_priced(transactional_db: None) -> None:
    call = _forwarding()
    assert _after(call, "completed", call_status="completed", dial_seconds=61) == "hangup"
    assert (call.status, call.ended_reason) == ("ended", "assistant-forwarded-call")
    # One started minute came in, two went out.
    assert float(call.cost_usd) >= 2 * 0.014
    again = float(call.cost_usd)
    assert _after(call, "completed", call_status="completed", dial_seconds=61) == "hangup"
    assert float(call.cost_usd) == again


def test_a_caller_who_is_gone_when_the_next_step_is_asked_for_ends_the_call(
    transactional_db: None,
) -> None:
    """The stream died with its process, and the number has no status callback."""
    call = factories.make_call(stream_count=1, next_step={"kind": "resume"})
    outcome = call_next(call_id=str(call.pk), call_sid=call.call_sid, call_status="completed")
    assert outcome is not None
    assert outcome.step == "hangup"
    call.refresh_from_db()
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")


async def test_webhooks_signed_for_another_account_know_nothing_of_a_call(rig: Rig) -> None:
    from calls.media.database import in_database

    answer = await rig.voice()
    call = await rig.only_call()
    token = "the-token-of-somebody-else"
    other = await in_database(lambda: factories.make_account(auth_token=token))
    form = rig.form(CallSid=call.call_sid, AccountSid=other.account_sid, CallStatus="completed")

    async def told(path: str) -> tuple[int, str]:
        result = await rig.post(path, form, signature=sign(PUBLIC + path, form, token))
        return result.status, result.body

    status, body = await told("/twilio/voice")
    assert (status, "<Stream" in body) == (200, False)
    for path in (
        "/twilio/status",
        "/twilio/stream-status",
        f"/twilio/after-stream/{call.pk}",
        f"/twilio/after-dial/{call.pk}",
    ):
        assert (await told(path))[0] == 404, path
    await in_database(call.refresh_from_db)
    assert (call.status, call.stream_count) == ("ringing", 1)
    await (await rig.media(stream_path(answer.body))).close()
