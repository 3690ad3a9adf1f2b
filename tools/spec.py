"""Frozen values that the bridge and the tool dispatcher share; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.argument_paths import masked_arguments
from tools.messages import ToolMessage

# Vapi's tool types whose calls are posted to a server; the others act elsewhere (vapi.md 3.5).
POSTED_KINDS = frozenset({"function", "bash", "computer", "textEditor"})
# Those that a service of ours answers, beside the bridge, which waits for the answer.
SERVED_KINDS = POSTED_KINDS | {"apiRequest", "sms", "handoff", "query"}
# What a call can do in this version; other tools are not offered to the model.
RUNNABLE_KINDS = SERVED_KINDS | {"endCall", "transferCall", "dtmf"}
# Those that ask somebody's server, in Vapi's envelope or in their own form.
ASKING_KINDS = POSTED_KINDS | {"apiRequest"}
# Under which names the model gives the keys that a dtmf tool presses (vapi.md 3.5).
KEY_ARGUMENTS = ("keys", "dtmf", "digits")

Outcome = Literal["ok", "error", "timeout", "refused"]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool as a call sees it.

    ``name`` is what the model calls; ``posted_name`` is what the tool server knows, when legal
    names differ. ``kind`` is Vapi's tool type. ``handle`` names the row to the dispatcher.
    ``transfer_to`` is the number (E.164) that a ``transferCall`` dials, empty where it has none
    that may be dialled. ``idempotent``: to run it again with the same arguments does no harm.
    ``messages`` are what is said meanwhile; ``rejection`` is Vapi's ``rejectionPlan`` as written.
    ``asks_where``: a ``transferCall`` without a destination, whose server is asked for one.
    ``hidden`` are the paths of arguments that only the tool's server may read.
    """

    name: str
    kind: str = "function"
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    posted_name: str = ""
    handle: str = ""
    timeout_seconds: float = 20.0
    is_async: bool = False
    transfer_to: str = ""
    transfer_message: str = ""
    idempotent: bool = False
    messages: tuple[ToolMessage, ...] = ()
    rejection: Mapping[str, Any] = field(default_factory=dict)
    asks_where: bool = False
    hidden: tuple[str, ...] = ()

    def shown(self, arguments_json: str) -> str:
        """Return a model's arguments as people may see them."""
        return masked_arguments(arguments_json, self.hidden)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ToolSpec:
        """Return the tool of which ``dataclasses.asdict`` made ``value``, in any version.

        Raises:
            KeyError, TypeError: the value was made of something else.
        """
        messages = tuple(ToolMessage.from_json(each) for each in value.get("messages", ()))
        hidden = tuple(value.get("hidden", ()))
        return cls(**{**value, "messages": messages, "hidden": hidden})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to a tool server and its answer, as they were on the wire; may hold secrets.

    ``status`` 0: no answer came, ``error`` is the kind of failure. The URL has no query.
    """

    host: str
    url: str
    request_body: bytes = field(default=b"", repr=False)
    status: int = 0
    response_text: str = field(default="", repr=False)
    attempts: int = 1
    duration_ms: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What goes back to the model, as text, and how it came about.

    ``messages`` are what the tool server wants said (vapi.md 4.6), ``warning`` is what was bent to
    read its answer, ``exchange`` what was sent and what came back, for the records. ``sent`` is
    False where the model has to write its call again: nothing is said of that. ``successor`` is the
    assistant that takes over after a handoff, as ``calls.bridge.successor`` writes it.
    ``transfer_to`` is where a server sends the caller, ``transfer_message`` what is said before.
    ``retold`` is what is said from now on around the calls of tools: a variable in it has got a
    value.
    """

    output: str
    outcome: Outcome = "ok"
    duration_ms: int = 0
    messages: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, Any] | None = None
    warning: str = ""
    sent: bool = True
    successor: Mapping[str, Any] | None = None
    transfer_to: str = ""
    transfer_message: str = ""
    exchange: Exchange | None = field(default=None, compare=False)
    retold: Mapping[str, tuple[ToolMessage, ...]] = field(default_factory=dict)
