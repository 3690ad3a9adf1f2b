"""The floor of a Realtime conversation: who may respond when. It owns the single-active-response
rule, cancellation, idle timeouts and what a response answers (openai_realtime.md 2.2, 5.4, 8). It
must not parse client events or hear audio.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Literal

from calls.standins.realtime_brain import CallMcp, CallTool, Part, Speak, ToolOutput, Turn
from calls.standins.realtime_items import NO_USAGE, Item, Weight
from calls.standins.realtime_mcp import McpCore
from calls.standins.realtime_response import Response
from calls.standins.realtime_session import ClientError, check_response


class RespondingCore(McpCore):
    """Adds responses to the trunk."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.said: list[str] = []  # texts of finished default responses
        self._responses = 0
        self._active: Response | None = None
        self._out_of_band: list[Response] = []
        self._unanswered: list[str] = []  # committed or typed since the last response
        self._unanswered_outputs: list[ToolOutput] = []
        self._taken_up: tuple[ToolOutput, ...] = ()  # what the active response is to speak of
        self._idle_number = 0

    def _commit(self, item_id: str, audio_ms: int) -> None:
        """Turn the input buffer into a user item."""
        raise NotImplementedError

    def _respond_to_speech(self) -> None:
        if self._active is not None:
            self._error(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self._active.response_id}. Wait until the response is finished.",
                None,
                None,
            )
            return
        self._start({}, None)

    def _create_response(self, request: dict[str, Any]) -> None:
        check_response(self.session["model"], request)
        out_of_band = request.get("conversation") == "none"
        if self._active is not None and not out_of_band:
            raise ClientError(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self._active.response_id}. Wait until the response is finished.",
            )
        self._start(request, request.get("instructions"))

    def _start(self, request: dict[str, Any], instructions: str | None) -> None:
        in_conversation = request.get("conversation") != "none"
        settings = {**self.session, **{k: v for k, v in request.items() if k != "audio"}}
        output = {**self.session["audio"]["output"], **request.get("audio", {}).get("output", {})}
        settings["audio"] = {"output": output}
        sees_conversation = request.get("input") is None
        turn = self._turn(settings, instructions, in_conversation, sees_conversation)
        prompt = settings["instructions"] + json.dumps(settings["tools"])
        context = list(self.conversation.items) if sees_conversation else []
        failed = self.profile.fail_response is not None and self.profile.is_faulty(self._responses)

        def charge(spent: Weight) -> dict[str, Any]:
            if failed:
                return NO_USAGE
            return self.conversation.charge(prompt, context, spent, keep=in_conversation)

        response = Response(
            stage=self,
            response_id=self.new_id("resp"),
            index=self._responses,
            parts=self._allowed(turn, settings),
            settings=settings,
            in_conversation=in_conversation,
            conversation_id=f"conv_{self._id_seed}" if in_conversation else None,
            metadata=request.get("metadata"),
            charge=charge,
        )
        self._responses += 1
        if in_conversation:
            self._active = response
            self._idle_number += 1
        else:
            self._out_of_band.append(response)
        self._resume(response, response.run())

    def _turn(
        self,
        settings: dict[str, Any],
        instructions: str | None,
        in_conversation: bool,
        sees_conversation: bool,
    ) -> Turn:
        names = frozenset(tool["name"] for tool in settings["tools"] if "name" in tool)
        if not in_conversation and not sees_conversation:
            return Turn(None, instructions, (), names, out_of_band=True)
        heard = " ".join(text for text in self._unanswered if text) if self._unanswered else None
        outputs = tuple(self._unanswered_outputs)
        history = tuple(
            (item.role if item.kind == "message" else item.kind, item.text)
            for item in self.conversation.items
            if item.text
        )
        if not in_conversation:
            # It answers nothing: whoever is asked next finds the conversation as it was.
            return Turn(heard, instructions, outputs, names, out_of_band=True, history=history)
        self._taken_up = outputs
        self._unanswered, self._unanswered_outputs = [], []
        return Turn(heard, instructions, outputs, names, history=history)

    def _mcp_answered(self, name: str, output: str) -> None:
        self._unanswered_outputs.append(ToolOutput(name, output))
        if self.profile.mcp_follows_up and self._active is None:
            self._start({}, None)

    def _offers(self, part: CallTool | CallMcp, turn: Turn) -> bool:
        if isinstance(part, CallMcp):
            return part.server_label in self._mcp_ready
        return self.profile.call_undeclared_tools or part.name in turn.tools

    def _allowed(self, turn: Turn, settings: dict[str, Any]) -> list[Part]:
        parts = self.brain.reply(turn)
        may_call = settings["tool_choice"] != "none"
        allowed = [
            part
            for part in parts
            if isinstance(part, Speak) or (may_call and self._offers(part, turn))
        ]
        # A model that may not call the tool it wants says so; it does not fall silent.
        return allowed or ([Speak("I cannot do that.")] if parts else [])

    def _resume(self, response: Response, steps: Iterator[int]) -> None:
        while response.active and not self.closed:
            pause_ms = next(steps, None)
            if pause_ms is None:
                return
            if pause_ms > 0:
                self._at(pause_ms, lambda: self._resume(response, steps))
                return

    def item_opened(self, response: Response, item: Item) -> None:
        """Put a new output item into the conversation (out-of-band ones stay outside)."""
        if item.content_type == "output_audio":
            self._voice_used = True
        if response.in_conversation:
            previous = self.conversation.add(item)
            self.emit("conversation.item.added", item=item.render(), previous_item_id=previous)

    def finished(self, response: Response) -> None:
        """Free the response slot and send the rate limits a little later."""
        if response is self._active:
            self._active = None
            interrupted = (response.details or {}).get("reason") == "turn_detected"
            if response.status in ("cancelled", "failed") and not (response.items or interrupted):
                # It died before its first word: whoever is asked next speaks of them.
                self._unanswered_outputs[:0] = self._taken_up
            texts = [item.text for item in response.items if item.kind == "message"]
            self.said += texts
            played_ms = sum(item.audio_ms for item in response.items)
            self._watch_idle(played_ms)
        elif response in self._out_of_band:
            self._out_of_band.remove(response)
        if response.status != "failed":
            self._at(self.profile.rate_limits_delay_ms, self._send_rate_limits)

    def _send_rate_limits(self) -> None:
        tokens = {
            "name": "tokens",
            "limit": 40_000,
            "remaining": self.profile.tokens_remaining,
            "reset_seconds": self.profile.tokens_reset_seconds,
        }
        self.emit("rate_limits.updated", rate_limits=[tokens])

    def _watch_idle(self, played_ms: int) -> None:
        turn = self.session["audio"]["input"]["turn_detection"]
        if turn is None or not turn.get("idle_timeout_ms"):
            return
        self._idle_number += 1
        number = self._idle_number
        self._at(turn["idle_timeout_ms"] + played_ms, lambda: self._idle(number))

    def _idle(self, number: int) -> None:
        if number != self._idle_number or self._active is not None or self._input.vad.speaking:
            return
        item_id, end_ms = self.new_id("item"), self._input.vad.position_ms
        start_ms = max(0, end_ms - self._input.buffered_ms)
        self.emit(
            "input_audio_buffer.timeout_triggered",
            item_id=item_id,
            audio_start_ms=start_ms,
            audio_end_ms=end_ms,
        )
        self._commit(item_id, 0)
        self._start({}, None)

    def _cancel(self, response_id: object) -> None:
        target = self._active
        if response_id is not None:
            every = [*self._out_of_band, *([self._active] if self._active else [])]
            target = next((r for r in every if r.response_id == response_id), None)
        if target is None:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found"
            )
        self._cancel_response(target, "client_cancelled")

    def _cancel_active(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        if self._active is not None:
            self._cancel_response(self._active, reason)

    def _cancel_response(
        self, target: Response, reason: Literal["turn_detected", "client_cancelled"]
    ) -> None:
        spoken = [item for item in target.items if item.content_type == "output_audio"]
        target.cancel(reason)
        for _ in range(self.profile.late_deltas_after_cancel if spoken else 0):
            self.emit(
                "response.output_audio.delta",
                response_id=target.response_id,
                item_id=spoken[-1].item_id,
                output_index=len(target.items) - 1,
                content_index=0,
                delta=base64.b64encode(b"\x00" * 800).decode(),
            )
