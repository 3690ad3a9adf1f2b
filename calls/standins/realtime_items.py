"""Conversation items of a Realtime stand-in: what exists, in which order, how it is shown, and what
it weighs in tokens (openai_realtime.md 5.2, 9.3, 9.4). It must not send anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["message", "function_call", "function_call_output", "mcp_list_tools", "mcp_call"]
Role = Literal["user", "assistant", "system"]


@dataclass(slots=True)
class Item:
    """One item; `audio_ms` is the audio it still holds, 0 for a text item."""

    item_id: str
    kind: Kind
    role: Role = "user"
    status: Literal["completed", "incomplete", "in_progress"] = "completed"
    text: str = ""
    content_type: str = "input_text"
    show_transcript: bool = True
    audio_ms: int = 0
    tool_call_id: str = ""
    name: str = ""
    server_label: str = ""
    output: str | None = None
    error: dict[str, Any] | None = None

    def render(self) -> dict[str, Any]:
        """Return the item as GA shows it, without audio bytes."""
        head: dict[str, Any] = {
            "id": self.item_id,
            "object": "realtime.item",
            "type": self.kind,
        }
        if self.kind == "mcp_list_tools":
            return {**head, "server_label": self.server_label, "tools": []}
        if self.kind == "mcp_call":
            return {
                **head,
                "server_label": self.server_label,
                "name": self.name,
                "arguments": self.text,
                "approval_request_id": None,
                "output": self.output,
                "error": self.error,
            }
        if self.kind == "function_call_output":
            return {**head, "call_id": self.tool_call_id, "output": self.text}
        head["status"] = self.status
        if self.kind == "function_call":
            return {
                **head,
                "call_id": self.tool_call_id,
                "name": self.name,
                "arguments": self.text,
            }
        return {**head, "role": self.role, "content": self._content()}

    def _content(self) -> list[dict[str, Any]]:
        if self.role == "assistant" and self.status == "in_progress":
            return []
        if self.content_type == "input_audio":
            shown = self.text if self.show_transcript else None
            return [{"type": "input_audio", "transcript": shown}]
        if self.content_type == "output_audio":
            return [{"type": "output_audio", "transcript": self.text}]
        return [{"type": self.content_type, "text": self.text}]


@dataclass(frozen=True, slots=True)
class Weight:
    """Tokens by modality."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.text + other.text, self.audio + other.audio)


def text_tokens(text: str) -> int:
    """Return a plausible token count of `text` (four characters each)."""
    return math.ceil(len(text) / 4)


def audio_tokens(role: Role, audio_ms: int) -> int:
    """Return the tokens of audio: one per 100 ms of a user, one per 50 ms of the assistant."""
    return math.ceil(audio_ms / (50 if role == "assistant" else 100))


def weigh(item: Item) -> Weight:
    """Return what an item costs as input: assistant audio is replayed with its transcript."""
    spoken = audio_tokens(item.role, item.audio_ms)
    if item.content_type == "input_audio":
        return Weight(2, spoken)  # the speech model never reads a user transcript (2.4)
    return Weight(text_tokens(item.text + item.name) + 2, spoken)


@dataclass(slots=True)
class Conversation:
    """Items in order, by id, and the prompt cache over them."""

    items: list[Item] = field(default_factory=list)
    _cached: Weight = Weight()

    def find(self, item_id: object) -> Item | None:
        """Return the item with this id, if it is in the conversation."""
        return next((item for item in self.items if item.item_id == item_id), None)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert after an id, `root` (front) or None (end); return the previous item's id."""
        if after == "root":
            index = 0
        elif after is None:
            index = len(self.items)
        else:
            index = 1 + next(i for i, known in enumerate(self.items) if known.item_id == after)
        self.items.insert(index, item)
        if index < len(self.items) - 1:
            self.bust_cache()
        return self.items[index - 1].item_id if index else None

    def remove(self, item: Item) -> None:
        """Delete an item; the prompt cache is lost."""
        self.items.remove(item)
        self.bust_cache()

    def bust_cache(self) -> None:
        """Forget the prompt cache: history, instructions or tools changed (9.3)."""
        self._cached = Weight()

    def tool_call(self, tool_call_id: object) -> Item | None:
        """Return the function call of this conversation with this call id."""
        return next(
            (i for i in self.items if i.kind == "function_call" and i.tool_call_id == tool_call_id),
            None,
        )

    def charge(
        self, prompt: str, items: list[Item], output: Weight, *, keep: bool
    ) -> dict[str, Any]:
        """Return the `usage` of a response over `prompt` + `items`; `keep` makes it cacheable."""
        into = Weight(text_tokens(prompt))
        for item in items:
            into += weigh(item)
        hit = Weight(min(self._cached.text, into.text), min(self._cached.audio, into.audio))
        if keep:
            self._cached = Weight(into.text // 64 * 64, into.audio // 64 * 64)
        input_tokens, output_tokens = into.text + into.audio, output.text + output.audio
        return {
            "total_tokens": input_tokens + output_tokens,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "input_token_details": {
                "text_tokens": into.text,
                "audio_tokens": into.audio,
                "image_tokens": 0,
                "cached_tokens": hit.text + hit.audio,
                "cached_tokens_details": {
                    "text_tokens": hit.text,
                    "audio_tokens": hit.audio,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
        }


NO_USAGE: dict[str, Any] = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}
