"""Messages about a call that is on: stored small with their cause, whole when they are sent."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pydantic
import pytest
from django.utils import timezone

from assistants.resource_services import resource_store
from assistants.selectors import NUMBER_KIND
from assistants.services import assistant_publish
from calls.bridge.effects import CallNews, RecordHandoff, RecordTool, RecordTurn
from calls.events.delivery import body_of
from calls.events.outbox import claim
from calls.models import Call, OutboxEvent
from calls.services.call_plan import ticket_for
from calls.services.journal import batch_store
from calls.services.reports import call_began_enqueue
from calls.services.server_messages.selection import FINAL_TRANSCRIPT
from calls.services.server_messages.targets import Target, target_of
from tests import factories
from tests.integration.events.sdk_messages import check_own
from tools.models import DefaultServer

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HOOK = "https://hooks.example.com/vapi"
EVERYTHING = [
    *("speech-update", "transcript", "conversation-update", "user-interrupted", "hang"),
    *("model-output", "voice-input", "language-change-detected", "phone-call-control"),
    *("assistant.speechStarted", "status-update", "end-of-call-report"),
]


def call_of(**document: Any) -> Call:
    """Return a call that is on, of an assistant with a server unless told."""
    organisation = factories.default_organisation()
    whole = {
        "name": "Desk",
        "model": {"messages": [{"role": "system", "content": "You are the front desk."}]},
        "server": {"url": HOOK, "secret": "s3cret"},
        **document,
    }
    assistant = assistant_publish(
        organisation=organisation, document=whole, source="import", actor=None
    )
    number = factories.make_number(organisation, assistant=assistant)
    return factories.make_call(
        number=number,
        revision=assistant.current_revision,
        status="in-progress",
        started_at=timezone.now() - timedelta(seconds=20),
        ended_at=None,
        ended_reason="",
    )


def turn(ordinal: int, role: Any, text: str, started_ms: int) -> RecordTurn:
    return RecordTurn(ordinal, role, text, "", f"i{ordinal}", started_ms, started_ms + 900, False,
                      None)  # fmt: skip


TURNS = [turn(0, "assistant", "Hello", 300), turn(1, "user", "Book me in", 2000)]
TOOL = RecordTool("c1", "book", '{"day": 1}', "ok", "Booked", 3500, 400)
NEWS = [
    CallNews(1, "speech-started", 300, "assistant", 0),
    CallNews(2, "sounds", 300, "assistant", 0, "Hel"),
    CallNews(3, "words", 300, "assistant", 0, "Hello"),
    CallNews(4, "said", 1200, "assistant", 0, "Hello"),
    CallNews(5, "speech-stopped", 1200, "assistant", 0),
    CallNews(6, "interrupted", 2000, "assistant", 0),
    CallNews(7, "said", 2900, "user", 1, "Book me in"),
    CallNews(8, "conversation", 2900, "user", 1),
    CallNews(9, "late", 3000, "assistant", 2),
    CallNews(10, "calls", 3500, "assistant", 2, '{"id": "c1", "name": "b", "arguments": "{}"}'),
    CallNews(11, "output", 4000, "assistant", 2, "At"),
    CallNews(12, "voiced", 4000, "assistant", 2, "At ten"),
    CallNews(13, "language", 4100, "user", 3, "es"),
    CallNews(14, "control", 4200, "assistant", 4, "hang-up"),
    CallNews(15, "control", 4300, "assistant", 4, "forward:+15550100099"),
]


def store(call: Call, news: list[CallNews], target: Target | None = None, **more: Any) -> None:
    batch_store(
        call_id=str(call.pk), stream_number=1, policy=None, pieces=(), news=news,
        target=target or target_of(call), **{"turns": TURNS, "tools": [TOOL], **more},
    )  # fmt: skip


def sent(call: Call) -> list[dict[str, Any]]:
    """Return what a worker posts of a call's events, oldest first."""
    found = []
    for pk in OutboxEvent.objects.filter(call=call).order_by("sequence").values_list("pk"):
        event = claim(pk[0])
        assert event is not None
        found.append(json.loads(body_of(event))["message"])
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning:vapi")
def test_every_message_has_the_members_of_the_sdk_s_model_and_the_envelope() -> None:
    call = call_of(serverMessages=EVERYTHING)
    store(call, NEWS)
    messages = sent(call)
    types = [each["type"] for each in messages]
    assert types == [
        *("speech-update", "assistant.speechStarted", "transcript", "transcript", "speech-update"),
        *("user-interrupted", "transcript", "conversation-update", "hang", "model-output"),
        *("model-output", "voice-input", "language-change-detected"),
        *("phone-call-control", "phone-call-control"),
    ]
    for message in messages:
        check_own(message)
        assert message["call"]["id"] == str(call.pk)
        assert message["assistant"]["id"] == message["call"]["assistantId"]
        assert message["customer"]["number"] == call.caller
        assert message["artifact"]["transcript"] == "AI: Hello\nUser: Book me in"
    said = [each for each in messages if each["type"] == "transcript"]
    assert [(each["role"], each["transcriptType"]) for each in said] == [
        *(("assistant", "partial"), ("assistant", "final"), ("user", "final")),
    ]
    update = next(each for each in messages if each["type"] == "conversation-update")
    assert [each["role"] for each in update["messages"]] == [
        *("system", "bot", "user", "tool_calls", "tool_call_result"),
    ]
    assert update["messagesOpenAIFormatted"] == update["artifact"]["messagesOpenAIFormatted"]
    assert messages[-1]["destination"] == {"type": "number", "number": "+15550100099"}


