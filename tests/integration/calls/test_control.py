"""Commands to live calls: who may, what is answered, and that they reach the call itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from vapi.types import (
    ClientInboundMessageAddMessage,
    ClientInboundMessageControl,
    ClientInboundMessageEndCall,
    ClientInboundMessageSay,
    ClientInboundMessageTransfer,
)

from assistants.models import Assistant
from assistants.services import assistant_publish
from calls.bridge.successor import Successor
from calls.media.database import in_database
from calls.media.desk import Desk
from calls.models import Call, CallControl
from calls.services.control_handoff import NOBODY_THERE
from calls.services.live_control import (
    Taken,
    control_ask,
    control_prepared,
    control_wait,
    controls_take,
)
from calls.services.live_monitor import monitor_object
from calls.wire.vapi_control import Control, control_of
from tests import factories
from tests.integration.api.client import Rest
from tests.integration.calls.direct import direct_call, model_server
from tests.integration.calls.rig import until
from tools.handoffs import Context
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SAY = {"type": "say", "content": "We close at five."}


@pytest.fixture
def rest(request: pytest.FixtureRequest) -> Rest:
    # Rows that other threads are to see are made where they are committed.
    request.getfixturevalue("transactional_db" if "desk" in request.fixturenames else "db")
    return Rest(scopes=("read", "calls"))


def control_path(call: Call) -> str:
    """Return path and token of a call's own address."""
    parts = urlsplit(monitor_object(call)["controlUrl"])
    return f"{parts.path}?{parts.query}"


def post(path: str, body: Any, **headers: str) -> Any:
    """POST JSON without a key."""
    return Client().post(path, json.dumps(body), "application/json", headers=headers)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """A desk of the running loop, closed in the end."""
    made = Desk()
    yield made
    made._calls.clear()
    if made._task is not None:
        await asyncio.wait_for(made._task, 5)
    await asyncio.gather(*made._answers)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (ClientInboundMessageSay(content="Hello", endCallAfterSpoken=True), "say"),
        (
            ClientInboundMessageAddMessage(message={"role": "system", "content": "VIP"}),
            "add-message",
        ),
        (ClientInboundMessageControl(control="mute-assistant"), "control"),
        (ClientInboundMessageEndCall(), "end-call"),
        (
            ClientInboundMessageTransfer(destination={"type": "number", "number": "+14155550123"}),
            "transfer",
        ),
    ],
)
async def test_what_vapis_sdk_builds_reaches_the_call_and_is_answered(
    message: Any, kind: str, rest: Rest, desk: Desk, transactional_db: None
) -> None:
    call = await in_database(factories.make_call, rest.organisation)
    carried: list[Control] = []

    def carry(control: Control) -> str:
        carried.append(control)
        return ""

    desk.open(str(call.pk), carry)
    body = {"type": kind, **message.dict(by_alias=True, exclude_none=True)}
    answer = await in_database(rest, "POST", f"/call/{call.pk}/control", body)
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    assert len(carried) == 1
    row = await in_database(CallControl.objects.get)
    assert (row.state, row.kind, row.actor) == ("done", carried[0].kind, f"key:{rest.key.prefix}")
    entry = await in_database(lambda: AuditEntry.objects.filter(action="call.control").get())
    assert entry.details["command"] == carried[0].kind
    assert "VIP" not in json.dumps(entry.details)


async def test_a_handoff_reaches_the_call_with_the_plan_of_who_takes_over(
    rest: Rest, desk: Desk, transactional_db: None
) -> None:
    def make() -> tuple[Call, Assistant]:
        server = {"server": {"url": "https://sales.example.com"}, "serverMessages": ["hang"]}
        sales = assistant_publish(
            organisation=rest.organisation, source="import", actor=None,
            document={
                "name": "Sales", "firstMessage": "Sales.", "model": {"messages": []}, **server
            },
        )  # fmt: skip
        return factories.make_call(rest.organisation), sales

    call, sales = await in_database(make)
    carried: list[Control] = []
    desk.open(str(call.pk), lambda control: carried.append(control) or "")
    destination = {
        "type": "assistant",
        "assistantName": "Sales",
        "contextEngineeringPlan": {"type": "lastNMessages", "maxMessages": 3},
        "assistantOverrides": {"variableValues": {"level": "gold"}},
    }
    body = {"type": "handoff", "content": "One moment.", "destination": destination}
    answer = await in_database(rest, "POST", f"/call/{call.pk}/control", body)
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    (control,) = carried
    row = await in_database(CallControl.objects.get)
    assert (control.text, control.handoff_id) == ("One moment.", f"control-{row.pk.hex}")
    successor = Successor.from_json(control.successor)
    assert successor.context == Context("lastNMessages", 3)
    assert successor.plan.greeting.text == "Sales." and successor.plan.tells == ("late",)
    assert successor.record["assistant_name"] == "Sales"
    assert successor.record["variables"] == {"level": "gold"}
    # What is stored with the command is what came, not the whole assistant.
    assert "Sales." not in json.dumps(row.command) and len(control.handoff_id) <= 64

    def withdraw() -> None:
        Assistant.objects.filter(pk=sales.pk).update(deleted_at=timezone.now())

    await in_database(withdraw)
    taken = Taken(row.pk, str(call.pk), control_of(body))
    assert await in_database(control_prepared, taken) == NOBODY_THERE


