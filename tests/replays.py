"""Replays of past calls in virtual time: the replay's machine against the Realtime stand-in.

Every event that is sent is judged by the official SDK's types and by the stand-in, and a refusal is
a fault. It must not help the machine along.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from calls.conversation import Entry, Speech, ToolUse, conversation
from calls.money.rates import price_for
from calls.parity.past import Script, script_of
from calls.parity.replay import Plan, Replay, Replayed
from calls.parity.sequence import canonical_arguments
from calls.standins.peer import Close, Refuse
from calls.standins.realtime_brain import Brain
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.wire.realtime import Dialect, FunctionTool, SessionConfig
from tests.contract import check_realtime_client

MODEL = "gpt-realtime-2.1"


def same_text(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether two lists of arguments are the same JSON."""
    return canonical_arguments(old) == canonical_arguments(new)


def entries(*lines: tuple[Any, ...]) -> tuple[Entry, ...]:
    """Return a conversation from short lines, one a second.

    ``("user", text)``, ``("bot", text)``, ``("tool", name, arguments, result)``; a result of None
    is one that the log lacks.
    """
    speech, tools = [], []
    for index, (kind, *rest) in enumerate(lines):
        at_ms = index * 1_000
        if kind == "tool":
            name, arguments, result = rest
            tools.append(
                ToolUse(
                    tool_call_id=f"call_{index}",
                    name=name,
                    arguments_json=json.dumps(arguments),
                    started_ms=at_ms,
                    duration_ms=300,
                    output=result or "",
                    running=result is None,
                )
            )
        else:
            role: Any = {"user": "user", "bot": "assistant", "system": "system"}[kind]
            speech.append(Speech(role, rest[0], at_ms, at_ms + 900, ordinal=index))
    return conversation(speech, tools)


def script(*lines: tuple[Any, ...]) -> Script:
    """Return the script of ``entries``."""
    return script_of(entries(*lines))


def config_of(tools: Sequence[str]) -> SessionConfig:
    """Return a session that offers these tools."""
    return SessionConfig(
        instructions="You answer the phone.",
        tools=tuple(FunctionTool(name, "", {"type": "object"}) for name in tools),
    )


class Rehearsal:
    """One replay and the model it talks to; ``sent`` holds every event of ours."""

    def __init__(
        self,
        past: Script,
        brain: Brain,
        *,
        tools: Sequence[str] = (),
        profile: RealtimeProfile | None = None,
        alter: Callable[[Plan], Plan] = lambda plan: plan,
        dialect: Dialect = "openai_ga",
    ) -> None:
        names = {tool.name for tool in past.tools} | set(tools)
        plan = Plan(past, config_of(sorted(names)), dialect, price_for(MODEL), same_text)
        served: Any = {"openai_ga": "ga"}.get(dialect, dialect)
        self._served = served
        self.peer = RealtimePeer(profile or RealtimeProfile(dialect=served), brain)
        self.replay = Replay(alter(plan), 0)
        self.sent: list[dict[str, Any]] = []
        self.refusals: list[dict[str, Any]] = []
        self.now_ms = 0

    def run(self, until_ms: int = 600_000) -> Replayed:
        """Let both talk until the replay is over, and return its result."""
        headers = {"authorization": "Bearer sk-standin"}
        headers |= {"openai-beta": "realtime=v1"} if self._served == "beta" else {}
        headers |= {"api-key": "sk-standin"} if self._served == "azure_ga" else {}
        self.peer.opened(0, None, headers)
        while not self.replay.done and self.now_ms <= until_ms:
            self._exchange()
            due = [self.peer.next_deadline_ms(), self.replay.next_deadline_ms()]
            times = [each for each in due if each is not None]
            self.now_ms = max(self.now_ms, min(times, default=until_ms + 1))
        assert self.replay.done, "the replay never ended"
        return self.replay.result

    def _exchange(self) -> None:
        self.peer.tick(self.now_ms)
        self.replay.tick(self.now_ms)
        busy = True
        while busy and not self.replay.done:
            busy = False
            for output in self.peer.drain():
                busy = True
                if isinstance(output, Close | Refuse):
                    code = output.code if isinstance(output, Close) else output.status
                    self.replay.closed(code, self.now_ms)
                    return
                assert isinstance(output.data, str)
                event = json.loads(output.data)
                if event["type"] == "error":
                    self.refusals.append(event)
                self.replay.receive(output.data, self.now_ms)
            while self.replay.to_model:
                busy = True
                text = self.replay.to_model.popleft()
                event = json.loads(text)
                check_realtime_client(event, self._served)
                self.sent.append(event)
                self.peer.receive(text, self.now_ms)

    def items(self) -> list[tuple[str, str]]:
        """Return the conversation as the model knows it: (role or kind, text)."""
        return [
            (item.role if item.kind == "message" else item.kind, item.text)
            for item in self.peer.conversation.items
        ]
