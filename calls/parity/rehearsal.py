"""Our stack in a rehearsal: the real bridge between a scripted caller and a model of tones.

One clock that jumps, no socket, no wait, no clock of the machine: the caller, the bridge and the
model are the very parts of a call, joined by wires with latency. Tools are answered by the
scenario alone; nothing here could reach a server. The model is a stand-in: it does what the
scenario expects with the tools that the session really offers it, so a tool that the assistant
lacks, arguments that its schema refuses, a time limit that is too short or a call that ends too
early all show.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from calls.bridge.effects import (
    CloseModel,
    CloseStream,
    DialModel,
    DispatchTool,
    DispatchTools,
    Effect,
    HangUp,
    RecordTool,
    RecordTurn,
    StreamEnded,
)
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.parity.dealing import drifted
from calls.parity.played import CallLatency, CallResult, Utterance
from calls.parity.scenario import Expected, Reply, Scenario
from calls.parity.scripted_caller import caller_steps
from calls.parity.sequence import Outcome, Outcomes, ToolCall, last_tries
from calls.parity.sequence import Sequence as CallSequence
from calls.standins.peer import Close, Output, Send
from calls.standins.realtime_brain import CallTool, Part, Rule, RuleBrain, Step, Turn
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.timers import Timers
from calls.standins.twilio_media import TwilioMediaPeer
from calls.standins.virtual import VirtualClock, Wire, run_virtual
from tools.defaults import fill_defaults
from tools.messages import arguments_of
from tools.schema import argument_problems
from tools.spec import ToolResult, ToolSpec

LONGEST_MS: Final = 15 * 60_000
TWILIO_MS: Final = 40  # one way, as are the others
MODEL_MS: Final = 30
REST_MS: Final = 120

_STATES: Final[dict[str, Outcome]] = {"ok": "ok", "running": "unknown"}


class RehearsalStuck(Exception):
    """The conversation came to no end within a quarter of an hour of its own time."""


class ScriptBrain(RuleBrain):
    """A model that follows the scenario, and says the same again when it is asked again."""

    _last: list[Part] | None = None

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the next response."""
        asked_again = turn.heard is None and turn.instructions is None and not turn.outputs
        if asked_again and self._last:
            return self._last
        if turn.heard is not None and self._after_tools is None:
            turn = replace(turn, outputs=())
        self._last = super().reply(turn)
        return self._last


def script_brain(scenario: Scenario, tools: Sequence[ToolSpec]) -> ScriptBrain:
    """Return a model that does on each of the caller's turns what the scenario says.

    A tool that is not among ``tools`` is left out: no model calls what it was not offered.
    """
    names = {each.posted_name or each.name: each.name for each in tools}
    rules = [
        Rule(_step(turn.expect, turn.first, turn.agent, names), _pattern(turn.text), once=True)
        for turn in scenario.caller
        if turn.action != "hang_up"
    ]
    return ScriptBrain(rules, default_say="Could you say that again?", greeting="Hello.")


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text.strip()), re.IGNORECASE)


def _step(
    calls: Sequence[Expected], first: str, agent: str, names: dict[str, str], at: int = 0
) -> Step:
    """Return what follows one turn: the calls of each message together, then what is said."""
    left = [each for each in calls if each.tool in names]
    words = agent or "All right."
    if not left:
        return Step(say=" ".join(filter(None, (first, words))))
    end = 1
    while end < len(left) and left[end].together:
        end += 1
    tools = tuple(CallTool(names[each.tool], _json(each.arguments)) for each in left[:end])
    rest = left[end:]
    then = _step(rest, "", agent, names) if rest else Step(say=words)
    return Step(say=first or None, tools=tools, then=then)


def rehearse(plan: CallPlan, scenario: Scenario, *, key: str, rng: random.Random) -> CallResult:
    """Play one call to its end and return what came of it.

    Args:
        rng: decides noise and the model's pace; the same one gives the same call.

    Raises:
        RehearsalStuck: nobody ended the call.
    """
    followed = drifted(scenario, scenario.our_noise, rng)
    call = _Rehearsal(plan, scenario, followed, rng.randrange(1, 1 << 31))
    call.run()
    return call.result(key)


