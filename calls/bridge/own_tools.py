"""Tools that the bridge carries out itself: ending the call, handing it over, pressing keys.

Both wait until what is being said has been heard; a goodbye can be taken back by the caller. When
such a call runs is the business of ``tool_calls``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request
from calls.bridge.tool_talk import start_message
from calls.bridge.toolbox import Invocation
from calls.bridge.touch_tones import keys_of, touch_tones
from calls.bridge.turns import Turns
from calls.wire import realtime
from tools.messages import arguments_of
from tools.spec import KEY_ARGUMENTS, Outcome, ToolSpec

OWN_KINDS: Final = frozenset({"endCall", "transferCall", "dtmf"})
KEYS_ITEM: Final = "clip-keys"


def _own_words(spec: ToolSpec, call: Invocation) -> str | None:
    """Return what the tool itself says at its start: '' is silence, None that it says nothing."""
    start = start_message(spec, call)
    return None if start is None or start.filler else start.text


class OwnTools(Turns):
    """The end of a call, its transfer and keys, as the model asks for them."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        # Keys on their way to the other end: item of ours -> function call.
        self._pressed: dict[str, str] = {}

    @abstractmethod
    def _tool_result(self, tool_call_id: str, outcome: Outcome, output: str, now_ms: int) -> None:
        """Answer a function call."""

    def _do(self, spec: ToolSpec, call: Invocation, now_ms: int, *, spoke: bool) -> None:
        """End or transfer the call, as the model has asked."""
        if spec.kind == "endCall":
            self._end_call(spec, call, now_ms, spoke=spoke)
        elif spec.kind == "dtmf":
            self._press(call, now_ms)
        else:
            self._transfer(spec, call, now_ms, spoke=spoke)

    def _press(self, call: Invocation, now_ms: int) -> None:
        """Sound keys behind what is being said; they are answered for when they have been heard."""
        given = arguments_of(call.arguments_json)
        texts = (given.get(name) for name in KEY_ARGUMENTS)
        keys = keys_of(next((each for each in texts if isinstance(each, str)), ""))
        if not keys or self.playback is None:
            words = "No key was pressed: give digits, *, # and w for a pause, at most 64."
            self._tool_result(call.tool_call_id, "error", words, now_ms)
            return
        if self._ending is not None:
            self._tool_result(call.tool_call_id, "refused", "The call is being ended.", now_ms)
            return
        self.count("keys_sent")
        item_id = f"{KEYS_ITEM}-{self.counters['keys_sent']}"
        self._pressed[item_id] = call.tool_call_id
        for payload, size in touch_tones(keys):
            self.count("clip_bytes", size)
            self.playback.add(item_id, payload, size, now_ms, interruptible=False)
        self.playback.complete(item_id, now_ms)

    def _note_keys(self, now_ms: int) -> None:
        """Answer for keys that have been heard, or cut off before."""
        for item_id, tool_call_id in list(self._pressed.items()):
            if self.playback is None or self.playback.is_under_way(item_id):
                continue
            del self._pressed[item_id]
            if self.playback.heard_bytes(item_id, now_ms) < self.playback.received_bytes(item_id):
                words = "The keys were cut off by somebody speaking; not all of them were pressed."
                self._tool_result(tool_call_id, "error", words, now_ms)
            else:
                self._tool_result(tool_call_id, "ok", "The keys were pressed.", now_ms)

    def _end_call(self, spec: ToolSpec, call: Invocation, now_ms: int, *, spoke: bool) -> None:
        message = _own_words(spec, call)
        if message is None:
            message = self.plan.end_call_message
        cause = EndCause.ASSISTANT_ENDED
        if message and not spoke:
            cause = EndCause.ASSISTANT_SAID_GOODBYE
        if self._ending is not None:
            self._tool_result(call.tool_call_id, "ok", "The call is being ended.", now_ms)
            return
        # Its output is what became of it: none while the goodbye can still be taken back.
        self._end_when_heard(cause, now_ms, abortable=True)
        self._end_tool_call_id = call.tool_call_id
        if message and not spoke:
            self.responses.ask(
                Request("goodbye", instructions=realtime.verbatim(message), tools_allowed=False)
            )

    def _transfer(self, spec: ToolSpec, call: Invocation, now_ms: int, *, spoke: bool) -> None:
        """Hand the caller to another number once what is being said has been heard."""
        if not spec.transfer_to:
            answer = "There is nobody to transfer this call to. Offer the caller another way."
            self._tool_result(call.tool_call_id, "error", answer, now_ms)
            return
        if self._ending is not None:
            self._tool_result(call.tool_call_id, "refused", "The call is being ended.", now_ms)
            return
        self._end_when_heard(
            EndCause.TRANSFERRED, now_ms, abortable=False, dial_to=spec.transfer_to
        )
        self._tool_result(call.tool_call_id, "ok", "The call is being transferred.", now_ms)
        message = spec.transfer_message or _own_words(spec, call)
        if message and not spoke:
            words = realtime.verbatim(message)
            self.responses.ask(Request("goodbye", instructions=words, tools_allowed=False))

    def _end_taken_back(self, now_ms: int) -> None:
        """Go on with the call because the caller has spoken again."""
        self._ending = None
        self.responses.forget("goodbye")
        tool_call_id, self._end_tool_call_id = self._end_tool_call_id, ""
        if not tool_call_id:
            return  # it was not the model that wanted to end the call
        self._tool_result(
            tool_call_id, "refused", "The caller spoke again, so the call goes on.", now_ms
        )
