"""What every part of the bridge shares: the plan, the machines, the outputs, the way to end.

Lowest of the bridge's layers (``core`` < ``speech`` < ``turns`` < ``own_tools`` < ``tool_calls`` <
``mcp_calls`` < ``answers`` < ``dead_air`` < ``pauses`` < ``model`` < ``sessions`` <
``continuity`` < ``handover`` < ``first_words`` < ``controls`` < ``machine``): each adds one
subject to the same call. Nothing here reads an event.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calls.bridge.effects import Effect
from calls.bridge.news import News
from calls.bridge.plan import CallPlan, Clip
from calls.bridge.playback import Playback
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request, Responses
from calls.bridge.second_tries import SecondTries
from calls.bridge.states import PHASE, REALTIME, LocalBridgeError, Machine, Phase, Realtime, State
from calls.bridge.toolbox import Toolbox
from calls.bridge.transcript import Spoken, Transcript
from calls.wire.twilio_media import StreamWriter, TwilioWireError, payload_bytes

POLICY_ITEM_ID = "clip-policy"
GREETING_ITEM_ID = "clip-greeting"
LEAD_IN_ITEM_ID = "clip-lead-in"


def text_of(event: Mapping[str, Any], *path: str) -> str:
    """Return the text at a path, '' where anything else is found."""
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _check_clip(clip: Clip | None) -> None:
    """Raise LocalBridgeError for a clip that could never be played to its end."""
    try:
        sizes = [payload_bytes(payload) for payload in clip.payloads] if clip else [1]
    except TwilioWireError as error:
        raise LocalBridgeError("a clip of the plan is not base64") from error
    if not sizes:
        raise LocalBridgeError("a clip of the plan is empty")


@dataclass(slots=True)
class Ending:
    """A hang-up that waits until what is being said has been heard.

    With ``dial_to`` the call goes on to that number instead. ``left``: a server was asked to see to
    that, until the deadline.
    """

    cause: EndCause
    deadline_ms: int
    abortable: bool
    dial_to: str = ""
    left: bool = False


class Core(ABC):
    """State and helpers of one stream of a call."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        for clip in (plan.policy_line, plan.greeting.clip, plan.apology, plan.filler.clip):
            _check_clip(clip)
        self.plan = plan
        self.to_twilio: list[str] = []
        self.to_realtime: list[str] = []
        self.effects: list[Effect] = []
        self.counters: dict[str, int] = {}
        self.notes: dict[str, str] = {}
        self.rate_limits: dict[str, dict[str, int]] = {}
        self.phase: Machine[Phase] = Machine(Phase.OPEN, PHASE)
        self.realtime: Machine[Realtime] = Machine(Realtime.DIALING, REALTIME)
        self.responses = Responses()
        self.playback: Playback | None = None
        self.news = News(plan.tells, self.effects.append)
        self.transcript = Transcript(plan.first_ordinal, self.effects.append, self.news)
        self.toolbox = Toolbox(plan.tools, plan.limits.max_tool_calls, self.effects.append)
        self.spend_microusd = 0
        # What of this stream is in the plan's history already, because of a handoff: turns before
        # this one, and these calls.
        self._told_from = plan.first_ordinal
        self._told_calls: frozenset[str] = frozenset()
        self._born_ms = now_ms
        self.stream_start_ms = now_ms
        self._next_id = 0
        self._config_sent = False
        self._server_turns = False
        self._caller_speaking = False
        # Insertion-ordered, so that a replay asks in the same order.
        self._unconfirmed_outputs: dict[str, None] = {}
        self._owed: dict[str, None] = {}
        self._speech_end_ms: int | None = None
        self._unanswered_ms: int | None = None
        self.tries = SecondTries()
        self._retry_at_ms: int | None = None
        self._retry_request: Request | None = None
        self._continued = 0
        self._failed = False
        self._apology_due = False
        self._model_lost: EndCause | None = None
        # When patience with a model that is being dialled ends.
        self._model_due_ms = now_ms + plan.watchdog.ready_ms
        self._last_error_code = ""
        self._ending: Ending | None = None
        self._end_tool_call_id = ""
        self._end_cause: EndCause | None = None
        self._call_over = True
        self._close_sent = False
        self._closing_deadline_ms = 0
        self.first_word_ms: int | None = None
        self.latencies_ms: list[int] = []

    def count(self, name: str, by: int = 1) -> None:
        """Raise a counter that the call's summary shows."""
        self.counters[name] = self.counters.get(name, 0) + by

    def metrics_note(self, name: str, text: str) -> None:
        """Keep one word of explanation for the call's summary."""
        self.notes[name] = text

    def _advance(self, machine: Machine[State], target: State) -> bool:
        """Take a transition that the peer asked for, or count its protocol error."""
        if machine.may(target):
            machine.to(target)
            return True
        self.count("protocol_errors")
        return False

    def _id(self, prefix: str) -> str:
        self._next_id += 1
        return f"{prefix}-{self._next_id}"

    def _send(self, text: str) -> None:
        if self.realtime.now is not Realtime.CLOSED:
            self.to_realtime.append(text)

    def _record_ms(self, now_ms: int) -> int:
        return self.plan.elapsed_ms + max(0, now_ms - self.stream_start_ms)

    def _stream_started(self, stream_sid: str, now_ms: int) -> None:
        self.stream_start_ms = now_ms
        self.playback = Playback(StreamWriter(stream_sid), self.to_twilio.append)

    def _fail(self, cause: EndCause, now_ms: int) -> None:
        """Give up on the model: apologise with a clip of ours, then hang up."""
        if self._failed:
            return
        self._failed = True
        # A call that is ending already ends as it was going to.
        self._apology_due = self._ending is None
        self._retry_at_ms = None
        self._unanswered_ms = None
        self.responses.forget()
        self.responses.give_up()
        for invocation in self.toolbox.pending:
            self.toolbox.finish(invocation.tool_call_id, "error", "The model was lost.", now_ms)
        if self._ending is None:
            self._end_when_heard(cause, now_ms, abortable=False)
        self._ending_is_final()

    def _ending_is_final(self) -> None:
        if self._ending is not None:
            self._ending.abortable = False

    def _end_when_heard(
        self, cause: EndCause, now_ms: int, *, abortable: bool, dial_to: str = ""
    ) -> None:
        ahead_ms = self.playback.ahead_ms if self.playback is not None else 0
        deadline_ms = now_ms + ahead_ms + self.plan.watchdog.goodbye_ms
        if self._ending is None or self._ending.abortable:
            self._ending = Ending(cause, deadline_ms, abortable, dial_to)
        self.responses.forget()

    def _play_clip(
        self, item_id: str, clip: Clip | None, now_ms: int, *, interruptible: bool = False
    ) -> None:
        if clip is None or self.playback is None:
            return
        turn = self._assistant_begins(item_id, now_ms)
        self.transcript.say(turn, clip.text)
        self.transcript.sounds(turn)
        self._note_first_word(now_ms)
        for payload in clip.payloads:
            size = payload_bytes(payload)
            self.count("clip_bytes", size)
            self.playback.add(item_id, payload, size, now_ms, interruptible=interruptible)
        self.playback.complete(item_id, now_ms)

    def _assistant_begins(self, item_id: str, now_ms: int) -> Spoken:
        turn = self.transcript.get(item_id)
        if turn is not None:
            return turn
        wait_ms = self.playback.wait_ms(now_ms) if self.playback is not None else 0
        return self.transcript.begin(item_id, "assistant", self._record_ms(now_ms) + wait_ms)

    def _note_first_word(self, now_ms: int) -> None:
        """Note when the words that are sent next are heard, behind what is ahead of them."""
        if self.first_word_ms is None and self.playback is not None:
            since_ms = now_ms - self.stream_start_ms
            self.first_word_ms = since_ms + self.playback.wait_ms(now_ms)

    @abstractmethod
    def _opening_over(self) -> bool:
        """Tell whether everybody may speak."""

    @abstractmethod
    def _ears_open(self) -> bool:
        """Tell whether the model has been told all that comes before the caller's words."""

    @abstractmethod
    def _greeting_done(self) -> None:
        """Note that the greeting has been generated, or given up."""
