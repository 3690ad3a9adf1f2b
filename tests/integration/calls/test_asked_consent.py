"""A policy that asks: no stream, so no voice at the model, before the caller has answered."""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from calls.media.database import in_database
from calls.media.pool import pool
from calls.models import Call, CallInputChunk, CallPolicy, OutboxEvent
from calls.numbers.phrases import sentence
from calls.services.assistant_request import request_apply
from calls.services.call_start import CallStart, media_token
from calls.services.consent_question import question_of
from calls.services.live_listen import may_listen
from calls.services.media_open import MediaRefused, media_open
from calls.services.policy_review import policy_review
from calls.services.simulate import call_simulate, call_summary
from calls.standins.scenario import parse_scenario
from calls.telephony.signed import REQUEST_KEY
from tests import factories
from tests.integration.calls.rig import PUBLIC, TOKEN, Rig, sign

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

LINE, QUESTION = "You speak to a machine.", "Press 1 if you agree, 2 if not."
SORRY = "Then we end here."
DESK = "+15550100042"

Verbs = list[ElementTree.Element]

HOURS, UNTIL_SIX = "When do you close?", "We close at six."
SHORT = {
    "name": "asked",
    "caller": [{"say": HOURS, "after": "greeting"}, {"hang_up": {"heard": "six"}}],
    "brain": {"rules": [{"when": "close", "say": UNTIL_SIX}]},
    "expect": {"agent_says": ["at six"]},
}


def _asking(rig: Rig, *, desk: bool = False, question: str = QUESTION, **policy: Any) -> None:
    """Give the number a policy that asks."""
    columns = {"refusal_message": SORRY, **policy}
    rig.number.policy = factories.make_policy(recording_consent="ask", **columns)
    factories.make_wording(rig.number.policy, text=LINE, question=question, audio_mulaw=b"\xff" * 9)
    rig.number.save()
    if desk:
        factories.make_desk(is_default=True)


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
        def read() -> Call:
            rows = Call.objects.select_related("policy_wording__policy", "twilio_account")
            found: Call = rows.get(call_sid=self.call_sid)
            return found

        return await in_database(read)

    async def on(self, kind: str, key: str = "", **fields: str) -> Verbs:
        call = await self.row()
        fields = {"CallStatus": "in-progress", **fields}
        return await self.ask(f"/twilio/{kind}/{call.pk}", key, **fields)

    async def answer(self, given: str = "", key: str = "") -> Verbs:
        name = "Digits" if len(given) == 1 else "SpeechResult"
        return await self.on("consent", key, **({name: given} if given else {}))


def _tags(verbs: Verbs) -> list[str]:
    return [verb.tag for verb in verbs]


def _knock(call: Call) -> bool:
    """Tell whether a media socket with the right token and signature is let in."""
    token = media_token(call)
    url = f"wss://voice.example.com/twilio/media/{call.pk}/{token}"
    try:
        media_open(call_id=str(call.pk), token=token, url=url, signature=sign(url, {}, TOKEN))
    except MediaRefused:
        return False
    return True


async def test_the_line_is_said_where_no_key_stops_it_and_then_the_caller_is_asked(
    rig: Rig,
) -> None:
    await in_database(_asking, rig)
    caller = Caller(rig)
    for _ in range(2):  # a repeat is answered the same
        line, gather = await caller.ring()
        assert (line.tag, line.text, gather.tag) == ("Say", LINE, "Gather")
    assert [(say.tag, say.text) for say in gather] == [("Say", QUESTION)]
    call = await caller.row()
    assert gather.attrib == {
        "action": f"{PUBLIC}/twilio/consent/{call.pk}",
        "method": "POST",
        "input": "dtmf speech",
        "numDigits": "1",
        "timeout": "6",
        "finishOnKey": "",
        "actionOnEmptyResult": "true",
        "language": "en-US",
        "speechTimeout": "auto",
    }
    assert call.policy_played_at is None, "nothing is known to have been heard yet"
    # The model has not even been dialled, and the right token opens no socket.
    assert (rig.model_sessions, len(pool)) == ([], 0)
    assert not await in_database(_knock, call)
    assert "not answered" in await in_database(may_listen, call)


@pytest.mark.parametrize(
    ("language", "own", "marks", "said"),
    [
        ("en", "Own?", {}, ("Own?", "en", "en-US")),
        ("de", "", {}, (sentence("consent", "de")[0], "de", "de-DE")),
        # Callers are not invited to say what nobody will understand.
        ("de", "", {"health_data": True}, (sentence("consent_keys", "de")[0], "de", "")),
        ("pl", "", {}, (sentence("consent_keys", "en")[0], "en", "")),
        ("en", sentence("consent", "en")[0], {"eu_data": True},
         (sentence("consent_keys", "en")[0], "en", "")),
        ("en", "Own?", {"eu_data": True}, ("Own?", "en", "")),
    ],
)  # fmt: skip
def test_the_question_fits_the_language_and_what_may_be_listened_to(
    language: str, own: str, marks: dict[str, bool], said: tuple[str, ...], transactional_db: None
) -> None:
    wording = factories.make_wording(language=language, question=own)
    number = factories.make_number(**marks)
    found = question_of(factories.make_call(number=number, policy_wording=wording))
    assert (found.question, found.question_language, found.speech_language) == said
    assert (found.line, found.language) == (wording.text, language)


