"""A past call asked again turn by turn: what the model is told, what is counted, where it ends."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from calls.money.rates import ModelPrice, transcription_microusd
from calls.parity.replay import Plan
from calls.standins.realtime_brain import CallTool, Part, Rule, RuleBrain, Step, Turn
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import encode, silence
from calls.wire.realtime import Dialect, McpServer
from tests.replays import Rehearsal, script

pytestmark = pytest.mark.unit

BOOKING = (
    ("bot", "Smile Dental, hello."),
    ("user", "I want Tuesday at ten."),
    ("bot", "Let me look."),
    ("tool", "check", {"day": "Tuesday"}, '{"free": true}'),
    ("bot", "Ten is free. What is your number?"),
    ("user", "It is 555 0102."),
    ("tool", "book", {"phone": "5550102"}, "GB-1"),
    ("bot", "Booked. Goodbye."),
    ("user", "Thanks, bye."),
)


def rule(
    when: str, *calls: tuple[str, str], say: str | None = None, then: Step | None = None
) -> Rule:
    """Return a rule of the model: at these words it calls these tools."""
    tools = tuple(CallTool(name, arguments) for name, arguments in calls)
    return Rule(Step(say, tools, then or Step(say="Done.")), re.compile(when))


CHECK = ("check", '{"day": "Tuesday"}')
BOOK = ("book", '{"phone": "5550102"}')


def names(rehearsal: Rehearsal) -> list[str]:
    """Return the names of the model's calls that count."""
    return [call.name for call in rehearsal.replay.result.calls]


def compared(rehearsal: Rehearsal) -> list[str]:
    """Return the names of the old stack's calls that they are set against."""
    return [tool.name for tool in rehearsal.replay.result.compared]


def test_a_model_that_does_the_same_is_compared_to_the_end() -> None:
    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK)]))
    result = rehearsal.run()
    assert (result.cut, result.problem, rehearsal.refusals) == ("", "", [])
    assert names(rehearsal) == compared(rehearsal) == ["check", "book"]
    assert result.calls[0].arguments == {"day": "Tuesday"}
    assert [answer.said for answer in result.answers][:2] == [["Done."], ["Done."]]


def test_after_each_turn_the_old_stacks_words_and_results_stand_in_place_of_ours() -> None:
    brain = RuleBrain([rule("Tuesday", say="Which doctor?"), rule("0102", BOOK)])
    rehearsal = Rehearsal(script(*BOOKING), brain)
    rehearsal.run()
    texts = [text for _, text in rehearsal.items()]
    assert "Which doctor?" not in texts and "Done." not in texts
    assert rehearsal.items() == [
        ("assistant", "Smile Dental, hello."),
        ("user", "I want Tuesday at ten."),
        ("assistant", "Let me look."),
        ("function_call", '{"day": "Tuesday"}'),
        ("function_call_output", '{"free": true}'),
        ("assistant", "Ten is free. What is your number?"),
        ("user", "It is 555 0102."),
        ("function_call", '{"phone": "5550102"}'),
        ("function_call_output", "GB-1"),
        ("assistant", "Booked. Goodbye."),
        ("user", "Thanks, bye."),
    ]


def test_a_tool_that_is_left_out_is_missing_from_ours_and_known_to_the_conversation() -> None:
    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([rule("0102", BOOK)]))
    result = rehearsal.run()
    assert result.cut == ""
    assert (names(rehearsal), compared(rehearsal)) == (["book"], ["check", "book"])


def test_a_call_is_compared_up_to_the_first_result_that_nobody_knows() -> None:
    other_day = ("check", '{"day": "Friday"}')
    rehearsal = Rehearsal(
        script(*BOOKING), RuleBrain([rule("Tuesday", other_day), rule("0102", BOOK)])
    )
    result = rehearsal.run()
    assert (result.cut, result.cut_exchange) == ("unknown-result", 0)
    # The call that stood in its place is compared with it; the booking behind it is not.
    assert (names(rehearsal), compared(rehearsal)) == (["check"], ["check"])
    assert result.calls[0].known is None


def test_a_call_that_the_old_stack_never_made_ends_the_comparison_as_an_extra_one() -> None:
    extra = ("send_sms", '{"text": "hi"}')
    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", extra)])
    rehearsal = Rehearsal(script(*BOOKING), brain, tools=["send_sms"])
    result = rehearsal.run()
    assert (result.cut, result.cut_exchange) == ("unknown-result", 1)
    assert (names(rehearsal), compared(rehearsal)) == (["check", "send_sms"], ["check", "book"])


