"""``WS /call/<id>/listen``: who gets in, what they hear of a real stream, and when they must go."""

from __future__ import annotations

import asyncio
import json
import socket as socket_module
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from calls.bridge.effects import RecordTurn
from calls.media import listen_consumer, listening, listening_relay
from calls.media.database import in_database
from calls.models import Call
from calls.routing import websocket_urlpatterns
from calls.services.live_monitor import monitor_token
from tests import factories
from tests.integration.calls.direct import direct_call, model_server
from tests.integration.calls.rig import until
from voiceplatform.base.models import AuditEntry
from voiceplatform.sockets import websocket_application

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


class Ear:
    """A listener's end of the socket, by its ASGI interface; ``reads`` off: it takes nothing."""

    def __init__(self, call: Call, query: str = "", *, key: str = "", reads: bool = True) -> None:
        self.messages: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gate = asyncio.Event()
        if reads:
            self.gate.set()
        path = f"/call/{call.pk}/listen"
        headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "headers": headers,
            "query_string": query.encode(),
            "extensions": {"websocket.http.response": {}},
        }
        self.incoming.put_nowait({"type": "websocket.connect"})
        application: Any = websocket_application(websocket_urlpatterns)
        self.task = asyncio.create_task(application(scope, self.incoming.get, self._take))

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            await self.gate.wait()
        self.messages.append(message)

    async def over(self) -> tuple[bool, int, str]:
        """Wait for the end; return (was accepted, close code, reason)."""
        await asyncio.wait_for(self.task, 20)
        accepted = self.messages[0]["type"] == "websocket.accept"
        last = self.messages[-1]
        assert len(last["reason"].encode()) <= 123, "a control frame holds no more"
        return accepted, last["code"], last["reason"]

    async def listening(self) -> None:
        """Wait until the first message has come."""
        await until(lambda: self.told, what="the first message to the listener")

    @property
    def told(self) -> list[dict[str, Any]]:
        """The text frames."""
        return [json.loads(m["text"]) for m in self.messages if m.get("text")]

    @property
    def sound(self) -> bytes:
        """The binary frames."""
        return b"".join(m["bytes"] for m in self.messages if m.get("bytes"))

    async def leave(self) -> None:
        """Close it from the listener's side."""
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 20)


def token(call: Call) -> str:
    return f"token={monitor_token(call.pk, 'listen')}"


async def test_a_listener_hears_the_stream_and_its_end(transactional_db: None) -> None:
    async with model_server(lambda: False) as model, direct_call(model) as socket:
        mono, stereo = (
            Ear(socket.call, token(socket.call)),
            Ear(socket.call, token(socket.call) + "&channels=2"),
        )
        await mono.listening()
        await stereo.listening()
        before = len(mono.sound)
        for number in range(1, 26):
            socket.frame(number)
        await until(lambda: len(mono.sound) - before == 25 * 160 * 4, what="half a second of sound")
        await until(lambda: len(stereo.sound) >= 25 * 160 * 8, what="the same in stereo")
        await stereo.leave()
    accepted, code, _ = await mono.over()
    assert accepted
    assert code in (1000, 1012)  # the socket was lost without a `stop`: the call may go on
    assert mono.told[0]["sampleRate"] == 16_000 and stereo.told[0]["channels"] == 2
    entries = await in_database(
        lambda: list(AuditEntry.objects.filter(action="call.listen").values_list("actor"))
    )
    assert entries == [("listen URL",), ("listen URL",)]


