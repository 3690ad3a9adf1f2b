"""The bridge of one stream of a call: text in, text and effects out, no I/O.

Owns the coupling of five small machines (``states``) and nothing of sockets, clocks, ids or
databases: time is an argument (``now_ms``, monotonic, any origin), ids come from counters, so the
same inputs give the same outputs and a recorded call replays. A peer can never make it raise;
driver misuse raises ``LocalBridgeError``. Audio is checked and spliced, never decoded.
"""

from __future__ import annotations

from typing import Any

from calls.bridge import gaps
from calls.bridge.caller_audio import CallerAudio
from calls.bridge.controls import Controls
from calls.bridge.core import POLICY_ITEM_ID, Ending
from calls.bridge.effects import (
    CloseStream,
    HangUp,
    NextStep,
    PolicyLinePlayed,
    StreamEnded,
)
from calls.bridge.opening import Opening
from calls.bridge.person import ForPerson
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.states import (
    STREAM,
    LocalBridgeError,
    Machine,
    Phase,
    Realtime,
    Stream,
)
from calls.bridge.summary import summary
from calls.bridge.toolbox import LOST_RESULT, UNSENT_RESULT
from calls.wire import realtime, twilio_media
from tools.spec import ToolResult

MAX_MALFORMED = 20
SERVER_ACTS_MS = 10_000


