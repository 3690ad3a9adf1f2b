"""One response of a Realtime stand-in as a generator of events and pauses: exact orders of
openai_realtime.md 4.1 to 4.4, audio in bursts, cancellation at any point. It must not decide what
is said, nor when it may start: the peer and its brain do.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from calls.standins.realtime_brain import CallMcp, CallTool, Part, Speak
from calls.standins.realtime_items import Item, Weight, audio_tokens, text_tokens
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import BYTES_PER_MS, encode, pcm24k

Status = Literal["completed", "cancelled", "incomplete", "failed"]
DELTA_BYTES = (800, 4000)  # 100 to 500 ms
# Text runs ahead of audio (openai_realtime.md 4).
TEXT_AHEAD_CHARACTERS = 8
_ERRORS: dict[str, dict[str, Any]] = {
    "server_error": {
        "type": "server_error",
        "code": None,
        "message": "The server had an error while processing your request.",
    },
    "rate_limit": {
        "type": "tokens",
        "code": "rate_limit_exceeded",
        "message": "Rate limit reached.",
    },
    "inference_rate_limit": {
        "type": "tokens",
        "code": "inference_rate_limit_exceeded",
        "message": "Inference rate limit reached.",
    },
    "quota": {
        "type": "insufficient_quota",
        "code": "insufficient_quota",
        "message": "You exceeded your current quota.",
    },
}


class Stage(Protocol):
    """What a response needs of its peer."""

    profile: RealtimeProfile
    rng: random.Random

    def emit(self, kind: str, **fields: Any) -> None:
        """Send one server event."""

    def new_id(self, prefix: str) -> str:
        """Return the next id of a kind."""

    def item_opened(self, response: Response, item: Item) -> None:
        """Note a new output item (adds it to the conversation, emits `added`)."""

    def finished(self, response: Response) -> None:
        """Learn that response.done was sent."""

    def cut(self, code: int) -> None:
        """Close the socket in the middle of a response."""

    def send_junk(self) -> None:
        """Send what no client expects."""

    def mcp_began(self, output_index: int, item: Item) -> None:
        """Say that a call of an MCP tool runs."""

    def mcp_ended(self, output_index: int, item: Item, part: CallMcp) -> None:
        """Say what a call of an MCP tool has come to."""

    def mcp_runs_on(self, output_index: int, item: Item, part: CallMcp) -> None:
        """Run a call of an MCP tool behind the end of its response."""


@dataclass(slots=True)
class Response:
    """A response being generated. `settings` is the session overlaid with the request."""

    stage: Stage
    response_id: str
    index: int
    parts: Sequence[Part]
    settings: dict[str, Any]
    in_conversation: bool
    conversation_id: str | None
    metadata: dict[str, str] | None
    charge: Callable[[Weight], dict[str, Any]]
    status: Literal["in_progress"] | Status = "in_progress"
    details: dict[str, Any] | None = None
    items: list[Item] = field(default_factory=list)
    spent: Weight = Weight()
    usage: dict[str, Any] | None = None
    _close_item: Callable[[], None] | None = None
    _stalled: bool = False  # it is active and nothing more comes (7.3)
    _behind: list[tuple[int, Item, CallMcp]] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Tell whether response.done is still to come."""
        return self.status == "in_progress"

    @property
    def faulty(self) -> bool:
        """Tell whether the profile's response failures hold for this response."""
        return self.stage.profile.is_faulty(self.index)

    def render(self) -> dict[str, Any]:
        """Return the `response` object of response.created and response.done."""
        output = self.settings["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": self.status,
            "status_details": self._details_shown(),
            "output": [item.render() for item in self.items] if not self.active else [],
            "conversation_id": self.conversation_id,
            "output_modalities": self.settings["output_modalities"],
            "max_output_tokens": self.settings["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": self.usage,
            "metadata": self.metadata,
        }

    def _details_shown(self) -> dict[str, Any] | str | None:
        style = self.stage.profile.status_details
        if self.details is None or style == "missing":
            return None
        reason = self.details.get("reason") or self.details["type"]
        return str(reason) if style == "text" else self.details

    def run(self) -> Iterator[int]:
        """Emit the response; each yielded value is a pause in ms before the next events."""
        profile = self.stage.profile
        if not (self.faulty and profile.done_without_created):
            self.stage.emit("response.created", response=self.render())
        if self.faulty and profile.stall_after_created:
            return
        yield profile.think_ms
        if self.faulty and profile.fail_response is not None:
            error = dict(_ERRORS[profile.fail_response])
            if profile.retry_in_ms and "rate_limit" in profile.fail_response:
                error["message"] += f" Please try again in {profile.retry_in_ms / 1000:g}s."
            self.finish("failed", {"type": "failed", "error": error})
            return
        for output_index, part in enumerate(self.parts):
            if isinstance(part, CallTool):
                yield from self._call(output_index, part)
            elif isinstance(part, CallMcp):
                yield from self._call_mcp(output_index, part)
            elif self.settings["output_modalities"] == ["text"] or (
                self.faulty and profile.text_only
            ):
                yield from self._write(output_index, part)
            else:
                yield from self._speak(output_index, part)
            if not self.active or self._stalled:
                return
        self.finish("completed", None)

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """End at once: the closing events of the open item, then response.done (4.2)."""
        self.finish("cancelled", {"type": "cancelled", "reason": reason})

    def finish(self, status: Status, details: dict[str, Any] | None) -> None:
        """Close the open item, if any, and send response.done with usage."""
        if self._close_item is not None:
            self.items[-1].status = "incomplete"
            self._close_item()
            self._close_item = None
        self.status, self.details = status, details
        # Failed responses report zeros (9.4); cancelled output that was generated is billed (9.3).
        self.usage = self.charge(self.spent)
        self.stage.emit("response.done", response=self.render())
        self.stage.finished(self)
        for call in self._behind:
            self.stage.mcp_runs_on(*call)

    def _open(self, output_index: int, item: Item) -> dict[str, Any]:
        item.status = "in_progress"
        self.items.append(item)
        self.stage.emit(
            "response.output_item.added",
            response_id=self.response_id,
            output_index=output_index,
            item=item.render(),
        )
        self.stage.item_opened(self, item)
        return {
            "response_id": self.response_id,
            "item_id": item.item_id,
            "output_index": output_index,
        }

    def _close(self, where: dict[str, Any], item: Item) -> None:
        if item.status == "in_progress":
            item.status = "completed"
        if self.in_conversation:
            self.stage.emit(
                "conversation.item.done",
                item=item.render(),
                previous_item_id=where.get("previous_item_id"),
            )
        self.stage.emit(
            "response.output_item.done",
            response_id=self.response_id,
            output_index=where["output_index"],
            item=item.render(),
        )
        self._close_item = None

    def _delta(self, kind: str, where: dict[str, Any], delta: str) -> None:
        extra = {}
        rng = self.stage.rng
        if self.stage.profile.obfuscation and rng.random() < 0.3:
            extra["obfuscation"] = "".join(rng.choices(string.ascii_letters, k=8))
        self.stage.emit(kind, **where, delta=delta, **extra)

    def _speak(self, output_index: int, part: Speak) -> Iterator[int]:
        profile = self.stage.profile
        item = Item(
            self.stage.new_id("item"), "message", role="assistant", content_type="output_audio"
        )
        where = self._open(output_index, item) | {"content_index": 0}
        self.stage.emit(
            "response.content_part.added", **where, part={"type": "audio", "transcript": ""}
        )
        sent_text = ""

        def close() -> None:
            self.stage.emit("response.output_audio.done", **where)
            self.stage.emit("response.output_audio_transcript.done", **where, transcript=sent_text)
            self.stage.emit(
                "response.content_part.done",
                **where,
                part={"type": "audio", "transcript": sent_text},
            )
            self._close(where, item)

        self._close_item = close
        chunks = self._chunks(part.text)
        total = sum(len(chunk) for chunk in chunks) or 1
        pcm = self.settings["audio"]["output"]["format"]["type"] == "audio/pcm"
        sent_bytes = 0
        for number, chunk in enumerate(chunks):
            said = len(part.text) * (sent_bytes + len(chunk)) // total
            upto = min(len(part.text), TEXT_AHEAD_CHARACTERS + said)
            if upto > len(sent_text):
                text = part.text[len(sent_text) : upto]
                sent_text += text
                item.text = sent_text
                self.spent += Weight(text=text_tokens(text))
                self._delta("response.output_audio_transcript.delta", where, text)
            audio = pcm24k(chunk) if pcm else chunk
            encoded = base64.b64encode(audio).decode()
            self._delta("response.output_audio.delta", where, encoded)
            before_ms = sent_bytes // BYTES_PER_MS
            sent_bytes += len(chunk)
            item.audio_ms = sent_bytes // BYTES_PER_MS
            grown = audio_tokens("assistant", item.audio_ms) - audio_tokens("assistant", before_ms)
            self.spent += Weight(audio=grown)
            if self.faulty and profile.close_mid_response is not None and number == 1:
                self.stage.cut(profile.close_mid_response)
                return
            if self.faulty and profile.stall_mid_response and number == 1:
                self._stalled = True
                return
            incomplete = self._incomplete_reason(sent_bytes, total)
            if incomplete is not None:
                self.finish("incomplete", {"type": "incomplete", "reason": incomplete})
                return
            pace = profile.burst_factor
            yield int(item.audio_ms / pace) - int(before_ms / pace)
        close()

    def _incomplete_reason(self, sent_bytes: int, total: int) -> str | None:
        limit = self.settings["max_output_tokens"]
        if limit != "inf" and self.spent.audio + self.spent.text >= limit and sent_bytes < total:
            return "max_output_tokens"
        if self.faulty and self.stage.profile.incomplete and sent_bytes * 2 >= total:
            return self.stage.profile.incomplete
        return None

    def _chunks(self, text: str) -> list[bytes]:
        """Cut the audio of `text` into deltas of varied size, not aligned to 20 ms."""
        audio = encode(text)
        chunks: list[bytes] = []
        at = 0
        while at < len(audio):
            size = self.stage.rng.randint(*DELTA_BYTES)
            chunks.append(audio[at : at + size])
            at += size
        return _mutate(chunks, self.stage.profile.mutant)

    def _write(self, output_index: int, part: Speak) -> Iterator[int]:
        item = Item(
            self.stage.new_id("item"), "message", role="assistant", content_type="output_text"
        )
        where = self._open(output_index, item) | {"content_index": 0}
        self.stage.emit("response.content_part.added", **where, part={"type": "text", "text": ""})

        def close() -> None:
            self.stage.emit("response.output_text.done", **where, text=item.text)
            self.stage.emit(
                "response.content_part.done", **where, part={"type": "text", "text": item.text}
            )
            self._close(where, item)

        self._close_item = close
        for word in part.text.split(" "):
            delta = f" {word}" if item.text else word
            item.text += delta
            self.spent += Weight(text=text_tokens(delta))
            self._delta("response.output_text.delta", where, delta)
            yield 5
        close()

    def _call(self, output_index: int, part: CallTool) -> Iterator[int]:
        item = Item(
            self.stage.new_id("item"),
            "function_call",
            role="assistant",
            content_type="",
            name=part.name,
            tool_call_id=self.stage.new_id("call"),
        )
        where = self._open(output_index, item) | {"call_id": item.tool_call_id}

        def close() -> None:
            self.stage.emit(
                "response.function_call_arguments.done",
                **where,
                name=item.name,
                arguments=item.text,
            )
            self._close(where, item)

        self._close_item = close
        half = max(1, len(part.arguments_json) // 2)
        for at in range(0, len(part.arguments_json), half):
            delta = part.arguments_json[at : at + half]
            item.text += delta
            self.spent += Weight(text=text_tokens(delta))
            self._delta("response.function_call_arguments.delta", where, delta)
            yield 10
        close()

    def _call_mcp(self, output_index: int, part: CallMcp) -> Iterator[int]:
        profile = self.stage.profile
        item = Item(
            self.stage.new_id("mcp"),
            "mcp_call",
            role="assistant",
            content_type="",
            name=part.name,
            server_label=part.server_label,
        )
        where = self._open(output_index, item)
        self._close_item = lambda: self._close(where, item)
        yield 10
        item.text = part.arguments_json
        self.spent += Weight(text=text_tokens(item.text))
        self._delta("response.mcp_call_arguments.delta", where, item.text)
        self.stage.emit("response.mcp_call_arguments.done", **where, arguments=item.text)
        if profile.mcp_inside:
            self.stage.mcp_began(output_index, item)
            yield profile.mcp_call_ms
            self.stage.mcp_ended(output_index, item, part)
            self._close(where, item)
            return
        self._close_item = None
        self.stage.emit(
            "response.output_item.done",
            response_id=self.response_id,
            output_index=output_index,
            item=item.render(),
        )
        self._behind.append((output_index, item, part))


def _mutate(chunks: list[bytes], mutant: str | None) -> list[bytes]:
    if mutant == "drop_frame":
        return [chunks[0][:480] + chunks[0][640:], *chunks[1:]]
    if mutant == "swap_frames":
        first = chunks[0]
        return [first[:320] + first[480:640] + first[320:480] + first[640:], *chunks[1:]]
    if mutant == "alter_byte":
        return [chunks[0][:400] + bytes([chunks[0][400] ^ 1]) + chunks[0][401:], *chunks[1:]]
    return chunks