async def test_a_yes_is_a_yes_where_the_operator_has_the_same_key(rig: Rig) -> None:
    def prepare() -> None:
        _asking(rig)
        factories.make_desk(is_default=True, key="1")

    await in_database(prepare)
    caller = Caller(rig)
    await caller.ring()
    assert _tags(await caller.answer("1")) == ["Connect"]


async def test_who_answers_may_be_said_by_a_server_and_the_caller_is_asked_all_the_same(
    rig: Rig,
) -> None:
    def ask() -> tuple[CallStart, Call]:
        _asking(rig)
        waits = {"status": "ringing", "stream_count": 1, "next_step": {"kind": "ask"}}
        call = factories.make_call(number=rig.number, revision=None, **waits)
        text = json.dumps({"assistantId": str(rig.number.assistant_id)})
        return request_apply(call_id=str(call.pk), text=text), call

    start, call = await in_database(ask)
    assert start.call is not None
    assert (start.answer, start.ticket, start.call.consent_state) == ("direct", None, "pending")
    assert not await in_database(_knock, start.call)


@pytest.mark.parametrize(
    ("given", "kind", "kept"), [("1", "key", "1"), ("Yes, I am Jane Roe", "spoken", "yes")]
)
async def test_a_yes_opens_the_stream_and_is_kept_as_evidence(
    rig: Rig, given: str, kind: str, kept: str
) -> None:
    await in_database(_asking, rig)
    caller = Caller(rig)
    await caller.ring()
    streams = []
    for _ in range(2):
        (connect,) = await caller.answer(given, "same")
        streams.append(connect[0].get("url"))
    assert streams[0] == streams[1], "a repeat gets the same stream"
    assert len(pool) == 1, "and the model is dialled now, once"
    call = await caller.row()
    assert call.consent is not None
    assert call.consent["at"] and call.policy_played_at is not None
    shown = {name: call.consent[name] for name in ("state", "kind", "answer", "question")}
    assert shown == {"state": "granted", "kind": kind, "answer": kept, "question": QUESTION}
    assert call.policy_refused_at is None
    assert await in_database(may_listen, call) == ""
    assert await in_database(_knock, call)
    assert "Jane" not in str(await in_database(lambda: list(Call.objects.values())))


@pytest.mark.parametrize(
    ("on_refusal", "desk", "tags", "status"),
    [
        ("human", True, ["Say", "Dial"], "forwarding"),
        # Nobody is named: the assistant must not take a person's place.
        ("human", False, ["Say", "Hangup"], "ended"),
        ("end", False, ["Say", "Hangup"], "ended"),
        ("unrecorded", False, ["Connect"], "ringing"),
    ],
)
async def test_a_no_does_what_the_policy_says(
    rig: Rig, on_refusal: str, desk: bool, tags: list[str], status: str
) -> None:
    await in_database(lambda: _asking(rig, desk=desk, on_refusal=on_refusal))
    caller = Caller(rig)
    await caller.ring()
    for _ in range(2):
        verbs = await caller.answer("2", "same")
        assert _tags(verbs) == tags
    call = await caller.row()
    assert (call.status, call.consent_state) == (status, "refused")
    assert call.policy_refused_at is not None
    assert "does not agree" in await in_database(may_listen, call)
    if tags[-1] == "Hangup":
        assert verbs[0].text == SORRY
        assert call.ended_reason == "assistant-ended-call-after-message-spoken"
    if tags != ["Connect"]:
        assert (rig.model_sessions, len(pool)) == ([], 0)
        assert not await in_database(_knock, call)


async def test_silence_and_a_wrong_key_are_asked_once_more_and_then_a_refusal(rig: Rig) -> None:
    await in_database(lambda: _asking(rig, on_refusal="end"))
    for first, second in (("", "7"), ("hm", ""), ("", "")):
        caller = Caller(rig)
        await caller.ring()
        for _ in range(2):  # the request that Twilio repeats is no second silence
            (gather,) = await caller.answer(first, "first")
            assert [say.text for say in gather] == [QUESTION], "the line was heard"
        assert _tags(await caller.answer(second)) == ["Say", "Hangup"]
        call = await caller.row()
        assert call.consent is not None
        assert (call.consent_state, call.consent["kind"]) == ("refused", "none")