def test_a_log_that_lacks_the_result_cuts_there_too() -> None:
    lines = [*BOOKING[:3], ("tool", "check", {"day": "Tuesday"}, None), *BOOKING[4:]]
    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK)])
    rehearsal = Rehearsal(script(*lines), brain)
    assert rehearsal.run().cut == "unknown-result"
    assert (names(rehearsal), compared(rehearsal)) == (["check"], ["check"])


def test_a_tool_that_is_called_a_turn_early_is_answered_and_counted_once() -> None:
    brain = RuleBrain(
        [rule("Tuesday", CHECK, then=Step(None, (CallTool(*BOOK),))), rule("0102", BOOK)]
    )
    rehearsal = Rehearsal(script(*BOOKING), brain)
    result = rehearsal.run()
    assert result.cut == ""
    assert names(rehearsal) == compared(rehearsal) == ["check", "book"]
    assert [call.exchange for call in result.calls] == [0, 0]


def test_an_early_call_does_not_bring_the_calls_between_into_a_cut_comparison() -> None:
    past = script(
        ("user", "One."),
        ("tool", "a", {}, "1"),
        ("user", "Two."),
        ("tool", "b", {}, "2"),
        ("user", "Three."),
        ("tool", "c", {}, "3"),
    )
    brain = RuleBrain([rule("One", ("c", "{}"), ("x", "{}"))])
    rehearsal = Rehearsal(past, brain, tools=["x"])
    assert rehearsal.run().cut == "unknown-result"
    assert (names(rehearsal), compared(rehearsal)) == (["c", "x"], ["a", "c"])


def test_calls_of_one_answer_stand_together() -> None:
    past = script(
        ("user", "Go."), ("tool", "a", {}, "1"), ("tool", "b", {}, "2"), ("bot", "Both done.")
    )
    rehearsal = Rehearsal(past, RuleBrain([rule("Go", ("b", "{}"), ("a", "{}"))]))
    result = rehearsal.run()
    assert names(rehearsal) == ["b", "a"]
    assert len({call.message for call in result.calls}) == 1
    assert result.calls[0].message is not None
    assert rehearsal.items()[1:] == [
        ("function_call", "{}"),
        ("function_call_output", "2"),
        ("function_call", "{}"),
        ("function_call_output", "1"),
        ("assistant", "Both done."),
    ]


def ends(plan: Plan) -> Plan:
    """Let ``end_call`` end the call."""
    return dataclasses.replace(plan, ends=frozenset({"end_call"}))


def test_ending_the_call_where_the_old_stack_did_is_the_end_of_the_comparison() -> None:
    past = script(*BOOKING[:8], ("user", "Bye."), ("tool", "end_call", {}, None), ("user", "Bye!"))
    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK), rule("Bye", ("end_call", "{}"))])
    rehearsal = Rehearsal(past, brain, alter=ends)
    assert rehearsal.run().cut == ""
    assert names(rehearsal) == compared(rehearsal) == ["check", "book", "end_call"]


def test_ending_the_call_early_is_told_and_compared_so_far() -> None:
    brain = RuleBrain([rule("Tuesday", ("end_call", "{}"))])
    rehearsal = Rehearsal(script(*BOOKING), brain, tools=["end_call"], alter=ends)
    assert rehearsal.run().cut == "left-early"
    assert (names(rehearsal), compared(rehearsal)) == (["end_call"], ["check"])


def test_a_model_that_goes_in_circles_is_stopped() -> None:
    class Circles:
        def reply(self, turn: Turn) -> list[Part]:
            return [CallTool(*CHECK)]

    rehearsal = Rehearsal(script(*BOOKING), Circles())
    assert rehearsal.run().cut == "answers"


def test_the_limit_on_spend_ends_it_between_turns() -> None:
    def poor(plan: Plan) -> Plan:
        return dataclasses.replace(plan, most_microusd=1)

    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([rule("Tuesday", CHECK)]), alter=poor)
    result = rehearsal.run()
    assert result.cut == "spend" and result.cost_microusd >= 1
    assert (names(rehearsal), compared(rehearsal)) == ([], [])


def test_no_server_that_the_model_would_ask_itself_is_offered() -> None:
    def with_mcp(plan: Plan) -> Plan:
        server = McpServer("crm", "https://crm.example.com/mcp")
        return dataclasses.replace(
            plan, config=dataclasses.replace(plan.config, mcp_servers=(server,))
        )

    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([]), alter=with_mcp)
    rehearsal.run()
    update = next(event for event in rehearsal.sent if event["type"] == "session.update")
    assert [tool["type"] for tool in update["session"]["tools"]] == ["function", "function"]
    assert update["session"]["audio"]["input"]["turn_detection"] is None


