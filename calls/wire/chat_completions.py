"""OpenAI's chat completions, the text request of providers, Azure and most gateways alike.

Owns ``POST {base}/chat/completions``: its body and what is read of its answer (the official SDK's
``CompletionCreateParams`` and ``ChatCompletion``). Pure; who sends it, and where to, is not here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PATH: Final = "/chat/completions"
# Reasoning of models that do counts too. Enough for the longest summary, and a ceiling on spend.
MOST_TOKENS: Final = 4_096
_LARGEST_BODY: Final = 2_000_000
_MOST_TOKENS_COUNTED: Final = 10**9


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. ``problem`` says in words why ``text`` is not all that was asked for."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    problem: str = ""


def completion_request(
    *,
    model: str,
    messages: Sequence[Mapping[str, str]],
    schema: Mapping[str, Any] | None = None,
    is_strict: bool = False,
) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        model: a model's name, at Azure a deployment's.
        schema: a JSON Schema of an object that the answer has to fit.
        is_strict: the provider guarantees it; only for schemas in the keywords that it knows.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [dict(each) for each in messages],
        "max_completion_tokens": MOST_TOKENS,
    }
    if schema is not None:
        form = {"name": "answer", "schema": dict(schema), "strict": is_strict}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def read_completion(body: bytes) -> Completion:
    """Read an answer with status 200.

    Raises:
        ValueError: it is no chat completion.
    """
    if len(body) > _LARGEST_BODY:
        raise ValueError("the answer is too large")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the answer is not JSON") from None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        raise ValueError("the answer is no chat completion")
    usage = answer.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    content = message.get("content")
    return Completion(
        text=content if isinstance(content, str) else "",
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        problem=_problem(first.get("finish_reason"), message.get("refusal")),
    )


def _problem(finish_reason: object, refusal: object) -> str:
    if refusal:
        return "the model refused to answer"
    if finish_reason == "length":
        return "the answer was cut off because it is too long"
    if finish_reason == "content_filter":
        return "the provider's content filter kept the answer back"
    return ""


def _count(value: object, key: str) -> int:
    number = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(number, int) or isinstance(number, bool):
        return 0
    return number if 0 < number < _MOST_TOKENS_COUNTED else 0
