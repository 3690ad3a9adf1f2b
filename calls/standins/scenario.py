"""Scenario files: what a caller does, how the model reacts, what must come out. It owns the YAML
shape and its errors, which name the file, the key path and the fix; it must not run a call.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

from calls.standins.caller import Action, CallerStep, Wait
from calls.standins.realtime_brain import CallMcp, CallTool, Rule, RuleBrain, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario_options import OptionError, option_value
from calls.standins.twilio_media import MediaProfile

FOLDER = Path(__file__).parent / "scenarios"
_TOP = frozenset({"name", "description", "caller", "brain", "profile", "expect"})
_ACTIONS: tuple[Action, ...] = get_args(Action)
_STEP = frozenset({*_ACTIONS, "after", "barge_in", "timeout_ms"})
_AFTER_WAITS: dict[str, Wait] = {"ms": "ms", "silence_ms": "silence_ms"}
_BRAIN = frozenset({"rules", "default_say", "greeting"})
_RULE = frozenset({"when", "once", "say", "tool", "after_tool", "then"})
_TOOL = frozenset({"name", "arguments", "mcp", "answers", "fails"})
_PROFILES = frozenset({"media", "streams", "realtime", "sessions"})
_EXPECT = frozenset({"agent_says", "tools", "ended_by", "codes"})


class ScenarioError(ValueError):
    """A scenario file is wrong; the text names file, key path and fix. Correct the file."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What must come out: patterns in the order of turns, tool names in order, who ended it.

    `tools` is for whoever sees tool calls; a caller does not. `codes` are Twilio's codes that
    belong to the scenario, such as 31921 where the platform ends the stream on purpose.
    """

    agent_says: tuple[re.Pattern[str], ...] = ()
    tools: tuple[str, ...] = ()
    ended_by: str | None = None
    codes: tuple[int, ...] = ()

    def failures(self, agent_said: list[str], ended_by: str | None) -> list[str]:
        """Return what is missing in what the caller heard and in how the call ended."""
        found: list[str] = []
        at = 0
        for pattern in self.agent_says:
            place = next(
                (i for i in range(at, len(agent_said)) if pattern.search(agent_said[i])), -1
            )
            if place < 0:
                found.append(f"the caller never heard /{pattern.pattern}/ in its turn")
            else:
                at = place + 1
        if self.ended_by is not None and ended_by != self.ended_by:
            found.append(f"the call was ended by {ended_by}, expected {self.ended_by}")
        return found


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scripted call. `brain()` is new for each call: rules remember what they did."""

    name: str
    description: str = ""
    caller: tuple[CallerStep, ...] = ()
    rules: tuple[Rule, ...] = ()
    default_say: str = "You said: {heard}"
    greeting: str = "Hello."
    media: MediaProfile = field(default_factory=MediaProfile)
    streams: tuple[MediaProfile, ...] = ()  # of the call's streams after the first, in order
    realtime: RealtimeProfile = field(default_factory=RealtimeProfile)
    sessions: tuple[RealtimeProfile, ...] = ()  # of the sessions dialled after the first, in order
    expect: Expectations = field(default_factory=Expectations)

    def brain(self) -> RuleBrain:
        """Return a fresh brain with this scenario's rules."""
        return RuleBrain(list(self.rules), self.default_say, self.greeting)

    def media_of(self, index: int) -> MediaProfile:
        """Return the profile of the call's stream number `index`; the last one holds for the rest.

        Without `streams` every stream is like the first.
        """
        every = (self.media, *self.streams)
        return every[min(index, len(every) - 1)]

    def knows(self, heard: str) -> bool:
        """Tell whether the caller of this scenario says these words."""
        return any(step.action == "say" and step.text == heard for step in self.caller)


def load_scenario(source: str | Path) -> Scenario:
    """Read a scenario by shipped name (`booking`) or by path; raises ScenarioError."""
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{source}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        names = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise ScenarioError(
            f"{source}: cannot be read ({error.strerror}); give a file or one of: {names}"
        ) from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path.name}: not YAML: {error}") from error
    return parse_scenario(document, path.name)


def shipped_scenarios() -> list[Scenario]:
    """Return every scenario of the scenarios folder, by name."""
    return [load_scenario(path) for path in sorted(FOLDER.glob("*.yaml"))]


