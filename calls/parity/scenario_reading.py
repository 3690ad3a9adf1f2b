"""Documents of scenarios, as people write them: read into a ``Scenario``, or told what is wrong.

Pure. Every problem is found at once and named by field, cause and fix. It reads no text: YAML is
parsed by whoever has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from calls.parity.scenario import (
    NOISE_KEYS,
    Action,
    CallerTurn,
    Expected,
    Noise,
    Reply,
    Scenario,
)

MOST_TURNS: Final = 200
MOST_TOOL_CALLS: Final = 100
LONGEST_TEXT: Final = 2_000
LONGEST_NAME: Final = 120
LONGEST_WAIT_MS: Final = 120_000
# What is not part of how a pattern repeats: escaped characters and sets.
_NOT_REPEATING: Final = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_REPEATS: Final = re.compile(r"[*+{]")
_REPEATED_GROUP: Final = re.compile(r"\)[*+{]")
_MOST_REPEATS: Final = 2

_TOP: Final = frozenset(
    {
        *("name", "description", "persona", "goals", "language", "caller", "tools"),
        *("variables", "expect", "noise"),
    }
)
_ACTIONS: Final[tuple[Action, ...]] = ("say", "dtmf", "hang_up")
_TURN: Final = frozenset({*_ACTIONS, "after", "barge_in", "expect", "first", "agent"})
_EXPECTED: Final = frozenset({"tool", "arguments", "together"})
_REPLY: Final = frozenset({"result", "error", "delay_ms"})
_EXPECT: Final = frozenset({"transferred", "ended", "structured"})
_NOISE: Final = frozenset(NOISE_KEYS)
_SIDES: Final = frozenset({"old", "ours"})


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field of a document, and what to do about it."""

    field: str
    cause: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field}: {self.cause}. Fix: {self.fix}."


