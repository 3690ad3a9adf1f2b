"""One scenario: who calls and why, what they say on which cue, which tools are called then, and
what those tools answer.

Pure. Owns the values, what they expect of a call, and how they are written as a document, the
mapping that files and rows hold. Reading a document, which may be wrong, is ``scenario_reading``'s.
It must not play a scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from calls.parity.sequence import Outcomes, Sequence, Stack, ToolCall, last_tries

Action = Literal["say", "dtmf", "hang_up"]
Cue = Literal["turn", "heard", "ms", "silence_ms", "agent_audio_ms"]

NOISE_KEYS: Final = ("omit_percent", "extra_percent", "swap_percent", "argument_percent")


@dataclass(frozen=True, slots=True)
class Expected:
    """One tool call that is to be made; ``together``: in one message with the one before it."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    together: bool = False


@dataclass(frozen=True, slots=True)
class CallerTurn:
    """One thing the caller does, what is to follow, and what a rehearsal's model says.

    ``cue`` with ``cue_ms`` or ``cue_words`` decides when: after the assistant's turn, when words
    were heard in it, so long after the caller's own last step, after so much silence, or over the
    assistant (an interruption). ``first`` is said before the tools are called, ``agent`` after.
    """

    action: Action
    text: str = ""
    cue: Cue = "turn"
    cue_ms: int = 0
    cue_words: str = ""
    expect: tuple[Expected, ...] = ()
    first: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool answers one call with, and after how long."""

    text: str
    is_error: bool = False
    delay_ms: int = 200


@dataclass(frozen=True, slots=True)
class Noise:
    """How often a stack of a rehearsal does something else than expected, in percent of calls.

    At most one thing happens to a call of a rehearsal, so that a stated share is a share of calls.
    """

    omit_percent: float = 0.0
    extra_percent: float = 0.0
    swap_percent: float = 0.0
    argument_percent: float = 0.0

    @property
    def total_percent(self) -> float:
        """Return the share of calls to which anything happens."""
        return self.omit_percent + self.extra_percent + self.swap_percent + self.argument_percent


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as runs play it. ``tools`` are the answers of each tool, in the order of its
    calls; the last one holds for all further calls.
    """

    name: str
    caller: tuple[CallerTurn, ...]
    description: str = ""
    persona: str = ""
    goals: tuple[str, ...] = ()
    language: str = "en"
    tools: Mapping[str, tuple[Reply, ...]] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    transferred: bool | None = None
    ended: str = ""
    structured: Mapping[str, Any] | None = None
    old_noise: Noise = Noise()
    our_noise: Noise = Noise()

    @property
    def expected(self) -> tuple[Expected, ...]:
        """Return the tool calls of the whole conversation, in order."""
        return tuple(each for turn in self.caller for each in turn.expect)

    def reply(self, tool: str, nth: int) -> Reply:
        """Return what the ``nth`` call of a tool is answered, from 0."""
        replies = self.tools.get(tool, ())
        return replies[min(nth, len(replies) - 1)] if replies else Reply("OK")


def expected_sequence(scenario: Scenario, *, key: str, stack: Stack) -> Sequence:
    """Return what a call that follows the scenario does."""
    return sequence_of_calls(scenario, scenario.expected, key=key, stack=stack)


def sequence_of_calls(
    scenario: Scenario, calls: tuple[Expected, ...], *, key: str, stack: Stack
) -> Sequence:
    """Return what a call does that makes ``calls`` where the scenario's tools answer."""
    seen: dict[str, int] = {}
    tools: list[ToolCall] = []
    message = -1
    for each in calls:
        message += not each.together or message < 0
        nth = seen[each.tool] = seen.get(each.tool, -1) + 1
        reply = scenario.reply(each.tool, nth)
        tools.append(
            ToolCall(
                name=each.tool,
                arguments=dict(each.arguments),
                outcome="failed" if reply.is_error else "ok",
                result=reply.text,
                tool_call_id=f"call_{len(tools)}",
                message=message,
            )
        )
    outcomes = Outcomes(
        tools_ok=all(tool.outcome == "ok" for tool in last_tries(tools)),
        transferred=scenario.transferred,
        ended=scenario.ended,
        structured=scenario.structured,
    )
    return Sequence(
        key=key, stack=stack, tools=tuple(tools), outcomes=outcomes, scenario=scenario.name
    )


def scenario_document(scenario: Scenario) -> dict[str, Any]:
    """Return the document of a scenario; what is as usual is left out."""
    document: dict[str, Any] = {"name": scenario.name}
    for key in ("description", "persona"):
        if getattr(scenario, key):
            document[key] = getattr(scenario, key)
    if scenario.goals:
        document["goals"] = list(scenario.goals)
    if scenario.language != "en":
        document["language"] = scenario.language
    if scenario.variables:
        document["variables"] = dict(scenario.variables)
    document["caller"] = [_turn_document(turn) for turn in scenario.caller]
    if scenario.tools:
        document["tools"] = {
            tool: [_reply_document(reply) for reply in replies]
            for tool, replies in scenario.tools.items()
        }
    expect = {
        key: value
        for key in ("transferred", "ended", "structured")
        if (value := getattr(scenario, key)) not in (None, "")
    }
    if expect:
        document["expect"] = expect
    sides = {"old": _noise(scenario.old_noise), "ours": _noise(scenario.our_noise)}
    if any(sides.values()):
        document["noise"] = {side: noise for side, noise in sides.items() if noise}
    return document


def _turn_document(turn: CallerTurn) -> dict[str, Any]:
    document: dict[str, Any] = {turn.action: turn.text if turn.action != "hang_up" else True}
    if turn.cue == "agent_audio_ms":
        document["barge_in"] = {"after_ms_of_agent_audio": turn.cue_ms}
    elif turn.cue == "heard":
        document["after"] = {"heard": turn.cue_words}
    elif turn.cue != "turn":
        document["after"] = {turn.cue: turn.cue_ms}
    if turn.first:
        document["first"] = turn.first
    if turn.expect:
        document["expect"] = [
            {
                "tool": each.tool,
                **({"arguments": dict(each.arguments)} if each.arguments else {}),
                **({"together": True} if each.together else {}),
            }
            for each in turn.expect
        ]
    if turn.agent:
        document["agent"] = turn.agent
    return document


def _reply_document(reply: Reply) -> dict[str, Any]:
    document: dict[str, Any] = {"error" if reply.is_error else "result": reply.text}
    if reply.delay_ms != Reply("").delay_ms:
        document["delay_ms"] = reply.delay_ms
    return document


def _noise(noise: Noise) -> dict[str, float]:
    return {key: value for key in NOISE_KEYS if (value := getattr(noise, key))}