def parse_scenario(document: Any, file: str = "inline") -> Scenario:
    """Return the scenario in a parsed document; raises ScenarioError."""
    reader = _Reader(file)
    top = reader.mapping(document, "", _TOP)
    brain = reader.mapping(top.get("brain", {}), "brain", _BRAIN)
    profile = reader.mapping(top.get("profile", {}), "profile", _PROFILES)
    return Scenario(
        name=reader.text(top.get("name", file.removesuffix(".yaml")), "name"),
        description=reader.text(top.get("description", ""), "description"),
        caller=tuple(
            reader.caller_step(step, f"caller[{index}]")
            for index, step in enumerate(reader.sequence(top.get("caller", []), "caller"))
        ),
        rules=tuple(
            reader.rule(rule, f"brain.rules[{index}]")
            for index, rule in enumerate(reader.sequence(brain.get("rules", []), "brain.rules"))
        ),
        default_say=reader.text(brain.get("default_say", "You said: {heard}"), "brain.default_say"),
        greeting=reader.text(brain.get("greeting", "Hello."), "brain.greeting"),
        media=reader.options(MediaProfile, profile.get("media", {}), "profile.media"),
        streams=reader.many(MediaProfile, profile.get("streams", []), "profile.streams"),
        realtime=reader.options(RealtimeProfile, profile.get("realtime", {}), "profile.realtime"),
        sessions=reader.many(RealtimeProfile, profile.get("sessions", []), "profile.sessions"),
        expect=reader.expectations(top.get("expect", {}), "expect"),
    )


