"""One conversation over several sessions of the model: lost and replaced, or replaced in time.

A new session starts empty (openai_realtime.md 0 fact 8, 7.4). Owns what of the old one is put
down, what the new one is told, and what is asked for after the gap; when a session is dialled or
given up is the business of ``sessions``.
"""

from __future__ import annotations

from typing import Any

from calls.bridge.caller_audio import CallerAudio
from calls.bridge.core import GREETING_ITEM_ID, POLICY_ITEM_ID, text_of
from calls.bridge.effects import CloseModel, DispatchTool, DispatchTools
from calls.bridge.memory import item_texts, newest, remembered
from calls.bridge.opening import Opening
from calls.bridge.plan import CallPlan, HistoryItem
from calls.bridge.recent_audio import RecentAudio
from calls.bridge.responses import Current, Request
from calls.bridge.sessions import Sessions
from calls.bridge.states import Realtime, Response
from calls.bridge.transcript import Spoken
from calls.bridge.turns import TURNS_EVENT_ID
from calls.wire import realtime
from calls.wire.twilio_media import MULAW_BYTES_PER_MS

# Below this gap nothing is said about it.
UNNOTICED_MS = 1_000
# Nobody speaks faster; text runs ahead of audio (4), so a turn that was cut claims no more.
FASTEST_CHARACTER_MS = 50

_CONTINUE = (
    "The line to you broke while you were speaking. The caller has heard your last words only as "
    "far as they are written in this conversation. Go on from exactly there. Do not repeat what "
    "was heard, do not greet again. Keep to the language spoken so far."
)
_SORRY = (
    "The connection was bad for a moment. Begin with one short apology for it, then go on where "
    "the conversation stopped; do not greet again. Keep to the language spoken so far."
)


def number_of(event: dict[str, Any], key: str) -> int | None:
    """Return a time in ms of an event, None where there is no sensible one."""
    value = event.get(key)
    sensible = isinstance(value, int) and 0 <= value < 10**9
    return value if sensible else None


def _is_said(current: Current) -> bool:
    """Tell whether a response had our own words to say, and nothing else to do."""
    request = current.request
    return current.has_audio and request is not None and not request.tools_allowed


