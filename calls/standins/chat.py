"""OpenAI's text endpoint as a stand-in: `POST /v1/chat/completions`, the same answer to the same
request. It must not understand what it reads: a summary counts lines, a form is filled with the
first thing that fits.
"""

from __future__ import annotations

import json
from typing import Any

_KEYS = frozenset({"model", "messages", "max_completion_tokens", "response_format"})
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_SPEAKERS = ("AI: ", "User: ")
_CHARACTERS_PER_TOKEN = 4
_MOST_LEVELS = 20


def chat_completion(body: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and body of the answer to a request."""
    try:
        request = json.loads(body)
    except ValueError:
        return _refused("We could not parse the JSON body.")
    fault = _fault(request)
    if fault is not None:
        return _refused(fault)
    text = _text(request)
    asked = sum(len(each["content"]) for each in request["messages"])
    tokens = (asked // _CHARACTERS_PER_TOKEN + 1, len(text) // _CHARACTERS_PER_TOKEN + 1)
    message = {"role": "assistant", "content": text, "refusal": None}
    return 200, {
        "id": "chatcmpl-standin",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
    }


def _fault(request: Any) -> str | None:
    if not isinstance(request, dict):
        return "An object is expected."
    unknown = sorted(set(request) - _KEYS)
    if unknown:
        return f"Unknown parameter: '{unknown[0]}'."
    if not isinstance(request.get("model"), str) or not request["model"]:
        return "Missing required parameter: 'model'."
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return "Missing required parameter: 'messages'."
    for each in messages:
        if not isinstance(each, dict) or each.get("role") not in _ROLES:
            return "Invalid value: 'messages[].role'."
        if not isinstance(each.get("content"), str):
            return "Invalid type for 'messages[].content'."
    form = request.get("response_format")
    if form is None:
        return None
    schema = form.get("json_schema", {}).get("schema") if isinstance(form, dict) else None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "Invalid schema for response_format: it must be of 'type: object'."
    return None


def _text(request: dict[str, Any]) -> str:
    form = request.get("response_format")
    if form is not None:
        return json.dumps(_first_fit(form["json_schema"]["schema"], 0))
    said = [
        line
        for each in request["messages"]
        for line in each["content"].splitlines()
        if line.startswith(_SPEAKERS)
    ]
    return f"The caller and the assistant spoke {len(said)} times."


def _first_fit(schema: Any, level: int) -> Any:
    """Return the least value that a schema allows, as far as its plain keywords say."""
    if not isinstance(schema, dict) or level > _MOST_LEVELS:
        return None
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        members = schema.get("properties")
        members = members if isinstance(members, dict) else {}
        return {name: _first_fit(each, level + 1) for name, each in members.items()}
    if kind == "array":
        return [_first_fit(schema["items"], level + 1)] if "items" in schema else []
    plain: dict[Any, Any] = {"boolean": True, "integer": 1, "number": 1, "string": "unknown"}
    return plain.get(kind)


def _refused(message: str) -> tuple[int, dict[str, Any]]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return 400, {"error": error}
