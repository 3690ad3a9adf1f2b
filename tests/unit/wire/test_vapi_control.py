"""Bodies of ``POST /call/{id}/control``: Vapi's own types are read, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest

from calls.wire.vapi_control import CONTROLS, Control, ControlWireError, control_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "say", "content": " One moment. "}, Control("say", "One moment.")),
        (
            {
                "type": "say",
                "content": "Bye",
                "endCallAfterSpoken": True,
                "interruptionsEnabled": False,
                "interruptAssistantEnabled": True,
            },
            Control("say", "Bye", ends_call=True, interruptible=False, interrupts=True),
        ),
        (
            {"type": "add-message", "message": {"role": "system", "content": "VIP"}},
            Control("add-message", "VIP"),
        ),
        (
            {
                "type": "add-message",
                "message": {"role": "user", "content": "Hi"},
                "triggerResponseEnabled": False,
            },
            Control("add-message", "Hi", role="user", answers=False),
        ),
        *(({"type": "control", "control": name}, Control(name)) for name in CONTROLS),
        ({"type": "end-call"}, Control("end-call")),
        (
            {
                "type": "transfer",
                "destination": {"type": "number", "number": "+14155550123", "message": "Old"},
                "content": "I put you through.",
            },
            Control("transfer", "I put you through.", dial_to="+14155550123"),
        ),
        (
            {
                "type": "transfer",
                "destination": {
                    "type": "sip",
                    "sipUri": "sip:desk@pbx.example.com",
                    "message": "Hold the line.",
                    "transferPlan": {"mode": "blind-transfer"},
                },
            },
            Control("transfer", "Hold the line.", dial_to="sip:desk@pbx.example.com"),
        ),
        (
            {
                "type": "handoff",
                "content": "I put you through.",
                "destination": {"type": "assistant", "assistantName": "Sales"},
            },
            Control(
                "handoff",
                "I put you through.",
                destination={"type": "assistant", "assistantName": "Sales"},
            ),
        ),
    ],
)
def test_what_vapis_clients_send_is_read(body: dict[str, Any], expected: Control) -> None:
    control = control_of(body)
    assert control == expected
    assert Control.from_json(control.to_json()) == control


@pytest.mark.parametrize(
    ("body", "sentences"),
    [
        ({}, ["type must be one of the following values"]),
        ({"type": ["say"]}, ["type must be one of the following values"]),
        ({"type": "send-transport-message"}, ["type send-transport-message is not supported here"]),
        ({"type": "handoff"}, ["destination must be an object"]),
        (
            {"type": "handoff", "destination": {"type": "dynamic", "server": {}}},
            ["destination.type must be one of", "destination.assistantId must name who takes"],
        ),
        (
            {"type": "handoff", "destination": {"type": "squad", "assistantName": "Sales"}},
            ["destination.squadId must name who takes the call over"],
        ),
        (
            {"type": "handoff", "destination": {"type": "assistant", "assistantName": "A\x00"}},
            ["destination.assistantName must not contain a NUL"],
        ),
        (
            {
                "type": "handoff",
                "content": 5,
                "destination": {"type": "assistant", "assistantId": 5, "assistant": "Sales"},
            },
            [
                *("destination.assistantId must be a string",),
                *("destination.assistant must be an object", "content must be a string"),
            ],
        ),
        ({"type": "say"}, ["content must be a string"]),
        ({"type": "say", "content": "  "}, ["content should not be empty"]),
        ({"type": "say", "content": "x" * 4001}, ["content must be shorter"]),
        (
            {"type": "say", "content": 5, "endCallAfterSpoken": "yes"},
            ["content must be a string", "endCallAfterSpoken must be a boolean value"],
        ),
        ({"type": "add-message"}, ["message must be an object"]),
        (
            {"type": "add-message", "message": {"role": "tool", "content": None}},
            ["message.content must be a string", "message.role must be one of"],
        ),
        ({"type": "control", "control": "mute"}, ["control must be one of the following values"]),
        ({"type": "transfer"}, ["destination must be an object"]),
        (
            {"type": "transfer", "destination": {"type": "assistant", "assistantName": "B"}},
            ["destination.type must be one of", "destination.number must be a string"],
        ),
        (
            {
                "type": "transfer",
                "destination": {
                    "type": "number",
                    "number": "+14155550123",
                    "extension": "12",
                    "transferPlan": {"mode": "warm-transfer-say-message"},
                },
            },
            ["destination.extension is not supported", "destination.transferPlan.mode must be"],
        ),
    ],
)
def test_every_wrong_field_is_named(body: dict[str, Any], sentences: list[str]) -> None:
    with pytest.raises(ControlWireError) as caught:
        control_of(body)
    found = caught.value.sentences
    assert len(found) == len(sentences)
    assert all(
        sentence.startswith(start) for sentence, start in zip(found, sentences, strict=True)
    ), found