class _Reader:
    """Reads one file; every complaint carries the file and the key path."""

    def __init__(self, file: str) -> None:
        self._file = file

    def fail(self, path: str, fix: str) -> ScenarioError:
        return ScenarioError(f"{self._file}: {path or 'top level'}: {fix}")

    def mapping(self, value: Any, path: str, keys: frozenset[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(path, f"must be a mapping with keys from {', '.join(sorted(keys))}")
        for key in value:
            if key not in keys:
                place = f"{path}.{key}" if path else str(key)
                raise self.fail(place, f"unknown key; use one of {', '.join(sorted(keys))}")
        return value

    def sequence(self, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.fail(path, "must be a list; begin each entry with '- '")
        return value

    def text(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise self.fail(path, f'must be a text; write it in quotes: "{value}"')
        return value

    def whole(self, value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.fail(path, "must be a whole number of ms, 0 or more")
        return value

    def pattern(self, value: Any, path: str) -> re.Pattern[str]:
        try:
            return re.compile(self.text(value, path), re.IGNORECASE)
        except re.error as error:
            raise self.fail(path, f"is not a regular expression ({error}); escape it") from error

    def caller_step(self, value: Any, path: str) -> CallerStep:
        step = self.mapping(value, path, _STEP)
        actions = [key for key in _ACTIONS if key in step]
        if len(actions) != 1:
            raise self.fail(path, f"needs exactly one of {', '.join(_ACTIONS)}")
        action = actions[0]
        wait = self.wait(step, path)
        text = ""
        if action == "hang_up":
            if isinstance(step["hang_up"], dict):
                wait = self.wait({"after": step["hang_up"]}, f"{path}.hang_up")
            elif step["hang_up"] is not True:
                raise self.fail(f"{path}.hang_up", "must be true or a condition such as {ms: 500}")
        elif action == "rest_completed":
            if step["rest_completed"] is not True:
                raise self.fail(f"{path}.rest_completed", "must be true; its moment is in after")
        else:
            text = self.text(step[action], f"{path}.{action}")
        if "timeout_ms" in step:
            wait["timeout_ms"] = self.whole(step["timeout_ms"], f"{path}.timeout_ms")
        return CallerStep(action, text, **wait)

    def wait(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        if "barge_in" in step:
            place = f"{path}.barge_in"
            barge_in = self.mapping(step["barge_in"], place, frozenset({"after_ms_of_agent_audio"}))
            if not barge_in:
                raise self.fail(place, "needs after_ms_of_agent_audio: <ms>")
            key = "after_ms_of_agent_audio"
            return {
                "wait": "agent_audio_ms",
                "wait_ms": self.whole(barge_in[key], f"{place}.{key}"),
            }
        after, place = step.get("after", "turn"), f"{path}.after"
        if after in ("turn", "greeting"):
            return {"wait": "turn"}
        if after == "mark_pending":
            return {"wait": "mark_pending"}
        keys = frozenset({"heard", *_AFTER_WAITS})
        if not isinstance(after, dict) or len(after) != 1:
            raise self.fail(
                place, "must be greeting, turn, mark_pending or one of {heard|ms|silence_ms: …}"
            )
        [(key, value)] = self.mapping(after, place, keys).items()
        if key == "heard":
            return {"wait": "heard", "pattern": self.pattern(value, f"{place}.heard")}
        return {"wait": _AFTER_WAITS[key], "wait_ms": self.whole(value, f"{place}.{key}")}

    def rule(self, value: Any, path: str) -> Rule:
        rule = self.mapping(value, path, _RULE)
        when = rule.get("when")
        return Rule(
            step=self.step(rule, path),
            when=None if when is None else self.pattern(when, f"{path}.when"),
            once=bool(rule.get("once", False)),
        )

    def step(self, value: dict[str, Any], path: str) -> Step:
        say = value.get("say")
        tools = value.get("tool", [])
        calls = tuple(
            self.tool(tool, f"{path}.tool[{index}]")
            for index, tool in enumerate([tools] if isinstance(tools, dict) else tools)
        )
        if say is None and not calls:
            raise self.fail(path, "needs say, tool or both")
        then: Step | None = None
        if "after_tool" in value:
            then = Step(say=self.text(value["after_tool"], f"{path}.after_tool"))
        elif "then" in value:
            place = f"{path}.then"
            follow_up = self.mapping(value["then"], place, _RULE - {"when", "once"})
            then = self.step(follow_up, place)
        if then is not None and not calls:
            raise self.fail(path, "then and after_tool follow a tool; add tool or drop them")
        return Step(None if say is None else self.text(say, f"{path}.say"), calls, then)

    def tool(self, value: Any, path: str) -> CallTool | CallMcp:
        tool = self.mapping(value, path, _TOOL)
        if "name" not in tool:
            raise self.fail(path, "needs name: <function name>")
        arguments = tool.get("arguments", {})
        # A text goes out as it stands, so that a scenario can hold broken arguments.
        raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
        name = self.text(tool["name"], f"{path}.name")
        if "mcp" not in tool:
            return CallTool(name, raw)
        label, answers, fails = (
            self.text(tool.get(key, ""), f"{path}.{key}") for key in ("mcp", "answers", "fails")
        )
        return CallMcp(label, name, raw, answers, fails)

    def options(self, kind: type[Any], value: Any, path: str) -> Any:
        known = {each.name: each for each in dataclasses.fields(kind)}
        hints = get_type_hints(kind)
        read: dict[str, Any] = {}
        for key, each in self.mapping(value, path, frozenset(known)).items():
            least = known[key].metadata.get("least", 0)
            try:
                read[key] = option_value(each, hints[key], least)
            except OptionError as error:
                raise self.fail(f"{path}.{key}", str(error)) from error
        return kind(**read)

    def many(self, kind: type[Any], value: Any, path: str) -> tuple[Any, ...]:
        each = enumerate(self.sequence(value, path))
        return tuple(self.options(kind, item, f"{path}[{index}]") for index, item in each)

    def expectations(self, value: Any, path: str) -> Expectations:
        given = self.mapping(value, path, _EXPECT)
        says = self.sequence(given.get("agent_says", []), f"{path}.agent_says")
        tools = self.sequence(given.get("tools", []), f"{path}.tools")
        ended_by = given.get("ended_by")
        return Expectations(
            tuple(self.pattern(e, f"{path}.agent_says[{i}]") for i, e in enumerate(says)),
            tuple(self.text(e, f"{path}.tools[{i}]") for i, e in enumerate(tools)),
            None if ended_by is None else self.text(ended_by, f"{path}.ended_by"),
            tuple(
                self.whole(code, f"{path}.codes[{i}]")
                for i, code in enumerate(self.sequence(given.get("codes", []), f"{path}.codes"))
            ),
        )
