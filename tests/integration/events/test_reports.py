"""What the outside is told of a call: which messages, when, with what in them, under which id."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import json
import typing
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
import vapi
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants.services import assistant_publish
from calls.events.delivery import body_of, drain, headers_of
from calls.events.outbox import Destination, claim, event_id
from calls.models import Call, OutboxEvent
from calls.services.call_finish import call_close, status_apply, stream_finish
from calls.services.call_next import call_next
from calls.services.media_open import stream_began
from calls.services.reports import REPORT_GRACE, overdue_reports_enqueue
from calls.tasks import drain_outbox, send_overdue_reports
from calls.wire.twilio_voice import StatusReport
from tests import factories
from tests.integration.events.receiver import Receiver
from tests.platform import ROOT
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

HOOK = "https://hooks.example.com/vapi"
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "call.ended.v1.json").read_text("utf-8"))
STREAM = {"first_word_ms": 310, "turn_latency_p50_ms": 500, "turn_latency_p95_ms": 900,
          "spend_microusd": 12_000, "stream_ms": 30_000}  # fmt: skip


def _document(**changes: Any) -> dict[str, Any]:
    server = {"url": HOOK, "secret": "s3cret", "headers": {"X-Team": "ops"}, "timeoutSeconds": 7}
    model = {
        "provider": "openai",
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "You are the front desk."}],
    }
    return {"name": "Desk", "firstMessage": "Hello", "server": server, "model": model, **changes}


def _ringing(document: dict[str, Any] | None = None, **columns: Any) -> Call:
    """Return a call as the voice webhook stores it."""
    organisation = factories.default_organisation()
    assistant = assistant_publish(
        organisation=organisation, document=document or _document(), source="import", actor=None
    )
    number = factories.make_number(organisation, assistant=assistant)
    defaults: dict[str, Any] = {
        "number": number,
        "status": "ringing",
        "started_at": None,
        "stream_count": 1,
        "next_step": {"kind": "resume"},
    }
    return factories.make_call(**defaults | columns)


def _begin(call: Call) -> None:
    Call.objects.filter(pk=call.pk).update(media_token_used_at=timezone.now())
    stream_began(call_id=str(call.pk))


def _finish(call: Call, *, over: bool = True, reason: str = "customer-ended-call") -> None:
    stream_finish(call_id=str(call.pk), ended_reason=reason, call_over=over, metrics=STREAM)


def _status(call: Call, status: str = "completed", sequence: int = 5) -> None:
    status_apply(
        report=StatusReport(
            call_sid=call.call_sid, call_status=status, duration_seconds=31,
            sequence_number=sequence, error_code="",
        )
    )  # fmt: skip


def _told(call: Call) -> list[str]:
    """Return what was enqueued, oldest first, with the status of updates."""
    found = []
    for event in OutboxEvent.objects.filter(call=call).order_by("created_at"):
        status = event.payload.get("message", {}).get("status", "")
        found.append(f"{event.kind} {status}".strip())
    return found


def _message(call: Call, kind: str) -> dict[str, Any]:
    event = OutboxEvent.objects.filter(call=call, kind=kind).latest("created_at")
    found: dict[str, Any] = event.payload["message"]
    return found


BEGUN = ["status-update in-progress", "assistant.started"]
WHOLE = [*BEGUN, "status-update ended", "end-of-call-report"]


def test_a_call_is_told_in_order_and_each_thing_once() -> None:
    call = _ringing()
    _begin(call)
    stream_began(call_id=str(call.pk))
    _finish(call)
    _status(call)
    _status(call, sequence=6)
    assert not call_close(call_id=str(call.pk), reason="worker-died")
    assert overdue_reports_enqueue(timezone.now() + timedelta(hours=1)) == 0
    assert _told(call) == WHOLE


def test_a_transfer_is_told_with_its_destination() -> None:
    call = _ringing()
    _begin(call)
    Call.objects.filter(pk=call.pk).update(next_step={"kind": "dial", "to": "+15550100099"})
    _finish(call, over=False, reason="assistant-forwarded-call")
    for _ in range(2):
        found = call_next(call_id=str(call.pk), call_sid=call.call_sid, call_status="in-progress")
        assert found is not None and found.step == "dial"
    assert _told(call) == [*BEGUN, "status-update forwarding"]
    assert _message(call, "status-update")["destination"] == {
        "type": "number",
        "number": "+15550100099",
    }


def test_a_transfer_is_told_as_an_update_too_where_it_is_wanted() -> None:
    call = _ringing(_document(serverMessages=["transfer-update"]))
    _begin(call)
    Call.objects.filter(pk=call.pk).update(next_step={"kind": "dial", "to": "+15550100099"})
    _finish(call, over=False, reason="assistant-forwarded-call")
    call_next(call_id=str(call.pk), call_sid=call.call_sid, call_status="in-progress")
    event = claim(OutboxEvent.objects.get(call=call).pk)
    assert event is not None
    message = event.payload["message"]
    assert (message["type"], message["destination"]["number"]) == (
        "transfer-update",
        "+15550100099",
    )


def test_who_speaks_is_told_when_the_call_begins() -> None:
    call = _ringing(_document(serverMessages=["assistant.started"]))
    _begin(call)
    event = claim(OutboxEvent.objects.get(call=call).pk)
    assert event is not None
    message = event.payload["message"]
    assert message["newAssistant"]["name"] == message["assistant"]["name"] == "Desk"


def test_the_report_waits_for_the_last_word_of_the_last_stream() -> None:
    call = _ringing()
    _begin(call)
    factories.make_turn(call, ordinal=0, text="Hello", started_ms=300)
    _status(call)  # Twilio was first
    assert _told(call) == WHOLE[:3]
    assert overdue_reports_enqueue() == 0
    factories.make_turn(call, ordinal=1, text="The last words", started_ms=900)
    _finish(call, reason="assistant-ended-call")
    assert _told(call) == WHOLE
    report = _message(call, "end-of-call-report")
    assert report["endedReason"] == "assistant-ended-call"  # the better reason
    assert report["transcript"] == "AI: Hello\nUser: The last words"
    call.refresh_from_db()
    assert call.report_due_at is None


def test_a_call_that_outlived_a_killed_stream_is_reported_with_the_last_word_of_the_next() -> None:
    call = _ringing(stream_count=2)
    _begin(call)
    stream_finish(
        call_id=str(call.pk), ended_reason="customer-ended-call", call_over=True, metrics=STREAM,
        stream_number=2,
    )  # fmt: skip
    assert _told(call) == WHOLE
    call.refresh_from_db()
    assert call.report_due_at is None


def test_a_report_whose_last_word_never_comes_is_sent_after_the_grace() -> None:
    call = _ringing()
    _begin(call)
    _status(call)
    assert send_overdue_reports() == 0
    assert overdue_reports_enqueue(timezone.now() + REPORT_GRACE / 2) == 0
    late = timezone.now() + REPORT_GRACE + timedelta(seconds=1)
    assert overdue_reports_enqueue(late) == 1
    assert overdue_reports_enqueue(late) == 0
    assert _told(call) == WHOLE
    _finish(call)  # later still: nothing is told twice
    assert _told(call) == WHOLE


def test_a_call_that_never_had_a_stream_is_reported_at_once() -> None:
    call = _ringing()
    _status(call, "no-answer")
    assert _told(call) == WHOLE[2:]
    assert _message(call, "end-of-call-report")["endedReason"] == "customer-did-not-answer"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (None, WHOLE),
        (["end-of-call-report"], WHOLE[3:]),
        (["status-update", 7, "hang"], [WHOLE[0], WHOLE[2]]),
        ([], []),
        ("status-update", WHOLE),  # not a list: as if it were absent
    ],
)
def test_server_messages_choose_what_is_told(wanted: Any, told: list[str]) -> None:
    call = _ringing(_document() if wanted is None else _document(serverMessages=wanted))
    _begin(call)
    _finish(call)
    assert _told(call) == told


def test_without_a_server_nothing_is_told() -> None:
    document = _document()
    del document["server"]
    call = _ringing(document)
    _begin(call)
    _finish(call)
    assert _told(call) == []


def test_a_report_is_what_was_true_when_the_call_ended() -> None:
    call = _ringing()
    _begin(call)
    _finish(call)
    before = {event.pk: body_of(event) for event in OutboxEvent.objects.all()}
    assert call.number is not None and call.number.assistant is not None
    assistant_publish(
        organisation=call.organisation,
        document=_document(name="Another", server={"url": "https://other.example.com"}),
        source="api",
        actor=None,
        assistant=call.number.assistant,
    )
    factories.make_turn(call, ordinal=9, text="stored later")
    Call.objects.filter(pk=call.pk).update(cost_usd="9.999999", caller="+15559999999")
    for event in OutboxEvent.objects.all():
        assert body_of(event) == before[event.pk]
        assert Destination.from_json(event.destination).url == HOOK
    assert _message(call, "end-of-call-report")["assistant"]["name"] == "Desk"


def test_a_call_keeps_the_revision_it_began_with() -> None:
    call = _ringing()
    _begin(call)
    assert call.number is not None
    assistant_publish(
        organisation=call.organisation,
        document=_document(name="Another", serverMessages=[]),
        source="api",
        actor=None,
        assistant=call.number.assistant,
    )
    _finish(call)
    assert _told(call) == WHOLE
    assert _message(call, "end-of-call-report")["assistant"]["name"] == "Desk"


def test_secret_and_headers_travel_as_vapi_sends_them_and_nowhere_else() -> None:
    call = _ringing()
    _begin(call)
    _finish(call)
    for event in OutboxEvent.objects.all():
        destination = Destination.from_json(event.destination)
        assert destination.timeout_seconds == 7
        headers = headers_of(event, destination, body_of(event))
        assert headers["X-Vapi-Secret"] == "s3cret"
        assert headers["X-Team"] == "ops"
        assert "s3cret" not in body_of(event).decode()
        assert event.destination_host == "hooks.example.com"


def _wire_types(model: Any) -> list[str]:
    annotation = model.model_fields["type"].annotation
    return [
        value
        for each in (annotation, *typing.get_args(annotation))
        if typing.get_origin(each) is typing.Literal
        for value in typing.get_args(each)
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:vapi")
def test_every_message_validates_with_the_sdk_s_model_of_its_type() -> None:
    models = {
        wire: model
        for model in typing.get_args(vapi.ServerMessageMessage)
        for wire in _wire_types(model)
    }
    call = _ringing()
    _begin(call)
    factories.make_turn(call, ordinal=0, text="Hello", started_ms=100)
    factories.make_turn(call, ordinal=1, text="Book me", started_ms=900)
    factories.make_tool_invocation(call, started_ms=1500)
    Call.objects.filter(pk=call.pk).update(next_step={"kind": "dial", "to": "+15550100099"})
    call_next(call_id=str(call.pk), call_sid=call.call_sid, call_status="in-progress")
    _finish(call)
    events = list(OutboxEvent.objects.filter(call=call))
    assert sorted(event.kind for event in events) == [
        "assistant.started", "end-of-call-report", *["status-update"] * 3
    ]  # fmt: skip
    for event in events:
        if event.kind not in models:  # Vapi sends it, its SDK has no model of it (5.2)
            assert event.kind == "assistant.started"
            continue
        posted = json.loads(body_of(event))["message"]
        read = models[event.kind].model_validate(copy.deepcopy(posted))
        assert read.call.id == str(call.pk)
        assert read.phone_number.number == call.callee
        assert read.customer.number == call.caller
    report = models["end-of-call-report"].model_validate(_message(call, "end-of-call-report"))
    assert report.ended_reason == "customer-ended-call"
    assert [message.role for message in report.artifact.messages] == [
        "system", "bot", "user", "tool_calls", "tool_call_result",
    ]  # fmt: skip
    assert report.cost > 0


def test_the_report_holds_the_cost_in_every_place_that_vapi_has_for_it() -> None:
    call = _ringing()
    _begin(call)
    _finish(call)
    call.refresh_from_db()
    assert float(call.cost_usd) > 0.012
    report = _message(call, "end-of-call-report")
    cost = float(call.cost_usd)
    assert report["cost"] == cost
    assert report["costBreakdown"]["total"] == cost
    assert sum(entry["cost"] for entry in report["costs"]) == cost
    assert report["call"]["cost"] == cost


def _with_log(url: str = "https://logs.example.com/in", secret: str = "log-secret") -> None:
    organisation = factories.default_organisation()
    organisation.call_log_url, organisation.call_log_secret = url, secret
    organisation.save()


def _log(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = OutboxEvent.objects.get(call=call, kind="call.ended").payload
    return found


def test_call_ended_fits_its_published_schema() -> None:
    _with_log()
    whole = _ringing()
    _begin(whole)
    factories.make_turn(whole, ordinal=0)
    factories.make_tool_invocation(whole, started_ms=900, name="second")
    factories.make_tool_invocation(whole, started_ms=500, name="first")
    factories.make_tool_invocation(
        whole, started_ms=950, name="third", state="running", duration_ms=None
    )
    _finish(whole)
    bare = factories.make_call(number=None, revision=None, status="in-progress", started_at=None)
    call_close(call_id=str(bare.pk), reason="worker-died")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for call in (whole, bare):
        jsonschema.validate(_log(call), SCHEMA)
        # What is sent is what is published: no key is missing from the schema.
        assert set(_log(call)["call"]) == set(SCHEMA["properties"]["call"]["properties"])
    facts = _log(whole)["call"]
    assert [tool["name"] for tool in facts["tool_calls"]] == ["first", "second", "third"]
    assert facts["first_word_ms"] == 310
    whole.refresh_from_db()
    assert facts["cost_usd"] == f"{whole.cost_usd:.6f}"
    assert set(facts["cost"]) == {"model", "carrier"}
    assert facts["cost"]["model"] == "0.012000"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_log(whole) | {"schema_version": 2}, SCHEMA)


def test_call_ended_holds_nothing_that_was_said() -> None:
    _with_log()
    call = _ringing()
    _begin(call)
    factories.make_turn(call, ordinal=0, text="the-parrot-sings")
    factories.make_tool_invocation(call, output="the-parrot-answers")
    _finish(call)
    assert "the-parrot" not in json.dumps(_log(call))


def test_call_ended_is_signed_with_the_organisation_s_secret(receiver: Receiver) -> None:
    _with_log(receiver.url + "/logs", "log-secret")
    document = _document()
    document["server"]["url"] = receiver.url + "/vapi"
    call = _ringing(document)
    _begin(call)
    _finish(call)
    assert asyncio.run(drain()) == 5
    (log,) = [got for got in receiver.got if got.path == "/logs"]
    signed = log.event_id.encode() + b"." + log.body
    expected = "sha256=" + hmac.new(b"log-secret", signed, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(log.headers["x-voiceplatform-signature"], expected)
    assert log.json["event_id"] == log.event_id == str(event_id(f"call.ended:{call.pk}"))
    assert "x-vapi-secret" not in log.headers
    others = [got for got in receiver.got if got.path == "/vapi"]
    assert len(others) == 4
    for got in others:
        assert got.headers["x-vapi-secret"] == "s3cret"
        assert got.headers["x-team"] == "ops"
        assert "x-voiceplatform-signature" not in got.headers


def test_no_secret_is_in_the_admin_of_events(receiver: Receiver, client: Client) -> None:
    receiver.status = 500
    _with_log(receiver.url + "/logs?token=hidden-query", "log-secret")
    document = _document()
    document["server"]["url"] = receiver.url + "/vapi?token=hidden-query"
    call = _ringing(document)
    _begin(call)
    _finish(call)
    drain_outbox()
    event = OutboxEvent.objects.filter(call=call).first()
    attempt = event.attempts.get() if event else None
    assert event is not None and attempt is not None
    client.force_login(factories.make_superuser())
    pages = [
        reverse("admin:calls_outboxevent_changelist"),
        reverse("admin:calls_outboxevent_change", args=[event.pk]),
        reverse("admin:calls_deliveryattempt_changelist"),
        reverse("admin:calls_deliveryattempt_change", args=[attempt.pk]),
        reverse("admin:calls_call_change", args=[call.pk]),
    ]
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        text = answer.content.decode()
        for secret in ("s3cret", "log-secret", "hidden-query"):
            assert secret not in text, page


def test_deliver_again_in_the_admin_keeps_the_id(receiver: Receiver, client: Client) -> None:
    document = _document(serverMessages=["end-of-call-report"])
    document["server"]["url"] = receiver.url
    call = _ringing(document)
    _finish(call)
    drain_outbox()
    event = OutboxEvent.objects.get(call=call)
    client.force_login(factories.make_superuser())
    url = reverse("admin:calls_outboxevent_changelist")
    answer = client.post(
        url, {"action": "deliver_again", "_selected_action": [str(event.pk)]}, follow=True
    )
    assert answer.status_code == 200
    drain_outbox()
    first, second = receiver.got
    assert first.event_id == second.event_id == str(event.pk)
    assert first.body == second.body
    event.refresh_from_db()
    assert (event.state, event.attempt_count) == ("delivered", 2)


def test_deliver_again_in_the_admin_says_what_a_worker_holds(
    receiver: Receiver, client: Client
) -> None:
    document = _document(serverMessages=["end-of-call-report"])
    document["server"]["url"] = receiver.url
    _finish(_ringing(document))
    event = OutboxEvent.objects.get()
    assert claim(event.pk) is not None
    client.force_login(factories.make_superuser())
    url = reverse("admin:calls_outboxevent_changelist")
    answer = client.post(
        url, {"action": "deliver_again", "_selected_action": [str(event.pk)]}, follow=True
    )
    page = answer.content.decode()
    assert "1 is being delivered at this moment and was left alone" in page
    assert "due now" not in page
    assert not AuditEntry.objects.filter(action="outboxevent.deliver_again").exists()
