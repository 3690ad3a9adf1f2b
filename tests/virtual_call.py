"""Whole calls in virtual time: Twilio stand-in, CallBridge, Realtime stand-in on one clock.

It plays the driver's part (effects, tool results, REST hang-up, closing sockets) and judges every
message that the bridge sends by the vendors' contracts. It must not repair what the bridge does
wrong: ``faults`` names each breach, and ``assert_sound`` fails on any.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from calls.bridge.effects import (
    CloseModel,
    CloseStream,
    DialModel,
    DispatchTools,
    Effect,
    HangUp,
    PolicyLinePlayed,
    RecordTool,
    RecordTurn,
    StreamEnded,
)
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan, Clip, Greeting
from calls.bridge.reasons import EndCause
from calls.standins.caller import CallerStep
from calls.standins.peer import Close, Output, Refuse, Send
from calls.standins.realtime_brain import Brain, Part, RuleBrain, Turn
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.timers import Timers
from calls.standins.tones import encode, silence
from calls.standins.twilio_media import MediaProfile, TwilioMediaPeer
from calls.standins.virtual import VirtualClock, Wire, run_virtual
from calls.wire.realtime import FunctionTool, SessionConfig
from tests.contract import (
    ContractError,
    check_realtime_client,
    check_realtime_server,
    check_twilio_inbound,
    check_twilio_outbound,
)
from tools.spec import ToolResult, ToolSpec

ACCOUNT_SID, CALL_SID, STREAM_SID = "AC" + "a" * 32, "CA" + "b" * 32, "MZ" + "c" * 32


def clip(text: str, piece_bytes: int = 1600) -> Clip:
    """Return ``text`` as rendered speech in pieces, with a little silence behind it."""
    audio = encode(text) + silence(200)
    pieces = [audio[at : at + piece_bytes] for at in range(0, len(audio), piece_bytes)]
    return Clip(tuple(base64.b64encode(piece).decode() for piece in pieces), text)


def tools_of(*names: str) -> tuple[ToolSpec, ...]:
    """Return tools with an open schema; ``endCall`` gets its kind."""
    schema = {"type": "object", "properties": {}}
    return tuple(
        ToolSpec(
            name=name,
            kind="endCall" if name == "endCall" else "function",
            description=f"Does {name}.",
            parameters=schema,
        )
        for name in names
    )


def plan_of(*tool_names: str, **fields: Any) -> CallPlan:
    """Return a plan whose session announces the given tools."""
    tools = tools_of(*tool_names)
    session = SessionConfig(
        instructions="You answer the phone.",
        language="en",
        tools=tuple(FunctionTool(t.name, t.description, dict(t.parameters)) for t in tools),
    )
    return CallPlan(
        **{
            "call_id": "00000000-0000-4000-8000-000000000001",
            "call_sid": CALL_SID,
            "account_sid": ACCOUNT_SID,
            "session": session,
            "tools": tools,
            "greeting": Greeting("exact", "Good morning.", interruptible=True),
            "apology": clip("Sorry, something went wrong."),
            **fields,
        }
    )


@dataclass(frozen=True, slots=True)
class Latency:
    """One-way times in ms of each path, and of a REST request."""

    twilio_ms: int = 0
    realtime_ms: int = 0
    rest_ms: int = 0


def evenly(ms: int) -> Latency:
    """Return the same latency everywhere."""
    return Latency(ms, ms, ms)


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answers, and after how long; ``successor``: who takes the call over."""

    output: str
    after_ms: int = 0
    outcome: str = "ok"
    successor: Mapping[str, Any] | None = None