@pytest.mark.parametrize(
    "change", [{"status": None}, {"status": "paused"}, {"role": 5}, {"invented": 1}]
)
def test_the_check_itself_refuses_what_the_sdk_does_not_know(change: dict[str, Any]) -> None:
    message = {"type": "speech-update", "status": "started", "role": "user", "turn": 0}
    check_own(message)
    broken = {name: value for name, value in (message | change).items() if value is not None}
    with pytest.raises((AssertionError, pydantic.ValidationError)):
        check_own(broken)


def test_only_final_transcripts_have_the_literal_type() -> None:
    call = call_of(serverMessages=[FINAL_TRANSCRIPT])
    target = target_of(call)
    assert target is not None and target.news == ("said",)
    store(call, NEWS)
    assert {(each["type"], each["transcriptType"]) for each in sent(call)} == {
        (FINAL_TRANSCRIPT, "final")
    }


def test_the_same_news_stored_twice_are_told_once() -> None:
    call = call_of()
    store(call, NEWS)
    first = OutboxEvent.objects.filter(call=call).count()
    assert first == 5  # of the fifteen what Vapi's default has
    store(call, NEWS)
    assert OutboxEvent.objects.filter(call=call).count() == first


def test_a_team_s_receiver_is_told_too_in_an_order_of_its_own() -> None:
    call = call_of()
    row = factories.make_destination(
        call.organisation, kinds=["speech-update"], active_since=call.started_at
    )
    store(call, NEWS[:6])
    store(call, NEWS[6:])
    events = OutboxEvent.objects.filter(call=call)
    theirs = events.filter(receiver=row).order_by("sequence")
    assert [(each.kind, each.sequence) for each in theirs] == [
        *(("speech-update", 1), ("speech-update", 2)),
    ]
    server = events.filter(receiver=None).order_by("sequence")
    assert [each.sequence for each in server] == [1, 2, 3, 4, 5]
    assert [each.kind for each in server] == [
        *("speech-update", "speech-update", "user-interrupted", "conversation-update", "hang"),
    ]


@pytest.mark.parametrize(
    "document", [{"server": None}, {"serverMessages": ["hang"]}], ids=["no server", "wants little"]
)
def test_a_team_s_receiver_is_told_whatever_the_call_s_own_server_wants(
    document: dict[str, Any],
) -> None:
    call = call_of(**document)
    row = factories.make_destination(
        call.organisation, active_since=call.started_at,
        kinds=["transcript", "speech-update", "assistant.started", "phone-call-control"],
    )  # fmt: skip
    ticket = ticket_for(call)
    assert {"words", "said", "speech-started", "speech-stopped"} <= set(ticket.plan.tells)
    assert "control" not in ticket.plan.tells, "the end of a call would wait for a receiver"
    call_began_enqueue(call)
    store(call, NEWS, ticket.target)
    events = OutboxEvent.objects.filter(call=call).order_by("sequence")
    assert [each.kind for each in events.filter(receiver=row)] == [
        *("assistant.started", "speech-update", "transcript", "transcript", "speech-update"),
        "transcript",
    ]
    own = [each.kind for each in events.filter(receiver=None)]
    assert own == (["hang"] if "serverMessages" in document else [])


