"""Scenario files: what they may hold, and errors that name file, key path and fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from calls.standins.realtime_brain import BookBrain, CallTool, RuleBrain, Speak, ToolOutput, Turn
from calls.standins.scenario import (
    Scenario,
    ScenarioError,
    load_scenario,
    parse_scenario,
    shipped_scenarios,
)

from .helpers import converse

pytestmark = pytest.mark.unit


def test_shipped_scenarios_load_under_their_file_names() -> None:
    scenarios = shipped_scenarios()
    assert [s.name for s in scenarios] == ["barge_in", "booking", "hello", "ring", "transfer"]
    assert all(s.caller and s.rules for s in scenarios)
    # "ring" is for numbers that another stack may answer: it expects nothing of who does.
    assert [s.name for s in scenarios if not s.expect.agent_says] == ["ring"]


def test_callers_of_shipped_scenarios_say_different_words() -> None:
    first_words = [step.text for s in shipped_scenarios() for step in s.caller if step.text]
    assert len(first_words) == len(set(first_words))


@pytest.mark.parametrize("name", ["hello", "barge_in"])
def test_shipped_conversations_meet_their_expectations(name: str) -> None:
    scenario = load_scenario(name)
    caller, model, _ = converse(list(scenario.caller), scenario.brain())
    assert scenario.expect.failures(caller.heard_texts, caller.ended_by) == []
    assert [heard.text for heard in model.heard] == caller.said
    assert caller.script_finished


def test_booking_rules_chain_tools_and_speech() -> None:
    brain = load_scenario("booking").brain()
    [call] = brain.reply(Turn("I would like to book a cleaning on Friday."))
    assert isinstance(call, CallTool)
    assert call.name == "check_availability"
    outputs = (ToolOutput("check_availability", "[]"),)
    [answer] = brain.reply(Turn(None, outputs=outputs))
    assert isinstance(answer, Speak)
    assert "which time" in answer.text


def test_speech_between_tool_and_output_does_not_forget_what_follows() -> None:
    brain = load_scenario("booking").brain()
    brain.reply(Turn("I would like to book a cleaning on Friday."))
    assert brain.reply(Turn("Are you there?")) == [Speak("You said: Are you there?")]
    outputs = (ToolOutput("check_availability", "[]"),)
    [answer] = brain.reply(Turn(None, outputs=outputs))
    assert isinstance(answer, Speak)
    assert "which time" in answer.text


def parse(text: str) -> Scenario:
    return parse_scenario(yaml.safe_load(text), "x.yaml")


def test_nested_steps_profiles_and_raw_arguments() -> None:
    scenario = parse(
        """
        caller:
          - {dtmf: "5", after: {ms: 100}}
          - {say: Hi, after: mark_pending, timeout_ms: 900}
          - {hang_up: {heard: bye}}
        brain:
          rules:
            - tool: [{name: a, arguments: "{broken"}, {name: b}]
              once: true
              then: {tool: {name: c}, then: {say: "got {output}"}}
        profile:
          media: {gap_frames: [10, 5]}
          realtime: {think_ms: 5}
        """
    )
    assert [(s.action, s.wait) for s in scenario.caller] == [
        ("dtmf", "ms"),
        ("say", "mark_pending"),
        ("hang_up", "heard"),
    ]
    assert scenario.caller[1].timeout_ms == 900
    assert scenario.media.gap_frames == (10, 5)
    assert scenario.realtime.think_ms == 5
    brain = scenario.brain()
    assert brain.reply(Turn("x")) == [CallTool("a", "{broken"), CallTool("b", "{}")]
    outputs = (ToolOutput("a", '{"x":1}'), ToolOutput("b", "2"))
    assert brain.reply(Turn(None, outputs=outputs)) == [CallTool("c", "{}")]
    assert brain.reply(Turn(None, outputs=outputs)) == [Speak('got {"x":1}; 2')]
    assert brain.reply(Turn("x")) == [Speak("You said: x")]  # once
    assert scenario.brain().reply(Turn("x")) != [Speak("You said: x")]


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("[]", "top level", "must be a mapping"),
        ("calls: 1", "calls", "unknown key"),
        ("caller: {}", "caller", "must be a list"),
        ("caller: [{after: turn}]", "caller[0]", "exactly one of say, dtmf, hang_up"),
        ("caller: [{say: 5}]", "caller[0].say", "must be a text"),
        ("caller: [{say: x, after: soon}]", "caller[0].after", "must be greeting"),
        ("caller: [{say: x, after: {heard: '('}}]", "caller[0].after.heard", "regular expression"),
        ("caller: [{say: x, after: {ms: -1}}]", "caller[0].after.ms", "whole number"),
        ("caller: [{say: x, barge_in: {}}]", "caller[0].barge_in", "needs after_ms_of"),
        ("caller: [{hang_up: 1}]", "caller[0].hang_up", "must be true"),
        ("brain: {rules: [{when: x}]}", "brain.rules[0]", "needs say, tool or both"),
        ("brain: {rules: [{say: x, after_tool: y}]}", "brain.rules[0]", "follow a tool"),
        ("brain: {rules: [{tool: {arguments: 1}}]}", "brain.rules[0].tool[0]", "needs name"),
        ("profile: {media: {frames: 1}}", "profile.media.frames", "unknown key"),
        ("expect: {tools: x}", "expect.tools", "must be a list"),
    ],
)
def test_errors_name_file_place_and_fix(text: str, place: str, fix: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"x.yaml: {place}: ")
    assert fix in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="one of: barge_in, booking, hello, ring, transfer"):
        load_scenario("nothing")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ScenarioError, match="broken.yaml: not YAML"):
        load_scenario(broken)


def test_expectations_are_met_in_order() -> None:
    expect = parse("expect: {agent_says: [one, two], ended_by: rest}").expect
    assert expect.failures(["One", "and two"], "rest") == []
    assert expect.failures(["two", "one"], "caller") == [
        "the caller never heard /two/ in its turn",
        "the call was ended by caller, expected rest",
    ]


def test_a_brain_from_the_book_is_chosen_by_the_words_heard() -> None:
    class Book:
        def brain_for(self, heard: str) -> RuleBrain | None:
            scenarios: list[Any] = shipped_scenarios()
            return next((s.brain() for s in scenarios if s.knows(heard)), None)

    brain = BookBrain(Book())
    assert brain.reply(Turn(None)) == [Speak("Hello.")]
    assert brain.reply(Turn("noise")) == [Speak("You said: noise")]
    assert brain.reply(Turn("Hello, are you open today?")) == [Speak("Yes, we are open until six.")]
    assert brain.reply(Turn("Thank you, that is all.")) == [
        Speak("You are welcome. Have a good day.")
    ]