class ScenarioWrong(ValueError):
    """A document is no scenario; ``problems`` names every field that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(" ".join(map(str, problems)))
        self.problems = problems


def scenario_read(document: Any, name: str = "") -> Scenario:
    """Return the scenario in a document; ``name`` is what it is called if it does not say.

    Raises:
        ScenarioWrong: with every problem there is.
    """
    reader = _Reader()
    found = reader.scenario(document, name)
    if found is None or reader.problems:
        raise ScenarioWrong(reader.problems)
    return found


def scenario_problems(document: Any, name: str = "") -> list[Problem]:
    """Return everything that is wrong with a document; nothing if it is a scenario."""
    try:
        scenario_read(document, name)
    except ScenarioWrong as wrong:
        return wrong.problems
    return []


class _Reader:
    """Reads one document and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, path: str, cause: str, fix: str) -> None:
        self.problems.append(Problem(path or "the scenario", cause, fix))

    def scenario(self, document: Any, name: str) -> Scenario | None:
        top = self.mapping(document, "", _TOP)
        if top is None:
            return None
        own_name = self.text(top.get("name", name), "name", most=LONGEST_NAME)
        if not own_name.strip():
            self.wrong("name", "it is empty", "give the scenario a name, such as booking")
        turns = self.sequence(top.get("caller"), "caller", most=MOST_TURNS)
        if not turns and not self._has("caller"):
            self.wrong("caller", "the caller does nothing", "add a step such as - say: Hello")
        expect = self.mapping(top.get("expect", {}), "expect", _EXPECT) or {}
        noise = self.mapping(top.get("noise", {}), "noise", _SIDES) or {}
        caller = tuple(self.turn(turn, f"caller[{at}]") for at, turn in enumerate(turns))
        if sum(len(turn.expect) for turn in caller) > MOST_TOOL_CALLS:
            self.wrong(
                "caller", f"it expects more than {MOST_TOOL_CALLS} tool calls", "split the scenario"
            )
        return Scenario(
            name=own_name.strip(),
            description=self.text(top.get("description", ""), "description"),
            persona=self.text(top.get("persona", ""), "persona"),
            goals=tuple(
                self.text(goal, f"goals[{at}]")
                for at, goal in enumerate(self.sequence(top.get("goals", []), "goals"))
            ),
            language=self.text(top.get("language", "en"), "language", most=10),
            caller=caller,
            tools=self.tools(top.get("tools", {})),
            variables=self.mapping(top.get("variables", {}), "variables") or {},
            transferred=self.flag(expect.get("transferred"), "expect.transferred"),
            ended=self.text(expect.get("ended", ""), "expect.ended"),
            structured=(
                self.mapping(expect["structured"], "expect.structured")
                if expect.get("structured") is not None
                else None
            ),
            old_noise=self.noise(noise.get("old", {}), "noise.old"),
            our_noise=self.noise(noise.get("ours", {}), "noise.ours"),
        )

    def _has(self, path: str) -> bool:
        return any(problem.field == path for problem in self.problems)

    def mapping(
        self, value: Any, path: str, keys: frozenset[str] | None = None
    ) -> Mapping[str, Any] | None:
        if not isinstance(value, Mapping):
            known = f" with some of {', '.join(sorted(keys))}" if keys else ""
            self.wrong(path, f"it is {_kind(value)}", f"write keys and values{known}")
            return None
        for key in value if keys is not None else ():
            if key not in (keys or ()):
                place = f"{path}.{key}" if path else str(key)
                near = ", ".join(sorted(keys or ()))
                self.wrong(place, "there is no such key", f"use one of {near}, or delete it")
        return value

    def sequence(self, value: Any, path: str, *, most: int = 50) -> list[Any]:
        if not isinstance(value, list):
            self.wrong(
                path,
                "it is missing" if value is None else f"it is {_kind(value)}",
                "write a list, each entry on a line that begins with a dash",
            )
            return []
        if len(value) > most:
            self.wrong(path, f"it has {len(value)} entries", f"keep to {most}")
        return value[:most]

    def text(self, value: Any, path: str, *, most: int = LONGEST_TEXT) -> str:
        if not isinstance(value, str):
            self.wrong(path, f"it is {_kind(value)}", f'write a text in quotes: "{value}"')
            return ""
        if len(value) > most:
            self.wrong(path, f"it has {len(value)} characters", f"keep to {most}")
        return value

    def flag(self, value: Any, path: str) -> bool | None:
        if value is not None and not isinstance(value, bool):
            self.wrong(path, f"it is {_kind(value)}", "write true or false, without quotes")
            return None
        return value

    def ms(self, value: Any, path: str) -> int:
        right = isinstance(value, int) and not isinstance(value, bool)
        if not right or not 0 <= value <= LONGEST_WAIT_MS:
            self.wrong(
                path, f"{value!r} is no time", f"write whole milliseconds, 0 to {LONGEST_WAIT_MS}"
            )
            return 0
        return int(value)

    def turn(self, value: Any, path: str) -> CallerTurn:
        step = self.mapping(value, path, _TURN)
        if step is None:
            return CallerTurn("say")
        actions = [action for action in _ACTIONS if action in step]
        if len(actions) != 1:
            found = " and ".join(actions) or "nothing to do"
            self.wrong(path, f"a step has {found}", "give each step one of say, dtmf, hang_up")
            return CallerTurn("say")
        action = actions[0]
        text = ""
        if action != "hang_up":
            text = self.text(step[action], f"{path}.{action}")
            if not text.strip() and not self._has(f"{path}.{action}"):
                self.wrong(f"{path}.{action}", "it is empty", "write what the caller does")
        elif step["hang_up"] is not True:
            self.wrong(f"{path}.hang_up", "it is not true", "write hang_up: true")
        if action == "dtmf" and not re.fullmatch(r"[0-9*#A-Dw]*", text):
            self.wrong(f"{path}.dtmf", "it has other than keys", "use 0 to 9, *, #, A to D, w")
        expect = self.sequence(step.get("expect", []), f"{path}.expect")
        if action == "hang_up" and (expect or "agent" in step or "first" in step):
            self.wrong(path, "nothing follows when the caller has hung up", "delete what follows")
        return CallerTurn(
            action=action,
            text=text,
            **self.cue(step, path),
            expect=tuple(
                self.expected(each, f"{path}.expect[{at}]") for at, each in enumerate(expect)
            ),
            first=self.text(step.get("first", ""), f"{path}.first"),
            agent=self.text(step.get("agent", ""), f"{path}.agent"),
        )

    def cue(self, step: Mapping[str, Any], path: str) -> dict[str, Any]:
        if "barge_in" in step:
            place, key = f"{path}.barge_in", "after_ms_of_agent_audio"
            found = self.mapping(step["barge_in"], place, frozenset({key})) or {}
            return {"cue": "agent_audio_ms", "cue_ms": self.ms(found.get(key), f"{place}.{key}")}
        after, place = step.get("after", "turn"), f"{path}.after"
        if after in ("turn", "greeting"):
            return {}
        if not isinstance(after, Mapping) or len(after) != 1:
            fix = "write greeting, turn, or one of {heard: words}, {ms: 500}, {silence_ms: 900}"
            self.wrong(place, f"{after!r} is no moment", fix)
            return {}
        keys = frozenset({"heard", "ms", "silence_ms"})
        [(key, value)] = (self.mapping(after, place, keys) or {}).items()
        if key == "heard":
            words = self.text(value, f"{place}.heard")
            try:
                re.compile(words)
            except re.error as error:
                fix = "put a backslash before ( [ * + ? ."
                self.wrong(f"{place}.heard", f"it is no pattern ({error})", fix)
                return {}
            if _may_take_long(words):
                fix = "write it without a group that repeats, and with at most two of * and +"
                self.wrong(f"{place}.heard", "looking for this pattern may take seconds", fix)
                return {}
            return {"cue": "heard", "cue_words": words}
        return {"cue": key, "cue_ms": self.ms(value, f"{place}.{key}")} if key in keys else {}

    def expected(self, value: Any, path: str) -> Expected:
        if isinstance(value, str):  # the name alone
            value = {"tool": value}
        found = self.mapping(value, path, _EXPECTED)
        if found is None:
            return Expected("")
        tool = self.text(found.get("tool", ""), f"{path}.tool", most=LONGEST_NAME)
        if not tool and not self._has(f"{path}.tool"):
            self.wrong(f"{path}.tool", "it is empty", "name the function that is to be called")
        return Expected(
            tool=tool,
            arguments=self.mapping(found.get("arguments", {}), f"{path}.arguments") or {},
            together=self.flag(found.get("together"), f"{path}.together") or False,
        )

    def tools(self, value: Any) -> dict[str, tuple[Reply, ...]]:
        found = self.mapping(value, "tools") or {}
        return {
            str(tool): tuple(
                self.reply(reply, f"tools.{tool}[{at}]")
                for at, reply in enumerate(
                    self.sequence(
                        replies if isinstance(replies, list) else [replies], f"tools.{tool}"
                    )
                )
            )
            for tool, replies in found.items()
        }

    def reply(self, value: Any, path: str) -> Reply:
        if isinstance(value, str):
            return Reply(self.text(value, path))
        found = self.mapping(value, path, _REPLY)
        if found is None:
            return Reply("")
        given = [key for key in ("result", "error") if key in found]
        if len(given) != 1:
            self.wrong(path, "it has no single answer", "give it one of result, error")
            return Reply("")
        delay_ms = self.ms(found["delay_ms"], f"{path}.delay_ms") if "delay_ms" in found else 200
        return Reply(_as_text(found[given[0]]), given[0] == "error", delay_ms)

    def noise(self, value: Any, path: str) -> Noise:
        found = self.mapping(value, path, _NOISE) or {}
        shares: dict[str, float] = {}
        for key, share in found.items():
            is_number = isinstance(share, int | float) and not isinstance(share, bool)
            if not is_number or not 0 <= share <= 100:
                self.wrong(f"{path}.{key}", f"{share!r} is no share", "write 0 to 100, in percent")
            elif key in _NOISE:
                shares[key] = float(share)
        noise = Noise(**shares)
        if noise.total_percent > 100:
            self.wrong(path, "its shares are more than 100 percent together", "make them less")
        return noise


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "keys and values"


def _may_take_long(pattern: str) -> bool:
    """Tell whether a search may try each way to share a text; nothing can stop it then.

    A group that repeats, or several repeats one after another.
    """
    bare = _NOT_REPEATING.sub("", pattern)
    return bool(_REPEATED_GROUP.search(bare)) or len(_REPEATS.findall(bare)) > _MOST_REPEATS
