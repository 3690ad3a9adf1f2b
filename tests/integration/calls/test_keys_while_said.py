"""Keys that are pressed while Twilio itself speaks: the policy line, last words. No model."""

from __future__ import annotations

import uuid
from typing import Any
from xml.etree import ElementTree

import pytest

from calls.media.database import in_database
from calls.models import Call, CallPolicy, OperatorDesk
from calls.numbers.phrases import sentence
from calls.standins.scenario import parse_scenario
from calls.telephony.signed import REQUEST_KEY
from tests import factories
from tests.integration.calls.rig import PUBLIC, Rig, sign

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DESK, LINE = "+15550100042", "This call may be recorded."
NOTICE = {"recording_consent": CallPolicy.Consent.NOTICE, "refusal_key": "9"}

Verbs = list[ElementTree.Element]


async def _line(rig: Rig, desk: dict[str, Any] | None = None, **policy: Any) -> None:
    """Give the number a policy line that has not been rendered, and a desk."""

    def make() -> None:
        rig.number.policy = factories.make_policy(wordings={"en": LINE}, **policy)
        rig.number.save()
        if desk is not None:
            factories.make_desk(is_default=True, **desk)

    await in_database(make)


class Caller:
    """One call by hand; each request has a token of its own, unless it is a repeat."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.call_sid = rig, "CA" + uuid.uuid4().hex

    async def ask(self, path: str, key: str = "", **fields: str) -> Verbs:
        form = self.rig.form(CallSid=self.call_sid, **fields)
        token = {REQUEST_KEY: key or uuid.uuid4().hex}
        answer = await self.rig.post(path, form, headers=token)
        assert answer.status == 200, answer.body
        return list(ElementTree.fromstring(answer.body))  # noqa: S314 - our own answer

    async def ring(self) -> Verbs:
        return await self.ask("/twilio/voice")

    async def row(self) -> Call:
        return await in_database(lambda: Call.objects.get(call_sid=self.call_sid))

    async def press(self, digits: str, key: str = "") -> Verbs:
        call = await self.row()
        return await self.ask(
            f"/twilio/key/{call.pk}", key, Digits=digits, CallStatus="in-progress"
        )

    async def nobody_took_it(self) -> Verbs:
        call = await self.row()
        return await self.ask(f"/twilio/after-dial/{call.pk}", DialCallStatus="busy")


def _tags(verbs: Verbs) -> list[str]:
    return [verb.tag for verb in verbs]


async def test_the_line_is_said_where_keys_are_heard_if_any_means_something(rig: Rig) -> None:
    await _line(rig, {})
    caller = Caller(rig)
    gather, connect = await caller.ring()
    assert (gather.tag, connect.tag) == ("Gather", "Connect")
    assert [(say.tag, say.text) for say in gather] == [("Say", LINE)]
    call = await caller.row()
    assert gather.attrib == {
        "action": f"{PUBLIC}/twilio/key/{call.pk}",
        "method": "POST",
        "input": "dtmf",
        "numDigits": "1",
        "timeout": "1",
        "finishOnKey": "",
    }
    # A repeat is answered the same; without a desk and without a refusal nothing is to be heard.
    assert _tags(await caller.ring()) == ["Gather", "Connect"]
    await in_database(OperatorDesk.objects.all().delete)
    assert _tags(await Caller(rig).ring()) == ["Say", "Connect"]


async def test_the_operator_s_key_reaches_the_operator_and_a_line_cut_off_is_said_to_its_end(
    rig: Rig,
) -> None:
    await _line(rig, {})
    caller = Caller(rig)
    await caller.ring()
    for _ in range(2):
        _, dial = await caller.press("0", "same")
        assert [number.text for number in dial] == [DESK]
    call = await caller.row()
    assert (call.status, call.metrics["operator"]["asked_by"]) == ("forwarding", "operator")
    say, connect = await caller.nobody_took_it()
    assert (say.tag, say.text, connect.tag) == ("Say", LINE, "Connect")
    call = await caller.row()
    assert (call.stream_count, call.policy_played_at is None) == (2, False)


async def test_another_key_goes_on_and_the_line_is_said_again_where_none_stops_it(
    rig: Rig,
) -> None:
    await _line(rig, {})
    caller = Caller(rig)
    _, first = await caller.ring()
    say, connect = await caller.press("5")
    assert (say.tag, say.text) == ("Say", LINE)
    assert connect[0].get("url") == first[0].get("url"), "the same stream"
    assert (await caller.row()).stream_count == 1


@pytest.mark.parametrize(
    ("on_refusal", "tags", "status"),
    [
        ("human", ["Say", "Dial"], "forwarding"),
        ("end", ["Gather", "Hangup"], "ended"),
        ("unrecorded", ["Connect"], "ringing"),
    ],
)
async def test_the_key_that_refuses_does_what_the_policy_says(
    rig: Rig, on_refusal: str, tags: list[str], status: str
) -> None:
    await _line(rig, {}, on_refusal=on_refusal, **NOTICE)
    caller = Caller(rig)
    await caller.ring()
    for _ in range(2):
        assert _tags(await caller.press("9", "same")) == tags
    call = await caller.row()
    assert (call.status, call.policy_refused_at is None) == (status, False)


async def test_the_key_counts_during_last_words_too_but_once(rig: Rig) -> None:
    await _line(rig, {"unanswered": "message"})
    caller = Caller(rig)
    await caller.ring()
    await caller.press("0")
    gather, _ = await caller.nobody_took_it()
    assert [say.text for say in gather] == [sentence("no_answer", "en")[0]]
    assert _tags(await caller.press("7")) == ["Gather", "Hangup"], "any other key: said again"
    for _ in range(2):
        assert _tags(await caller.press("0", "same")) == ["Say", "Dial"]
    assert (await caller.row()).status == "ended"
    assert _tags(await caller.nobody_took_it()) == ["Say", "Hangup"]
    assert _tags(await caller.press("0")) == ["Say", "Hangup"]


async def test_who_signs_for_another_account_presses_no_key(rig: Rig) -> None:
    await _line(rig, {})
    caller = Caller(rig)
    await caller.ring()
    call = await caller.row()
    token = "the-token-of-somebody-else"
    other = await in_database(lambda: factories.make_account(auth_token=token))
    path = f"/twilio/key/{call.pk}"
    form = rig.form(CallSid=call.call_sid, AccountSid=other.account_sid, Digits="0")
    answer = await rig.post(path, form, signature=sign(PUBLIC + path, form, token))
    assert answer.status == 404
    assert (await caller.row()).status == "ringing"


async def test_key_0_during_the_line_reaches_the_operator_over_real_sockets(rig: Rig) -> None:
    await _line(rig, {})
    quiet = parse_scenario({"name": "presses", "caller": [{"hang_up": {"silence_ms": 500}}]})
    call, task = rig.carrier.start_call(rig.number.number_e164, "+15550107777", scenario=quiet)
    call.gather_keys.append("0")
    report = await task
    assert (report.failures, report.errors, report.dialled) == ([], [], [DESK])
    stored = await rig.only_call()
    assert stored.ended_reason == "assistant-forwarded-call"
