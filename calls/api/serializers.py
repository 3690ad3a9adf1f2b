"""What calls and phone numbers look like on the wire, in Vapi's shapes (vapi.md 6.3, 6.5, 7.1).

Holds shapes only; what was said is rendered by ``artifact_json`` and by nothing else here.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from calls.models import Call, PhoneNumber, ToolInvocation, Turn
from calls.selectors.records import conversation
from voiceplatform.base.rest import iso

_ROLES = {Turn.Role.CALLER: "user", Turn.Role.ASSISTANT: "bot", Turn.Role.SYSTEM: "system"}
_SPEAKERS = {Turn.Role.CALLER: "User", Turn.Role.ASSISTANT: "AI"}
_CALL_TYPES = {"inbound": "inboundPhoneCall", "outbound": "outboundPhoneCall", "web": "webCall"}


def number_json(number: PhoneNumber) -> dict[str, Any]:
    """Return the number as Vapi shows it; the account's token is never part of it."""
    document: dict[str, Any] = {
        "id": str(number.pk),
        "orgId": str(number.organisation_id),
        "createdAt": iso(number.created_at),
        "updatedAt": iso(number.updated_at),
        "provider": "twilio",
        "status": "active",
        "number": number.number_e164,
        "twilioAccountSid": number.twilio_account.account_sid,
    }
    if number.name:
        document["name"] = number.name
    if number.assistant_id:
        document["assistantId"] = str(number.assistant_id)
    return document


def call_json(call: Call, *, with_artifact: bool) -> dict[str, Any]:
    """Return the call as Vapi shows it; what was said only with ``with_artifact``."""
    revision, number = call.revision, call.number
    optional = {
        "startedAt": iso(call.started_at),
        "endedAt": iso(call.ended_at),
        "endedReason": call.ended_reason or None,
        "assistantId": str(revision.assistant_id) if revision else None,
        "phoneNumberId": str(number.pk) if number else None,
        "customer": {"number": call.caller} if call.caller else None,
    }
    document: dict[str, Any] = {
        "id": str(call.pk),
        "orgId": str(call.organisation_id),
        "createdAt": iso(call.created_at),
        "updatedAt": iso(max(filter(None, (call.created_at, call.started_at, call.ended_at)))),
        "type": _CALL_TYPES.get(call.direction, "inboundPhoneCall"),
        "status": call.status,
        "phoneCallProvider": "twilio",
        "phoneCallTransport": "pstn",
        "phoneCallProviderId": call.call_sid,
        **{name: value for name, value in optional.items() if value is not None},
        "cost": float(call.cost_usd),
        "costs": _costs(call),
    }
    if with_artifact:
        document["artifact"] = artifact_json(call)
    return document


def _costs(call: Call) -> list[dict[str, Any]]:
    """Book everything on the model, as Vapi does for speech-to-speech (vapi.md 6.5)."""
    usage = call.metrics if isinstance(call.metrics, dict) else {}
    name = call.connection.model if call.connection else ""
    if not call.cost_usd:
        return []
    return [
        {
            "type": "model",
            "model": {"provider": "openai", "model": name},
            "promptTokens": _count(usage.get("input_tokens")),
            "completionTokens": _count(usage.get("output_tokens")),
            "cost": float(call.cost_usd),
        }
    ]


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def artifact_json(call: Call) -> dict[str, Any]:
    """Return what was said and what tools answered; text that was not heard is left out."""
    began = call.started_at or call.created_at
    messages: list[dict[str, Any]] = []
    lines: list[str] = []
    for entry in conversation(call.turns.all(), call.tool_invocations.all()):
        if entry.turn is not None:
            messages.append(_turn_message(entry.turn, began))
            speaker = _SPEAKERS.get(Turn.Role(entry.turn.role))
            if speaker and entry.turn.text:
                lines.append(f"{speaker}: {entry.turn.text}")
        elif entry.tool is not None:
            messages += _tool_messages(entry.tool, began)
    return {"messages": messages, "transcript": "\n".join(lines)}


def _turn_message(turn: Turn, began: dt.datetime) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": _ROLES[Turn.Role(turn.role)],
        "message": turn.text,
        "time": _epoch_ms(began, turn.started_ms),
        "secondsFromStart": turn.started_ms / 1000,
    }
    if turn.role != Turn.Role.SYSTEM:
        ended_ms = turn.started_ms if turn.ended_ms is None else turn.ended_ms
        message["endTime"] = _epoch_ms(began, ended_ms)
        message["duration"] = max(ended_ms - turn.started_ms, 0)
    return message


def _tool_messages(tool: ToolInvocation, began: dt.datetime) -> list[dict[str, Any]]:
    call_message = {
        "role": "tool_calls",
        "message": "",
        "time": _epoch_ms(began, tool.started_ms),
        "secondsFromStart": tool.started_ms / 1000,
        "toolCalls": [
            {
                "id": tool.tool_call_id,
                "type": "function",
                # A JSON string in messages, unlike in webhooks (vapi.md 0, rule 7).
                "function": {"name": tool.name, "arguments": tool.arguments_json or json.dumps({})},
            }
        ],
    }
    if tool.state == ToolInvocation.State.RUNNING:
        return [call_message]
    ended_ms = tool.started_ms + (tool.duration_ms or 0)
    result = {
        "role": "tool_call_result",
        "toolCallId": tool.tool_call_id,
        "name": tool.name,
        "result": tool.output,
        "time": _epoch_ms(began, ended_ms),
        "secondsFromStart": ended_ms / 1000,
    }
    return [call_message, result]


def _epoch_ms(began: dt.datetime, offset_ms: int) -> int:
    return round(began.timestamp() * 1000) + offset_ms
