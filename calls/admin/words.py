"""The words that ops people read instead of codes; pure data and functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STATUS_COLOURS: Final[Mapping[str, str]] = {
    "queued": "info",
    "ringing": "info",
    "in-progress": "primary",
    "forwarding": "warning",
    "ended": "success",
}
ROUTE_COLOURS: Final[Mapping[str, str]] = {
    "vapi": "info",
    "canary": "warning",
    "direct": "success",
    "paused": "danger",
}

_REASONS: Final[Mapping[str, str]] = {
    "customer-ended-call": "The caller hung up",
    "assistant-ended-call": "The assistant ended the call",
    "assistant-ended-call-after-message-spoken": "The assistant said goodbye and hung up",
    "assistant-ended-call-with-hangup-task": "Somebody ended the call from outside",
    "manually-canceled": "Somebody ended the call from outside",
    "assistant-said-end-call-phrase": "The assistant said a phrase that ends the call",
    "assistant-forwarded-call": "The call was handed to a person",
    "customer-ended-call-during-transfer": "The caller hung up while being transferred",
    "silence-timed-out": "Nobody spoke for too long",
    "exceeded-max-duration": "The call reached its longest duration",
    "customer-busy": "The line was busy",
    "customer-did-not-answer": "Nobody answered",
    "twilio-reported-customer-misdialed": "The number does not exist",
    "twilio-failed-to-connect-call": "Twilio could not connect the call",
    "voicemail": "A voicemail answered",
    "phone-call-provider-closed-websocket": "Twilio closed the audio connection unexpectedly",
    "call.in-progress.twilio-completed-call": "Twilio ended the call",
    "call.in-progress.error-providerfault-transport-never-connected": (
        "The audio connection was never opened"
    ),
    "call.in-progress.error-assistant-did-not-receive-customer-audio": (
        "No sound ever came from the caller"
    ),
    "call.in-progress.error-transfer-failed": "The transfer failed",
    "pipeline-error-openai-401-incorrect-api-key": "The model provider refused our API key",
    "pipeline-error-openai-429-exceeded-quota": "The model provider's quota is used up",
    "pipeline-error-openai-429-rate-limit-reached": "The model provider's rate limit was reached",
    "pipeline-error-openai-500-server-error": "The model provider had an internal error",
    "pipeline-error-openai-503-server-overloaded-error": "The model provider was overloaded",
    "pipeline-error-openai-llm-failed": "The model provider failed",
    "assistant-not-found": "No assistant is set for the number",
    "assistant-not-valid": "The assistant's settings cannot be used",
    "worker-shutdown": "The server was stopped during the call",
    "call.in-progress.error-vapifault-worker-died": "The server process died during the call",
}

_FAILURE_MARKS: Final = ("error", "failed", "died", "not-found", "not-valid", "shutdown")
_FAILURES: Final = frozenset({"phone-call-provider-closed-websocket"})


def reason_in_words(ended_reason: str) -> str:
    """Return a sentence for an ended reason; an unknown code is shown as it is, with blanks."""
    if not ended_reason:
        return ""
    return _REASONS.get(ended_reason) or ended_reason.replace(".", ": ").replace("-", " ")


def is_failure(ended_reason: str) -> bool:
    """Tell whether the reason means that we or a provider broke the call."""
    return ended_reason in _FAILURES or any(mark in ended_reason for mark in _FAILURE_MARKS)


def failure_marks() -> tuple[str, ...]:
    """Return the parts by which a database query finds failures."""
    return (*_FAILURE_MARKS, *sorted(_FAILURES))


def seconds_in_words(seconds: int) -> str:
    """Return e.g. ``1 h 02 min``, ``3 min 07 s`` or ``42 s``."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def ms_in_words(ms: int | None) -> str:
    """Return ``480 ms`` or ``1.25 s``; a dash for None."""
    if ms is None:
        return "–"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def clock(ms: int) -> str:
    """Return a position in a call as ``m:ss.t``."""
    tenths = ms // 100
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
