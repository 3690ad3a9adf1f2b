"""The trunk of a Realtime stand-in: session, outgoing events, ids, errors, planned actions. It must
not interpret client events, hear audio or decide responses: the classes above it do.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from calls.standins.peer import Close, Output, Send
from calls.standins.realtime_beta import server_event_to_beta
from calls.standins.realtime_brain import Brain, RuleBrain
from calls.standins.realtime_input import InputBuffer
from calls.standins.realtime_items import Conversation
from calls.standins.realtime_profile import LOSE_EVENTS, RealtimeProfile
from calls.standins.timers import Timers
from calls.standins.tones import Heard

# What an `error` is called where it is not the client's fault (openai_realtime.md 7.1).
_ERROR_TYPES = {
    "server_error": "server_error",
    "insufficient_quota": "insufficient_quota",
    "rate_limit_exceeded": "tokens",
    "inference_rate_limit_exceeded": "tokens",
}


def error_type(code: str) -> str:
    """Return the `type` that stands beside an error code."""
    return _ERROR_TYPES.get(code, "invalid_request_error")


class RealtimeCore:
    """State and output of one Realtime session. `id_seed` keeps ids of several sessions apart."""

    def __init__(
        self,
        profile: RealtimeProfile | None = None,
        brain: Brain | None = None,
        *,
        id_seed: str = "0",
        epoch_seconds: int = 1_800_000_000,
    ) -> None:
        self.profile = profile or RealtimeProfile()
        self.brain: Brain = brain or RuleBrain()
        self.rng = random.Random(self.profile.seed)  # noqa: S311 - reproducible, not secret
        self.session: dict[str, Any] = {}
        self.conversation = Conversation()
        self.errors: list[dict[str, Any]] = []
        self.closed = False
        self._id_seed, self._epoch_seconds = id_seed, epoch_seconds
        self._counter = 0
        self._now_ms = 0
        self._timers = Timers()
        self._out: list[Output] = []
        self._voice_used = False
        self._input = InputBuffer(self.profile.vad_onset_ms)
        self._junk = self.profile.junk
        self._until_lost = self.profile.lose_after
        self._until_error = self.profile.error_after

    @property
    def heard(self) -> list[Heard]:
        """Return every utterance found in the caller's audio, whole or cut."""
        return self._input.heard

    def close(self, code: int, reason: str = "") -> None:
        """End the session from the server's side."""
        self._out.append(Close(code, reason))
        self.closed = True
        self._timers.clear()

    def _send_created(self) -> None:
        self.emit("session.created", session=self.session)

    def lose(self, code: int) -> None:
        """Lose the socket now: 1006 cuts the line, 1001 is the end of a session's time."""
        if self.closed:
            return
        if code == 1001:
            self._expire()
        else:
            self.close(code, "" if code == 1006 else "internal error")

    def _point_reached(self, kind: str, fields: dict[str, Any]) -> None:
        """Do what the profile has planned for this point, after the event itself was sent."""
        if kind == "conversation.item.added":
            if fields["item"].get("type") != "function_call_output":
                return
        point = LOSE_EVENTS[kind]
        if self.profile.error_code is not None and self.profile.error_at == point:
            self._until_error -= 1
            if self._until_error == -1:
                self.break_down()
        if self.profile.lose_at == point:
            self._until_lost -= 1
            if self._until_lost < 0:
                # The event's own consequences were never sent.
                self.lose(self.profile.lose_code)

    def break_down(self) -> None:
        """Send the profile's `error`, and its close if it has one."""
        if self.closed or self.profile.error_code is None:
            return
        code = self.profile.error_code
        self._error(code, self._message_of(code), None, None)
        if self.profile.error_close is not None:
            self.close(self.profile.error_close, f"{error_type(code)}.{code}")

    def _message_of(self, code: str) -> str:
        wait_ms = self.profile.retry_in_ms
        hint = f" Please try again in {wait_ms / 1000:g}s." if wait_ms else ""
        return f"The profile of this stand-in asks for {code}.{hint}"

    def _expire(self) -> None:
        minutes = 60 if self.profile.lose_at else self.profile.max_session_ms // 60_000
        text = f"Your session hit the maximum duration of {minutes} minutes."
        self._error("session_expired", text, None, None)
        self.close(1001, text)

    def emit(self, kind: str, **fields: Any) -> None:
        """Send one server event in the connection's dialect."""
        if self.closed:
            return
        if self.profile.mutant == "undeclared_key" and kind == "response.output_audio.delta":
            fields["undeclared"] = True
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        shown = server_event_to_beta(event) if self.profile.dialect == "beta" else event
        if shown is not None:
            self._out.append(Send(json.dumps(shown, separators=(",", ":"))))
        if kind in LOSE_EVENTS:
            self._point_reached(kind, fields)

    def new_id(self, prefix: str) -> str:
        """Return the next id; the same inputs give the same ids."""
        self._counter += 1
        return f"{prefix}_{self._id_seed}{self._counter:06d}"

    def cut(self, code: int) -> None:
        """Close in the middle of a response (profile.close_mid_response)."""
        self.close(code, "internal error" if code == 1011 else "")

    def send_junk(self) -> None:
        """Send what no client expects, once (profile.junk)."""
        junk, self._junk = self._junk, None
        if junk == "json":
            self._out.append(Send('{"type":"response.output_audio.delta","delta":'))
        elif junk == "unknown_event":
            self._out.append(Send('{"type":"response.thought.delta","event_id":"event_x"}'))
        elif junk == "binary":
            self._out.append(Send(b"\x00\x01"))

    def _error(self, code: str, message: str, param: str | None, event_id: object) -> None:
        error = {
            "type": error_type(code),
            # The server's own failures come without a code (openai_realtime.md 7.1).
            "code": None if code == "server_error" else code,
            "message": message,
            "param": param,
            "event_id": event_id if isinstance(event_id, str) else None,
        }
        self.errors.append(error)
        self.emit("error", error=error)

    def _at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._timers.at(self._now_ms + delay_ms, action)