def test_a_receiver_that_fails_costs_the_server_nothing_nor_the_other_way_round() -> None:
    call = call_of(serverMessages=["speech-update"])
    row = factories.make_destination(
        call.organisation, kinds=["speech-update"], active_since=call.started_at
    )
    failing, well = {"receiver": row}, {"receiver": None}
    for first in (0, 4):
        store(call, NEWS[first : first + 1])
        events = OutboxEvent.objects.filter(call=call)
        assert events.filter(**well).count() == 1 + bool(first)
        assert events.filter(**failing).count() == 1
        events.filter(**failing).update(attempt_count=2)
    OutboxEvent.objects.filter(call=call).update(attempt_count=0)
    OutboxEvent.objects.filter(call=call, **well).update(attempt_count=2)
    store(call, [CallNews(20, "speech-started", 9_000, "user", 5)])
    assert OutboxEvent.objects.filter(call=call, **well).count() == 2
    assert OutboxEvent.objects.filter(call=call, **failing).count() == 2


def test_a_batch_of_news_costs_a_handful_of_statements(
    django_assert_max_num_queries: Any,
) -> None:
    call = call_of(serverMessages=EVERYTHING)
    target = target_of(call)
    with django_assert_max_num_queries(14):
        store(call, NEWS, target)
    assert OutboxEvent.objects.filter(call=call).exists()


def test_a_row_holds_what_happened_and_no_copy_of_the_assistant() -> None:
    call = call_of(serverMessages=["conversation-update"])
    store(call, NEWS)
    event = OutboxEvent.objects.get(call=call)
    assert len(json.dumps(event.payload)) < 400
    assert "front desk" not in json.dumps(event.payload)


def test_a_message_tells_what_had_happened_by_then_and_of_a_call_that_is_on() -> None:
    call = call_of(serverMessages=["conversation-update"])
    store(call, NEWS)
    batch_store(
        call_id=str(call.pk), stream_number=1, policy=None, pieces=(), tools=(),
        turns=[turn(2, "assistant", "Much later", 60_000)],
    )  # fmt: skip
    Call.objects.filter(pk=call.pk).update(
        status="ended", ended_reason="customer-ended-call", ended_at=timezone.now(), cost_usd=1
    )
    (message,) = sent(call)
    assert message["artifact"]["transcript"] == "AI: Hello\nUser: Book me in"
    assert message["call"]["status"] == "in-progress"
    assert "endedReason" not in message["call"] and message["call"]["cost"] == 0


def test_while_the_receiver_fails_frequent_messages_are_left_out_and_others_are_not() -> None:
    call = call_of(serverMessages=EVERYTHING)
    store(call, NEWS[:1])
    OutboxEvent.objects.filter(call=call).update(attempt_count=2)
    store(call, NEWS[1:])
    kinds = OutboxEvent.objects.filter(call=call, attempt_count=0).values_list("kind", flat=True)
    assert sorted(kinds) == ["language-change-detected", *["phone-call-control"] * 2]


def test_a_handoff_is_told_with_both_assistants_and_by_the_new_one_s_server() -> None:
    call = call_of(serverMessages=["transfer-update", "assistant.started", "speech-update"])
    other = assistant_publish(
        organisation=call.organisation, source="import", actor=None,
        document={
            "name": "Booking", "model": {"messages": []},
            "server": {"url": "https://booking.example.com"},
            "serverMessages": ["transfer-update", "assistant.started", "speech-update"],
        },
    )  # fmt: skip
    assert other.current_revision is not None
    record = {
        "revision_id": other.current_revision.pk, "squad_id": "", "assistant_name": "Booking",
        "variables": {},
    }  # fmt: skip
    handoff = RecordHandoff("c9", 2500, 2, "Desk", "Booking", record=record)
    target = target_of(call)
    for _ in range(2):
        store(
            call, [CallNews(1, "speech-started", 3000, "assistant", 2)], target,
            handoffs=[handoff], turns=[*TURNS, turn(2, "assistant", "Booking here", 3000)],
        )  # fmt: skip
    update, started, speech = sent(call)
    assert (update["type"], started["type"], speech["type"]) == (
        *("transfer-update", "assistant.started", "speech-update"),
    )
    assert (update["fromAssistant"]["name"], update["toAssistant"]["name"]) == ("Desk", "Booking")
    assert started["newAssistant"]["id"] == str(other.pk) == speech["assistant"]["id"]
    check_own({name: each for name, each in update.items() if "Assistant" not in name})
    urls = [event.destination["url"] for event in OutboxEvent.objects.filter(call=call)]
    assert set(urls) == {"https://booking.example.com"}
    artifact = speech["artifact"]
    names = [each.get("assistantName") for each in artifact["messages"] if each["role"] == "bot"]
    assert names == ["Desk", "Booking"]
    assert [each["assistantName"] for each in artifact["assistantActivations"]] == [
        *("Desk", "Booking"),
    ]


