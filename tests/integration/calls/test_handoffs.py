"""Handoffs and squads as rows: who takes over, what is stored, what a resumed call begins with; and
one whole call of a squad over sockets.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils import timezone

from assistants.models import Assistant, AssistantRevision, Squad
from assistants.selectors import assistant_list
from assistants.services import assistant_publish, revision_document
from assistants.squad_services import squad_store
from calls.bridge.effects import DispatchTool, RecordHandoff
from calls.bridge.successor import Successor
from calls.media.database import in_database
from calls.models import AssistantActivation, Call, PhoneNumber
from calls.selectors.handoffs import activations_of, speaker_names
from calls.services.call_plan import plan_for
from calls.services.call_variables import variables_for
from calls.services.handoffs import first_member, handoffs_left, squad_begins
from calls.services.journal import batch_store
from calls.services.number_documents import number_create, number_document
from calls.services.tool_kinds.handoff import _result
from calls.services.tool_posts import tool_posts
from calls.standins.scenario import parse_scenario
from tests import factories
from tests.integration.calls.rig import Rig
from tools.handoffs import Context
from tools.spec import ToolResult
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration]
database = pytest.mark.django_db


def document(name: str, **fields: Any) -> dict[str, Any]:
    """Return an assistant's document."""
    model = {"messages": [{"role": "system", "content": f"You are {name}. {{{{intent}}}}"}]}
    return {"name": name, "firstMessage": f"{name} here.", "model": model, **fields}


def publish(organisation: Organisation, whole: dict[str, Any]) -> Assistant:
    """Store an assistant."""
    return assistant_publish(organisation=organisation, document=whole, source="import", actor=None)


def desk_with(organisation: Organisation, *tools: dict[str, Any]) -> Assistant:
    """Store an assistant with inline tools."""
    whole = document("Desk")
    whole["model"]["tools"] = list(tools)
    return publish(organisation, whole)