class BridgePart:
    """CallBridge as a part of a virtual run: the driver's duties, inputs kept, outputs judged."""

    def __init__(
        self,
        plan: CallPlan,
        tools: Mapping[str, Result] | None = None,
        rest_ms: int = 0,
        bridge: Callable[[CallPlan, int], CallBridge] = CallBridge,
        obeys: bool = True,
    ) -> None:
        self.plan = plan
        self.bridge = bridge(plan, 0)
        self.tools = dict(tools or {})
        self.rest_ms, self.obeys = rest_ms, obeys
        self.timers = Timers()
        self.inputs: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.outputs: list[tuple[str, Any]] = []
        self.effects: list[Effect] = []
        self.faults: list[str] = []
        self.to_twilio: list[Output] = []
        self.to_models: dict[int, list[Output]] = {}
        self.sent_twilio: list[dict[str, Any]] = []
        self.sent_realtime: list[dict[str, Any]] = []
        self.sent_to: list[int] = []  # the session of each
        self.model_events: list[dict[str, Any]] = []
        self.dispatched: list[tuple[str, str]] = []
        self.on_dial: list[Callable[[DialModel, int], None]] = []
        self.on_hang_up: list[Callable[[int], None]] = []
        self.on_effect: list[Callable[[Effect, int], None]] = []
        self.on_twilio: list[Callable[[dict[str, Any], int], None]] = []
        self.on_realtime: list[Callable[[dict[str, Any], int], None]] = []
        self.dialect = "beta" if plan.dialect == "beta" else "ga"

    @property
    def ended(self) -> list[StreamEnded]:
        """Return every StreamEnded seen; one is right."""
        return [effect for effect in self.effects if isinstance(effect, StreamEnded)]

    # -- inputs -------------------------------------------------------------------------------

    def feed(self, name: str, *args: Any, **options: Any) -> None:
        """Give the bridge one input, keep it for the replay, carry out what follows."""
        self.inputs.append((name, args, options))
        getattr(self.bridge, name)(*args, **options)
        self._drain(next(value for value in reversed(args) if isinstance(value, int)))

    def from_twilio(self, frame: str | bytes, now_ms: int) -> None:
        """Take a frame of Twilio's socket."""
        if isinstance(frame, bytes):
            self.feed("twilio_malformed", now_ms)
            return
        try:
            check_twilio_inbound(json.loads(frame))
        except ContractError as error:
            self.faults.append(f"twilio stand-in: {error}")
        self.feed("receive_twilio", frame, now_ms)

    def from_realtime(self, frame: str | bytes, now_ms: int, session: int = 1) -> None:
        """Take a frame of a model's socket; binary ones have no meaning there."""
        if isinstance(frame, bytes):
            return
        try:
            event = json.loads(frame)
            self.model_events.append(event)
            if event["type"] != "response.thought.delta":
                check_realtime_server(event, self.dialect)
        except ContractError as error:
            self.faults.append(f"realtime stand-in: {error}")
        except ValueError:
            pass  # the profile's junk
        ahead_ms, sent = self._can_be_cut_ms(), len(self.sent_twilio)
        self.feed("receive_realtime", frame, now_ms, session=session)
        if '"input_audio_buffer.speech_started"' in frame and ahead_ms > 0:
            if not any(each["event"] == "clear" for each in self.sent_twilio[sent:]):
                self.faults.append(f"T12: the caller talks over {ahead_ms} ms of audio")

    def _can_be_cut_ms(self) -> int:
        bridge = self.bridge
        if bridge.playback is None or not bridge._opening.over or bridge._failed:
            return 0
        if bridge._gate.guards:
            return 0  # to speak is not enough there
        final = bridge._ending is not None and not bridge._ending.abortable
        return 0 if final or not bridge.playback.interruptible else bridge.playback.ahead_ms

    def tick(self, now_ms: int) -> None:
        """Do what is due: tool answers, REST, the bridge's own deadlines."""
        while (due := self.timers.pop_due(now_ms)) is not None:
            due[1]()
        deadline_ms = self.bridge.next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= now_ms:
            self.feed("tick", now_ms)
            after_ms = self.bridge.next_deadline_ms()
            if after_ms is not None and after_ms <= now_ms:
                raise AssertionError(f"tick({now_ms}) leaves a deadline at {after_ms}")

    def next_deadline_ms(self) -> int | None:
        """Return when ``tick`` has work."""
        times = [self.timers.next_ms(), self.bridge.next_deadline_ms()]
        return min((each for each in times if each is not None), default=None)

    # -- outputs ------------------------------------------------------------------------------

    def _drain(self, now_ms: int) -> None:
        bridge = self.bridge
        for text in _taken(bridge.to_twilio):
            self._sent(text, check_twilio_outbound, self.sent_twilio, self.on_twilio, now_ms)
            self.outputs.append(("twilio", text))
            self.to_twilio.append(Send(text))
        for text in _taken(bridge.to_realtime):
            self._sent(text, self._check_realtime, self.sent_realtime, self.on_realtime, now_ms)
            self.sent_to.append(bridge.session)
            self.outputs.append(("realtime", text))
            self.to_model(bridge.session).append(Send(text))
        for effect in _taken(bridge.effects):
            self.outputs.append(("effect", effect))
            self.effects.append(effect)
            for listener in self.on_effect:
                listener(effect, now_ms)
            self._carry_out(effect, now_ms)

    def to_model(self, session: int) -> list[Output]:
        """Return what is on its way to a session."""
        return self.to_models.setdefault(session, [])

    def _check_realtime(self, event: Mapping[str, Any]) -> None:
        check_realtime_client(event, "beta" if self.dialect == "beta" else "ga")

    def _sent(
        self,
        text: str,
        check: Callable[[Mapping[str, Any]], None],
        kept: list[dict[str, Any]],
        listeners: Iterable[Callable[[dict[str, Any], int], None]],
        now_ms: int,
    ) -> None:
        text.encode("utf-8")
        message = json.loads(text)
        if self.ended:
            self.faults.append(f"sent after the end: {text[:80]}")
        try:
            check(message)
        except ContractError as error:
            self.faults.append(str(error))
        kept.append(message)
        for listener in listeners:
            listener(message, now_ms)

    def _carry_out(self, effect: Effect, now_ms: int) -> None:
        if isinstance(effect, DispatchTools):
            for call in effect.calls:
                if call.judge:
                    self._at(now_ms, self._answer(call.tool_call_id, Result("")))
                    continue
                self.dispatched.append((call.name, call.arguments_json))
                result = self.tools.get(call.name)
                if result is not None:
                    self._at(now_ms + result.after_ms, self._answer(call.tool_call_id, result))
        elif isinstance(effect, HangUp) and self.obeys:
            for action in self.on_hang_up:
                self._at(now_ms + self.rest_ms, action)
        elif isinstance(effect, CloseStream) and self.obeys:
            self.to_twilio.append(Close(effect.code))
            self._at(now_ms, lambda at_ms: self.feed("twilio_closed", at_ms))
        elif isinstance(effect, DialModel):
            self._check_realtime(json.loads(effect.config_text))
            for dial in self.on_dial:
                dial(effect, now_ms)
        elif isinstance(effect, CloseModel):
            self.to_model(effect.session).append(Close(1000))
        elif isinstance(effect, StreamEnded):
            for session in {1, self.bridge.session, *self.to_models}:
                self.to_model(session).append(Close(1000))

    def _answer(self, tool_call_id: str, result: Result) -> Callable[[int], None]:
        value = ToolResult(
            result.output,
            result.outcome,  # type: ignore[arg-type]  # one of them
            successor=result.successor,
        )
        return lambda at_ms: self.feed("tool_finished", tool_call_id, value, at_ms)

    def _at(self, due_ms: int, action: Callable[[int], None]) -> None:
        self.timers.at(due_ms, lambda: action(due_ms))

    def replayed(self) -> list[tuple[str, Any]]:
        """Run the recorded inputs through a second bridge and return what it put out."""
        plan = CallPlan.from_json(json.loads(json.dumps(self.plan.to_json())))
        bridge = CallBridge(plan, 0)
        outputs: list[tuple[str, Any]] = []
        for name, args, options in self.inputs:
            getattr(bridge, name)(*args, **options)
            outputs += [("twilio", text) for text in _taken(bridge.to_twilio)]
            outputs += [("realtime", text) for text in _taken(bridge.to_realtime)]
            outputs += [("effect", effect) for effect in _taken(bridge.effects)]
        return outputs


