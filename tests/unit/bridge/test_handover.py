"""A call that goes over to another assistant inside its stream (vapi.md 8.2, ADR 0024)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import CallNews, CloseModel, DialModel, DispatchTools, RecordHandoff
from calls.bridge.handover import TOO_OFTEN, TOO_OFTEN_FOR_PEOPLE, UNDER_WAY, UNREACHABLE
from calls.bridge.person_plan import PersonPlan
from calls.bridge.plan import CallPlan, Greeting, HistoryItem, Limits, Watchdog
from calls.bridge.responses import Request
from calls.bridge.successor import Successor, passed_on
from calls.standins.caller import CallerStep, hang_up, say, say_over
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.wire.realtime import FunctionTool, SessionConfig
from calls.wire.vapi_control import Control
from tests.sound_call import assert_sound as assert_sound_but_words_in
from tests.unit.bridge.line import Line, quiet_plan
from tests.virtual_call import Latency, PatientBrain, Result, VirtualCall, evenly, plan_of
from tools.handoffs import CONTEXT_KINDS, Context
from tools.messages import read_messages
from tools.spec import ToolResult, ToolSpec

pytestmark = pytest.mark.unit

GREETING, SALES = "Good morning.", "This is the sales desk."
PUT_THROUGH = "I put you through to sales."
ASKS = say("I want to buy something.")
BUYS = say("The blue one.", wait="heard", pattern=re.compile("sales desk"), timeout_ms=9_000)
LEAVES = hang_up(wait="heard", pattern=re.compile("said: The blue"), timeout_ms=9_000)


def with_handoff(plan: CallPlan, *names: str, words: str = "") -> CallPlan:
    """Return ``plan`` with tools that hand the call over."""
    messages = read_messages([{"type": "request-start", "content": words}]) if words else ()
    tools = tuple(ToolSpec(name=name, kind="handoff", messages=messages) for name in names)
    offered = (FunctionTool(name, "Hands over.", {"type": "object"}) for name in names)
    session = replace(plan.session, tools=(*plan.session.tools, *offered))
    name = plan.assistant_name or "Desk"
    return replace(plan, tools=(*plan.tools, *tools), session=session, assistant_name=name)


def sales(**fields: Any) -> CallPlan:
    """Return the plan of the assistant that takes over."""
    session = SessionConfig(instructions="You sell.", voice="cedar", language="en")
    greeting = Greeting("exact", SALES, interruptible=True)
    own = {"session": session, "greeting": greeting, "assistant_name": "Sales", **fields}
    return plan_of(**own)


def over(plan: CallPlan | None = None, kind: Any = "all", most: int = 0) -> dict[str, Any]:
    """Return a successor as a service writes it."""
    record = {"revision_id": "r2"}
    return Successor(plan or sales(), Context(kind, most), record=record).to_json()


def hands_over(pattern: str = "buy", name: str = "to_sales", say: str | None = None) -> Rule:
    """Return the rule of a model that hands over when it hears something."""
    return Rule(Step(say=say, tools=(CallTool(name, "{}"),)), re.compile(pattern))


def call_of(
    script: list[CallerStep],
    *,
    words: str = "",
    successor: dict[str, Any] | None = None,
    rules: tuple[Rule, ...] = (),
    after_ms: int = 40,
    **options: Any,
) -> VirtualCall:
    """Run a call whose model hands over to sales."""
    return VirtualCall(
        with_handoff(plan_of(), "to_sales", words=words),
        script,
        PatientBrain([hands_over(), *rules]),
        {"to_sales": Result("", after_ms, successor=successor or over())},
        **options,
    ).run()


def seeds(call: VirtualCall, session: int = 2) -> list[tuple[str, str]]:
    """Return what a session was told before it spoke: (role or kind, text)."""
    told = []
    for event, number in zip(call.part.sent_realtime, call.part.sent_to, strict=True):
        if number != session or event["type"] == "response.create":
            if number == session:
                break
            continue
        if event["type"] == "conversation.item.create":
            item = event["item"]
            text = item.get("output") or item.get("name") or item["content"][0].get("text", "")
            told.append((item.get("role", item["type"]), text))
    return told


def assert_sound(call: VirtualCall) -> None:
    """Fail on any breach; every word of the caller was heard by one assistant, and by one only."""
    assert_sound_but_words_in(call, words_in=False)
    heard = [heard.text for model in call.models for heard in model.heard]
    assert heard == call.caller.said


# ---- what the caller hears ----


@pytest.mark.parametrize(
    ("words", "latency"),
    [("", evenly(20)), (PUT_THROUGH, evenly(0)), (PUT_THROUGH, evenly(150))],
    ids=["silent", "0", "150"],
)
def test_the_next_assistant_greets_when_the_first_has_been_heard(
    words: str, latency: Latency
) -> None:
    call = call_of([ASKS, BUYS, LEAVES], words=words, latency=latency)
    assert_sound(call)
    said = [words] if words else []
    assert call.caller.heard_texts == [GREETING, *said, SALES, "You said: The blue one."]
    assert call.tool_records == [("to_sales", "ok")]
    assert call.part.bridge.session == 2
    (handed,) = [each for each in call.effects if isinstance(each, RecordHandoff)]
    assert (handed.from_name, handed.to_name, handed.record) == (
        "Desk",
        "Sales",
        {"revision_id": "r2"},
    )
    spoken = [turn for turn in call.turns if turn.role == "assistant"]
    for source, target in zip(spoken[1:2], spoken[2:3], strict=True) if words else ():
        assert source.ended_ms is not None
        assert target.started_ms - source.ended_ms < 1_000, "silence between the two"
    own = [turn.text for turn in call.turns if turn.ordinal >= handed.first_ordinal]
    assert own == [SALES, "The blue one.", "You said: The blue one."]


def test_the_next_session_has_its_own_voice_prompt_and_model() -> None:
    call = call_of([ASKS, BUYS, LEAVES], successor=over(sales(model="gpt-realtime-mini")))
    (dial,) = [each for each in call.effects if isinstance(each, DialModel)]
    session = json.loads(dial.config_text)["session"]
    assert dial.model == "gpt-realtime-mini"
    assert session["instructions"] == "You sell."
    assert session["audio"]["output"]["voice"] == "cedar"
    assert session["tools"] == []
    assert call.part.bridge.plan.model == "gpt-realtime-mini"
    # The session that was used before is closed, not left open and billed (trap O20).
    assert CloseModel(1) in call.effects


def test_a_greeting_that_may_not_be_interrupted_is_heard_whole() -> None:
    firm = sales(greeting=Greeting("exact", SALES))
    script = [ASKS, say_over("Wait.", 300), hang_up(wait="silence_ms", wait_ms=4_000)]
    call = call_of(script, successor=over(firm))
    assert_sound(call)
    assert SALES in call.caller.heard_texts
    assert ("user", "Wait.") in call.spoken
    assert call.spoken[-1] == ("assistant", "You said: Wait.")


def test_an_assistant_that_waits_says_nothing_until_it_is_spoken_to() -> None:
    script = [
        ASKS,
        say("Hello?", wait="silence_ms", wait_ms=2_500),
        hang_up(wait="heard", pattern=re.compile("said: Hello"), timeout_ms=9_000),
    ]
    call = call_of(script, successor=over(sales(greeting=Greeting("wait")), "none"))
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello?"]


# ---- what the next assistant is told ----


TALK = [
    say("My name is Ann."),
    say("I want to buy something.", wait="heard", pattern=re.compile("Ann")),
    BUYS,
    LEAVES,
]
HEARD = [
    ("assistant", GREETING),
    ("user", "My name is Ann."),
    ("assistant", "You said: My name is Ann."),
    ("user", "I want to buy something."),
]
CALLED = [("function_call", "to_sales"), ("function_call_output", "The call has been handed over.")]


@pytest.mark.parametrize(
    ("kind", "most", "told"),
    [
        ("all", 0, [*HEARD, *CALLED]),
        ("none", 0, []),
        ("lastNMessages", 3, [*HEARD[2:], *CALLED]),
        ("userAndAssistantMessages", 0, HEARD),
        ("previousAssistantMessages", 0, []),
    ],
)
def test_context_engineering_plan(kind: Any, most: int, told: list[tuple[str, str]]) -> None:
    call = call_of(TALK, successor=over(kind=kind, most=most))
    assert_sound(call)
    assert seeds(call) == told
    assert kind in CONTEXT_KINDS


def test_previous_assistant_messages_leave_out_what_the_source_heard_itself() -> None:
    """What a payment assistant was told goes on, what it was told by the caller does not."""
    pay = with_handoff(sales(), "to_receipt")
    receipt = sales(greeting=Greeting("exact", "Your receipt."), assistant_name="Receipt")
    script = [
        ASKS,
        say("My card is 4111, pay.", wait="heard", pattern=re.compile("sales desk")),
        hang_up(wait="heard", pattern=re.compile("receipt"), timeout_ms=9_000),
    ]
    call = VirtualCall(
        with_handoff(plan_of(), "to_sales"),
        script,
        PatientBrain([hands_over(), hands_over("card", "to_receipt")]),
        {
            "to_sales": Result("", 40, successor=over(pay)),
            "to_receipt": Result("", 40, successor=over(receipt, "previousAssistantMessages")),
        },
    ).run()
    assert_sound(call)
    assert seeds(call, 2) == seeds(call, 3)
    assert not [text for _, text in seeds(call, 3) if "4111" in text]
    assert call.caller.heard_texts[-1] == "Your receipt."


def test_a_session_that_is_lost_later_is_told_no_more_than_the_assistant_knew() -> None:
    script = [ASKS, BUYS, hang_up(wait="silence_ms", wait_ms=5_000)]
    call = call_of(
        script,
        successor=over(sales(model="gpt-realtime-mini"), kind="none"),
        blows=[(9_000, lambda model: model.lose(1006))],
        until_ms=60_000,
    )
    assert call.part.bridge.session == 3
    again = [each for each in call.effects if isinstance(each, DialModel)][-1]
    assert json.loads(again.config_text)["session"]["instructions"] == "You sell."
    assert again.model == "gpt-realtime-mini"
    assert "I want to buy something." not in [text for _, text in seeds(call, 3)]
    assert ("assistant", SALES) in seeds(call, 3)


# ---- there and back, and not at all ----


def test_a_second_handoff_goes_back_and_the_first_assistant_greets_again() -> None:
    desk = with_handoff(plan_of(), "to_sales")
    script = [
        ASKS,
        say("Back, please.", wait="heard", pattern=re.compile("sales desk")),
        say("Hi.", wait="heard", pattern=re.compile("Good morning")),
        hang_up(wait="heard", pattern=re.compile("said: Hi"), timeout_ms=9_000),
    ]
    call = VirtualCall(
        desk,
        script,
        PatientBrain([hands_over(), hands_over("Back", "to_desk")]),
        {
            "to_sales": Result("", 40, successor=over(with_handoff(sales(), "to_desk"))),
            "to_desk": Result("", 40, successor=over(desk)),
        },
    ).run()
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, SALES, GREETING, "You said: Hi."]
    assert call.part.bridge.counters["handoffs"] == 2
    assert call.part.bridge.plan.session == desk.session


@pytest.mark.parametrize(
    "profile",
    [{"upgrade_status": 500}, {"refuse_event": "session.update"}],
    ids=lambda each: str(each),
)
def test_an_assistant_that_cannot_be_reached_leaves_the_call_with_the_first(profile: Any) -> None:
    rules = (Rule(Step(say="Then I help you."), re.compile("never")),)
    refused = RealtimeProfile(**profile)
    script = [ASKS, hang_up(wait="silence_ms", wait_ms=6_000)]
    call = call_of(script, rules=rules, sessions=[refused])
    assert call.tool_records == [("to_sales", "error")]
    (output,) = [
        each["item"]["output"]
        for each in call.sent("conversation.item.create")
        if "output" in each["item"]
    ]
    assert output == UNREACHABLE
    assert call.part.bridge.session == 1
    assert call.caller.heard_texts[-1].startswith("Result: ")
    assert call.end.ended_reason == "customer-ended-call"


def line_with_handoff(**limits: Any) -> Line:
    """Return a line whose model has just called a handoff tool."""
    plan = with_handoff(quiet_plan("look", limits=Limits(**limits)), "to_sales", "to_desk")
    line = Line(plan).ready()
    return line.turn().created().calls("to_sales", "c1").done()


def answered(line: Line, tool_call_id: str = "c1") -> Line:
    """The service has found who takes over."""
    result = ToolResult("", successor=over())
    line.bridge.tool_finished(tool_call_id, result, line.now_ms)
    return line


def outputs(line: Line) -> list[tuple[str, str]]:
    """Return (call, answer) of the outputs that the model was given."""
    events = [json.loads(text) for text in line.bridge.to_realtime]
    items = [each["item"] for each in events if each["type"] == "conversation.item.create"]
    return [(item["call_id"], item["output"]) for item in items if "output" in item]


def ready(line: Line, session: int = 2) -> Line:
    """The next session is open and configured."""
    line.bridge.realtime_opened(line.now_ms, config_sent=True, session=session)
    shape = {"format": {"type": "audio/pcmu"}}
    for event in (
        {"type": "session.created", "session": {}},
        {"type": "session.updated", "session": {"audio": {"input": shape, "output": shape}}},
    ):
        line.bridge.receive_realtime(json.dumps(event), line.now_ms, session=session)
    return line


def read(line: Line, item_id: str = "u1") -> Line:
    """The text of what the caller has said comes."""
    return line.realtime(
        "conversation.item.input_audio_transcription.completed", item_id=item_id, transcript="Buy."
    )


def test_the_source_lost_on_the_way_does_not_stop_the_handoff() -> None:
    line = answered(line_with_handoff())
    line.bridge.realtime_closed(1006, line.now_ms, session=1)
    ready(line)
    assert line.bridge.session == 2
    assert line.bridge.plan.assistant_name == "Sales"
    assert "create greeting" in line.look()[1]


def test_a_notice_that_was_due_is_said_by_the_next_assistant() -> None:
    """What the policy wants said in an emergency does not go with the assistant that leaves."""
    person = PersonPlan(
        emergency_words=("fire",), on_emergency="notice", emergency_notice="Dial 112."
    )
    plan = replace(with_handoff(quiet_plan(), "to_sales"), person=person)
    line = Line(plan).ready()
    line.turn().created().calls("to_sales", "c1").done()
    answered(line).bridge.realtime_closed(1006, line.now_ms, session=1)
    line.bridge.responses.ask(Request("notice", "Say: Dial 112.", tools_allowed=False))
    line.bridge.responses.ask(Request("tool_delayed", "Say: It takes long.", tools_allowed=False))
    ready(line)
    assert line.bridge.session == 2
    line.says(100, "a2", "r2")
    sent = line.look()[1]
    assert [each for each in sent if each.startswith("create")] == [
        "create greeting",
        "create notice",
    ]


def test_both_lost_the_first_assistant_is_dialled_again() -> None:
    line = answered(line_with_handoff())
    line.bridge.realtime_closed(1006, line.now_ms, session=1)
    line.bridge.realtime_closed(401, line.now_ms, session=2)
    dials = [each for each in line.effects(DialModel) if isinstance(each, DialModel)]
    assert json.loads(dials[-1].config_text)["session"]["instructions"] == "You answer the phone."
    ready(line, 3)
    assert line.bridge.plan.assistant_name == "Desk"


def test_a_loop_of_handoffs_ends_at_the_ceiling() -> None:
    line = answered(line_with_handoff(max_handoffs=0))
    assert outputs(line) == [("c1", TOO_OFTEN)]
    assert line.effects(DialModel) == []


def test_a_second_call_while_one_is_under_way_is_refused() -> None:
    line = answered(line_with_handoff())
    line.look()
    line.created("r2").calls("to_desk", "c2", "r2").done("r2")
    answered(line, "c2")
    assert outputs(line) == [("c2", UNDER_WAY)]


def test_another_tool_of_the_same_response_answers_first() -> None:
    plan = with_handoff(quiet_plan("look"), "to_sales")
    line = Line(plan).ready().turn().created().calls("look", "c0").calls("to_sales", "c1").done()
    read(ready(answered(line)))
    assert line.bridge.session == 1
    line.tool("c0", "found")
    assert line.bridge.session == 2


def test_what_the_caller_says_meanwhile_is_heard_by_the_next_assistant() -> None:
    line = answered(line_with_handoff())
    read(line).frame(600).speech("started", "u2").frame(400)
    ready(line)
    assert line.bridge.session == 1  # in the middle of a sentence
    line.look()
    line.speech("stopped", "u2").frame(20)
    _, realtime, effects = line.look()
    assert CloseModel(1) in effects
    assert line.bridge.session == 2
    appended = sum(int(each.split()[1]) for each in realtime if each.startswith("append"))
    assert appended >= 420  # all of the sentence, once more
    assert realtime.index("create greeting") < realtime.index(
        next(each for each in realtime if each.startswith("append"))
    )


# ---- asked for by a person ----


def hand_on(line: Line, text: str = "", **fields: Any) -> str:
    """Give the command as the desk does, with the plan that was looked up."""
    control = Control("handoff", text, successor=over(**fields), handoff_id="control-1")
    read_back = Control.from_json(json.loads(json.dumps(control.to_json())))
    return line.bridge.receive_control(read_back, line.now_ms)


def test_a_person_hands_the_call_on_and_nothing_is_answered_to_the_model() -> None:
    line = Line(quiet_plan()).ready()
    assert hand_on(line) == ""
    ready(line)
    assert line.bridge.plan.assistant_name == "Sales"
    assert outputs(line) == []
    _, realtime, effects = line.look()
    assert "create greeting" in realtime
    (handed,) = [each for each in effects if isinstance(each, RecordHandoff)]
    assert (handed.tool_call_id, handed.record) == ("control-1", {"revision_id": "r2"})


def test_what_a_person_wants_said_first_is_heard_before_the_change() -> None:
    line = Line(quiet_plan()).ready()
    assert hand_on(line, "I put you through.") == ""
    ready(line)
    assert line.bridge.session == 1
    assert "create operator" in line.look()[1]
    line.created("r2").audio(400, "a2", "r2").audio_done("a2", "r2").done("r2")
    marks = [each.split()[1] for each in line.look()[0] if each.startswith("mark")]
    assert line.bridge.session == 1
    line.after(400)
    for mark in marks:
        line.mark(mark)
    assert line.bridge.session == 2


def test_a_person_s_handoff_that_reaches_nobody_leaves_the_call_as_it_is() -> None:
    line = Line(quiet_plan()).ready()
    assert hand_on(line) == ""
    for session in (2, 3):
        line.bridge.realtime_closed(401 if session == 3 else 1006, line.now_ms, session=session)
    assert line.bridge.plan.assistant_name == "Desk" or not line.bridge.plan.assistant_name
    assert line.bridge.counters["handoffs_failed"] == 1
    assert "late_tool_results" not in line.bridge.counters
    assert line.turn().created().bridge.session == 1


def test_a_person_is_told_why_a_call_is_not_handed_on() -> None:
    line = Line(quiet_plan()).ready()
    assert hand_on(line) == ""
    assert hand_on(line) == UNDER_WAY
    often = Line(quiet_plan(limits=Limits(max_handoffs=0))).ready()
    assert hand_on(often) == TOO_OFTEN_FOR_PEOPLE
    assert often.effects(DialModel) == []


def test_each_assistant_s_wishes_for_news_count_while_it_has_the_call() -> None:
    call = VirtualCall(
        with_handoff(plan_of(tells=("said",)), "to_sales"),
        [ASKS, BUYS, LEAVES],
        PatientBrain([hands_over()]),
        {"to_sales": Result("", 40, successor=over(sales(tells=("speech-started",))))},
    ).run()
    news = [each for each in call.effects if isinstance(each, CallNews)]
    (handed,) = [each for each in call.effects if isinstance(each, RecordHandoff)]
    before = [each for each in news if each.number <= handed.news_before]
    assert before and {each.kind for each in before} == {"said"}
    after = news[len(before) :]
    assert after and {each.kind for each in after} == {"speech-started"}
    assert [each.number for each in news] == list(range(1, len(news) + 1))
    assert (
        call.effects.index(before[-1]) < call.effects.index(handed) < call.effects.index(after[0])
    )


def test_what_the_first_assistant_says_is_heard_to_its_end_before_the_change() -> None:
    line = read(answered(line_with_handoff()))
    line.created("r2").text("One moment.", "a2", "r2").audio(400, "a2", "r2")
    line.audio_done("a2", "r2").done("r2")
    ready(line)
    marks = [each.split()[1] for each in line.look()[0] if each.startswith("mark")]
    assert line.bridge.session == 1
    line.after(400)
    for mark in marks:
        line.mark(mark)
    (handed,) = line.effects(RecordHandoff)
    assert isinstance(handed, RecordHandoff)
    assert handed.at_ms == 400


def test_the_next_assistant_is_looked_for_while_blocking_words_are_said() -> None:
    words = [{"type": "request-start", "content": "One moment.", "blocking": True}]
    tool = ToolSpec(name="to_sales", kind="handoff", messages=read_messages(words))
    line = Line(replace(quiet_plan(), tools=(tool,))).ready()
    line.turn().created().calls("to_sales", "c1").done()
    _, realtime, effects = line.look()
    assert "create tool_start" in realtime
    assert any(isinstance(each, DispatchTools) for each in effects)


def test_a_session_that_has_grown_old_while_it_waited_is_replaced_in_its_turn() -> None:
    young = Watchdog(session_ms=1_000, session_hard_ms=4_000)
    line = Line(with_handoff(quiet_plan("look", watchdog=young), "to_sales")).ready()
    line.turn().created().calls("look", "c0").calls("to_sales", "c1").done()
    ready(read(answered(line)))
    line.after(2_000).tool("c0", "found")
    assert line.bridge.session == 2
    assert [each.session for each in line.effects(DialModel) if isinstance(each, DialModel)][
        -1
    ] == 3
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None
    assert due_ms > line.now_ms


def test_words_that_take_too_long_do_not_hold_the_call_back_for_ever() -> None:
    line = answered(line_with_handoff())
    line.created("r2").audio(60_000, "a2", "r2").audio_done("a2", "r2").done("r2")
    ready(line)
    assert line.bridge.session == 1
    line.tick(line.plan.watchdog.goodbye_ms)
    assert line.bridge.session == 2


def test_the_last_no_messages_are_none() -> None:
    items = (HistoryItem("user", "Hi."), HistoryItem("assistant", "Yes?"))
    assert passed_on(items, items, Context("lastNMessages", 0)) == ()
    assert passed_on(items, items, Context("lastNMessages", 1)) == items[1:]


def test_a_successor_is_json_and_comes_back_the_same() -> None:
    successor = Successor(sales(), Context("lastNMessages", 4), record={"revision_id": "r"})
    again = Successor.from_json(json.loads(json.dumps(successor.to_json())))
    assert again == successor
