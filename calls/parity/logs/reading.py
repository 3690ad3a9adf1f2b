"""One document of a log as a past call: which shape it has, and what is said of one that is none.

Pure. Owns the choice among shapes and the envelopes that log receivers put around a webhook's body.
Bodies may be wrapped, written as JSON text, and carry ``message`` or not. What a shape holds is
read by its own module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from calls.parity.logs.ended import json_text, read_ended
from calls.parity.logs.past_call import PastCall
from calls.parity.logs.vapi import read_call, read_tool_request
from tools.loose_json import as_list, as_object

# How log receivers name what they received.
_WRAPPERS: Final = ("message", "body", "payload", "json", "data", "event", "request", "record")
# Of a receiver that wraps in its own way: a message of Vapi's is looked for in so many values.
_MOST_LOOKED_AT: Final = 200
_LISTS: Final = ("results", "calls", "items", "rows", "data")
_ENDED: Final = frozenset({"call.ended", "call-ended", "call_ended", "callended"})
_TOOLS: Final = frozenset({"tool-calls", "function-call"})
_TOLD: Final = frozenset({"end-of-call-report", "status-update", "conversation-update"})
# Server messages that tell nothing of what was done in a call (vapi.md 5.2).
_SILENT: Final = frozenset(
    {
        *("assistant-request", "speech-update", "transcript", "hang", "user-interrupted"),
        *("model-output", "voice-input", "voice-request", "transfer-update", "language-changed"),
        *("language-change-detected", "phone-call-control", "assistant.started", "test"),
        *("assistant.speechStarted", "transfer-destination-request", "knowledge-base-request"),
        *("handoff-destination-request", "call.endpointing.request", "campaign.predial"),
        *("call.deleted", "call.delete.failed", "call.artifact.upload"),
        *("chat.created", "chat.deleted", "session.created", "session.updated", "session.deleted"),
        'transcript[transcriptType="final"]',
    }
)
_CALL_TYPES: Final = frozenset(
    {"inboundPhoneCall", "outboundPhoneCall", "webCall", "vapi.websocketCall"}
)
_CALL_MARKS: Final = ("endedReason", "phoneCallProviderId", "startedAt", "endedAt", "artifact")
_CALL_ROLES: Final = frozenset({"bot", "tool_calls", "tool_call_result"})
_MESSAGES: Final = _SILENT | _TOOLS | _TOLD
_ENVELOPES: Final = ("message", "body", "payload")
_DEEPEST: Final = 5


class NotACall(ValueError):
    """The document is no log of a call; the text says why and what is wanted."""


class NotOver(Exception):
    """A call that is still going on; its log is read again when it is over."""


class Nothing(Exception):
    """A message that tells nothing of what was done in a call; nothing is wrong with it."""


def documents_in(value: Any) -> Iterator[Any]:
    """Yield the documents of a JSON value: itself, the entries of an array, those of a page."""
    if isinstance(value, list):
        for each in value:
            yield from documents_in(each) if isinstance(each, list) else (each,)
        return
    if isinstance(value, Mapping) and "id" not in value and "type" not in value:
        for name in _LISTS:
            rows = value.get(name)
            if isinstance(rows, list) and all(isinstance(each, Mapping) for each in rows):
                yield from rows
                return
    yield value


def read_log(document: Any) -> PastCall:
    """Return the call that one document of a log tells of.

    Raises:
        NotACall: it is none, or has no id.
        NotOver: the call goes on.
        Nothing: it is a message that says nothing of what was done.
    """
    value, kind = _unwrapped(document)
    if kind in _SILENT:
        raise Nothing(kind)
    if kind in _ENDED:
        past = read_ended(value)
    elif kind in _TOOLS | _TOLD:
        past = _message(value, kind)
    elif kind in _CALL_TYPES or not kind:
        past = _call(value)
    else:
        raise NotACall(
            f"its type is {kind[:60]!r}, which is no log of a call. Fix: give calls of GET /call, "
            "or bodies of end-of-call-report, status-update, tool-calls or call.ended"
        )
    if not past.key:
        raise NotACall(
            "it names no call: neither Vapi's call id nor the carrier's. Fix: log the whole body, "
            "with its `call`"
        )
    return past


def _unwrapped(document: Any) -> tuple[Mapping[str, Any], str]:
    value, around = json_text(document), None
    for _ in range(_DEEPEST):
        if isinstance(value, list) and len(value) == 1:
            value = json_text(value[0])
        if not isinstance(value, Mapping):
            raise NotACall("it is no JSON object. Fix: one call or one webhook body each")
        kind = value.get("type")
        kind = kind if isinstance(kind, str) else ""
        named = value.get("event")
        if isinstance(named, str) and named.lower() in _ENDED:
            return value, "call.ended"
        if kind.lower() in _ENDED:
            return value, "call.ended"
        if kind in _MESSAGES and around is not None and "call" not in value:
            value = {**value, "call": around}  # some log it beside the message
        if kind in _MESSAGES | _CALL_TYPES or (_is_call(value) and not _has_message(value)):
            return value, kind
        around = as_object(value.get("call")) or around
        inner = next(
            (
                found
                for name in _WRAPPERS
                if isinstance(found := json_text(value.get(name)), Mapping | list)
            ),
            None,
        )
        inner = inner if inner is not None else _message_in(value)
        if inner is None:
            return value, kind
        value = inner
    raise NotACall("it is wrapped too deep. Fix: give the body of the webhook itself")


def _has_message(value: Mapping[str, Any]) -> bool:
    """Tell whether a record with an id of its own, and times, is an envelope all the same."""
    return any(isinstance(json_text(value.get(name)), Mapping) for name in _ENVELOPES)


def _message_in(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the first message of Vapi's that stands anywhere in a record, the highest first."""
    waiting = deque(value.values())
    for _ in range(_MOST_LOOKED_AT):
        if not waiting:
            break
        found = json_text(waiting.popleft())
        if isinstance(found, Mapping):
            if found.get("type") in _MESSAGES - {"test"}:
                return found
            waiting += found.values()
        elif isinstance(found, list) and len(found) == 1:
            waiting += found
    return None


def _is_call(value: Mapping[str, Any]) -> bool:
    if not isinstance(value.get("id"), str):
        return False
    return any(name in value for name in _CALL_MARKS) or _is_extract(value)


def _is_extract(value: Mapping[str, Any]) -> bool:
    """Tell whether an object without the marks of a call has the messages of one.

    Chats have messages too, but none of these roles and no seconds.
    """
    return any(
        as_object(each).get("role") in _CALL_ROLES or "secondsFromStart" in as_object(each)
        for each in as_list(value.get("messages"))
    )


def _call(value: Mapping[str, Any]) -> PastCall:
    if not _is_call(value) and value.get("type") not in _CALL_TYPES:
        raise NotACall(
            "it is neither a call nor a webhook body of Vapi's. Fix: give calls of GET /call, or "
            "bodies as Vapi posted them"
        )
    past = read_call(value)
    if not past.has_ended and not (_is_extract(value) and not value.get("status")):
        raise NotOver(str(value.get("status") or "not over"))
    return past


def _message(value: Mapping[str, Any], kind: str) -> PastCall:
    call = as_object(value.get("call"))
    if not call and as_object(value.get("chat")):
        raise Nothing("chat")
    if kind in _TOOLS:
        return read_tool_request(call, value)
    past = read_call(call, value)
    if kind == "status-update" and not past.has_ended:
        raise Nothing(kind)
    return past