def handoff(*destinations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a handoff tool."""
    return {"type": "handoff", "destinations": list(destinations), **fields}


def answered(call: Call, name: str, **arguments: Any) -> ToolResult:
    """Return what a handoff of the call's assistant answers."""
    plan = plan_for(call)
    spec = next(each for each in plan.tools if each.name == name)
    effect = DispatchTool("c1", name, json.dumps(arguments))
    found = _result(lambda: Call.objects.get(pk=call.pk), spec, effect)
    assert isinstance(found, ToolResult)
    return found


def handed(call: Call, result: ToolResult, at_ms: int = 9_000, first: int = 2) -> Call:
    """Store that the call has been handed over as ``result`` says, and read it again."""
    assert result.successor is not None, result
    successor = Successor.from_json(result.successor)
    effect = RecordHandoff(
        "c1", at_ms, first, "Desk", successor.plan.assistant_name, successor.context, {},
        successor.record,
    )  # fmt: skip
    for _ in range(2):  # a batch that is stored twice changes nothing
        batch_store(
            call_id=str(call.pk),
            stream_number=1,
            turns=[],
            tools=[],
            policy=None,
            pieces=[],
            handoffs=[effect],
        )
    return Call.objects.select_related("activation__squad").get(pk=call.pk)


def call_of(assistant: Assistant, **columns: Any) -> Call:
    """Make a call that ``assistant`` has answered."""
    organisation = assistant.organisation
    number = factories.make_number(
        organisation,
        assistant=assistant,
        policy=factories.make_policy(organisation, wordings={"en": "Recorded."}),
    )
    return factories.make_call(number=number, **columns)


@database
def test_a_handoff_answers_with_the_plan_of_the_other_assistant() -> None:
    organisation = factories.make_organisation()
    voice = {"provider": "openai", "voiceId": "cedar"}
    server = {"server": {"url": "https://sales.example.com"}, "serverMessages": ["hang"]}
    sales = publish(organisation, document("Sales", voice=voice, **server))
    place = {
        "type": "assistant",
        "assistantId": str(sales.pk),
        "contextEngineeringPlan": {"type": "lastNMessages", "maxMessages": 3},
        "assistantOverrides": {"variableValues": {"level": "gold"}},
    }
    call = call_of(desk_with(organisation, handoff(place, defaultResult="Off you go.")))
    result = answered(call, "handoff_to_Sales", intent="buying")
    assert result.successor is not None
    successor = Successor.from_json(result.successor)
    assert successor.context == Context("lastNMessages", 3)
    assert successor.result == "Off you go."
    assert successor.plan.session.instructions == "You are Sales. buying"
    assert successor.plan.session.voice == "cedar"
    assert successor.plan.greeting.text == "Sales here."
    assert successor.plan.tells == ("late",)
    now = handed(call, result)
    assert now.revision == sales.current_revision
    assert variables_for(now)["level"] == "gold"
    assert [(each.name, each.from_name) for each in activations_of(now)] == [
        ("Desk", ""),
        ("Sales", "Desk"),
    ]
    assert handoffs_left(now) == 19


@database
@pytest.mark.parametrize("why", ["missing", "draft", "other organisation", "two of the name"])
def test_an_assistant_that_cannot_take_over_is_told_to_the_model_as_data(why: str) -> None:
    organisation = factories.make_organisation()
    place: dict[str, Any] = {"type": "assistant", "assistantName": "Sales"}
    if why == "draft":
        assistant_publish(
            organisation=organisation,
            document=document("Sales"),
            source="admin",
            actor=None,
            as_draft=True,
        )
    elif why == "other organisation":
        other = publish(factories.make_organisation(), document("Sales"))
        place = {"type": "assistant", "assistantId": str(other.pk)}
    elif why == "two of the name":
        for _ in range(2):
            publish(organisation, document("Sales"))
    call = call_of(desk_with(organisation, handoff(place, function={"name": "go"})))
    result = answered(call, "go")
    assert (result.outcome, result.successor) == ("error", None)
    assert "not handed over" in result.output
    assert Call.objects.get(pk=call.pk).revision == call.revision


@database
def test_a_tool_that_leads_to_nobody_is_not_offered() -> None:
    organisation = factories.make_organisation()
    call = call_of(desk_with(organisation, handoff({"type": "dynamic"}), {"type": "handoff"}))
    assert plan_for(call).tools == ()


@database
def test_overrides_of_a_destination_make_a_revision_that_is_never_current() -> None:
    organisation = factories.make_organisation()
    sales = publish(organisation, document("Sales"))
    place = {
        "type": "assistant",
        "assistantName": "Sales",
        "assistantOverrides": {"firstMessage": ""},
    }
    call = call_of(desk_with(organisation, handoff(place)))
    first, again = (answered(call, "handoff_to_Sales") for _ in range(2))
    assert first.successor is not None and again.successor is not None
    assert first.successor["record"] == again.successor["record"], "found again, not made twice"
    revision = AssistantRevision.objects.get(pk=first.successor["record"]["revision_id"])
    assert (revision.assistant, revision.first_message) == (sales, "")
    sales.refresh_from_db()
    assert sales.current_revision != revision


@database
def test_a_resumed_call_begins_with_the_assistant_that_had_taken_over() -> None:
    """A crash right after a handoff: the next stream is the target's, told what it was told."""
    organisation = factories.make_organisation()
    publish(organisation, document("Sales"))
    place = {"type": "assistant", "assistantName": "Sales"}
    tell = {"contextEngineeringPlan": {"type": "userAndAssistantMessages"}}
    call = call_of(
        desk_with(organisation, handoff({**place, **tell})),
        stream_count=2,
        turns=[{"text": "Desk here."}, {"text": "I buy."}, {"text": "Sales here."}],
        tool_invocations=[{"name": "handoff_to_Sales", "started_ms": 3_000, "output": "Done."}],
        started_at=timezone.now(),
    )
    now = handed(call, answered(call, "handoff_to_Sales"), at_ms=3_900)
    plan = plan_for(now)
    assert plan.assistant_name == "Sales"
    assert [(item.role, item.text) for item in plan.history] == [
        ("assistant", "Desk here."),
        ("user", "I buy."),
        ("assistant", "Sales here."),
    ]
    AssistantActivation.objects.filter(ordinal=1).update(context={"kind": "none", "most": 0})
    assert [item.text for item in plan_for(now).history] == ["Sales here."]
    assert speaker_names(now, now.turns.all()) == {0: "Desk", 2: "Sales"}


@database
def test_a_tool_call_goes_out_with_the_assistant_that_has_made_it() -> None:
    """The journal may be behind: the plan says whose call it is."""
    organisation = factories.make_organisation()
    call = call_of(publish(organisation, document("Desk")))
    server = {"url": "https://tools.example.com/sales"}
    whole = document("Sales", server=server)
    whole["model"]["tools"] = [{"type": "function", "function": {"name": "sell"}}]
    sales = publish(organisation, whole)
    handed_plan = plan_for(_as(call, sales))
    spec = handed_plan.tools[0]
    effect = DispatchTool("c9", "sell", "{}")
    posts, _ = tool_posts(str(call.pk), [(spec, effect)], revision_id=handed_plan.revision_id)
    body = json.loads(posts[0].body)["message"]
    assert body["assistant"]["name"] == "Sales"
    assert posts[0].server is not None and posts[0].server.url == server["url"]


def _as(call: Call, assistant: Assistant) -> Call:
    call = Call.objects.get(pk=call.pk)
    call.revision = assistant.current_revision
    return call


# ---- squads ----


def make_squad(organisation: Organisation, **fields: Any) -> Squad:
    """Store a squad: a saved desk, and sales written inside it."""
    desk = publish(organisation, document("Desk"))
    members = [
        {
            "assistantId": str(desk.pk),
            "assistantOverrides": {"firstMessage": "Squad desk.", "maxDurationSeconds": 60},
            "assistantDestinations": [
                {
                    "type": "assistant",
                    "assistantName": "Sales",
                    "description": "wants to buy",
                    "contextEngineeringPlan": {"type": "none"},
                }
            ],
        },
        {
            "assistant": document("Sales", maxDurationSeconds=900),
            "assistantDestinations": [{"type": "assistant", "assistantName": "Desk"}],
        },
    ]
    whole = {"name": "Front", "members": members, **fields}
    return squad_store(organisation=organisation, document=whole, actor=None)


@database
def test_the_first_member_answers_with_all_overrides_and_its_ways_on() -> None:
    organisation = factories.make_organisation()
    over = {"endCallMessage": "Bye.", "firstMessage": "All say this."}
    squad = make_squad(organisation, membersOverrides=over)
    target = first_member(squad)
    assert target is not None and target.name == "Desk"
    call = call_of(target.revision.assistant, revision=target.revision)
    squad_begins(call, target)
    plan = plan_for(Call.objects.get(pk=call.pk))
    assert plan.greeting.text == "All say this."
    assert plan.end_call_message == "Bye."
    assert [(tool.name, tool.kind) for tool in plan.tools] == [("handoff_to_Sales", "handoff")]
    # The longest of all members, not the one that answers (vapi.md 2.2).
    assert plan.limits.max_duration_ms == 900_000
    assert first_member(squad) == target


@database
def test_members_hand_over_to_each_other_and_stay_in_the_squad() -> None:
    organisation = factories.make_organisation()
    squad = make_squad(organisation)
    target = first_member(squad)
    assert target is not None
    call = call_of(target.revision.assistant, revision=target.revision)
    squad_begins(call, target)
    now = handed(Call.objects.get(pk=call.pk), answered(call, "handoff_to_Sales"))
    assert now.activation is not None and now.activation.squad == squad
    assert [each.name for each in activations_of(now)] == ["Desk", "Sales"]
    # The plain entry is a transfer to an assistant: the same (vapi.md 8.1).
    back = answered(now, "handoff_to_Desk")
    assert back.successor is not None
    assert Successor.from_json(back.successor).plan.greeting.text == "Squad desk."
    # An inline member is in no list of assistants.
    assert [each.name for each in assistant_list(organisation)] == ["Desk"]


@database
@pytest.mark.parametrize(("entry", "name"), [("", "Desk"), ("Sales", "Sales"), ("Nobody", None)])
def test_a_call_is_handed_to_another_squad(entry: str, name: str | None) -> None:
    organisation = factories.make_organisation()
    squad = make_squad(organisation)
    place = {"type": "squad", "squadId": str(squad.pk), "entryAssistantName": entry}
    night = document("Night")
    night["model"]["tools"] = [handoff(place)]
    call = call_of(publish(organisation, night))
    result = answered(call, "handoff_to_Front")
    if name is None:
        assert (result.outcome, result.successor) == ("error", None)
        return
    now = handed(call, result)
    assert now.activation is not None
    assert (now.activation.assistant_name, now.activation.squad) == (name, squad)


@database
def test_a_changed_squad_makes_a_new_revision_and_keeps_the_old_one() -> None:
    organisation = factories.make_organisation()
    squad = make_squad(organisation)
    before = first_member(squad)
    whole = {**squad.document, "membersOverrides": {"firstMessage": "New."}}
    after = first_member(
        squad_store(organisation=organisation, document=whole, actor=None, squad=squad)
    )
    assert before is not None and after is not None
    assert before.revision != after.revision
    assert revision_document(after.revision)["firstMessage"] == "New."


@database
def test_a_number_is_given_a_squad_over_rest_and_answers_with_its_first_member() -> None:
    organisation = factories.make_organisation()
    squad = make_squad(organisation)
    account = factories.make_account(organisation)
    said = {
        "provider": "twilio",
        "number": "+15550109901",
        "twilioAccountSid": account.account_sid,
        "squadId": str(squad.pk),
    }
    stored = number_create(organisation=organisation, document=said, actor=None)
    assert stored.row is not None
    assert stored.row.squad == squad
    assert stored.row.assistant is not None and stored.row.assistant.name == "Desk"
    shown = number_document(stored)
    assert shown["squadId"] == str(squad.pk)
    assert "assistantId" not in shown


# ---- a whole call ----


@pytest.mark.django_db(transaction=True)
async def test_a_call_of_a_squad_over_sockets(rig: Rig) -> None:
    def prepare() -> None:
        number = PhoneNumber.objects.get(pk=rig.number.pk)
        squad = make_squad(number.organisation)
        PhoneNumber.objects.filter(pk=number.pk).update(squad=squad)

    await in_database(prepare)
    scenario = parse_scenario(
        {
            "name": "squad",
            "caller": [
                {"say": "Sales please.", "after": "greeting"},
                {"say": "The blue one.", "after": {"heard": "Sales here"}},
                {"hang_up": {"heard": "said: The blue"}},
            ],
            "brain": {
                "rules": [
                    {
                        "when": "Sales please",
                        "tool": {"name": "handoff_to_Sales", "arguments": {"intent": "buying"}},
                    }
                ]
            },
        }
    )
    report = await rig.call(scenario)
    assert report.heard == ["Squad desk.", "Sales here.", "You said: The blue one."]
    first, second = rig.model_sessions
    assert second.session["instructions"] == "You are Sales. buying"
    assert [heard.text for heard in second.heard] == ["The blue one."]
    assert first.errors == second.errors == []

    def stored() -> tuple[list[str], str, list[tuple[str, str]]]:
        call = Call.objects.select_related("revision__assistant").get()
        names = [each.name for each in activations_of(call)]
        tools = list(call.tool_invocations.values_list("name", "state"))
        assert call.revision is not None
        return names, call.revision.assistant.name, tools

    names, now, tools = await in_database(stored)
    assert (names, now) == (["Desk", "Sales"], "Sales")
    assert tools == [("handoff_to_Sales", "ok")]