def _taken(queue: list[Any]) -> list[Any]:
    held = list(queue)
    queue.clear()
    return held


class PatientBrain(RuleBrain):
    """A model that says the same again when asked again, and listens before it looks at outputs."""

    _last: list[Part] | None = None

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the next response."""
        if turn.heard is None and turn.instructions is None and not turn.outputs and self._last:
            return self._last
        if turn.heard is not None and self._after_tools is None:
            turn = replace(turn, outputs=())
        self._last = super().reply(turn)
        return self._last


@dataclass(slots=True)
class VirtualCall:
    """One stream of one call, run to its end by ``run``."""

    plan: CallPlan
    script: Sequence[CallerStep]
    brain: Brain = field(default_factory=PatientBrain)
    tools: Mapping[str, Result] = field(default_factory=dict)
    latency: Latency = Latency()
    realtime: RealtimeProfile = field(default_factory=RealtimeProfile)
    media: MediaProfile = field(default_factory=MediaProfile)
    until_ms: int = 120_000
    dial_ms: int = 0
    bridge: Callable[[CallPlan, int], CallBridge] = CallBridge
    rest_works: bool = True
    commands: Sequence[tuple[int, str, tuple[Any, ...]]] = ()
    alter_twilio: Callable[[list[Output]], list[Output]] = list
    alter_realtime: Callable[[list[Output]], list[Output]] = list
    # Of the sessions dialled after the first, in order; the last one for all that follow.
    sessions: Sequence[RealtimeProfile] = ()
    # (when, what): done to the newest session, e.g. lambda model: model.lose(1006).
    blows: Sequence[tuple[int, Callable[[RealtimePeer], None]]] = ()
    # How many ms more than its latency each frame to and from Twilio takes.
    twilio_jitter: Callable[[], int] | None = None
    # Sees what is sent to the model, and when.
    watch: Callable[[dict[str, Any], int], None] | None = None

    caller: TwilioMediaPeer = field(init=False)
    models: list[RealtimePeer] = field(init=False, default_factory=list)
    part: BridgePart = field(init=False)
    ended_at_ms: int = 0
    faults: list[str] = field(default_factory=list)
    _clock: VirtualClock = field(default_factory=VirtualClock)
    _parts: list[Any] = field(default_factory=list)
    _wires: list[Wire] = field(default_factory=list)
    _close_codes: dict[int, int] = field(default_factory=dict)

    @property
    def model(self) -> RealtimePeer:
        """Return the newest session of the model."""
        return self.models[-1]

    def run(self) -> VirtualCall:
        """Run until nothing is left to do or time is up."""
        self.caller = TwilioMediaPeer(
            ACCOUNT_SID, CALL_SID, STREAM_SID, {"tok": "t"}, self.script, self.media
        )
        self.part = part = BridgePart(self.plan, self.tools, self.latency.rest_ms, self.bridge)
        clock = self._clock
        part.on_dial.append(self._dial_again)
        if self.rest_works:
            part.on_hang_up.append(self.caller.call_ended_by_rest)
        part.on_effect.append(self._watch_effect)
        part.on_realtime.append(self._watch_truncate)
        if self.watch is not None:
            part.on_realtime.append(self.watch)
        twilio_ms, jitter = self.latency.twilio_ms, self.twilio_jitter
        self._parts += [self.caller, part]
        self._wires += [
            Wire(self.caller.drain, part.from_twilio, self._twilio_gone, twilio_ms, jitter),
            Wire(self._to_caller, self.caller.receive, self.caller.peer_closed, twilio_ms, jitter),
        ]
        self._add_model(self.realtime, "")
        part.timers.at(self.dial_ms, lambda: self._open(1))
        for at_ms, blow in self.blows:
            part.timers.at(at_ms, lambda b=blow: b(self.model))
        for at_ms, name, args in self.commands:
            part.timers.at(at_ms, lambda at=at_ms, n=name, a=args: part.feed(n, *a, at))
        self.caller.opened(0)
        self.ended_at_ms = run_virtual(
            self._parts,
            self.until_ms,
            self._wires,
            clock=clock,
            stop_when=lambda: bool(part.ended) and self.caller.ended_by is not None,
        )
        self.faults += part.faults
        return self

    def _add_model(self, profile: RealtimeProfile, config_text: str) -> int:
        """Put one more session beside the others; its driver sends ``config_text``."""
        session = len(self.models) + 1
        model = RealtimePeer(profile, self.brain, id_seed=str(session - 1))
        self.models.append(model)
        self._parts.append(model)

        def heard(frame: str | bytes, now_ms: int) -> None:
            self.part.from_realtime(frame, now_ms, session)
            if config_text and isinstance(frame, str) and '"session.created"' in frame:
                self.part.to_model(session).append(Send(config_text))

        def closed(now_ms: int) -> None:
            self.part.feed(
                "realtime_closed", self._close_codes.pop(session), now_ms, session=session
            )

        self._wires += [
            Wire(
                lambda: self.alter_realtime(_taken(self.part.to_model(session))),
                model.receive,
                model.peer_closed,
                self.latency.realtime_ms,
            ),
            Wire(lambda: self._from_model(session), heard, closed, self.latency.realtime_ms),
        ]
        return session

    def _open(self, session: int) -> None:
        model, now_ms = self.models[session - 1], self._clock.now_ms
        if model.closed:
            return  # given up before it was dialled
        # The SDK's beta types know no model newer than this one.
        name = "gpt-realtime" if self.plan.dialect == "beta" else self.plan.model
        model.opened(now_ms, {"model": name})
        if model.profile.upgrade_status is None:  # a bad key is refused after the upgrade
            sent = {"config_sent": True} if session > 1 else {}
            self.part.feed("realtime_opened", now_ms, session=session, **sent)

    def _dial_again(self, effect: DialModel, now_ms: int) -> None:
        index = min(len(self.models) - 1, len(self.sessions) - 1)
        profile = self.sessions[index] if self.sessions else self.realtime
        session = self._add_model(profile, effect.config_text)
        if session != effect.session:
            self.faults.append(f"session {effect.session} dialled as number {session}")
        due_ms = now_ms + 2 * self.latency.realtime_ms
        self.part.timers.at(due_ms, lambda: self._open(session))

    def _twilio_gone(self, now_ms: int) -> None:
        self.part.feed("twilio_closed", now_ms)

    def _to_caller(self) -> list[Output]:
        return self.alter_twilio(_taken(self.part.to_twilio))

    def _from_model(self, session: int) -> list[Output]:
        outputs = self.models[session - 1].drain()
        for output in outputs:
            if isinstance(output, Close):
                self._close_codes[session] = output.code
            elif isinstance(output, Refuse):
                self._close_codes[session] = output.status
        return outputs

    def _watch_effect(self, effect: Effect, now_ms: int) -> None:
        ends = isinstance(effect, HangUp) and "exceeded" not in effect.ended_reason
        if not ends or effect.ended_reason == EndCause.OPERATOR_ENDED.ended_reason:
            return
        self.caller.tick(now_ms)
        unheard = self.part.bridge.playback.sent_bytes if self.part.bridge.playback else 0
        unheard -= self.caller.played_bytes + self.caller.cleared_bytes
        if unheard > 0:
            self.faults.append(f"T14: hang-up with {unheard} bytes unheard")

    def _watch_truncate(self, event: dict[str, Any], now_ms: int) -> None:
        if event["type"] != "conversation.item.truncate":
            return
        self.caller.tick(now_ms)
        limit_ms = self.caller.played_bytes // 8 + 2 * self.latency.twilio_ms + 20
        limit_ms += self.unread_ms(now_ms)
        if event["audio_end_ms"] > limit_ms:
            self.faults.append(f"truncate at {event['audio_end_ms']} of {limit_ms} ms played")

    def unread_ms(self, now_ms: int) -> int:
        """Return how far the playback may be behind what we know: a pause tells of itself late.

        A Twilio that reads nothing for a while sends no echo, and none is due yet.
        """
        begin_ms, for_ms = self.media.pause_reading or (now_ms, 0)
        return for_ms if now_ms > begin_ms else 0

    # -- what came out ------------------------------------------------------------------------

    @property
    def effects(self) -> list[Effect]:
        """Return every effect in order."""
        return self.part.effects

    @property
    def turns(self) -> list[RecordTurn]:
        """Return the transcript: the last word on each ordinal, in order."""
        last = {each.ordinal: each for each in self.effects if isinstance(each, RecordTurn)}
        return [last[ordinal] for ordinal in sorted(last)]

    @property
    def spoken(self) -> list[tuple[str, str]]:
        """Return (role, text) of the transcript, empty turns left out."""
        return [(turn.role, turn.text) for turn in self.turns if turn.text]

    @property
    def tool_records(self) -> list[tuple[str, str]]:
        """Return (name, final state) of every tool call."""
        last = {each.tool_call_id: each for each in self.effects if isinstance(each, RecordTool)}
        return [(each.name, each.state) for each in last.values()]

    @property
    def end(self) -> StreamEnded:
        """Return the one StreamEnded."""
        assert len(self.part.ended) == 1, self.part.ended
        return self.part.ended[0]

    @property
    def policy_line_heard(self) -> bool:
        """Tell whether the evidence was given."""
        return any(isinstance(each, PolicyLinePlayed) for each in self.effects)

    @property
    def statuses(self) -> list[str]:
        """Return the status of every response that ended."""
        events = self.part.model_events
        return [each["response"]["status"] for each in events if each["type"] == "response.done"]

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """Return what was sent to the model under one event type."""
        return [event for event in self.part.sent_realtime if event["type"] == kind]