class _Rehearsal:
    """One call: the driver's duties without its sockets."""

    def __init__(self, plan: CallPlan, scenario: Scenario, followed: Scenario, seed: int) -> None:
        self._plan, self._scenario = plan, scenario
        self._specs = {each.name: each for each in plan.tools}
        self._bridge = CallBridge(plan, 0)
        self._timers = Timers()
        self._to_twilio: list[Output] = []
        self._to_model: list[Output] = []
        self._model_closed = 1006
        self._answered: dict[str, int] = {}
        self._turns: dict[int, RecordTurn] = {}
        self._tools: dict[str, RecordTool] = {}
        self._responses: dict[str, str] = {}  # of each tool call
        self._ended: StreamEnded | None = None
        self._transferred = False
        self._caller = TwilioMediaPeer(
            plan.account_sid, plan.call_sid, "MZ" + "0" * 32, {}, caller_steps(followed)
        )
        self._model = RealtimePeer(
            RealtimeProfile(seed=seed, obfuscation=False),
            script_brain(followed, plan.tools),
            id_seed=str(seed),
        )

    # ---- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Play until both sides are through."""
        caller, model = self._caller, self._model
        wires = [
            Wire(caller.drain, self._from_twilio, self._twilio_gone, TWILIO_MS),
            Wire(lambda: _taken(self._to_twilio), caller.receive, caller.peer_closed, TWILIO_MS),
            Wire(lambda: _taken(self._to_model), model.receive, model.peer_closed, MODEL_MS),
            Wire(self._said_by_model, self._from_model, self._model_gone, MODEL_MS),
        ]
        self._timers.at(0, lambda: self._open(0))
        caller.opened(0)
        run_virtual(
            [caller, self, model],
            LONGEST_MS,
            wires,
            clock=VirtualClock(),
            stop_when=lambda: self._ended is not None and caller.ended_by is not None,
        )
        if self._ended is None:
            raise RehearsalStuck("nobody ended the call")

    def tick(self, now_ms: int) -> None:
        """Do what is due: answers of tools, REST, the bridge's own deadlines (``Part``)."""
        while (due := self._timers.pop_due(now_ms)) is not None:
            due[1]()
        deadline_ms = self._bridge.next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= now_ms:
            self._bridge.tick(now_ms)
            self._drain(now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return when ``tick`` has work next (``Part``)."""
        times = (self._timers.next_ms(), self._bridge.next_deadline_ms())
        return min((each for each in times if each is not None), default=None)

    def _open(self, now_ms: int) -> None:
        self._model.opened(now_ms, {"model": self._plan.model})
        self._bridge.realtime_opened(now_ms)
        self._drain(now_ms)

    def _from_twilio(self, frame: str | bytes, now_ms: int) -> None:
        if isinstance(frame, str):
            self._bridge.receive_twilio(frame, now_ms)
            self._drain(now_ms)

    def _twilio_gone(self, now_ms: int) -> None:
        self._bridge.twilio_closed(now_ms)
        self._drain(now_ms)

    def _said_by_model(self) -> list[Output]:
        outputs = self._model.drain()
        for output in outputs:
            if isinstance(output, Close):
                self._model_closed = output.code
        return outputs

    def _from_model(self, frame: str | bytes, now_ms: int) -> None:
        if isinstance(frame, str):
            if '"response.function_call_arguments.done"' in frame:
                made = json.loads(frame)
                self._responses[made["call_id"]] = made["response_id"]
            self._bridge.receive_realtime(frame, now_ms)
            self._drain(now_ms)

    def _model_gone(self, now_ms: int) -> None:
        self._bridge.realtime_closed(self._model_closed, now_ms)
        self._drain(now_ms)

    # ---- what the bridge wants ------------------------------------------------------------------

    def _drain(self, now_ms: int) -> None:
        bridge = self._bridge
        self._to_twilio += [Send(text) for text in _taken(bridge.to_twilio)]
        self._to_model += [Send(text) for text in _taken(bridge.to_realtime)]
        for effect in _taken(bridge.effects):
            self._carry_out(effect, now_ms)

    def _carry_out(self, effect: Effect, now_ms: int) -> None:
        match effect:
            case DispatchTools():
                for call in effect.calls:
                    self._dispatch(call, now_ms)
            case RecordTurn():
                self._turns[effect.ordinal] = effect
            case RecordTool():
                self._tools[effect.tool_call_id] = effect
            case HangUp():
                self._at(now_ms + REST_MS, self._caller.call_ended_by_rest)
            case CloseStream():
                self._transferred = self._transferred or effect.next_step == "dial"
                self._to_twilio.append(Close(effect.code))
                self._at(now_ms, self._twilio_gone)
            case DialModel():  # the stand-in loses no session; a handoff is answered, not made
                self._at(now_ms, lambda at_ms: self._refuse_dial(effect.session, at_ms))
            case CloseModel():
                self._to_model.append(Close(1000))
            case StreamEnded():
                self._ended = effect
                self._to_model.append(Close(1000))
            case _:
                pass

    def _refuse_dial(self, session: int, now_ms: int) -> None:
        self._bridge.realtime_closed(1006, now_ms, session=session)
        self._drain(now_ms)

    def _dispatch(self, call: DispatchTool, now_ms: int) -> None:
        result, delay_ms = (ToolResult(""), 0) if call.judge else self._answer(call)
        self._at(now_ms + delay_ms, lambda at_ms: self._finished(call.tool_call_id, result, at_ms))

    def _answer(self, call: DispatchTool) -> tuple[ToolResult, int]:
        """Answer from the scenario, after the look at the arguments that a real call takes too."""
        spec = self._specs.get(call.name)
        if spec is not None:
            given = fill_defaults(spec.parameters, arguments_of(call.arguments_json), _as_written)
            problems = argument_problems(spec.parameters, given)
            if problems:
                words = f"The tool was not called: {'; '.join(problems)}. Correct this."
                return ToolResult(words, outcome="error", sent=False), 0
        name = (spec.posted_name if spec is not None else "") or call.name
        nth = self._answered[name] = self._answered.get(name, -1) + 1
        reply: Reply = self._scenario.reply(name, nth)
        outcome: Any = "error" if reply.is_error else "ok"
        return ToolResult(reply.text, outcome, reply.delay_ms), reply.delay_ms

    def _finished(self, tool_call_id: str, result: ToolResult, now_ms: int) -> None:
        self._bridge.tool_finished(tool_call_id, result, now_ms)
        self._drain(now_ms)

    def _at(self, due_ms: int, action: Callable[[int], None]) -> None:
        self._timers.at(due_ms, lambda: action(due_ms))

    # ---- what came of it ------------------------------------------------------------------------

    def result(self, key: str) -> CallResult:
        """Return what the call did, in the order in which its tools were called."""
        assert self._ended is not None, "it has been run"
        metrics = self._ended.metrics
        tools = tuple(self._tool(each) for each in self._tools.values())
        ended = self._ended.ended_reason
        outcomes = Outcomes(
            tools_ok=all(each.outcome == "ok" for each in last_tries(tools)),
            transferred=self._transferred or ended == EndCause.TRANSFERRED.ended_reason,
            ended=ended,
        )
        turns = [self._turns[ordinal] for ordinal in sorted(self._turns)]
        spend = Decimal(int(metrics.get("spend_microusd", 0))) / 1_000_000
        return CallResult(
            sequence=CallSequence(
                key=key,
                stack="direct",
                tools=tools,
                outcomes=outcomes,
                scenario=self._scenario.name,
            ),
            transcript=tuple(
                Utterance(turn.role, turn.text, turn.started_ms) for turn in turns if turn.text
            ),
            latency=CallLatency(
                metrics.get("first_word_ms"), tuple(metrics.get("turn_latencies_ms", ()))
            ),
            cost_usd=spend,
        )

    def _tool(self, record: RecordTool) -> ToolCall:
        spec = self._specs.get(record.name)
        return ToolCall(
            name=(spec.posted_name if spec is not None else "") or record.name,
            arguments=arguments_of(record.arguments_json),
            outcome=_STATES.get(record.state, "failed"),
            at_ms=record.started_ms,
            result=record.output,
            tool_call_id=record.tool_call_id,
            message=self._message(record.tool_call_id),
        )

    def _message(self, tool_call_id: str) -> int:
        """Return which of the model's responses asked for a call, counted from 0."""
        made = self._responses.get(tool_call_id, "")
        return list(dict.fromkeys(self._responses.values())).index(made) if made else 0


def _as_written(text: str) -> str:
    return text


def _json(arguments: Any) -> str:
    return json.dumps(dict(arguments), ensure_ascii=False)


def _taken(queue: list[Any]) -> list[Any]:
    held = list(queue)
    queue.clear()
    return held