async def test_what_the_call_refuses_is_said_to_whoever_asked(
    rest: Rest, desk: Desk, transactional_db: None
) -> None:
    call = await in_database(factories.make_call, rest.organisation)
    desk.open(str(call.pk), lambda control: "The call is ending.")
    answer = await in_database(rest, "POST", f"/call/{call.pk}/control", SAY)
    assert (answer.status_code, answer.json()["message"]) == (409, "The call is ending.")


async def test_a_command_reaches_the_stream_of_a_call(transactional_db: None) -> None:
    """Through the consumer: the model hears silence in place of a muted caller."""
    async with model_server(lambda: False) as model, direct_call(model) as socket:
        socket.frame(1)
        await until(lambda: len(model.arrived) == 1, what="a frame")
        row = await in_database(
            control_ask, call=socket.call, control=Control("mute-customer"), actor=None
        )
        row = await in_database(control_wait, row)
        assert row.state == "done"
        socket.frame(2)
        await until(lambda: len(model.arrived) == 2, what="the next frame")
        assert model.arrived[1][0] == b"\xff" * 160 != model.arrived[0][0]


def test_a_command_that_nobody_takes_is_taken_back(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_wait, "__kwdefaults__", {"seconds": 0.05})
    call = factories.make_call(rest.organisation)
    answer = rest("POST", f"/call/{call.pk}/control", SAY)
    assert answer.status_code == 409
    assert "will not be carried out later" in answer.json()["message"]
    assert CallControl.objects.get().state == "expired"
    assert controls_take(call_ids={str(call.pk)}) == []


def test_a_command_is_taken_once_and_only_by_who_has_the_call(rest: Rest) -> None:
    call = factories.make_call(rest.organisation)
    control_ask(call=call, control=Control("say", "Hi"), actor=None)
    assert controls_take(call_ids={"another"}) == []
    (taken,) = controls_take(call_ids={str(call.pk)})
    assert taken.control == Control("say", "Hi")
    assert controls_take(call_ids={str(call.pk)}) == []


def test_what_is_to_be_said_is_sealed_at_rest(rest: Rest) -> None:
    from django.db import connection

    call = factories.make_call(rest.organisation)
    control_ask(call=call, control=Control("say", "the-blue-parrot"), actor=None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM calls_callcontrol")
        assert "the-blue-parrot" not in str(cursor.fetchall())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "say"}, "content must be a string"),
        ({"type": "dance"}, "type must be one of the following values"),
        (
            {"type": "handoff", "destination": {"type": "assistant", "assistantName": "Nobody"}},
            "destination names no assistant that could take the call",
        ),
        ({"type": "send-transport-message", "message": {}}, "type send-transport-message is not"),
        (
            {"type": "transfer", "destination": {"type": "number", "number": "911"}},
            "destination must be a phone number",
        ),
        (
            {"type": "transfer", "destination": {"type": "sip", "sipUri": "sip:911@pbx.example"}},
            "destination must be a phone number",
        ),
    ],
)
def test_a_wrong_body_names_the_field(body: Any, said: str, rest: Rest) -> None:
    call = factories.make_call(rest.organisation)
    answer = rest("POST", f"/call/{call.pk}/control", body)
    assert answer.status_code == 400
    assert any(sentence.startswith(said) for sentence in answer.json()["message"])
    assert not CallControl.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b'"say"',
            b"\xff\xfe",
            b'{"type": "say", "content": "\\ud800"}',
        ),
        b"[" * 5_000,
        b'{"type": ' + b'{"a": ' * 5_000,
        b'{"type": "say", "content": "' + b"x" * 3_000_000 + b'"}',
        b'{"type": "handoff", "destination": {"type": "assistant", "assistantId": "\\u0000"}}',
        b'{"type": "transfer", "destination": {"type": "number", "number": "\\u0000+1"}}',
    ],
    ids=range(12),
)
def test_nonsense_and_floods_are_refused_and_reach_no_call(
    body: bytes, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_wait, "__kwdefaults__", {"seconds": 0.0})
    path = control_path(factories.make_call(rest.organisation))
    answer = Client().post(path, body, "application/json")
    said_nothing = answer.status_code == 409 and b"content" in body  # a command like another
    assert answer.status_code in (400, 413) or said_nothing, answer.content[:300]


