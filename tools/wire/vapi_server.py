"""The only writer and reader of Vapi's server messages (vapi.md 4 and 5, checked 2026-11-22).

Owns the envelope that tool servers and log receivers meet and what their answers mean. Pure and
total: a builder takes finished objects (``calls.services.vapi_objects``), the reader takes whatever
text came back and never raises. It must not know rows, HTTP or the bridge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# What the model gets when nothing usable came back; users grep for it (vapi.md 4.6, trap 4).
NO_RESULT: Final = "No result returned."
# An answer to an asynchronous tool: it is resolved at once (vapi.md 4.6).
ASYNC_RESULT: Final = "Success."

_MAX_DIGITS: Final = 1000  # Python refuses to convert more than a few thousand
_LINE_BREAKS: Final = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The members that nearly every server message carries; ``timestamp_ms`` is epoch time."""

    timestamp_ms: int
    call: Mapping[str, Any]
    artifact: Mapping[str, Any] = field(default_factory=dict)
    assistant: Mapping[str, Any] | None = None
    phone_number: Mapping[str, Any] | None = None
    customer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PostedCall:
    """One function call as it is posted; ``tool`` is the tool's object without secrets."""

    tool_call_id: str
    name: str
    arguments: Mapping[str, Any]
    tool: Mapping[str, Any]
    preceded_by_text: bool = False


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a server answered to one call: one line of text for the model, and the rest.

    ``messages`` are things to say (vapi.md 3.3); ``warning`` says what was bent to read it.
    """

    text: str
    failed: bool = False
    messages: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, Any] | None = None
    warning: str = ""


NOTHING: Final = ToolAnswer(NO_RESULT, failed=True)


def tool_calls_message(
    envelope: Envelope,
    calls: Sequence[PostedCall],
    *,
    aliases: bool = True,
    arguments_as_text: bool = False,
) -> dict[str, Any]:
    """Return a ``tool-calls`` body, e.g. ``{"message": {"type": "tool-calls", ...}}``.

    Arguments are objects in all three lists (vapi.md 4.3, trap 3), as captured from Vapi.

    Args:
        aliases: add ``name``, ``arguments`` and ``parameters`` beside ``function``, where servers
            written from Vapi's documentation look for them.
        arguments_as_text: send arguments as JSON text, for servers typed after the SDK.
    """

    def entry(call: PostedCall, *, with_aliases: bool) -> dict[str, Any]:
        arguments: Any = dict(call.arguments)
        if arguments_as_text:
            arguments = json.dumps(arguments, ensure_ascii=False)
        made: dict[str, Any] = {
            "id": call.tool_call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }
        if call.preceded_by_text:
            made["isPrecededByText"] = True
        if with_aliases:
            made |= {"name": call.name, "arguments": arguments, "parameters": arguments}
        return made

    with_calls = []
    for call in calls:
        tool = {**call.tool, "toolCall": entry(call, with_aliases=aliases)}
        with_calls.append({"name": call.name, **tool} if aliases else tool)
    return server_message(
        envelope,
        "tool-calls",
        {
            "toolCalls": [entry(call, with_aliases=False) for call in calls],
            "toolCallList": [entry(call, with_aliases=aliases) for call in calls],
            "toolWithToolCallList": with_calls,
        },
    )


def function_call_message(
    envelope: Envelope, call: PostedCall, *, arguments_as_text: bool = False
) -> dict[str, Any]:
    """Return the old ``function-call`` body, for servers that know no other (vapi.md 4.4).

    It carries one call; it is never sent beside ``tool-calls``, or both would be acted upon.
    """
    parameters: Any = dict(call.arguments)
    if arguments_as_text:
        parameters = json.dumps(parameters, ensure_ascii=False)
    function = {"id": call.tool_call_id, "name": call.name, "parameters": parameters}
    return server_message(envelope, "function-call", {"functionCall": function})


def status_update_message(
    envelope: Envelope,
    *,
    status: str,
    ended_reason: str = "",
    destination: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a ``status-update`` body; ``ended_reason`` belongs to ``ended``.

    While forwarding, Vapi repeats what was said at the top level (vapi.md 5.2).
    """
    own: dict[str, Any] = {"status": status}
    if ended_reason:
        own["endedReason"] = ended_reason
    if destination is not None:
        own["destination"] = dict(destination)
    if status == "forwarding":
        own |= _copied(envelope.artifact, ("messages", "messagesOpenAIFormatted", "transcript"))
    return server_message(envelope, "status-update", own)


