"""Twilio's end of one bidirectional media stream without a socket: steady 20 ms frames, a true
playback clock, marks, clear, strict checks of what it is sent, and every misbehaviour of twilio.md
6.4. Time is an argument; outputs are drained. It must not import our bridge: it is its judge.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from calls.standins.caller import Caller, CallerStep, Ear
from calls.standins.peer import Close, Output, Send
from calls.standins.playout import MarkEcho, Playout
from calls.standins.tones import BYTES_PER_MS, SILENCE, Heard, ToneDecoder, encode

Mutant = Literal["drop_frame", "mark_early", "undeclared_key", "number_counters"]
EndedBy = Literal["caller", "rest", "server", "script"]
_OUTBOUND_KEYS: dict[str, frozenset[str]] = {
    "media": frozenset({"event", "streamSid", "media"}),
    "mark": frozenset({"event", "streamSid", "mark"}),
    "clear": frozenset({"event", "streamSid"}),
}
_MUTANT_FRAME = 5  # inside the text of any utterance of more than a few letters


@dataclass(frozen=True, slots=True)
class MediaProfile:
    """Options of one stream; defaults are an ordinary call. The shell reads the handshake ones."""

    frame_bytes: int = field(default=160, metadata={"least": 8})  # 80 and 320 occur
    gap_frames: tuple[int, int] | None = None  # (first frame, count) that never arrive
    pause_reading: tuple[int, int] | None = None  # (from ms, for ms) without reading
    close_without_stop: bool = False
    drop_after_ms: int | None = None  # the socket is cut there and the call goes on (T22, 31903)
    stop_at_once: bool = False  # stop right behind start
    stop_twice: bool = False
    duplicate_start: bool = False
    reordered_keys: bool = False  # another legal spelling of the same JSON
    late_mark_ms: int = 0
    unidirectional: bool = False
    gap_ms: int = 300  # pause a caller leaves after the agent's turn
    max_call_ms: int = 300_000
    origin: str | None = None  # handshake: Twilio sends none (trap T1)
    stale_signature: bool = False  # handshake: signed with a rotated token
    second_connection: bool = False  # handshake: try the same URL twice
    mutant: Mutant | None = None  # a defect that a suite must notice


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning as Twilio would log it (twilio.md 8.3)."""

    code: int
    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened on the call, in ms of the clock given to the peer."""

    at_ms: int
    kind: Literal["said", "heard", "cut", "dtmf", "mark", "clear", "stop", "close", "warning"]
    text: str = ""


@dataclass(slots=True)
class TwilioMediaPeer:
    """One stream of one call. `opened` starts the clock; nothing is sent before."""

    account_sid: str
    call_sid: str
    stream_sid: str
    custom_parameters: Mapping[str, str] = field(default_factory=dict)
    caller_script: Sequence[CallerStep] = ()
    profile: MediaProfile = field(default_factory=MediaProfile)

    timeline: list[Moment] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    echoes: list[MarkEcho] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)  # every bad message; warnings come once
    received_media_bytes: int = 0
    ended_by: EndedBy | None = None
    tap: Callable[[Literal["inbound", "outbound"], bytes], None] | None = None  # for forks
    other_twiml: str | None = None  # what the call was given by REST in the middle of the stream
    # Who is at the other end of a joined call: gets what is sent here, None when it is cleared.
    far: Callable[[bytes | None], None] | None = None

    _out: list[Output] = field(default_factory=list)
    _sequence: int = 0
    _frames: int = 0
    _chunks: int = 0
    _voiced_frames: int = 0
    _speech: bytearray = field(default_factory=bytearray)
    _saying: str | None = None
    _start_ms: int = 0
    _now_ms: int = 0
    _late_marks: list[tuple[int, int, str]] = field(default_factory=list)
    _unread: list[str | bytes] = field(default_factory=list)
    _decoder: ToneDecoder = field(default_factory=ToneDecoder)
    _playout: Playout | None = None
    _caller: Caller | None = None

    # -- shell side ---------------------------------------------------------------------------

    def opened(self, now_ms: int) -> None:
        """Begin the stream: `connected` and `start` go out, the caller begins to listen."""
        self._start_ms = self._now_ms = now_ms
        self._playout = Playout(now_ms, self._hear)
        self._caller = Caller(self.caller_script, now_ms, self.profile.gap_ms)
        self._put({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        for _ in range(2 if self.profile.duplicate_start else 1):
            self._event("start", self._start_message())
        if self.profile.stop_at_once:
            self._end("caller", now_ms)

    def tick(self, now_ms: int) -> None:
        """Play, send the frames that are due, and let the caller act."""
        while self.ended_by is None:
            due_ms = self.next_deadline_ms()
            if due_ms is None or due_ms > now_ms:
                break
            self._advance(due_ms)
            self._read_backlog()
            while self._late_marks and self._late_marks[0][0] <= due_ms:
                self._send_echo(heapq.heappop(self._late_marks)[2])
            if due_ms >= self._frame_due_ms():
                self._act()
                self._send_frame()
        if self.ended_by is None:
            self._advance(now_ms)

    def receive(self, frame: str | bytes, now_ms: int) -> None:
        """Take one message from the server; breaches are recorded, never raised."""
        self.tick(now_ms)
        if self.ended_by is not None:
            return
        if not self.reads(now_ms):
            self._unread.append(frame)
            return
        self._read_backlog()
        self._handle(frame)

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` has work next; None before `opened` and after the end."""
        if self._playout is None or self.ended_by is not None:
            return None
        times = [self._frame_due_ms()]
        mark_ms = self._playout.next_mark_ms()
        if mark_ms is not None:
            times.append(max(mark_ms, self._now_ms))
        if self._late_marks:
            times.append(self._late_marks[0][0])
        return min(times)

    def drain(self) -> list[Output]:
        """Return and forget what is to be sent, in order."""
        out, self._out = self._out, []
        return out

    def reads(self, now_ms: int) -> bool:
        """Tell whether the peer takes messages now (profile.pause_reading)."""
        if self.profile.pause_reading is None:
            return True
        begin_ms, for_ms = self.profile.pause_reading
        return not begin_ms <= now_ms - self._start_ms < begin_ms + for_ms

    def caller_hang_up(self, now_ms: int) -> None:
        """The caller puts the phone down."""
        self.tick(now_ms)
        self._end("caller", now_ms)

    def call_ended_by_rest(self, now_ms: int) -> None:
        """The call was completed, or given other TwiML, through REST: stop, then close."""
        self.tick(now_ms)
        self._end("rest", now_ms)

    def peer_closed(self, now_ms: int) -> None:
        """The server closed the socket (31921)."""
        self.tick(now_ms)
        if self.ended_by is None:
            self.ended_by = "server"
            self._note("close")
            self._flush()

    def overhear(self, audio: bytes | None) -> None:
        """Take what the other end of a joined call sends, None: it has thrown the rest away.

        It is spoken on from here at the line's own pace, as what a scripted caller says is.
        """
        if audio is None:
            self._speech.clear()
        else:
            self._speech += audio

    def press(self, digits: str) -> None:
        """Press keys, as the other end of a joined call did."""
        if self.ended_by is None:
            for digit in digits:
                self._event("dtmf", {"track": "inbound_track", "digit": digit})
                self._note("dtmf", digit)

    @property
    def stuck_step(self) -> CallerStep | None:
        """Return the step whose condition never came, if the script failed."""
        return self._caller.stuck if self._caller is not None else None

    @property
    def remaining_steps(self) -> list[CallerStep]:
        """Return the steps left for a later stream of the same call, unanswered ones again."""
        if self._caller is None:
            return list(self.caller_script)
        return self._caller.left_after_loss(self.heard_texts)

    @property
    def script_finished(self) -> bool:
        """Tell whether the caller took every step."""
        return self._caller is not None and self._caller.finished and self.stuck_step is None

    @property
    def said(self) -> list[str]:
        """Return what the caller has begun to say, in order."""
        return [moment.text for moment in self.timeline if moment.kind == "said"]

    @property
    def heard_texts(self) -> list[str]:
        """Return what the caller has heard, whole or cut, in order."""
        return [heard.text for heard in self.heard]

    @property
    def played_bytes(self) -> int:
        """Return how much agent audio was really played."""
        return self._playout.played_bytes if self._playout is not None else 0

    @property
    def cleared_bytes(self) -> int:
        """Return how much agent audio `clear` threw away."""
        return self._playout.cleared_bytes if self._playout is not None else 0

    @property
    def pending_marks(self) -> list[str]:
        """Return the marks not yet echoed."""
        return self._line().pending_marks

    # -- to the server ------------------------------------------------------------------------

    def _line(self) -> Playout:
        assert self._playout is not None, "opened() was not called"
        return self._playout

    def _put(self, message: dict[str, Any]) -> None:
        if self.profile.reordered_keys:
            text = json.dumps(dict(reversed(message.items())), indent=1)
        else:
            text = json.dumps(message, separators=(",", ":"))
        self._out.append(Send(text))

    def _event(self, kind: str, body: dict[str, Any]) -> None:
        self._sequence += 1
        number = self._sequence
        counted = number if self.profile.mutant == "number_counters" else str(number)
        head = {"event": kind, "sequenceNumber": counted, "streamSid": self.stream_sid}
        self._put({**head, kind: body})

    def _start_message(self) -> dict[str, Any]:
        return {
            "streamSid": self.stream_sid,
            "accountSid": self.account_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "customParameters": dict(self.custom_parameters),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }

    def _frame_ms(self) -> int:
        return self.profile.frame_bytes // BYTES_PER_MS

    def _frame_due_ms(self) -> int:
        # An absolute clock: a frame is sent when the audio in it has been captured.
        return self._start_ms + (self._frames + 1) * self._frame_ms()

    def _send_frame(self) -> None:
        if self.ended_by is not None:
            return
        number = self._frames
        self._frames += 1
        size = self.profile.frame_bytes
        audio = bytes(self._speech[:size])
        del self._speech[:size]
        self._voiced_frames += bool(audio)
        if self.tap is not None:
            self.tap("inbound", audio.ljust(size, bytes([SILENCE])))
        gap = self.profile.gap_frames
        lost = gap is not None and gap[0] <= number < gap[0] + gap[1]
        if self.profile.mutant == "drop_frame" and audio and self._voiced_frames == _MUTANT_FRAME:
            lost = True
        if not lost:
            self._chunks += 1
            body = {
                "track": "inbound",
                "chunk": str(self._chunks),
                "timestamp": str(number * self._frame_ms()),
                "payload": base64.b64encode(audio.ljust(size, bytes([SILENCE]))).decode(),
            }
            if self.profile.mutant == "undeclared_key":
                body["codec"] = "mulaw"
            self._event("media", body)
        if self._saying is not None and not self._speech:
            self._saying = None
            self._mind().done(self._ear())
        age_ms = self._now_ms - self._start_ms
        if self.profile.drop_after_ms is not None and age_ms >= self.profile.drop_after_ms:
            self._drop()
        elif age_ms >= self.profile.max_call_ms:
            self._end("script", self._now_ms)

    def _mind(self) -> Caller:
        assert self._caller is not None, "opened() was not called"
        return self._caller

    def _ear(self) -> Ear:
        line = self._line()
        return Ear(
            now_ms=self._now_ms,
            utterances=[heard.text for heard in self.heard],
            silent_ms=line.silent_ms(self._now_ms),
            played_ms=line.played_bytes // BYTES_PER_MS,
            mark_pending=bool(line.pending_marks or self._late_marks),
        )

    def _act(self) -> None:
        mind = self._mind()
        if mind.finished or self._saying is not None:
            return
        step = mind.due(self._ear())
        if step is None:
            return
        if step.action == "say":
            self._saying = step.text
            self._speech += encode(step.text)
            self._note("said", step.text)
        elif step.action == "dtmf":
            for digit in step.text:
                self._event("dtmf", {"track": "inbound_track", "digit": digit})
                self._note("dtmf", digit)
            mind.done(self._ear())
        else:
            mind.done(self._ear())
            self.other_twiml = step.text if step.action == "rest_twiml" else None
            self._end("caller" if step.action == "hang_up" else "rest", self._now_ms)

    def _drop(self) -> None:
        """Lose the line to the server: no `stop`, no close frame, and nobody has hung up."""
        self.ended_by = "script"
        self._flush()
        self._note("close")
        self._out.append(Close(1006))

    def _end(self, ended_by: EndedBy, now_ms: int) -> None:
        if self.ended_by is not None:
            return
        self._now_ms = max(self._now_ms, now_ms)
        self.ended_by = ended_by
        self._flush()
        if self.profile.close_without_stop:
            self._note("close")
            self._out.append(Close(1006))
            return
        for _ in range(2 if self.profile.stop_twice else 1):
            self._event("stop", {"accountSid": self.account_sid, "callSid": self.call_sid})
        self._note("stop")
        self._out.append(Close(1000))

    def _flush(self) -> None:
        for heard in self._decoder.flush():
            self._note_heard(heard)

    # -- from the server ----------------------------------------------------------------------

    def _read_backlog(self) -> None:
        if self._unread and self.reads(self._now_ms):
            frames, self._unread = self._unread, []
            for frame in frames:
                self._handle(frame)

    def _handle(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self._warn(31950, "binary frame")
            return
        if self.profile.unidirectional:
            self._warn(31924, "a message on a unidirectional stream")
            return
        try:
            message = json.loads(frame)
        except ValueError:
            self._warn(31951, "not JSON")
            return
        fault = self._fault(message)
        if fault is not None:
            self._warn(31951, fault)
            return
        line = self._line()
        if message["event"] == "media":
            audio = base64.b64decode(message["media"]["payload"])
            self.received_media_bytes += len(audio)
            line.add_audio(audio)
            if self.far is not None:
                self.far(audio)
        elif message["event"] == "mark":
            name = message["mark"]["name"]
            if self.profile.mutant == "mark_early":
                self._echo([MarkEcho(name, self._now_ms, False)])
            else:
                self._echo(line.add_mark(name))
        else:
            self._note("clear", f"{line.queued_ms} ms")
            if self.far is not None:
                self.far(None)
            self._echo(line.clear())

    def _fault(self, message: object) -> str | None:
        """Return what is wrong with a message by twilio.md 3.2, or None."""
        if not isinstance(message, dict):
            return "not an object"
        kind = message.get("event")
        keys = _OUTBOUND_KEYS.get(kind) if isinstance(kind, str) else None
        if keys is None:
            return f"unknown event {kind!r}"
        if set(message) != keys:
            return f"{kind}: keys {sorted(set(message) ^ keys)} are missing or extra"
        if message["streamSid"] != self.stream_sid:
            return f"{kind}: wrong streamSid"
        if kind == "mark":
            mark = message["mark"]
            if not isinstance(mark, dict) or set(mark) != {"name"}:
                return "mark: needs exactly mark.name"
            if not isinstance(mark["name"], str) or not mark["name"]:
                return "mark: name is not a text"
        if kind == "media":
            media = message["media"]
            if not isinstance(media, dict) or set(media) != {"payload"}:
                return "media: needs exactly media.payload"
            return _payload_fault(media["payload"])
        return None

    def _warn(self, code: int, text: str) -> None:
        self.violations.append(text)
        if all(warned.code != code for warned in self.warnings):  # once per stream
            self.warnings.append(Warned(code, text, self._now_ms))
            self._note("warning", f"{code} {text}")

    # -- time and ear -------------------------------------------------------------------------

    def _advance(self, now_ms: int) -> None:
        if now_ms > self._now_ms:
            self._now_ms = now_ms
        if self._playout is not None:
            self._echo(self._playout.advance(self._now_ms))

    def _echo(self, echoes: list[MarkEcho]) -> None:
        for echo in echoes:
            self.echoes.append(echo)
            if self.profile.late_mark_ms and not echo.cleared:
                due_ms = self._now_ms + self.profile.late_mark_ms
                heapq.heappush(self._late_marks, (due_ms, len(self.echoes), echo.name))
            else:
                self._send_echo(echo.name)

    def _send_echo(self, name: str) -> None:
        self._event("mark", {"name": name})
        self._note("mark", name)

    def _hear(self, audio: bytes) -> None:
        if self.tap is not None:
            self.tap("outbound", audio)
        for heard in self._decoder.feed(audio):
            self._note_heard(heard)

    def _note_heard(self, heard: Heard) -> None:
        self.heard.append(heard)
        at_ms = self._start_ms + heard.end_byte // BYTES_PER_MS
        self.timeline.append(Moment(at_ms, "heard" if heard.complete else "cut", heard.text))

    def _note(
        self,
        kind: Literal["said", "dtmf", "mark", "clear", "stop", "close", "warning"],
        text: str = "",
    ) -> None:
        self.timeline.append(Moment(self._now_ms, kind, text))


def _payload_fault(payload: object) -> str | None:
    try:
        audio = base64.b64decode(payload, validate=True) if isinstance(payload, str) else b""
    except binascii.Error:
        audio = b""
    return None if audio else "media: payload is not base64 audio"
