"""Personal data that callers say is masked before anything of it is stored, or not kept at all."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from calls.bridge.effects import CallNews, DispatchTool, RecordHandoff, RecordTool, RecordTurn
from calls.media.database import in_database
from calls.media.journal import CallJournal
from calls.models import AssistantActivation, Call, CallInputChunk, OutboxEvent, ToolExchange, Turn
from calls.privacy.keeping import EVERYTHING, NOTHING
from calls.services.call_finish import call_close
from calls.services.call_history import history_of
from calls.services.call_plan import ticket_for
from calls.services.journal import batch_store
from calls.services.live_control import control_ask, control_settle, control_wait, controls_take
from calls.services.privacy import keeping_for
from calls.services.reports import reports_enqueue
from calls.services.tool_posts import tool_posts
from calls.services.tool_records import exchange_begin, exchange_settle, store_exchange
from calls.wire.vapi_control import Control
from tests import factories
from tests.integration.privacy.scan import everything_stored, where
from tools.spec import Exchange, ToolSpec

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

PLANTED = (
    "415-555-0133",
    "jane.roe@mail.example",
    "4242 4242 4242 4242",
    "123-45-6789",
    "05/17/1980",
)
SAID = "I am at {}, {}, card {}, social {}, born {}.".format(*PLANTED)
RECEIVER = "https://hooks.example.com/vapi"


def a_call(**columns: Any) -> Call:
    tool = factories.make_tool(name="book", parameters={"type": "object"})
    document = columns.pop("document", None) or {"server": {"url": RECEIVER}}
    assistant = factories.make_assistant(tools=[tool], server_url=RECEIVER, document=document)
    number = factories.make_number(assistant=assistant)
    return factories.make_call(number=number, **columns)


def everything_happens(call: Call) -> bytes:
    """Let a caller say it all, a tool be given and answer it, and the call end; return the post."""
    keeping = keeping_for(call)
    arguments = json.dumps({"said": SAID})
    spec = ToolSpec(name="book", handle=str(call.revision.tools.get().pk), posted_name="book")
    posts, _ = tool_posts(str(call.pk), [(spec, DispatchTool("t1", "book", arguments))])
    assert len(posts) == 1
    # The row that is noted before the request leaves is masked already, if anything is to be.
    noted = call.tool_invocations.get().arguments_json
    assert noted == keeping.body(arguments)
    batch_store(
        call_id=str(call.pk),
        stream_number=1,
        turns=[
            RecordTurn(0, "user", SAID, "", "i0", 0, 900, False, None),
            RecordTurn(
                1, "assistant", "So it is 415-555", f"0133? {SAID}", "i1", 1000, 2000, True, 5
            ),
            RecordTurn(2, "user", SAID, "", "i2", 3000, None, False, None),
        ],
        tools=[RecordTool("t1", "book", arguments, "ok", f"Noted: {SAID}", 2100, 80)],
        policy=None,
        pieces=[(0, f"R 1 3\n{SAID}\n")],
        keeping=keeping,
    )
    exchange = Exchange(
        "tools.example.com",
        f"https://tools.example.com/{PLANTED[0]}",
        posts[0].body,
        status=200,
        response_text=json.dumps({"results": [{"result": SAID}]}),
    )
    store_exchange(str(call.pk), exchange, ["t1"])
    begun = exchange_begin(str(call.pk), "t9", exchange)
    assert begun is None  # no such function call: the row is taken back
    with transaction.atomic():
        call.refresh_from_db()
        call.status, call.ended_at, call.ended_reason = (
            "ended",
            timezone.now(),
            "customer-ended-call",
        )
        call.save()
        reports_enqueue(call)
    return posts[0].body


def test_planted_personal_data_are_in_no_row_and_no_file_under_a_rule() -> None:
    call = a_call()
    factories.make_redaction_rule(call.organisation)
    body = everything_happens(call)
    for planted in PLANTED:
        assert where(planted) == []
        assert planted.encode() in body  # the tool itself gets what the model wrote
    stored = everything_stored()
    # With its mark: four digits alone stand in some random id or moment sooner or later.
    assert "415-555" not in stored and "0133?" not in stored
    report = OutboxEvent.objects.get(kind="end-of-call-report").payload["message"]
    assert report["artifact"]["messages"][1]["message"].startswith("I am at [phone], [email], card")
    assert report["artifact"]["transcript"].count("[ssn]") >= 2
    assert not CallInputChunk.objects.exists()


def test_without_a_rule_everything_is_kept() -> None:
    call = a_call()
    everything_happens(call)
    for planted in PLANTED:
        assert len(where(planted)) >= 6, planted
    assert CallInputChunk.objects.exists()


def test_in_compliance_mode_nothing_of_what_was_said_is_kept_and_the_report_says_nothing() -> None:
    call = a_call(document={"server": {"url": RECEIVER}, "compliancePlan": {"hipaaEnabled": True}})
    everything_happens(call)
    for planted in PLANTED:
        assert where(planted) == []
    assert "[phone]" not in everything_stored()
    assert [turn.text for turn in Turn.objects.all()] == ["", "", ""]
    assert ToolExchange.objects.get().content is None
    message = OutboxEvent.objects.get(kind="end-of-call-report").payload["message"]
    assert message["endedReason"] == "customer-ended-call"
    assert message["artifact"] == {
        "messages": [], "messagesOpenAIFormatted": [], "transcript": ""
    }  # fmt: skip
    assert not CallInputChunk.objects.exists()


@pytest.mark.parametrize("how", ["rule", "compliance"])
@pytest.mark.parametrize("outcome", ["done", "nobody came"])
def test_what_a_person_said_in_a_call_is_masked_once_it_was_said(how: str, outcome: str) -> None:
    plan = {"compliancePlan": {"hipaaEnabled": how == "compliance"}}
    call = a_call(document={"server": {"url": RECEIVER}, **plan}, status="in-progress")
    if how == "rule":
        factories.make_redaction_rule(call.organisation)
    control = Control("say", SAID)
    row = control_ask(call=call, control=control, actor=None)
    assert where(PLANTED[0]), "the call has to be told it word for word"
    if outcome == "done":
        (taken,) = controls_take(call_ids={str(call.pk)})
        assert taken.control == control
        control_settle(control_id=taken.control_id, refusal="")
    else:
        row = control_wait(row, seconds=0.0)
    row.refresh_from_db()
    assert row.state == ("done" if outcome == "done" else "expired")
    assert [where(planted) for planted in PLANTED] == [[]] * len(PLANTED)
    assert Control.from_json(row.command).kind == "say"


def test_the_scan_reads_the_log_as_well() -> None:
    structlog.get_logger("x").warning("said", what=PLANTED[3])
    assert [line[:5] for line in where(PLANTED[3])] == ["log: "]


def test_a_row_that_the_database_refuses_is_not_quoted_in_the_log() -> None:
    call = a_call()
    turn = {"call": call, "ordinal": 0, "role": "user", "text": SAID, "started_ms": 0}
    Turn.objects.create(**turn)
    try:
        with transaction.atomic():
            Turn.objects.create(**{**turn, "item_id": SAID[:60]})
    except IntegrityError:
        structlog.get_logger("x").exception("not_stored")
    Turn.objects.all().delete()
    assert [where(planted) for planted in PLANTED] == [[]] * len(PLANTED)


def test_a_request_that_may_be_sent_once_is_kept_by_the_same_rules() -> None:
    call = a_call()
    factories.make_redaction_rule(call.organisation)
    factories.make_tool_invocation(call, tool_call_id="t1")
    sms = Exchange("api.twilio.com", "https://api.twilio.com/x", SAID.encode())
    row = exchange_begin(str(call.pk), "t1", sms)
    assert row is not None
    exchange_settle(row, Exchange("h", "u", b"", status=201, response_text=SAID, error=SAID))
    assert all(where(planted) == [] for planted in PLANTED)


def test_an_assistants_own_rule_comes_before_the_one_for_all_and_the_newest_that_has_begun() -> (
    None
):
    call = a_call()
    assert keeping_for(call) is EVERYTHING
    today = timezone.now().date()
    off = dict.fromkeys(
        (
            "phone_numbers",
            "email_addresses",
            "payment_cards",
            "social_security_numbers",
            "birth_dates",
        ),
        False,
    )
    default = factories.make_redaction_rule(call.organisation)
    assert keeping_for(call).line(PLANTED[0]) == "[phone]"
    own = factories.make_redaction_rule(
        call.organisation, assistant=call.revision.assistant, **{**off, "email_addresses": True}
    )
    assert keeping_for(call).line(" ".join(PLANTED[:2])) == "415-555-0133 [email]"
    later = {"effective_from": today + dt.timedelta(days=1)}
    factories.make_redaction_rule(call.organisation, assistant=own.assistant, **later)
    assert keeping_for(call).line(PLANTED[0]) == PLANTED[0]
    now = {"effective_from": today, **off}
    factories.make_redaction_rule(call.organisation, assistant=own.assistant, **now)
    assert keeping_for(call) is EVERYTHING
    other = a_call(organisation=factories.make_organisation())
    assert default.organisation_id != other.organisation_id
    assert keeping_for(other) is EVERYTHING


def test_a_pattern_that_came_past_the_form_keeps_nothing_rather_than_too_much() -> None:
    call = a_call()
    factories.make_redaction_rule(call.organisation, custom_patterns=["(a+)+b"])
    assert keeping_for(call) is NOTHING


def test_a_stream_is_given_the_rules_and_records_no_inputs_under_them() -> None:
    call = a_call(stream_count=1)
    factories.make_redaction_rule(call.organisation)
    ticket = ticket_for(call)
    assert ticket.keeping.line(PLANTED[0]) == "[phone]"
    journal = CallJournal(str(call.pk), 1, keeping=ticket.keeping)
    journal.write_inputs(SAID)
    assert journal._pieces == []


def test_a_masked_tool_call_is_never_run_again_with_masks_in_it() -> None:
    call = a_call(stream_count=2)
    masked = '{"phone": "[phone]"}'
    lost = {"state": "running", "name": "book", "output": ""}
    factories.make_tool_invocation(call, tool_call_id="t1", arguments_json=masked, **lost)
    factories.make_tool_invocation(call, tool_call_id="t2", arguments_json='{"n": 1}', **lost)
    spec = ToolSpec(name="book", kind="function", idempotent=True)
    items, _, _ = history_of(call, [spec])
    assert [item.pending for item in items if item.tool_call_id] == [False, True]


@pytest.mark.django_db(transaction=True)
async def test_what_was_said_before_a_handoff_stays_under_its_own_rules() -> None:
    """Also where it is stored with the handoff, or its text comes late."""

    def make() -> tuple[Call, dict[str, Any]]:
        call = a_call()
        factories.make_redaction_rule(call.organisation, assistant=call.revision.assistant)
        theirs = factories.make_assistant(call.organisation).current_revision
        record = {"revision_id": theirs.pk, "squad_id": "", "assistant_name": "B"}
        return call, {**record, "variables": {"a": SAID}}

    call, record = await in_database(make)
    keeping = await in_database(keeping_for, call)
    journal = CallJournal(str(call.pk), 1, keeping=keeping)
    arguments = json.dumps({"said": SAID})
    journal.write(RecordTurn(0, "user", SAID, "", "i0", 0, 500, False, None))
    journal.write(RecordTool("t1", "book", arguments, "ok", SAID, 600, 80))
    journal.write(RecordHandoff("h1", 900, 2, "A", "B", record=record))
    assert await journal.close()
    journal.write(RecordTurn(1, "user", SAID, "", "i1", 700, 800, False, None))
    journal.write(CallNews(9, "said", 800, "user", 1, SAID))
    assert SAID not in str(journal._take().news)
    journal.write(RecordTurn(1, "user", SAID, "", "i1", 700, 800, False, None))
    assert await journal.close()
    for planted in PLANTED:
        assert await in_database(where, planted) == []
    journal.write(RecordTurn(2, "user", "B hears 415-555-0199", "", "i2", 1000, 1200, False, None))
    assert await journal.close()
    assert await in_database(where, "415-555-0199"), "B has no rule"


def test_whoever_takes_a_call_over_brings_the_rules_that_hold_from_then_on() -> None:
    call = a_call()
    theirs = factories.make_assistant(document={"hipaaEnabled": True}).current_revision
    record = {
        "revision_id": theirs.pk,
        "squad_id": "",
        "assistant_name": "B",
        "variables": {"a": SAID},
    }
    handoff = RecordHandoff("h1", 900, 1, "A", "B", record=record)
    turn = RecordTurn(1, "user", SAID, "", "i1", 1000, 2000, False, None)
    common: Any = {"call_id": str(call.pk), "stream_number": 1, "tools": [], "policy": None}
    batch_store(**common, turns=[turn], pieces=[(0, SAID)], handoffs=[handoff], keeping=None)
    later = RecordTurn(2, "user", SAID, "", "i2", 3000, 4000, False, None)
    batch_store(**common, turns=[later], pieces=[(1, SAID)], keeping=None)
    assert call.turns.count() == 2 and call.activations.count() == 2
    for planted in PLANTED:
        assert where(planted) == []
    journal = CallJournal(str(call.pk), 1)
    journal.write(handoff)
    assert journal._keeping is None
    masked = keeping_for(call)
    factories.make_redaction_rule(call.organisation)
    assert masked is EVERYTHING and EVERYTHING.handoff(handoff) is handoff
    assert keeping_for(call).handoff(handoff).record["variables"]["a"].startswith("I am at [phone]")


@pytest.mark.parametrize("document", [None, {"hipaaEnabled": True}])
def test_variables_that_tools_set_are_masked_when_the_call_is_over(document: Any) -> None:
    call = a_call(document=document, variable_values={"said": SAID})
    factories.make_redaction_rule(call.organisation)
    AssistantActivation.objects.create(
        call=call, ordinal=0, revision=call.revision, started_ms=0, first_ordinal=0,
        variables={"handed": SAID},
    )  # fmt: skip
    assert call_close(call_id=str(call.pk), reason="customer-ended-call")
    assert all(where(planted) == [] for planted in PLANTED)
    call.refresh_from_db()
    if document is None:
        assert call.variable_values["said"].startswith("I am at [phone]")
    else:
        assert call.variable_values == {}


def test_variables_stay_where_nothing_is_masked() -> None:
    call = a_call(variable_values={"said": SAID})
    call_close(call_id=str(call.pk), reason="customer-ended-call")
    call.refresh_from_db()
    assert call.variable_values == {"said": SAID}
