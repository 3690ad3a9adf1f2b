"""Server messages held to the official SDK's models, type by type (vapi.md 9 trap 2, 10).

Owns the check of what a message says beside the common envelope; a whole model, of which the
envelope is nearly all, takes seconds to build.
"""

from __future__ import annotations

import functools
import json
import typing
from dataclasses import dataclass, field
from typing import Any

import pydantic
import vapi

from calls.events.delivery import body_of
from calls.events.outbox import claim
from calls.models import OutboxEvent


def told_messages() -> list[dict[str, Any]]:
    """Return all messages as a worker posts them, in the order in which they were written.

    Their rows are not as they were afterwards.
    """
    found = []
    for event in OutboxEvent.objects.order_by("sequence"):
        OutboxEvent.objects.exclude(pk=event.pk).update(state="delivered")
        OutboxEvent.objects.filter(pk=event.pk).update(state="pending", lease_until=None)
        claimed = claim(event.pk)
        assert claimed is not None
        body = json.loads(body_of(claimed))
        if "message" in body:  # else it is our own event
            found.append(body["message"])
    return found


def check_own(message: dict[str, Any]) -> None:
    """Hold a message's own members to the SDK's model of its type (vapi.md 10, trap 2).

    Member by member: to build a whole model, of which the envelope is nearly all, takes seconds.
    The envelope is the same in all of them and is validated with the reports.
    """
    own = _own_model(message["type"])
    assert own.required <= set(message), message["type"]
    unknown = set(message) - set(own.fields) - FLAT.get(message["type"], set())
    assert not unknown, (message["type"], unknown)
    for alias in set(message) & set(own.fields) - ENVELOPE:
        if message["type"] != "conversation-update":  # its members are those of the artifact
            own.adapter(alias).validate_python(message[alias])


@dataclass
class _OwnModel:
    """The SDK's model of one type of message, with validators for single members, built once."""

    fields: dict[str, str]  # by their names on the wire
    required: set[str]
    hints: dict[str, Any]
    adapters: dict[str, pydantic.TypeAdapter[Any]] = field(default_factory=dict)

    def adapter(self, alias: str) -> pydantic.TypeAdapter[Any]:
        """Return what validates the member of this name on the wire."""
        if alias not in self.adapters:
            self.adapters[alias] = pydantic.TypeAdapter(strictly(self.hints[self.fields[alias]]))
        return self.adapters[alias]


@functools.cache
def _own_model(wire_type: str) -> _OwnModel:
    (model,) = (each for each in typing.get_args(vapi.ServerMessageMessage)
                if wire_type in wire_types(each))  # fmt: skip
    named = {each.alias or name: (name, each) for name, each in model.model_fields.items()}
    return _OwnModel(
        fields={alias: name for alias, (name, _) in named.items()},
        required={alias for alias, (_, each) in named.items() if each.is_required()},
        hints=typing.get_type_hints(model),
    )


def strictly(annotation: Any) -> Any:
    """Return an enumeration without the ``Any`` that the SDK lets pass beside it."""
    parts = [each for each in typing.get_args(annotation) if each not in (Any, type(None))]
    literal = [each for each in parts if typing.get_origin(each) is typing.Literal]
    return literal[0] if literal and Any in typing.get_args(annotation) else annotation


# What Vapi posts beside its schema, for servers of older days (vapi.md 5.2).
FLAT = {
    "end-of-call-report": {
        *("transcript", "summary", "messages", "recordingUrl", "stereoRecordingUrl"),
        *("durationMs", "durationSeconds", "durationMinutes", "costBreakdown"),
    }
}
ENVELOPE = {"artifact", "assistant", "call", "customer", "phoneNumber"}


def wire_types(model: Any) -> list[str]:
    annotation = model.model_fields["type"].annotation
    return [
        value
        for each in (annotation, *typing.get_args(annotation))
        if typing.get_origin(each) is typing.Literal
        for value in typing.get_args(each)
    ]


SDK_TYPES = frozenset(
    wire for model in typing.get_args(vapi.ServerMessageMessage) for wire in wire_types(model)
)
