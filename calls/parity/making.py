"""Scenarios that nobody wrote: generated from an assistant's tools, or taken from a past call.

Pure. A generated scenario is a beginning for a person: it asks for one tool in plain words and
gives every required argument a sample value. A scenario taken from a call has the caller's own
words, the calls that were made after each, and what the tools answered then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from calls.parity.forms import Kind
from calls.parity.played import Utterance
from calls.parity.scenario import CallerTurn, Expected, Reply, Scenario
from calls.parity.sequence import Sequence, ToolCall
from tools.samples import sample_arguments

# What stands for each kind of critical field: nobody's, and of the right form.
SAMPLES: Final[Mapping[Kind, str]] = {
    "phone": "+15550100002",
    "email": "ada.park@example.com",
    "name": "Ada Park",
    "date": "2026-11-27",
    "id": "A-1001",
}
_NOT_ASKED_FOR: Final = frozenset({"endCall", "transferCall", "handoff", "dtmf", "voicemail"})
MOST_TURNS: Final = 100


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as its assistant offers it; ``marks`` are its critical fields by path."""

    name: str
    kind: str
    description: str
    parameters: Mapping[str, Any]
    marks: Mapping[str, Kind]


def generated(tools: Iterable[Offered]) -> list[Scenario]:
    """Return one scenario for each tool that a caller can ask for, and one that asks for all."""
    asked = [tool for tool in tools if tool.kind not in _NOT_ASKED_FOR]
    found = [_of_tool(tool) for tool in asked]
    if len(asked) > 1:
        turns = tuple(_turn(tool) for tool in asked)
        found.append(
            Scenario(
                name="all tools in one call",
                description="Generated: the caller asks for everything, one after the other.",
                caller=(*turns, _goodbye()),
                tools={tool.name: (Reply("OK"),) for tool in asked},
            )
        )
    return found


def _of_tool(tool: Offered) -> Scenario:
    return Scenario(
        name=f"asks for {tool.name}"[:120],
        description="Generated from the tool's schema. Put it into a caller's words.",
        goals=(_first_sentence(tool.description) or tool.name,),
        caller=(_turn(tool), _goodbye()),
        tools={tool.name: (Reply("OK"),)},
    )


def _turn(tool: Offered) -> CallerTurn:
    arguments = _arguments(tool)
    wish = _first_sentence(tool.description) or tool.name.replace("_", " ")
    told = ", ".join(f"{name} {value}" for name, value in arguments.items() if _is_plain(value))
    words = f"I need this: {wish}." + (f" My details: {told}." if told else "")
    return CallerTurn(
        "say",
        words,
        expect=(Expected(tool.name, arguments),),
        agent="That is done. Is there anything else?",
    )


def _goodbye() -> CallerTurn:
    return CallerTurn("hang_up", cue="silence_ms", cue_ms=1_500)


def _arguments(tool: Offered) -> dict[str, Any]:
    arguments = sample_arguments(tool.parameters)
    for path, kind in tool.marks.items():
        if isinstance(arguments.get(path), str) and not _is_fixed(tool, path):
            arguments[path] = SAMPLES[kind]
    return arguments


def _is_fixed(tool: Offered, name: str) -> bool:
    """Tell whether a schema leaves a field no free choice of words."""
    properties = tool.parameters.get("properties")
    field = properties.get(name) if isinstance(properties, Mapping) else None
    return isinstance(field, Mapping) and bool({"enum", "const", "pattern"} & field.keys())


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".")[:200]


def extracted(name: str, sequence: Sequence, said: Iterable[Utterance]) -> Scenario:
    """Return the scenario of a past call: its caller's words and the calls made after each.

    Calls made before the caller's first word stand after it: nothing else can bring them about.
    """
    turns = [each for each in said if each.text.strip()]
    callers = [at for at, each in enumerate(turns) if each.role == "user"][:MOST_TURNS]
    made = list(sequence.tools)
    steps: list[CallerTurn] = []
    for nth, at in enumerate(callers):
        until = turns[callers[nth + 1]].at_ms if nth + 1 < len(callers) else None
        answer = _answer(turns[at + 1 : callers[nth + 1] if nth + 1 < len(callers) else None])
        calls: list[ToolCall] = []
        while made and (until is None or (made[0].at_ms or 0) < until):
            calls.append(made.pop(0))
        steps.append(
            CallerTurn(
                "say",
                turns[at].text[:2_000],
                expect=tuple(_expected(call, before) for before, call in _with_before(calls)),
                agent=answer,
            )
        )
    ended_by_caller = sequence.outcomes.ended == "customer-ended-call"
    if steps and ended_by_caller:
        steps.append(CallerTurn("hang_up", cue="silence_ms", cue_ms=1_000))
    return Scenario(
        name=name,
        description="Taken from a past call.",
        caller=tuple(steps),
        tools=_replies(sequence.tools),
        transferred=sequence.outcomes.transferred,
        structured=None,
    )


def _with_before(calls: list[ToolCall]) -> Iterable[tuple[ToolCall | None, ToolCall]]:
    return zip([None, *calls[:-1]], calls, strict=True)


def _expected(call: ToolCall, before: ToolCall | None) -> Expected:
    together = before is not None and call.message is not None and before.message == call.message
    return Expected(call.name, dict(call.arguments), together)


def _answer(turns: list[Utterance]) -> str:
    return " ".join(each.text.strip() for each in turns if each.role == "assistant")[:2_000]


def _replies(tools: Iterable[ToolCall]) -> dict[str, tuple[Reply, ...]]:
    found: dict[str, tuple[Reply, ...]] = {}
    for tool in tools:
        reply = Reply(tool.result or "OK", is_error=tool.outcome == "failed")
        found[tool.name] = (*found.get(tool.name, ()), reply)
    return found
