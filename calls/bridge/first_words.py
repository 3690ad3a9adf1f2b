"""How a call begins: silence ahead, the policy line, the greeting, then the ears open (ADR 0015).

Owns the rules that carry out what ``opening`` keeps book of. What was rendered before the call is
played at once; the model is told of it before it hears the caller. When turn taking is given back
is decided here, how turns are taken is not.
"""

from __future__ import annotations

from calls.bridge import gaps
from calls.bridge.core import GREETING_ITEM_ID, LEAD_IN_ITEM_ID, POLICY_ITEM_ID
from calls.bridge.handover import Handovers
from calls.bridge.memory import newest
from calls.bridge.states import Realtime
from calls.wire import realtime, twilio_media


class FirstWords(Handovers):
    """The rules of the opening, in the order in which they apply."""

    def _lead_in(self, now_ms: int) -> None:
        """Let the way to the caller swallow silence instead of the first word (T18b)."""
        if self.playback is None:
            return
        may_be_cut = not self.plan.holds_the_floor
        for payload, size in gaps.silence(self.plan.lead_in_ms):
            self.count("clip_bytes", size)
            self.playback.add(LEAD_IN_ITEM_ID, payload, size, now_ms, interruptible=may_be_cut)
        self.playback.complete(LEAD_IN_ITEM_ID, now_ms)

    def _play_policy_line(self, now_ms: int) -> bool:
        opening = self._opening
        if not opening.line_due or self._failed:
            return False
        opening.line_due = False
        self._play_clip(POLICY_ITEM_ID, self.plan.policy_line, now_ms)
        return True

    def _play_greeting(self, now_ms: int) -> bool:
        """Greet by a clip behind the policy line; the model need not be there yet."""
        opening, greeting = self._opening, self.plan.greeting
        if not opening.clip_due or self._failed or self._ending is not None:
            return False
        opening.clip_due = False
        opening.greeting_done = True
        may_be_cut = opening.greeting_interruptible
        self._play_clip(GREETING_ITEM_ID, greeting.clip, now_ms, interruptible=may_be_cut)
        return True

    def _begin_conversation(self, now_ms: int) -> bool:
        if self.realtime.now is not Realtime.READY or self._opening.begun or self._ending:
            return False
        self._opening.begun = True
        for item in newest(self._opening.seeds()):
            self._tell(item)
            if item.pending:
                self._take_up(item, now_ms)
        self._tell_greeting(now_ms)
        request = self._opening.first_request()
        if request is not None:
            self.responses.ask(request)
        return True

    def _open_ears(self) -> bool:
        """Let the caller be heard once configuration, seeds and greeting are on their way.

        Audio sent before ``session.updated`` would be read as 24 kHz PCM (5.6), and history
        inserted after the caller has begun to speak would race a response.
        """
        if self._opening.ears_open or not self._opening.begun or self.responses.queue_waits:
            return False
        if self.realtime.now is not Realtime.READY:
            return False
        self._opening.ears_open = True
        self.recent.burst(self._caller.kept_bytes)
        for payload in self._caller.release():
            self.recent.note(payload, twilio_media.payload_bytes(payload))
            self.to_realtime.append(realtime.append(payload))
        return True

    def _end_opening(self) -> bool:
        opening = self._opening
        if opening.over or not opening.begun or self.playback is None:
            return False
        if opening.line_playing or not (opening.greeting_done or opening.greeting_interruptible):
            return False
        if not opening.greeting_interruptible and not self.playback.silent:
            return False
        opening.over = True
        if opening.held:
            self._restore_turns()
        return True

    def _opening_over(self) -> bool:
        return self._opening.over

    def _ears_open(self) -> bool:
        return self._opening.ears_open

    def _greeting_done(self) -> None:
        self._opening.greeting_done = True