class CallBridge(ForPerson, Controls):
    """One stream of one call. Feed inputs; then drain ``to_twilio``, ``to_realtime``, ``effects``.

    Inputs: ``receive_twilio``, ``twilio_malformed``, ``twilio_closed``, ``realtime_opened``,
    ``receive_realtime``, ``realtime_closed``, ``tool_finished``, ``receive_control``, ``end``,
    ``shut_down``, ``tick``.
    ``next_deadline_ms`` says when ``tick`` is due. After ``StreamEnded`` every input is ignored.
    """

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self.stream: Machine[Stream] = Machine(Stream.EXPECT_CONNECTED, STREAM)
        self._caller = CallerAudio()
        self._gaps = gaps.Gaps()
        self._opening = Opening(plan)
        self._stream_sid = ""
        self._last_media_ms = now_ms

    # ---- Twilio -------------------------------------------------------------------------------

    def receive_twilio(self, text: str, now_ms: int) -> None:
        """Take one text frame from Twilio."""
        if self.phase.now is Phase.CLOSED:
            return
        try:
            event, message = twilio_media.decode(text)
            if event == "media":
                self._caller_media(message, now_ms)
                return
            if event == "mark":
                self._mark(twilio_media.mark_name(message), now_ms)
            elif event == "connected":
                self._advance(self.stream, Stream.EXPECT_START)
            elif event == "start":
                self._start(twilio_media.start_of(message), now_ms)
            elif event == "stop":
                self._stream_stopped(EndCause.CALLER_HUNG_UP, call_over=True)
            elif event == "dtmf":
                self._key_pressed(twilio_media.dtmf_digit(message), now_ms)
            else:
                self.count("twilio_unknown_events")
        except twilio_media.TwilioWireError:
            self.twilio_malformed(now_ms)
            return
        self._settle(now_ms)

    def twilio_malformed(self, now_ms: int) -> None:
        """Count a frame that is no message (binary, not JSON); the twentieth closes with 1008."""
        if self.phase.now is Phase.CLOSED:
            return
        self.count("twilio_malformed")
        if self.counters["twilio_malformed"] >= MAX_MALFORMED:
            self._close_stream("resume", now_ms, code=1008, cause=EndCause.STREAM_LOST)
        self._settle(now_ms)

    def twilio_closed(self, now_ms: int) -> None:
        """Note that Twilio's socket is gone; without a ``stop`` the line itself may live on."""
        if self.stream.now is not Stream.STOPPED:
            self._stream_stopped(EndCause.STREAM_LOST, call_over=False)
        self._settle(now_ms)

    def _caller_media(self, message: dict[str, Any], now_ms: int) -> None:
        payload, size = twilio_media.media_payload(message)
        if self.stream.now is not Stream.STREAMING or message.get("streamSid") != self._stream_sid:
            self.count("protocol_errors")
            return
        self._caller.frames += 1
        self._last_media_ms = now_ms
        timestamp_ms = twilio_media.media_timestamp_ms(message)
        missing_ms = self._gaps.before_frame(timestamp_ms, size, now_ms)
        if missing_ms:
            self._fill_gap(missing_ms)
        self._hear(payload, size)

    def _hear(self, payload: str, size: int) -> None:
        """Pass a piece of the caller's audio on, or keep it until it may pass."""
        caller = self._caller
        caller.received_bytes += size
        if self._caller_muted:
            payload = gaps.hush(size)
        if self._model_hears():
            caller.forwarded_bytes += size
            self.recent.note(payload, size)
            self.to_realtime.append(realtime.append(payload))
        else:
            caller.keep(payload, size)

    def _model_hears(self) -> bool:
        ready = self.realtime.now is Realtime.READY
        return self._opening.ears_open and ready and not self._failed

    def _fill_gap(self, ms: int) -> None:
        """Give the model silence for audio that is missing; it counts as the caller's (T21)."""
        for payload, size in gaps.silence(ms):
            self.count("padded_bytes", size)
            self._hear(payload, size)

    def _gap_deadlines(self) -> list[int]:
        # Only a turn that cannot end needs silence before the next frame tells of a gap.
        due_ms = self._gaps.deadline_ms() if self._caller_speaking and self._model_hears() else None
        return [] if due_ms is None else [due_ms]

    def _tick_gaps(self, now_ms: int) -> None:
        if self._gap_deadlines():
            self._fill_gap(self._gaps.on_silent_line(now_ms))

    def _start(self, start: twilio_media.Start, now_ms: int) -> None:
        if self.stream.now is not Stream.EXPECT_START:
            self.count("protocol_errors")
            return
        mulaw = (start.encoding, start.sample_rate_hz, start.channels) == ("audio/x-mulaw", 8000, 1)
        if (
            start.call_sid != self.plan.call_sid
            or start.account_sid != self.plan.account_sid
            or not mulaw  # trap T21
        ):
            self.count("start_mismatch")
            self._close_stream("hangup", now_ms, code=1008, cause=EndCause.STREAM_LOST)
            return
        self.stream.to(Stream.STREAMING)
        self._stream_sid = start.stream_sid
        self._stream_started(start.stream_sid, now_ms)
        self._lead_in(now_ms)
        self._last_media_ms = now_ms

    def _mark(self, name: str, now_ms: int) -> None:
        if self.playback is None:
            self.count("protocol_errors")
            return
        self.playback.echo(name, now_ms)

    def _stream_stopped(self, cause: EndCause, *, call_over: bool) -> None:
        if not self.stream.may(Stream.STOPPED):
            self.count("protocol_errors")
            return
        self.stream.to(Stream.STOPPED)
        if self._end_cause is None:
            self._end_cause, self._call_over = cause, call_over

    # ---- commands -----------------------------------------------------------------------------

    def tool_finished(self, tool_call_id: str, result: ToolResult, now_ms: int) -> None:
        """Take the result of a dispatched call; late, repeated or unknown ones are counted."""
        if self.phase.now is not Phase.OPEN:
            self.count("late_tool_results")
            return
        self._tool_answered(tool_call_id, result, now_ms)
        self._settle(now_ms)

    def end(self, cause: EndCause, now_ms: int) -> None:
        """Hang up now, without a goodbye (an operator's command, a ceiling)."""
        if self.phase.now is Phase.OPEN:
            self._hang_up(cause, now_ms, may_wait=False)
        self._settle(now_ms)

    def shut_down(self, now_ms: int) -> None:
        """Leave the call to another process: close the stream so that Twilio asks what is next."""
        if self.phase.now is Phase.OPEN:
            self._close_stream("resume", now_ms, cause=EndCause.SHUTDOWN)
        self._settle(now_ms)

    # ---- time ---------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Act on every deadline that has passed; harmless when none has."""
        if self.phase.now is Phase.CLOSED:
            return
        wait = self.plan.watchdog
        if self.phase.now is Phase.CLOSING:
            self._tick_closing(now_ms)
        elif self.stream.now is not Stream.STREAMING:
            if now_ms >= self._born_ms + wait.start_ms:
                self._close_stream("hangup", now_ms, cause=EndCause.STREAM_NEVER_STARTED)
        elif now_ms >= self._duration_deadline_ms():
            self.metrics_note("ceiling", "duration")
            self._hang_up(EndCause.MAX_DURATION, now_ms, may_wait=False)
        elif now_ms >= self._last_media_ms + wait.caller_audio_ms:
            self._close_stream("resume", now_ms, cause=EndCause.NO_CALLER_AUDIO)
        else:
            self._tick_playback(now_ms)
            self._tick_gaps(now_ms)
            self._tick_turns(now_ms)
            self._tick_model(now_ms)
            self._tick_calls(now_ms)
            self._tick_pauses(now_ms)
        self._settle(now_ms)
        if self._filler_is_due(now_ms):
            # What has been settled, such as another session, is what made it due.
            self._tick_pauses(now_ms)
            self._settle(now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return when ``tick`` is due next, None when nothing is awaited.

        The caller-audio deadline moves with every frame; it is the only one that may come early.
        """
        if self.phase.now is Phase.CLOSED:
            return None
        wait = self.plan.watchdog
        if self.phase.now is Phase.CLOSING:
            return self._closing_deadline_ms
        if self.stream.now is not Stream.STREAMING:
            return self._born_ms + wait.start_ms
        candidates = [
            self._duration_deadline_ms(),
            self._last_media_ms + wait.caller_audio_ms,
            *self._gap_deadlines(),
            *self._turn_deadlines(),
            *self._model_deadlines(),
            *self._call_deadlines(),
            *self._pause_deadlines(),
        ]
        if self.playback is not None:
            due = self.playback.deadline_ms(wait.mark_slack_ms)
            resumes = self.playback.paused_until_ms()
            candidates += [each for each in (due, resumes) if each is not None]
        return min(candidates)

    def _duration_deadline_ms(self) -> int:
        # The ceiling is the call's: a resumed stream has what the earlier ones have left.
        left_ms = self.plan.limits.max_duration_ms - self.plan.elapsed_ms
        return self.stream_start_ms + max(0, left_ms)

    def _tick_playback(self, now_ms: int) -> None:
        if self.playback is None:
            return
        due = self.playback.deadline_ms(self.plan.watchdog.mark_slack_ms)
        if due is not None and now_ms >= due:
            self.playback.give_up_marks(now_ms)
        resumes = self.playback.paused_until_ms()
        if resumes is not None and now_ms >= resumes:
            self.playback.resume(now_ms)

    def _tick_closing(self, now_ms: int) -> None:
        if now_ms < self._closing_deadline_ms:
            return
        if self._close_sent:
            self._stream_stopped(EndCause.STREAM_LOST, call_over=True)
        else:
            # The carrier did not end the call; the action URL will.
            self._send_close("hangup", now_ms, 1000)

    # ---- coupling -----------------------------------------------------------------------------

    def _settle(self, now_ms: int) -> None:
        """Run the coupling rules until none applies any more."""
        if self.phase.now is Phase.CLOSED:
            return
        while self._couple(now_ms):
            pass
        self._note_quiet(now_ms)

    def _couple(self, now_ms: int) -> bool:
        if self.stream.now is Stream.STOPPED:
            self._finish(now_ms)
            return False
        self._note_heard(now_ms)
        self._note_silence(now_ms)
        if self.phase.now is not Phase.OPEN or self.stream.now is not Stream.STREAMING:
            return False
        return (
            self._react_to_lost_model(now_ms)
            or self._take_over(now_ms)
            or self._apologise(now_ms)
            or self._play_policy_line(now_ms)
            or self._play_greeting(now_ms)
            or self._begin_conversation(now_ms)
            or self._open_ears()
            or self._end_opening()
            or self._tell_keys(now_ms)
            or self._tell_operator(now_ms)
            or self._run_calls(now_ms)
            or self._ask_follow_up(now_ms)
            or self._tell_notes()
            or self._say_late(now_ms)
            or self._send_request(now_ms)
            or self._hang_up_when_heard(now_ms)
        )

    def _react_to_lost_model(self, now_ms: int) -> bool:
        if self._model_lost is None or self._failed:
            return False
        cause, self._model_lost = self._model_lost, None
        if self._ending is not None:
            # The goodbye has been generated or never will be: what is left is to be heard out.
            self.responses.forget()
            self.responses.give_up()
            self._ending_is_final()
            self._gate.forget()
        else:
            self._fail(cause, now_ms)
        return True

    def _apologise(self, now_ms: int) -> bool:
        if not self._apology_due:
            return False
        self._apology_due = False
        self._play_clip("clip-apology", self.plan.apology, now_ms)
        if self._ending is not None and self.playback is not None:
            wait_ms = self.playback.ahead_ms + self.plan.watchdog.goodbye_ms
            self._ending.deadline_ms = now_ms + wait_ms
        return True

    def _note_heard(self, now_ms: int) -> None:
        """Close the turns of audio that has been heard to its end."""
        self._note_keys(now_ms)
        if self.playback is None:
            return
        for item in self.playback.finished:
            if not item.is_clip:
                self.tries.heard()
            if item.item_id == POLICY_ITEM_ID:
                self._opening.line_playing = False
            if item.item_id == POLICY_ITEM_ID and not item.assumed:
                self.effects.append(PolicyLinePlayed(at_ms=self._record_ms(now_ms)))
            turn = self.transcript.get(item.item_id)
            if turn is not None:
                self.transcript.end(turn, self._record_ms(now_ms))
                self._heard_out(turn, now_ms)
        self.playback.finished.clear()

    def _hang_up_when_heard(self, now_ms: int) -> bool:
        ending = self._ending
        if ending is None or self.playback is None:
            return False
        # Who has begun to speak over the goodbye may still take it back.
        undecided = ending.abortable and self._gate.closed
        heard = self.responses.idle and self.playback.silent and not undecided
        if (not heard or ending.left) and now_ms < ending.deadline_ms:
            return False
        if ending.dial_to and self._leave_to_server(ending, now_ms):
            return False
        if ending.dial_to:
            self._close_stream("dial", now_ms, cause=ending.cause, dial_to=ending.dial_to)
        elif self._failed and (self.plan.apology is None or self.plan.person.reachable):
            # A person takes over; or no clip of ours apologised, and Twilio says it.
            self._close_stream("apologise", now_ms, cause=ending.cause)
        else:
            self._hang_up(ending.cause, now_ms)
        return True

    # ---- ending -------------------------------------------------------------------------------

    def _leave_to_server(self, ending: Ending, now_ms: int) -> bool:
        """Leave a transfer to a server that wants to make it itself, for a while (vapi.md 5.2)."""
        if ending.left or not self.news.wants("control"):
            return False
        ending.left, ending.deadline_ms = True, now_ms + SERVER_ACTS_MS
        self.news.tell("control", self._record_ms(now_ms), text=f"forward:{ending.dial_to}")
        return True

    def _hang_up(self, cause: EndCause, now_ms: int, *, may_wait: bool = True) -> None:
        """End the call at the carrier; ``may_wait`` for a server that wants to do so itself."""
        self.phase.to(Phase.CLOSING)
        self._end_cause, self._call_over = cause, True
        self._closing_deadline_ms = now_ms + self.plan.watchdog.hang_up_ms
        if self.stream.now is Stream.STREAMING and may_wait and self.news.wants("control"):
            # Then it is the server's to end the call (vapi.md 5.2); nobody may leave it open.
            self.news.tell("control", self._record_ms(now_ms), text="hang-up")
            self._closing_deadline_ms = now_ms + SERVER_ACTS_MS
        elif self.stream.now is Stream.STREAMING:
            self.effects.append(HangUp(cause.ended_reason))
        else:
            self._send_close("hangup", now_ms, 1000)

    def _close_stream(
        self,
        next_step: NextStep,
        now_ms: int,
        *,
        cause: EndCause,
        code: int = 1000,
        dial_to: str = "",
    ) -> None:
        if self.phase.now is not Phase.OPEN:
            return
        self.phase.to(Phase.CLOSING)
        self._end_cause, self._call_over = cause, next_step == "hangup"
        self._send_close(next_step, now_ms, code, dial_to)

    def _send_close(self, next_step: NextStep, now_ms: int, code: int, dial_to: str = "") -> None:
        self._close_sent = True
        self._closing_deadline_ms = now_ms + self.plan.watchdog.hang_up_ms
        self.effects.append(CloseStream(next_step, code, dial_to))

    def _finish(self, now_ms: int) -> None:
        """Close everything, once: late answers, open turns, counters."""
        if self._end_cause is None:
            raise LocalBridgeError("a stopped stream has a cause")
        at_ms = self._record_ms(now_ms)
        self.toolbox.finish(self._end_tool_call_id, "ok", "The call has ended.", now_ms)
        over, not_sent = self._call_over, self._not_sent()
        late = "The call ended before the result." if over else LOST_RESULT
        unsent = "The call ended before the tool was called." if over else UNSENT_RESULT
        for invocation in self.toolbox.pending:
            output = unsent if invocation.tool_call_id in not_sent else late
            self.toolbox.finish(invocation.tool_call_id, "error", output, now_ms)
        self.transcript.close(at_ms, lambda item_id: self._heard_share(item_id, now_ms))
        self._caller.abandon()
        self.phase.to(Phase.CLOSED)
        self.to_twilio.clear()
        self.to_realtime.clear()
        self.effects.append(
            StreamEnded(
                ended_reason=self._end_cause.ended_reason,
                call_over=self._call_over,
                metrics=summary(self, self._caller, now_ms),
            )
        )