def test_who_may_not_and_what_cannot_be_controlled(rest: Rest) -> None:
    call = factories.make_call(rest.organisation)
    path = f"/call/{call.pk}/control"
    reader = Rest(scopes=("read", "transcripts"))
    own = factories.make_call(reader.organisation)
    assert reader("POST", f"/call/{own.pk}/control", SAY).status_code == 403
    stranger = Rest(scopes=("calls",))
    assert stranger("POST", path, SAY).status_code == 404
    assert post(path, SAY).status_code == 401
    ended = factories.make_call(rest.organisation, status="ended")
    answer = rest("POST", f"/call/{ended.pk}/control", SAY)
    assert (answer.status_code, answer.json()["message"]) == (409, "The call is over.")
    away = factories.make_call(rest.organisation, status="forwarding")
    assert rest("POST", f"/call/{away.pk}/control", SAY).status_code == 409
    theirs = factories.make_call(rest.organisation, stack="vapi")
    assert rest("POST", f"/call/{theirs.pk}/control", SAY).status_code == 409
    assert not CallControl.objects.exists()


def test_the_address_itself_opens_its_own_call_and_no_other(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_wait, "__kwdefaults__", {"seconds": 0.0})
    call, other = (factories.make_call(rest.organisation) for _ in range(2))
    path = control_path(call)
    assert post(path, SAY).status_code == 409  # nobody has the call; but the door is open
    assert CallControl.objects.get().actor == "control URL"
    token = path.partition("?")[2]
    assert post(f"/call/{other.pk}/control?{token}", SAY).status_code == 401
    assert post(f"/call/{call.pk}/control?token=wrong", SAY).status_code == 401
    assert post(f"/call/{call.pk}/control?token=", SAY).status_code == 401
    assert post(path, SAY, authorization="Bearer vp_wrong").status_code == 401
    listen = monitor_object(call)["listenUrl"].partition("?")[2]
    assert post(f"/call/{call.pk}/control?{listen}", SAY).status_code == 401


def test_the_plan_of_the_assistant_closes_the_address_or_asks_for_a_key(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_wait, "__kwdefaults__", {"seconds": 0.0})

    def call_with(plan: dict[str, bool]) -> Call:
        assistant = factories.make_assistant(
            rest.organisation, document_redacted={"monitorPlan": plan}
        )
        number = factories.make_number(rest.organisation, assistant=assistant)
        return factories.make_call(number=number)

    closed = call_with({"controlEnabled": False, "listenEnabled": False})
    assert monitor_object(closed) == {}
    answer = rest("POST", f"/call/{closed.pk}/control", SAY)
    assert answer.status_code == 409 and "allows no control" in answer.json()["message"]
    keyed = call_with({"controlAuthenticationEnabled": True})
    path = control_path(keyed)
    assert post(path, SAY).status_code == 401
    assert rest("POST", path, SAY).status_code == 409  # with a key the door opens


def test_the_address_has_a_limit_of_its_own(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    from voiceplatform.base import rate_limit

    call = factories.make_call(rest.organisation, status="ended")
    taken: list[str] = []
    monkeypatch.setattr(rate_limit, "take", lambda name: taken.append(name) or 3.0)
    answer = post(control_path(call), SAY)
    assert (answer.status_code, answer["Retry-After"]) == (429, "3")
    assert taken == [f"control:{call.pk}"]


def test_the_addresses_stand_in_the_call_for_keys_that_may_use_them() -> None:
    for scopes, names in (
        (("read",), set()),
        (("read", "calls"), {"controlUrl"}),
        (("read", "transcripts"), {"listenUrl"}),
        (("read", "calls", "transcripts"), {"controlUrl", "listenUrl"}),
    ):
        rest = Rest(scopes=scopes)
        call = factories.make_call(rest.organisation)
        shown = rest("GET", f"/call/{call.pk}").json()
        assert set(shown.get("monitor", {})) == names
        (listed,) = rest("GET", "/call").json()
        assert set(listed.get("monitor", {})) == names
    assert monitor_object(call)["listenUrl"].startswith("wss://voice.example.com/call/")
    assert monitor_object(factories.make_call(stack="vapi")) == {}