async def test_a_listener_who_reads_nothing_delays_no_frame(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SEND_SECONDS", 0.05)
    async with model_server(lambda: False) as model, direct_call(model) as socket:
        deaf = Ear(socket.call, token(socket.call), reads=False)
        loud = Ear(socket.call, token(socket.call))
        await loud.listening()
        for number in range(1, 51):
            socket.frame(number)
            loud.incoming.put_nowait({"type": "websocket.receive", "text": "x" * 1000})
        await until(lambda: len(model.arrived) == 50, what="every frame")
        for _ in range(100):
            loud.incoming.put_nowait({"type": "websocket.receive", "text": "x"})
        assert (await loud.over())[1:] == (1008, "too much was sent")
        assert (await deaf.over())[1] == 1013


def _call(**columns: Any) -> Call:
    return factories.make_call(**columns)


async def _refused(call: Call, query: str = "", key: str = "") -> tuple[bool, int, str]:
    return await Ear(call, query, key=key).over()


async def test_who_proves_nothing_is_not_let_in(transactional_db: None) -> None:
    def make() -> tuple[Call, Call, str, str, str]:
        call, other = factories.make_call(), factories.make_call()
        _, reader = factories.make_api_key(call.organisation, scopes=("read", "calls"))
        _, own = factories.make_api_key(call.organisation, scopes=("transcripts",))
        _, foreign = factories.make_api_key(factories.make_organisation(), scopes=("transcripts",))
        return call, other, reader, own, foreign

    call, other, reader, own, foreign = await in_database(make)
    for query, key in (
        *(("", ""), ("token=", ""), ("token=wrong", ""), (token(other), "")),
        *(("", "vp_wrong"), ("", reader), ("", foreign)),
        (f"token={monitor_token(call.pk, 'control')}", ""),
    ):
        assert await _refused(call, query, key) == (False, 1008, ""), (query, key)
    # With a proof the reason is told: nobody carries this call.
    for query, key in ((token(call), ""), ("", own)):
        accepted, code, reason = await _refused(call, query, key)
        assert (accepted, code) == (True, 4404) and "carries the call now" in reason


async def test_nobody_listens_before_consent_or_after_a_refusal(transactional_db: None) -> None:
    def make(**columns: Any) -> Call:
        consent = columns.pop("consent", "notice")
        wording = factories.make_wording(
            factories.make_policy(recording_consent=consent), audio_mulaw=b"\xff" * 800
        )
        return factories.make_call(policy_wording=wording, **columns)

    played = timezone.now()
    for columns, said in (
        ({}, "has not heard the notice"),
        ({"policy_played_at": played, "policy_refused_at": played}, "does not agree"),
        ({"policy_played_at": played, "consent": "ask"}, "has not been asked"),
        ({"policy_played_at": played}, "carries the call now"),  # allowed
    ):
        call = await in_database(make, **columns)
        accepted, code, reason = await _refused(call, token(call))
        assert accepted and said in reason, (columns, reason)
        assert code == (4404 if "carries" in said else 4403)


async def test_nobody_hears_a_call_whose_words_are_masked_unless_the_rule_says_so(
    transactional_db: None,
) -> None:
    def make(allowed: bool | None, **document: Any) -> Call:
        organisation = factories.make_organisation()
        if allowed is not None:
            factories.make_redaction_rule(organisation, listening_allowed=allowed)
        assistant = factories.make_assistant(organisation, document=document)
        number = factories.make_number(organisation, assistant=assistant)
        return factories.make_call(number=number)

    plan = {"compliancePlan": {"hipaaEnabled": True}}
    for allowed, document, said in (
        (False, {}, "a redaction rule holds for this call, and sound cannot be masked"),
        (None, plan, "compliance mode"),
        (False, plan, "compliance mode"),
        (True, {}, "carries the call now"),
        (True, plan, "carries the call now"),
        (None, {}, "carries the call now"),
    ):
        call = await in_database(make, allowed, **document)
        accepted, code, reason = await _refused(call, token(call))
        assert accepted and said in reason, (allowed, document, reason)
        assert code == (4404 if "carries" in said else 4403)


async def test_who_may_listen_under_a_rule_reads_masks(transactional_db: None) -> None:
    """Through the consumer: the rules are those of the call's own organisation and assistant."""
    async with model_server(lambda: False) as model, direct_call(model) as socket:
        organisation = socket.call.organisation
        await in_database(factories.make_redaction_rule, organisation, listening_allowed=True)
        ear = Ear(socket.call, token(socket.call))
        await ear.listening()
        room = listening.rooms.find(str(socket.call.pk))
        assert room is not None and room._tap is not None
        said = RecordTurn(0, "user", "I am at 415-555-0133.", "", "i0", 0, 900, False, None)
        room._tap.noted(said)

        def words() -> list[str]:
            return [each["transcript"] for each in ear.told if each["type"] == "transcript"]

        await until(words, what="the words")
        assert words() == ["I am at [phone]."]
        await ear.leave()


async def test_the_plan_of_the_assistant_and_the_end_of_the_call_close_the_address(
    transactional_db: None,
) -> None:
    def with_plan(**plan: bool) -> Call:
        assistant = factories.make_assistant(document_redacted={"monitorPlan": plan})
        return factories.make_call(number=factories.make_number(assistant=assistant))

    closed = await in_database(with_plan, listenEnabled=False)
    assert (await _refused(closed, token(closed)))[1] == 4403
    keyed = await in_database(with_plan, listenAuthenticationEnabled=True)
    assert (await _refused(keyed, token(keyed)))[:2] == (False, 1008)
    _, key = await in_database(factories.make_api_key, keyed.organisation, scopes=("transcripts",))
    assert (await _refused(keyed, token(keyed), key))[1] == 4404
    over = await in_database(_call, status="ended")
    assert (await _refused(over, token(over)))[1:] == (4404, "the call is over")


async def test_a_full_room_says_so(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_LISTENERS", 1)
    async with model_server(lambda: False) as model, direct_call(model) as socket:
        first = Ear(socket.call, token(socket.call))
        await first.listening()
        accepted, code, reason = await _refused(socket.call, token(socket.call))
        assert (accepted, code) == (True, 1013) and "too many" in reason
        await first.leave()
        await asyncio.wait_for(_until_empty(socket.call), 10)


async def test_a_call_of_the_process_before_is_heard_through_its_successor(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    """Both are this process: the earlier one has another pid, the later one no rooms."""
    settings.RUN_DIR = tmp_path
    killed = tmp_path / "listen-1.sock"
    with socket_module.socket(socket_module.AF_UNIX) as left_behind:
        left_behind.bind(str(killed))
    async with model_server(lambda: False) as model, direct_call(model) as socket:
        with monkeypatch.context() as earlier:
            earlier.setattr(listening_relay, "_name", lambda: "listen-2.sock")
            serving = asyncio.create_task(listening_relay.serve(tmp_path))
            await until((tmp_path / "listen-2.sock").exists, what="the socket")
        monkeypatch.setattr(listen_consumer, "rooms", listening.Rooms())
        other = await in_database(factories.make_call)
        assert (await _refused(other, token(other)))[1] == 4404
        ear = Ear(socket.call, token(socket.call) + "&channels=2")
        await ear.listening()
        for number in range(1, 11):
            socket.frame(number)
        await until(lambda: len(ear.sound) == 10 * 160 * 8, what="the sound of ten frames")
        assert ear.told[0]["channels"] == 2
        gone = Ear(socket.call, token(socket.call))
        await gone.listening()
        await gone.leave()
    assert (await ear.over())[1] in (1000, 1012)
    assert not killed.exists()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert listening_relay._siblings(tmp_path) == []


async def _until_empty(call: Call) -> None:
    room = listening.rooms.find(str(call.pk))
    assert room is not None
    while room._listeners:  # noqa: ASYNC110 - state without an event to wait for
        await asyncio.sleep(0.005)