def test_every_question_is_asked_beside_the_conversation() -> None:
    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([rule("Tuesday", CHECK)]))
    rehearsal.run()
    asked = [event["response"] for event in rehearsal.sent if event["type"] == "response.create"]
    assert len(asked) == 4
    assert {each["conversation"] for each in asked} == {"none"}
    assert not [event for event in rehearsal.sent if event["type"] == "conversation.item.delete"]


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        (RealtimeProfile(never_created=True), "did not answer in time (opening)"),
        (RealtimeProfile(reject_update=True), "the session was refused (unknown_parameter)"),
        (RealtimeProfile(lose_at="ms", lose_after=100, lose_code=1011), "closed with 1011"),
        (RealtimeProfile(fail_response="server_error"), "an answer failed: server_error"),
    ],
)
def test_what_fails_is_told_and_counts_nothing(profile: RealtimeProfile, problem: str) -> None:
    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([rule("Tuesday", CHECK)]), profile=profile)
    result = rehearsal.run()
    assert result.cut == "failed" and problem in result.problem
    assert (result.calls, result.compared) == ([], ())


def spoken(*turns: tuple[int, str]) -> Any:
    """Return a change of plan: these turns are sent as sound, with a little silence behind."""

    def alter(plan: Plan) -> Plan:
        audio = {index: encode(text) + silence(300) for index, text in turns}
        return dataclasses.replace(plan, audio=audio)

    return alter


def test_a_turn_of_sound_is_paced_committed_and_heard() -> None:
    sound = encode("I want Tuesday at ten.") + silence(300)
    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK)])
    rehearsal = Rehearsal(
        script(*BOOKING),
        brain,
        alter=spoken((0, "I want Tuesday at ten."), (1, "It is 555 0201.")),
    )
    result = rehearsal.run()
    assert rehearsal.refusals == []
    assert result.answers[0].heard == "I want Tuesday at ten."
    assert result.answers[1].heard == "It is 555 0201."
    assert names(rehearsal) == ["check"]
    appended = [event for event in rehearsal.sent if event["type"] == "input_audio_buffer.append"]
    first = -(-len(sound) // 800)
    assert len(appended) > first
    # As fast as the caller spoke: the sound of a turn takes as long to send as to say.
    assert rehearsal.now_ms >= result.audio_ms - 200
    assert result.answers[0].latency_ms is not None


def test_what_is_written_down_of_the_caller_is_paid_besides_the_model() -> None:
    def alter(plan: Plan) -> Plan:
        free = ModelPrice("2026-01-01", *([0.0] * 6))
        return dataclasses.replace(spoken((0, "I want Tuesday at ten."))(plan), price=free)

    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK)])
    result = Rehearsal(script(*BOOKING), brain, alter=alter).run()
    assert result.audio_ms and result.cost_microusd == transcription_microusd(result.audio_ms)


def test_a_turn_too_short_to_be_committed_is_sent_as_words() -> None:
    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK)])

    def alter(plan: Plan) -> Plan:
        return dataclasses.replace(plan, audio={0: silence(40)})

    rehearsal = Rehearsal(script(*BOOKING), brain, alter=alter)
    result = rehearsal.run()
    assert result.cut == "" and names(rehearsal) == ["check", "book"]
    assert [each["error"]["code"] for each in rehearsal.refusals] == [
        "input_audio_buffer_commit_empty"
    ]


def test_tokens_of_every_answer_are_added_up() -> None:
    rehearsal = Rehearsal(script(*BOOKING), RuleBrain([rule("Tuesday", CHECK)]))
    tokens = rehearsal.run().tokens
    assert tokens.responses == 4
    assert tokens.into > tokens.out > 0


@pytest.mark.parametrize("dialect", ["openai_ga", "azure_ga", "beta"])
def test_every_dialect_is_replayed_as_text_and_as_sound(dialect: Dialect) -> None:
    brain = RuleBrain([rule("Tuesday", CHECK), rule("0102", BOOK)])
    sound = spoken((0, "I want Tuesday at ten."))
    rehearsal = Rehearsal(script(*BOOKING), brain, alter=sound, dialect=dialect)
    result = rehearsal.run()
    assert (result.cut, result.problem, rehearsal.refusals) == ("", "", [])
    assert names(rehearsal) == ["check", "book"]
    assert result.answers[0].heard == "I want Tuesday at ten."
    assert result.answers[0].said == ["Done."]