async def test_who_hangs_up_during_the_question_has_agreed_to_nothing(rig: Rig) -> None:
    await in_database(_asking, rig)
    caller = Caller(rig)
    await caller.ring()
    form = rig.form(CallSid=caller.call_sid, CallStatus="completed", CallDuration="4")
    assert (await rig.post("/twilio/status", form)).status == 204
    call = await caller.row()
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert _tags(await caller.answer("1")) == ["Hangup"]
    call = await caller.row()
    assert call.consent_state == "pending"
    assert not await in_database(_knock, call)


async def test_who_wants_a_person_first_is_asked_when_nobody_takes_the_call(rig: Rig) -> None:
    await in_database(lambda: _asking(rig, desk=True))
    caller = Caller(rig)
    await caller.ring()
    for _ in range(2):
        assert _tags(await caller.answer("0", "same")) == ["Say", "Dial"]
    (gather,) = await caller.on("after-dial", DialCallStatus="busy")
    assert [say.text for say in gather] == [QUESTION]
    call = await caller.row()
    assert call.consent_state == "pending"
    assert not await in_database(_knock, call)
    assert _tags(await caller.answer("1")) == ["Connect"]
    assert await in_database(_knock, await caller.row())


async def test_no_order_of_requests_opens_a_stream_before_the_answer(rig: Rig) -> None:
    await in_database(lambda: _asking(rig, desk=True, refusal_key="8", on_refusal="end"))
    chance = random.Random(5)
    agreed = 0
    for _ in range(8):
        caller = Caller(rig)
        await caller.ring()
        while (call := await caller.row()).consent_state == "pending" and call.status != "ended":
            step = chance.choice(["ring", "answer", "answer", "key", "after-stream", "after-dial"])
            if step == "ring":
                verbs = await caller.ring()
            elif step == "answer":
                given = chance.choice(["", "1", "2", "5", "0", "8", "#", "yes", "no", "not sure"])
                verbs = await caller.answer(given)
            elif step == "after-dial":
                verbs = await caller.on(step, DialCallStatus=chance.choice(["busy", "no-answer"]))
            else:
                verbs = await caller.on(step, Digits=chance.choice(["0", "1", "5", "8"]))
            call = await caller.row()
            if call.consent_state != "granted":
                assert "Connect" not in _tags(verbs), step
                assert not await in_database(_knock, call), step
        agreed += (await caller.row()).consent_state == "granted"
    assert agreed, "some of them agreed"


async def test_a_caller_who_agrees_is_heard_and_written_down(rig: Rig, tmp_path: Path) -> None:
    await in_database(_asking, rig)
    order = {"to": rig.number.number_e164, "caller": "+15550107777", "base_url": PUBLIC}
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps(SHORT), encoding="utf-8")
    *_, report = await in_database(
        lambda: list(call_simulate(**order, scenario=str(own), answers=["", "yes"]))
    )
    assert not (report["failures"] or report["errors"] or report["warnings"]), report
    await rig.idle()
    call = await rig.only_call()
    assert (await in_database(call_summary, call))["consent"] == "granted"
    spoken = await rig.spoken(call)
    assert {role for role, _ in spoken} == {"assistant", "user"}
    assert LINE not in [text for _, text in spoken], "Twilio has said it; the stream does not"


async def test_a_caller_who_does_not_agree_is_served_and_leaves_no_words(rig: Rig) -> None:
    def prepare() -> None:
        _asking(rig, on_refusal="unrecorded")
        organisation = rig.number.organisation
        organisation.call_log_url = "https://receiver.example.com/log"
        organisation.save()
        factories.make_destination(organisation)

    await in_database(prepare)
    call, task = rig.carrier.start_call(
        rig.number.number_e164, "+15550107777", scenario=parse_scenario(SHORT)
    )
    call.gather_keys.append("2")
    report = await task
    assert report.ok, report
    assert report.heard, "the assistant has answered"
    await rig.idle()
    stored = await rig.only_call()

    def left() -> tuple[list[str], list[str], int]:
        turns = [turn.text + turn.text_unheard for turn in stored.turns.all()]
        bodies = [str(event.payload) for event in OutboxEvent.objects.filter(call=stored)]
        return turns, bodies, CallInputChunk.objects.filter(call=stored).count()

    turns, bodies, chunks = await in_database(left)
    assert turns and set(turns) == {""}, "that somebody spoke, and nothing of what"
    assert chunks == 0
    assert bodies
    assert UNTIL_SIX in report.heard
    assert [
        body for body in bodies if "'compliance': {'recordingConsent': {'type': 'verbal'}}" in body
    ]
    for words in (HOURS, UNTIL_SIX):  # the greeting is in the assistant's document
        assert not [body for body in bodies if words in body], words


async def test_what_counsel_reviewed_is_what_is_asked(rig: Rig) -> None:
    def review() -> str:
        _asking(rig, question="")
        policy = rig.number.policy
        assert isinstance(policy, CallPolicy)
        policy_review(policy=policy, reviewer=factories.make_superuser())
        return policy.wordings.get().question

    assert "Press 1" in await in_database(review)
