"""CallBridge against two peers that send anything in any order: the invariants of style.md 10."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from calls.bridge.effects import (
    CloseModel,
    CloseStream,
    DialModel,
    DispatchTools,
    Effect,
    HangUp,
    RecordTool,
    StreamEnded,
)
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.states import Phase, Realtime, Response
from calls.wire.vapi_control import Control
from tests.contract import check_realtime_client, check_twilio_outbound
from tests.property import frames
from tools.spec import ToolResult

pytestmark = pytest.mark.property

items = st.sampled_from(frames.ITEM_IDS)
# "current" meets the response that the bridge believes in.
responses = st.sampled_from(["current", "current", "current", *frames.RESPONSE_IDS])
rarely = st.integers(0, 7).map(lambda odds: odds == 0)
tool_calls = st.sampled_from(frames.TOOL_CALL_IDS)
names = st.sampled_from(["look", "book", "endCall", "nonsense"])
sizes = st.sampled_from([1, 160, 800, 801, 4000, 30_000, 250_000])
DONE, ACTIVE = "response.done", (Response.ACTIVE, Response.CANCELLING)


class BridgeMachine(RuleBasedStateMachine):
    """One stream of one call."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.inputs: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.awaited: dict[int, str] = {}  # sessions dialled, and how far each has come
        self.outputs: list[Any] = []
        self.effects: list[Effect] = []
        self.marks: list[str] = []
        self.event_ids: list[str] = []
        self.appended_bytes = self.media_bytes = 0
        self.item_bytes: dict[str, int] = {}
        self.answered: list[str] = []
        self.created = 0
        self.over = self.was_updated = False

    @initialize(plan=frames.plans(), warm=st.integers(0, 4), sent=st.booleans())
    def begin(self, plan: CallPlan, warm: int, sent: bool) -> None:
        self.plan = plan
        self.bridge = CallBridge(plan, 0)
        if warm == 0:
            return
        self.realtime_opened(sent)
        self.realtime("session.created", session={})
        self.feed("receive_twilio", '{"event":"connected","protocol":"Call","version":"1.0.0"}')
        self.feed("receive_twilio", frames.start())
        if warm > 1:
            self.session_updated("audio/pcmu")
        if warm > 2:
            self.answer("resp_1", "item_1", 2)
            self.item_completes("resp_1", "item_1")
            self.response_done("resp_1", "completed", ["item_1"], [], 10)
            self.all_marks_come_back()

    def current(self, response_id: str) -> str:
        """Return the id meant by a generated one."""
        current = self.bridge.responses.current
        if response_id != "current" or current is None or not current.response_id:
            return response_id
        return current.response_id

    # -- feeding and judging ------------------------------------------------------------------

    def feed(self, name: str, *args: Any, **options: Any) -> None:
        before, session = self.bridge.responses.machine.now, self.bridge.session
        args = (*args, self.now_ms)
        self.inputs.append((name, args, options))
        getattr(self.bridge, name)(*args, **options)
        if self.bridge.session != session:
            # Only a session that has been configured takes over, and nothing is heard of the old.
            assert self.awaited.pop(self.bridge.session) == "session.updated"
            self.was_updated, self.answered = True, []
            before = Response.IDLE  # its slot is free, whatever the lost one was doing
        self.drain(name, before)

    def realtime(self, kind: str, **fields: Any) -> None:
        self.realtime_text(frames.event(kind, **fields))

    def realtime_text(self, text: str) -> None:
        if self.bridge.realtime.now is not Realtime.DIALING:  # else the driver's fault
            self.feed("receive_realtime", text)

    def drain(self, name: str, before: Response) -> None:
        bridge = self.bridge
        fresh = [*bridge.to_twilio, *bridge.to_realtime, *bridge.effects]
        assert not (self.over and fresh), (name, fresh)
        self.outputs.append(fresh)
        for text in bridge.to_twilio:
            self.to_twilio(text)
        creates = sum(self.to_realtime(text) for text in bridge.to_realtime)
        assert creates <= 1
        assert not creates or bridge.responses.machine.now is not Response.IDLE
        if creates and before in ACTIVE:
            assert name in ("receive_realtime", "tick"), (name, before)
        for effect in bridge.effects:
            if isinstance(effect, DialModel):
                assert not self.awaited, "one at a time"
                check_realtime_client(json.loads(effect.config_text))
                self.awaited[effect.session] = ""
            elif isinstance(effect, CloseModel):
                self.awaited.pop(effect.session, None)
        self.effects += bridge.effects
        self.over = any(isinstance(effect, StreamEnded) for effect in self.effects)
        for queue in (bridge.to_twilio, bridge.to_realtime, bridge.effects):
            queue.clear()

    def to_twilio(self, text: str) -> None:
        message = json.loads(text)
        check_twilio_outbound(message)
        if message["event"] == "media":
            self.media_bytes += len(base64.b64decode(message["media"]["payload"]))
        elif message["event"] == "mark":
            self.marks.append(message["mark"]["name"])
        else:
            assert self.bridge._opening.over or not self.bridge.plan.holds_the_floor

    def to_realtime(self, text: str) -> bool:
        text.encode("utf-8")
        event = json.loads(text)
        check_realtime_client(event)
        kind = event["type"]
        self.event_ids.append(event["event_id"])
        if kind == "input_audio_buffer.append":
            assert self.was_updated
            self.appended_bytes += len(base64.b64decode(event["audio"]))
        elif kind == "conversation.item.truncate":
            assert 0 < event["audio_end_ms"] * 8 <= self.item_bytes[event["item_id"]]
        elif kind == "conversation.item.create" and "output" in event["item"]:
            assert event["item"]["call_id"] not in self.answered
            self.answered.append(event["item"]["call_id"])
        return bool(kind == "response.create")

    # -- the driver ---------------------------------------------------------------------------

    @rule(sent=st.booleans())
    def realtime_opened(self, sent: bool) -> None:
        if self.bridge.realtime.now is Realtime.DIALING and self.bridge._away_since_ms is None:
            self.feed("realtime_opened", config_sent=sent, session=1)

    @rule(
        kind=st.sampled_from(["session.created", "session.updated", "error", "response.created"]),
        code=st.sampled_from(frames.CODES),
    )
    def another_session_says(self, kind: str, code: str) -> None:
        for session, state in list(self.awaited.items()):
            if not state:
                self.awaited[session] = "opened"
                self.feed("realtime_opened", config_sent=True, session=session)
                return
            if kind == "session.updated" and state != "session.created":
                return  # in the wrong order it is an ordinary protocol error
            text = frames.event(kind, error={"code": code}, response={"id": "resp_1"})
            # Said again it undoes nothing: a session waits configured for a quiet moment (0021).
            if kind.startswith("session") and state != "session.updated":
                self.awaited[session] = kind
            text = frames.updated("audio/pcmu") if kind == "session.updated" else text
            self.feed("receive_realtime", text, session=session)

    @rule()
    def another_session_is_ready(self) -> None:
        for kind in ("opened", "session.created", "session.updated"):
            self.another_session_says(kind, "")

    @rule(code=st.sampled_from([1006, 1001, 500, 429, 401]), now=rarely)
    def another_session_closes(self, code: int, now: bool) -> None:
        if now:
            for session in list(self.awaited):
                del self.awaited[session]
                self.feed("realtime_closed", code, session=session)

    @rule()
    def session_grows_old(self) -> None:
        if self.bridge.plan.watchdog.session_ms < 10_000:
            self.time_passes(1_100)
            self.feed("tick")
            self.another_session_is_ready()

    @rule(
        code=st.sampled_from([1006, 1001, 1011]), now=st.integers(0, 2).map(lambda odds: not odds)
    )
    def session_is_lost_and_replaced(self, code: int, now: bool) -> None:
        if now:
            self.feed("realtime_closed", code, session=self.bridge.session)
            self.another_session_is_ready()

    @rule(session=st.integers(1, 3), size=sizes)
    def an_earlier_session_speaks(self, session: int, size: int) -> None:
        if session < self.bridge.session:
            text = frames.delta(self.current("current"), "item_1", size)
            self.feed("receive_realtime", text, session=session)
            self.feed("realtime_closed", 1006, session=session)

    @rule(
        code=st.sampled_from([1000, 1001, 1006, 1011, 3000, 4000, 401, 404, 500, 0, 99_999]),
        now=rarely,
    )
    def realtime_closed(self, code: int, now: bool) -> None:
        if now:
            if self.bridge._away_since_ms is not None:
                self.awaited.clear()  # without a number it is the one that is awaited
            self.feed("realtime_closed", code)

    @rule(for_ms=st.sampled_from([0, 1, 20, 100, 400, 1_100]))
    def time_passes(self, for_ms: int) -> None:
        self.now_ms += for_ms

    @rule()
    def deadline(self) -> None:
        due_ms = self.bridge.next_deadline_ms()
        assert (due_ms is None) == self.over
        if due_ms is not None:
            self.now_ms = max(self.now_ms, due_ms)
            self.feed("tick")
            after_ms = self.bridge.next_deadline_ms()
            assert after_ms is None or after_ms > self.now_ms

    @rule(
        tool_call_id=tool_calls,
        output=st.sampled_from(["ok", "", "\ud800", "a\x00b", "ü"]),
        outcome=st.sampled_from(["ok", "ok", "error", "refused"]),
        message=st.sampled_from([None, None, {"type": "request-complete", "content": "Done."}]),
        sent=st.booleans(),
        hands_over=rarely,
    )
    def tool_finished(
        self,
        tool_call_id: str,
        output: str,
        outcome: Any = "ok",
        message: Any = None,
        sent: bool = True,
        hands_over: bool = False,
    ) -> None:
        messages = (message,) if message else ()
        successor = frames.SUCCESSOR if hands_over and outcome == "ok" else None
        result = ToolResult(output, outcome, messages=messages, sent=sent, successor=successor)
        self.feed("tool_finished", tool_call_id, result)

    @rule(response_id=responses, tool_call_id=tool_calls, at_once=st.booleans())
    def handed_over(self, response_id: str, tool_call_id: str, at_once: bool) -> None:
        self.response_created(response_id)
        self.function_call(response_id, tool_call_id, "look", "completed")
        self.response_done(response_id, "completed", [], [], 10)
        self.tool_finished(tool_call_id, "", hands_over=True)
        if at_once:
            self.another_session_is_ready()

    @rule(
        cause=st.sampled_from([EndCause.OPERATOR_ENDED, EndCause.MAX_DURATION]),
        now=rarely,
    )
    def end(self, cause: EndCause, now: bool) -> None:
        if now:
            self.feed("end", cause)

    @rule(control=st.sampled_from(frames.CONTROLS), now=rarely)
    def a_person_commands(self, control: Control, now: bool) -> None:
        if now or control.kind not in ("end-call", "transfer"):
            self.feed("receive_control", control)

    @rule(now=rarely)
    def shut_down(self, now: bool) -> None:
        if now:
            self.feed("shut_down")

    # -- Twilio -------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(["connected", "start", "start", "other call", "other format"]))
    def twilio_opens(self, kind: str) -> None:
        texts = {
            "connected": '{"event":"connected"}',
            "start": frames.start(),
            "other call": frames.start(call_sid="CA1"),
            "other format": frames.start(encoding="audio/l16"),
        }
        self.feed("receive_twilio", texts[kind])

    @rule(
        size=st.sampled_from([1, 80, 160, 320, 60_000]),
        timestamp_ms=st.sampled_from([0, 0, 20, 700, 90_000]),
    )
    def caller_audio(self, size: int, timestamp_ms: int) -> None:
        self.feed("receive_twilio", frames.media(size, timestamp_ms))

    @rule(key=st.sampled_from("01#"))
    def key(self, key: str) -> None:
        self.feed("receive_twilio", frames.message("dtmf", {"digit": key}))

    @rule(remaining=st.integers(0, 1), reset=st.sampled_from([0.2, 3, 1e6]))
    def rate_limits(self, remaining: int, reset: float) -> None:
        limits = [{"name": "tokens", "remaining": remaining, "reset_seconds": reset}]
        self.realtime("rate_limits.updated", rate_limits=limits)

    @rule(index=st.integers(0, 3))
    def mark_comes_back(self, index: int) -> None:
        if self.marks:
            name = self.marks.pop(min(index, len(self.marks) - 1))
            self.feed("receive_twilio", frames.message("mark", {"name": name}))

    @rule()
    def all_marks_come_back(self) -> None:
        for name in self.marks:
            self.feed("receive_twilio", frames.message("mark", {"name": name}))
        self.marks.clear()

    @rule(text=frames.odd_messages | frames.garbage)
    def twilio_nonsense(self, text: str) -> None:
        self.feed("receive_twilio", text)

    @rule(name=st.text(max_size=12) | st.sampled_from(["g1:0", "g1:99999999999999999999", "g2:1"]))
    def unknown_mark(self, name: str) -> None:
        self.feed("receive_twilio", frames.message("mark", {"name": name}))

    @rule(kind=st.sampled_from(["stop", "closed", "malformed"]), now=rarely)
    def twilio_fails(self, kind: str, now: bool) -> None:
        if not now:
            return
        if kind == "stop":
            self.feed("receive_twilio", frames.message("stop", {}))
        else:
            self.feed(f"twilio_{kind}")

    # -- the model ----------------------------------------------------------------------------

    @rule(kind=st.sampled_from(["audio/pcmu"] * 7 + ["audio/pcm"]))
    def session_updated(self, kind: str) -> None:
        self.was_updated |= kind == "audio/pcmu" and self.bridge.realtime.now not in (
            Realtime.DIALING,
            Realtime.EXPECT_CREATED,
        )
        self.realtime_text(frames.updated(kind))

    @rule(part=st.sampled_from(["speech_started", "speech_stopped", "committed"]), item_id=items)
    def caller_speaks(self, part: str, item_id: str) -> None:
        self.realtime(f"input_audio_buffer.{part}", item_id=f"u_{item_id}")

    @rule(item_id=items)
    def caller_turn(self, item_id: str) -> None:
        for part in ("speech_started", "speech_stopped", "committed"):
            self.caller_speaks(part, item_id)

    @rule(
        item_id=items,
        kind=st.sampled_from(["delta", "completed", "completed", "failed"]),
        text=st.sampled_from(["", "ok", "stop", "why", "one two three"]),
    )
    def caller_text(self, item_id: str, kind: str, text: str) -> None:
        name = f"conversation.item.input_audio_transcription.{kind}"
        self.realtime(name, item_id=f"u_{item_id}", content_index=0, delta=text, transcript=text)

    @rule(response_id=responses)
    def response_created(self, response_id: str) -> None:
        self.created += response_id == "current"
        fresh = f"resp_new_{self.created}"
        response_id = fresh if response_id == "current" else response_id
        self.realtime("response.created", response={"id": response_id})

    @rule(response_id=responses, item_id=items, size=sizes)
    def audio(self, response_id: str, item_id: str, size: int) -> None:
        self.item_bytes[item_id] = self.item_bytes.get(item_id, 0) + size
        self.realtime_text(frames.delta(self.current(response_id), item_id, size))

    @rule(response_id=responses, item_id=items, count=st.integers(1, 4))
    def answer(self, response_id: str, item_id: str, count: int) -> None:
        self.response_created(response_id)
        for _ in range(count):
            self.words(response_id, item_id, "word ")
            self.audio(response_id, item_id, 4000)

    @rule(response_id=responses, item_id=items, text=st.text(max_size=5))
    def words(self, response_id: str, item_id: str, text: str) -> None:
        self.realtime(
            "response.output_audio_transcript.delta",
            response_id=self.current(response_id),
            item_id=item_id,
            delta=text,
        )

    @rule(response_id=responses, item_id=items)
    def item_completes(self, response_id: str, item_id: str) -> None:
        where = {"response_id": self.current(response_id), "item_id": item_id}
        self.realtime("response.output_audio.done", **where)
        self.realtime("response.output_audio_transcript.done", **where, transcript="words all")

    @rule(
        response_id=responses,
        tool_call_id=tool_calls,
        name=names,
        status=st.sampled_from(["completed", "completed", "incomplete"]),
    )
    def function_call(self, response_id: str, tool_call_id: str, name: str, status: str) -> None:
        item = frames.function_call(tool_call_id, name, status)
        response_id = self.current(response_id)
        self.realtime("response.output_item.added", response_id=response_id, item=item)
        self.realtime("response.output_item.done", response_id=response_id, item=item)

    @rule(
        response_id=responses,
        item_id=st.sampled_from(["mcp_1", "mcp_2"]),
        told=st.sampled_from(["added", "done"]),
        output=st.sampled_from([None, None, "", "found", "\ud800"]),
        error=st.sampled_from([None, None, {}, {"type": "http_error", "message": "500"}]),
    )
    def mcp_item(
        self, response_id: str, item_id: str, told: str, output: str | None, error: Any
    ) -> None:
        item = {"id": item_id, "type": "mcp_call", "name": "find", "server_label": "crm"}
        item |= {"arguments": "{}", "output": output, "error": error}
        where = self.current(response_id)
        self.realtime(f"response.output_item.{told}", response_id=where, item=item)
        self.realtime(f"conversation.item.{told}", item=item)

    @rule(
        item_id=st.sampled_from(["mcp_1", "mcp_2", "item_1"]),
        kind=st.sampled_from(
            [
                *("response.mcp_call.in_progress", "response.mcp_call.in_progress"),
                *("response.mcp_call.completed", "response.mcp_call.failed"),
                *("response.mcp_call_arguments.done", "mcp_list_tools.failed"),
                "mcp_list_tools.completed",
            ]
        ),
    )
    def mcp_event(self, item_id: str, kind: str) -> None:
        self.realtime(kind, item_id=item_id, arguments='{"id":7}', output_index=0)

    @rule(
        response_id=responses,
        status=st.sampled_from(["completed", "completed", "cancelled", "failed", "incomplete"]),
        item_ids=st.lists(items, max_size=2, unique=True),
        calls=st.lists(tool_calls, max_size=2, unique=True),
        tokens=st.sampled_from([0, 10, 10**9, 40]),
    )
    def response_done(
        self, response_id: str, status: str, item_ids: list[str], calls: list[str], tokens: int
    ) -> None:
        output: list[dict[str, Any]] = [{"type": "message", "id": each} for each in item_ids]
        output += [frames.function_call(each, "look") for each in calls]
        self.realtime_text(frames.done(self.current(response_id), status, output, tokens))

    @rule(code=st.sampled_from(frames.CODES), which=st.integers(0, 3))
    def error(self, code: str, which: int) -> None:
        asks = [each for each in self.event_ids if each.startswith("ask-")][-3:]
        event_id = [*reversed(asks), "cfg-2", None, None, None][which]
        self.realtime("error", error={"type": "x", "code": code, "event_id": event_id})

    @rule(code=st.sampled_from(frames.CUT_CODES), there_ms=st.sampled_from([0, 1, 40, 99_999]))
    def truncate_refused(self, code: str, there_ms: int) -> None:
        for event_id in [each for each in self.event_ids if each.startswith("cut-")][-1:]:
            message = f"Audio content of {there_ms}ms is already shorter than 99ms"
            error = {"type": "x", "code": code, "event_id": event_id, "message": message}
            self.realtime("error", error=error)

    @rule(response_id=responses, beside=st.lists(tool_calls, max_size=1))
    def answered_in_text(self, response_id: str, beside: list[str]) -> None:
        """Trap O30: what was to be heard comes as text."""
        output = [
            frames.written("item_4"),
            *(frames.function_call(each, "look") for each in beside),
        ]
        self.realtime_text(frames.done(self.current(response_id), "completed", output))

    @rule(tool_call_id=tool_calls)
    def output_added(self, tool_call_id: str) -> None:
        item = {"type": "function_call_output", "call_id": tool_call_id}
        self.realtime("conversation.item.added", item=item)

    @rule(
        response_id=responses,
        tool_call_id=tool_calls,
        name=names,
        say=st.booleans(),
        output=st.sampled_from([None, "fine"]),
    )
    def tool_response(
        self, response_id: str, tool_call_id: str, name: str, say: bool, output: str | None
    ) -> None:
        self.response_created("current")
        if say:
            self.audio("current", "item_2", 4000)
        self.function_call("current", tool_call_id, name, "completed")
        if output is not None:
            self.tool_finished(tool_call_id, output)
        self.response_done(response_id, "completed", [], [tool_call_id], 10)

    @rule(item_id=items, for_ms=st.sampled_from([0, 50, 333, 2_000]))
    def barge_in(self, item_id: str, for_ms: int) -> None:
        self.answer("current", item_id, 3)
        self.time_passes(for_ms)
        self.mark_comes_back(0)
        self.caller_turn(item_id)
        self.all_marks_come_back()

    @rule(kind=st.sampled_from(["failed", "refused", "lost race"]))
    def request_goes_wrong(self, kind: str) -> None:
        if kind == "failed":
            self.response_created("current")
            self.response_done("current", "failed", [], [], 0)
        else:
            self.error(frames.CODES[0 if kind == "refused" else 1], 0)

    @rule(text=frames.odd_events | frames.garbage)
    def model_nonsense(self, text: str) -> None:
        self.was_updated |= "session.updated" in text
        self.realtime_text(text)

    # -- what always holds --------------------------------------------------------------------

    @invariant()
    def ledgers_balance(self) -> None:
        bridge, caller = self.bridge, self.bridge._caller
        assert caller.received_bytes == (
            caller.forwarded_bytes + caller.kept_bytes + caller.dropped_bytes
        )
        if not self.over:
            # What was meant for a session that is replaced in the same step is never sent to it.
            unsent_bytes = caller.forwarded_bytes + caller.taken_back_bytes - self.appended_bytes
            assert 0 <= unsent_bytes <= caller.taken_back_bytes
        playback, counters = bridge.playback, bridge.counters
        came = counters.get("model_bytes", 0) + counters.get("clip_bytes", 0)
        gone = counters.get("late_bytes", 0)
        if playback is not None:
            gone += playback.sent_bytes + playback.held_bytes + playback.dropped_bytes
            assert playback.sent_bytes >= self.media_bytes
            for item in playback._items.values():
                assert 0 <= item.played_bytes <= item.sent_bytes <= item.received_bytes
        assert came == gone

    @invariant()
    def ends_once(self) -> None:
        for kind in (StreamEnded, HangUp, CloseStream):
            assert sum(isinstance(effect, kind) for effect in self.effects) <= 1
        assert self.over == (self.bridge.phase.now is Phase.CLOSED)
        if self.over:
            assert isinstance(self.effects[-1], StreamEnded)
            json.dumps(self.effects[-1].metrics)

    @invariant()
    def tools_run_once(self) -> None:
        dispatched = [
            (each.tool_call_id, each.judge)  # judged first, then run: each once
            for effect in self.effects
            if isinstance(effect, DispatchTools)
            for each in effect.calls
        ]
        assert len(dispatched) == len(set(dispatched))
        if self.over:
            last = {e.tool_call_id: e.state for e in self.effects if isinstance(e, RecordTool)}
            assert "running" not in last.values()
            assert {tool_call_id for tool_call_id, _ in dispatched} <= set(last)

    def teardown(self) -> None:
        """Left alone the call ends by its own deadlines; a replay gives the same, bit for bit."""
        if not hasattr(self, "bridge"):
            return
        for _ in range(200):
            self.deadline()
        assert self.over
        self.ledgers_balance()
        self.ends_once()
        self.tools_run_once()
        again = CallBridge(CallPlan.from_json(json.loads(json.dumps(self.plan.to_json()))), 0)
        for (name, args, options), before in zip(self.inputs, self.outputs, strict=True):
            getattr(again, name)(*args, **options)
            assert [*again.to_twilio, *again.to_realtime, *again.effects] == before
            for queue in (again.to_twilio, again.to_realtime, again.effects):
                queue.clear()


TestBridge = BridgeMachine.TestCase
TestBridge.settings = settings(stateful_step_count=40)
