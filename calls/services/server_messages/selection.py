"""Which server messages an assistant asks for, and what the bridge has to tell for them; pure.

Owns Vapi's names of them, the eleven it sends when an assistant names none (vapi.md 5.1), and which
may be left out while a receiver fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from calls.bridge.effects import NewsKind

DEFAULT_MESSAGES: Final = frozenset(
    {
        *("conversation-update", "end-of-call-report", "function-call", "hang", "speech-update"),
        *("status-update", "tool-calls", "transfer-destination-request"),
        *("handoff-destination-request", "user-interrupted", "assistant.started"),
    }
)
FINAL_TRANSCRIPT: Final = 'transcript[transcriptType="final"]'
# An older name of the same message, still in exports (vapi.md 5.2).
_ALIASES: Final = {"language-changed": "language-change-detected"}

# What the bridge tells, by the message that it becomes. The rest is told by the call's rows.
_NEWS: Final[Mapping[str, tuple[NewsKind, ...]]] = {
    "speech-update": ("speech-started", "speech-stopped"),
    "assistant.speechStarted": ("sounds",),
    "transcript": ("words", "said"),
    FINAL_TRANSCRIPT: ("said",),
    "conversation-update": ("conversation",),
    "user-interrupted": ("interrupted",),
    "hang": ("late",),
    "model-output": ("output", "calls"),
    "voice-input": ("voiced",),
    "language-change-detected": ("language",),
    "phone-call-control": ("control",),
}
# Many in a call, each made old by the next: not worth a queue in front of a receiver that fails.
THINNED: Final = frozenset(
    {
        *("speech-update", "assistant.speechStarted", "transcript", "model-output", "voice-input"),
        *("conversation-update", "user-interrupted", "hang"),
    }
)


def wanted_messages(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the messages that an assistant's document asks for; an empty list is none."""
    named = document.get("serverMessages")
    if not isinstance(named, list):
        return DEFAULT_MESSAGES
    names = {name for name in named if isinstance(name, str)}
    return frozenset(_ALIASES.get(name, name) for name in names)


def news_wanted(messages: Iterable[str]) -> tuple[NewsKind, ...]:
    """Return what the bridge has to tell so that ``messages`` can be sent, sorted."""
    return tuple(sorted({kind for name in messages for kind in _NEWS.get(name, ())}))


def messages_of(kind: NewsKind, wanted: frozenset[str]) -> tuple[str, ...]:
    """Return which of the wanted messages a piece of news becomes.

    Who takes every transcript gets the final ones among them, not twice.
    """
    found = tuple(name for name, kinds in _NEWS.items() if kind in kinds and name in wanted)
    if "transcript" in found:
        found = tuple(name for name in found if name != FINAL_TRANSCRIPT)
    return found