def test_each_assistant_s_filter_counts_while_it_has_the_call() -> None:
    call = call_of(serverMessages=["hang"])
    other = assistant_publish(
        organisation=call.organisation, source="import", actor=None,
        document={
            "name": "Booking", "model": {"messages": []},
            "server": {"url": "https://booking.example.com"}, "serverMessages": ["speech-update"],
        },
    )  # fmt: skip
    assert other.current_revision is not None
    record = {
        "revision_id": other.current_revision.pk, "squad_id": "", "assistant_name": "Booking",
        "variables": {},
    }  # fmt: skip
    handoff = RecordHandoff("c9", 2500, 2, "Desk", "Booking", record=record, news_before=2)
    kinds: list[Any] = ["late", "speech-started", "late", "speech-started"]
    news = [CallNews(n, kind, 1000 * n, "assistant", n) for n, kind in enumerate(kinds, 1)]
    store(call, news, handoffs=[handoff])
    told = OutboxEvent.objects.filter(call=call)
    assert sorted((each.kind, each.destination["url"], each.dedupe_key[-4:]) for each in told) == [
        ("hang", HOOK, ":1:1"),
        ("speech-update", "https://booking.example.com", ":1:4"),
    ]


# -- who is told ----------------------------------------------------------------------------------


def _number_server(call: Call, **server: Any) -> None:
    resource_store(
        organisation=call.organisation,
        kind=NUMBER_KIND,
        resource_id=call.number_id,
        document={"server": {"url": "https://number.example.com", **server}},
        actor=None,
    )


def test_the_assistant_s_server_comes_before_the_number_s_and_the_organisation_s() -> None:
    call = call_of()
    _number_server(call)
    DefaultServer.objects.create(organisation=call.organisation, url="https://org.example.com")
    found = []
    for _ in range(3):
        target = target_of(call)
        found.append(target.destination.url if target else "")
        if call.revision is not None and call.revision.server_url:
            call.revision.server_url = ""
            call.revision.document = {}
        else:
            call.number_id = None
    assert found == [HOOK, "https://number.example.com", "https://org.example.com"]


def test_each_server_brings_its_own_proof() -> None:
    call = call_of(server=None)
    _number_server(
        call, secret="numbers", headers={"X-To": "{{customer.number}}"}, timeoutSeconds=9,
        credentialId="0b5ad7a3-2b2c-4d3e-9f55-0d7f9a1c7e01",
    )  # fmt: skip
    target = target_of(call)
    assert target is not None
    assert target.destination.headers == {"X-Vapi-Secret": "numbers", "X-To": call.caller}
    assert target.destination.timeout_seconds == 9
    assert target.destination.credential_id == "0b5ad7a3-2b2c-4d3e-9f55-0d7f9a1c7e01"


def test_an_explicit_secret_header_wins() -> None:
    call = call_of(server={"url": HOOK, "secret": "a", "headers": {"x-vapi-secret": "b"}})
    target = target_of(call)
    assert target is not None and target.destination.headers == {"x-vapi-secret": "b"}


def test_the_old_stack_s_calls_are_told_by_the_old_stack() -> None:
    call = call_of()
    call.stack = Call.Stack.VAPI
    assert target_of(call) is None


def test_the_bridge_is_asked_only_for_what_is_wanted() -> None:
    assert ticket_for(call_of(serverMessages=["status-update"])).plan.tells == ()
    ticket = ticket_for(call_of())
    assert "speech-started" in ticket.plan.tells and "words" not in ticket.plan.tells
    assert ticket.target is not None and "s3cret" not in repr(ticket)
    assert ticket_for(call_of(server=None)).target is None
