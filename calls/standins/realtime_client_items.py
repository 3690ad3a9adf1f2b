"""What a client may put into a conversation: the rules of `conversation.item.create`
(openai_realtime.md 1.4, 6, 7.1, 7.4). It parses and refuses; it must not store anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from calls.standins.realtime_input import decode_append
from calls.standins.realtime_items import Conversation, Item
from calls.standins.realtime_session import ClientError
from calls.standins.tones import ToneDecoder

_ID = re.compile(r"^[a-zA-Z0-9_-]{1,32}$")
_KEYS: dict[str, frozenset[str]] = {
    "message": frozenset({"id", "object", "type", "status", "role", "content"}),
    "function_call": frozenset({"id", "object", "type", "status", "call_id", "name", "arguments"}),
    "function_call_output": frozenset({"id", "object", "type", "status", "call_id", "output"}),
}
_CONTENT = {"user": "input_text", "system": "input_text", "assistant": "output_text"}


def parse_item(raw: Any, new_id: Callable[[str], str], conversation: Conversation) -> Item:
    """Return the item described by `raw`, or raise ClientError with the path of the fault."""
    if not isinstance(raw, dict):
        raise ClientError("invalid_type", "Invalid type for 'item': expected an object.", "item")
    kind = raw.get("type")
    if kind not in _KEYS:
        raise ClientError("invalid_value", f"Invalid value: {kind!r}.", "item.type")
    for key in raw:
        if key not in _KEYS[kind]:
            raise ClientError(
                "unknown_parameter", f"Unknown parameter: 'item.{key}'.", f"item.{key}"
            )
    for key in ("id", "call_id"):
        if key in raw and not (isinstance(raw[key], str) and _ID.match(raw[key])):
            raise ClientError("string_above_max_length", f"Invalid 'item.{key}'.", f"item.{key}")
    item_id = raw.get("id") or new_id("item")
    if conversation.find(item_id) is not None:
        raise ClientError("invalid_value", f"Item {item_id} already exists.", "item.id")
    if kind == "message":
        return _message(item_id, raw)
    tool_call_id = _text(raw, "call_id")
    if kind == "function_call":
        return Item(
            item_id,
            "function_call",
            role="assistant",
            text=_text(raw, "arguments"),
            content_type="",
            name=_text(raw, "name"),
            tool_call_id=tool_call_id,
        )
    output = _text(raw, "output")
    if conversation.tool_call(tool_call_id) is None:
        raise ClientError(
            "invalid_tool_call_id",
            f"Tool call ID '{tool_call_id}' not found in conversation.",
            "item.call_id",
        )
    return Item(
        item_id, "function_call_output", text=output, content_type="", tool_call_id=tool_call_id
    )


def _text(raw: dict[str, Any], key: str) -> str:
    if key not in raw:
        raise ClientError(
            "missing_required_parameter",
            f"Missing required parameter: 'item.{key}'.",
            f"item.{key}",
        )
    value = raw[key]
    if not isinstance(value, str):
        raise ClientError("invalid_type", f"Invalid type for 'item.{key}'.", f"item.{key}")
    return value


def _message(item_id: str, raw: dict[str, Any]) -> Item:
    role = raw.get("role")
    if role not in _CONTENT:
        raise ClientError("invalid_value", f"Invalid value: {role!r}.", "item.role")
    content = raw.get("content")
    if not isinstance(content, list) or not content:
        raise ClientError("invalid_type", "Invalid type for 'item.content'.", "item.content")
    texts: list[str] = []
    for index, part in enumerate(content):
        path = f"item.content[{index}]"
        if role == "user" and isinstance(part, dict) and part.get("type") == "input_audio":
            texts.append(_words(part, path))
            continue
        if not isinstance(part, dict) or part.get("type") != _CONTENT[role]:
            # Assistant audio cannot be created by a client (trap 30).
            raise ClientError(
                "invalid_value", f"Expected content of type '{_CONTENT[role]}'.", f"{path}.type"
            )
        if set(part) - {"type", "text"}:
            raise ClientError("unknown_parameter", f"Unknown parameter in '{path}'.", path)
        if not isinstance(part.get("text"), str):
            raise ClientError("invalid_type", f"Invalid type for '{path}.text'.", f"{path}.text")
        texts.append(part["text"])
    return Item(item_id, "message", role=role, text=" ".join(texts), content_type=_CONTENT[role])


def _words(part: dict[str, Any], path: str) -> str:
    """Return what is said in a turn of the caller that a client gives as audio."""
    if set(part) - {"type", "audio", "transcript"}:
        raise ClientError("unknown_parameter", f"Unknown parameter in '{path}'.", path)
    decoder = ToneDecoder()
    heard = [*decoder.feed(decode_append(part.get("audio"))), *decoder.flush()]
    return " ".join(each.text for each in heard)