def end_of_call_report_message(
    envelope: Envelope,
    *,
    ended_reason: str,
    started_at: str | None = None,
    ended_at: str | None = None,
    duration_ms: int = 0,
    cost: float = 0.0,
    costs: Sequence[Mapping[str, Any]] = (),
    cost_breakdown: Mapping[str, Any] | None = None,
    analysis: Mapping[str, Any] | None = None,
    destination: Mapping[str, Any] | None = None,
    compliance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an ``end-of-call-report`` body; times are ISO text in UTC.

    ``analysis`` and ``artifact`` are always there, and old servers read the flat copies of
    transcript, summary, messages, recording and duration (vapi.md 5.2).
    """
    analysis = dict(analysis or {})
    own: dict[str, Any] = {
        "analysis": analysis,
        "endedReason": ended_reason,
        "cost": cost,
        "costBreakdown": dict(cost_breakdown or {"total": cost}),
        "costs": [dict(entry) for entry in costs],
        "durationMs": duration_ms,
        "durationSeconds": duration_ms / 1000,
        "durationMinutes": round(duration_ms / 60_000, 4),
        "summary": analysis.get("summary") or "",
        "transcript": envelope.artifact.get("transcript") or "",
        "messages": list(envelope.artifact.get("messages") or ()),
    }
    own |= _copied(envelope.artifact, ("recordingUrl", "stereoRecordingUrl"))
    for name, value in (
        ("startedAt", started_at),
        ("endedAt", ended_at),
        ("destination", destination and dict(destination)),
        ("compliance", compliance and dict(compliance)),
    ):
        if value:
            own[name] = value
    return server_message(envelope, "end-of-call-report", own)


def server_message(envelope: Envelope, kind: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body of any type; its members are in the order that captures show (vapi.md 4.1)."""
    message: dict[str, Any] = {
        "timestamp": envelope.timestamp_ms,
        "type": kind,
        **own,
        "artifact": dict(envelope.artifact),
        "call": dict(envelope.call),
    }
    for name, value in (
        ("phoneNumber", envelope.phone_number),
        ("customer", envelope.customer),
        ("assistant", envelope.assistant),
    ):
        if value is not None:
            message[name] = dict(value)
    return {"message": message}


def _copied(source: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: source[name] for name in names if source.get(name) is not None}


def encode(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a body; ASCII, so that no text can break them."""
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def read_arguments(text: str) -> dict[str, Any]:
    """Return the arguments a model wrote; no text at all means none.

    Raises:
        ValueError: not a JSON object, with a reason the model can act on.
    """
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_not_json, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("the arguments are nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments are not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("the arguments are not a JSON object")
    return value


def _not_json(word: str) -> Any:
    raise ValueError(f"the arguments are not valid JSON ({word} is no number)")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("the arguments hold a number out of range")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("the arguments hold a number out of range")
    return int(text)


def static_parameters(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fixed arguments of a tool document (vapi.md 3.2, trap 12).

    They are merged over the model's and never shown to it.
    """
    pairs = document.get("parameters")
    return {
        pair["key"]: pair.get("value")
        for pair in (pairs if isinstance(pairs, list) else ())
        if isinstance(pair, dict) and isinstance(pair.get("key"), str)
    }


def tool_results(
    status: int,
    body_text: str,
    tool_call_ids: Sequence[str],
    *,
    objects_are_results: bool = False,
) -> dict[str, ToolAnswer]:
    """Return what a tool server answered, for every one of ``tool_call_ids``.

    Any 2xx counts, and ``results`` are read from every other status too (vapi.md 4.6).

    Args:
        objects_are_results: take a JSON object without ``results`` as the result of a single call,
            which Vapi does not.
    """
    whole = _parsed(body_text)
    if not isinstance(whole, dict):
        return dict.fromkeys(tool_call_ids, NOTHING)
    entries = whole.get("results")
    if isinstance(entries, dict):
        entries = [entries]
    found: dict[str, ToolAnswer] = {}
    if isinstance(entries, list):
        found = _matched([e for e in entries if isinstance(e, dict)], tool_call_ids)
    rest = _for_all(status, whole, len(tool_call_ids) == 1, objects_are_results)
    return {each: found.get(each, rest) for each in tool_call_ids}


def _matched(entries: list[dict[str, Any]], tool_call_ids: Sequence[str]) -> dict[str, ToolAnswer]:
    """Match by id; one result for one call is taken whatever id it carries."""
    found: dict[str, ToolAnswer] = {}
    for entry in entries:
        tool_call_id = entry.get("toolCallId")
        if isinstance(tool_call_id, str) and tool_call_id in tool_call_ids:
            found.setdefault(tool_call_id, _answer(entry))
    if not found and len(entries) == 1 and len(tool_call_ids) == 1:
        found[tool_call_ids[0]] = _answer(entries[0], warning="toolCallId does not match")
    return found


def _answer(entry: Mapping[str, Any], *, warning: str = "") -> ToolAnswer:
    error = _fault(entry.get("error"))
    text = error or _line(entry.get("result")) or NO_RESULT
    metadata = entry.get("metadata")
    return ToolAnswer(
        text,
        failed=bool(error) or text == NO_RESULT,
        messages=_spoken(entry.get("message")),
        metadata=metadata if isinstance(metadata, dict) else None,
        warning=warning,
    )


def _for_all(
    status: int, whole: dict[str, Any], single: bool, objects_are_results: bool
) -> ToolAnswer:
    """Return the answer to every call that has no entry of its own."""
    error = _fault(whole.get("error"))
    if error:
        return ToolAnswer(error, failed=True)
    if not 200 <= status < 300 or not single:
        return NOTHING
    if "results" not in whole and _line(whole.get("result")):
        return ToolAnswer(_line(whole["result"]))
    if "results" not in whole and objects_are_results and whole:
        return ToolAnswer(_line(whole))
    return NOTHING


def _fault(value: Any) -> str:
    """Return what an ``error`` says; servers write false or 0 where there is none."""
    return _line(value) if value else ""


def _spoken(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return an entry's ``message``: an object, several, or a bare sentence."""
    if isinstance(value, str) and value:
        return ({"type": "request-complete", "content": value},)
    many = value if isinstance(value, list) else [value]
    return tuple(each for each in many if isinstance(each, dict))


def _line(value: Any) -> str:
    """Return a value as one line of text, '' for null and for empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair is legal in JSON and in nothing that comes after us.
    whole = value.encode("utf-8", "replace").decode()
    return _LINE_BREAKS.sub(" ", whole).strip()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