class Continuity(Sessions):
    """What a conversation is when its session changes."""

    _caller: CallerAudio
    _opening: Opening

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self.recent = RecentAudio()
        self._cut: Spoken | None = None
        self._cut_purpose = ""
        # What this session knows only as text: item id of the turn -> id of the text item.
        self._as_text: dict[str, str] = {}
        # Turns of the caller of which there is only the audio: item id -> base64.
        self._as_audio: dict[str, str] = {}
        self._earlier_calls: set[str] = set()
        self._earlier_items: set[str] = set()

    # ---- putting down -------------------------------------------------------------------------

    def _put_down(self, now_ms: int) -> None:
        """Keep what the lost session owed: requests wait, speech ends where its audio ends."""
        self._caller_speaking = False
        self._server_turns = False
        self._put_turns_down()
        self._mcp_lost(now_ms)
        self._last_error_code = ""
        self._unconfirmed_outputs.clear()
        self.responses.unblock()
        owes_answer = self._unanswered_ms is not None
        self._unanswered_ms = None
        cancelled = self.responses.machine.now is Response.CANCELLING
        current = self.responses.give_up()
        retry, self._retry_request = self._retry_request, None
        if self._retry_at_ms is not None and retry is not None:
            self.responses.ask(retry, first=True)
        self._retry_at_ms = None
        if not self._opening.begun:
            return
        if self._opening.ears_open:
            told, again = self.recent.take()
            self._as_audio.update(told)
            self._caller.take_back(again)
            self._opening.ears_open = False
        item_id = self.playback.unfinished_item if self.playback is not None else ""
        self._cut = None
        if current is not None and current.has_audio and item_id:
            self._stop_speech(item_id, now_ms)
            self._cut_purpose = current.purpose
        elif current is not None and (cancelled or _is_said(current)):
            if current.purpose == "greeting":
                self._greeting_done()
            if owes_answer and not self.recent.comes_again:
                self.responses.ask(Request("turn", follow_up=True))
        elif current is not None and current.request is not None:
            self.responses.ask(current.request, first=True)
        elif (current is not None and not current.has_output) or owes_answer:
            # With the caller's words the new session also gets the turn, and answers by itself.
            if not self.recent.comes_again:
                self.responses.ask(Request("turn", follow_up=True))

    def _stop_speech(self, item_id: str, now_ms: int) -> None:
        """Let what has come of an item be heard as all of it."""
        if self.playback is None:
            return
        turn = self.transcript.get(item_id)
        if turn is not None:
            heard_ms = self.playback.received_bytes(item_id) // MULAW_BYTES_PER_MS
            self.transcript.stop_at(turn, heard_ms // FASTEST_CHARACTER_MS)
            self._cut = turn
        self.playback.complete(item_id, now_ms)

    # ---- taking over --------------------------------------------------------------------------

    def _take_over(self, now_ms: int) -> bool:
        """Let a ready session carry the call, at once in a gap, else in a quiet moment."""
        standby = self._next
        if standby is None or standby.machine.now is not Realtime.READY or self._failed:
            return False
        away_since_ms = self._away_since_ms
        if away_since_ms is None:
            if not self._is_quiet() and not self._is_overdue(now_ms):
                return False
            self.count("rollovers")
            self._put_down(now_ms)
            self.effects.append(CloseModel(self.session))
        self._take_turns_up(now_ms)
        gap_ms = 0 if away_since_ms is None else now_ms - away_since_ms
        longest_ms = self.counters.get("model_gap_ms", 0)
        self.counters["model_gap_ms"] = max(longest_ms, gap_ms)
        self.to_realtime.clear()
        self.session, self.realtime, self._next = standby.number, standby.machine, None
        self._session_opened_ms = standby.opened_ms
        self._away_since_ms = None
        self._dial_at_ms = None
        detection = self.plan.session.turn_detection
        self._server_turns = not standby.held and detection.create_response
        if standby.held and not self._is_held():
            # The opening has ended since it was dialled.
            self._send(realtime.turn_detection_update(detection, self.plan.dialect, TURNS_EVENT_ID))
        if self._opening.begun:
            self._tell_all(now_ms)
            self._ask_after(gap_ms)
        self._dial_when_due(now_ms)  # it may have waited until it was old itself
        return True

    def _is_quiet(self) -> bool:
        return (
            self._opening_over()
            and self._ending is None
            and not self._caller_speaking
            and self._unanswered_ms is None
            and self._retry_at_ms is None
            and not self.recent.unknown
            and not self._owed
            and not self.toolbox.pending
            and self.responses.idle
            and self.playback is not None
            and self.playback.silent
        )

    def _is_overdue(self, now_ms: int) -> bool:
        opened_ms = self._session_opened_ms
        hard_ms = self.plan.watchdog.session_hard_ms
        return opened_ms is not None and now_ms >= opened_ms + hard_ms

    def _tell_all(self, now_ms: int) -> None:
        """Give the new session the conversation so far, of ours only what the caller gets to hear.

        What is still being played counts as heard; if it is cut off, the text is corrected.
        """
        self._as_text.clear()
        told = remembered(
            self.transcript,
            self.toolbox,
            without=frozenset({POLICY_ITEM_ID}),
            audio=self._as_audio,
            since=self._told_from,
            told=self._told_calls,
        )
        before = [item for item in self._opening.seeds() if not item.pending]
        for item in newest([*before, *told]):
            seed_id = ""
            if item.role == "assistant" and self._is_playing(item.item_id, now_ms):
                seed_id = self._as_text[item.item_id] = self._id(f"said-{self.session}")
            self._tell(item, seed_id)
        self._earlier_calls = {call.tool_call_id for call in self.toolbox.calls()}
        self._earlier_items = {turn.item_id for turn in self.transcript.turns()}

    def _tell_greeting(self, now_ms: int) -> None:
        """Make the model know what a clip greets with; if it is cut off, the text is corrected."""
        turn = self.transcript.get(GREETING_ITEM_ID)
        if self.plan.greeting.clip is None or turn is None or not turn.text:
            return
        seed_id = ""
        if self._is_playing(GREETING_ITEM_ID, now_ms):
            seed_id = self._as_text[GREETING_ITEM_ID] = self._id(f"said-{self.session}")
        self._tell(HistoryItem("assistant", turn.text), seed_id)

    def _tell(self, item: HistoryItem, item_id: str = "") -> None:
        for text in item_texts(item, self._id, self.plan.dialect, item_id=item_id):
            self._send(text)

    def _is_playing(self, item_id: str, now_ms: int) -> bool:
        if self.playback is None or not item_id:
            return False
        heard_bytes = self.playback.heard_bytes(item_id, now_ms)
        return heard_bytes < self.playback.received_bytes(item_id)

    def _ask_after(self, gap_ms: int) -> None:
        """Go on with what was cut, once; excuse a gap that was noticed."""
        noticed = gap_ms >= UNNOTICED_MS
        cut, self._cut = self._cut, None
        if cut is not None and (not self.recent.comes_again or self._cut_purpose == "greeting"):
            notes = f"{_SORRY} {_CONTINUE}" if noticed else _CONTINUE
            request = Request(self._cut_purpose, instructions=self._with_instructions(notes))
            self.responses.ask(request, first=True)
        elif noticed and self._opening_over() and not self.recent.comes_again:
            if all(waiting.follow_up for waiting in self.responses.waiting):
                self.responses.forget()
                request = Request("resume", instructions=self._with_instructions(_SORRY))
                self.responses.ask(request)

    def _with_instructions(self, note: str) -> str:
        # Instructions of a response replace the session's for that response (5.6).
        return f"{self.plan.session.instructions}\n\n{note}".strip()

    def _take_up(self, item: HistoryItem, now_ms: int) -> None:
        """Run again a call that was cut off by the end of an earlier stream."""
        call = self.toolbox.begin(
            item.tool_call_id,
            item.name,
            item.arguments_json,
            "earlier",
            now_ms,
            self._record_ms(now_ms),
        )
        if call is not None:
            self._earlier_calls.add(item.tool_call_id)
            self.toolbox.running(call)
            again = DispatchTool(item.tool_call_id, item.name, item.arguments_json)
            self.effects.append(DispatchTools((again,)))

    # ---- what an earlier session knew under another id ----------------------------------------

    def _shown_call_id(self, tool_call_id: str) -> str:
        known = tool_call_id in self._earlier_calls
        return realtime.legal_id(tool_call_id) if known else tool_call_id

    def _forget_at_model(self, item_id: str, heard_ms: int) -> None:
        seed_id = self._as_text.pop(item_id, "")
        if not (seed_id or item_id in self._earlier_items or item_id.startswith("clip-")):
            super()._forget_at_model(item_id, heard_ms)
            return
        turn = self.transcript.get(item_id)
        if not seed_id or turn is None:
            return
        self._send(realtime.item_delete(self._id("del"), seed_id))
        if turn.text:
            self._tell(HistoryItem("assistant", turn.text))

    def _on_speech_started(self, event: dict[str, Any], now_ms: int) -> None:
        item_id = text_of(event, "item_id")
        if item_id:
            start_ms = number_of(event, "audio_start_ms")
            earlier_id = self.recent.heard_before(start_ms)
            if earlier_id:
                self.transcript.rename(earlier_id, item_id)
                self._turn_heard_again(earlier_id, item_id)
            self.recent.begins(item_id, start_ms)
        super()._on_speech_started(event, now_ms)

    def _on_speech_stopped(self, event: dict[str, Any], now_ms: int) -> None:
        self.recent.stops(text_of(event, "item_id"), number_of(event, "audio_end_ms"))
        super()._on_speech_stopped(event, now_ms)

    def _on_caller_text(self, event: dict[str, Any], now_ms: int) -> None:
        self.recent.known(text_of(event, "item_id"))
        super()._on_caller_text(event, now_ms)

    def _on_response_created(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_response_created(event, now_ms)
        current = self.responses.current
        if current is not None and current.purpose != "greeting":
            self.recent.asked()

    def _on_response_done(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_response_done(event, now_ms)
        if text_of(event, "response", "status") == "completed":
            self.recent.answered()
