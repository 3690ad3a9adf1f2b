"""Rows as Vapi's objects (vapi.md 4.1, 6.3, 6.5, 7.1): what REST answers and what webhooks carry.

Owns the shapes of call, phone number, customer, assistant, tool and artifact, once for both. Reads
rows, and nothing here may contain a secret: documents are taken in their redacted form.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assistants.models import AssistantRevision
from assistants.selectors import revision_tools
from assistants.serializers import assistant_json
from assistants.wire.vapi_compliance import keeps_no_words
from calls.conversation import ToolUse, forms, heard_until
from calls.conversation import conversation as in_order
from calls.models import Call, PhoneNumber, Turn
from calls.selectors.handoffs import activations_of, speaker_names
from calls.selectors.past_calls import imported_of
from calls.selectors.records import Spoken, conversation, speech_of, tool_use_of
from calls.services.live_monitor import monitor_object
from calls.services.privacy import lacks_consent
from calls.services.recording_links import recording_artifact
from tools.loose_json import as_object, as_text
from tools.models import Tool
from tools.serializers import tool_json
from tools.services import tool_document
from tools.switches import OURS
from tools.wire.vapi_server import Envelope
from voiceplatform.base.redaction import redact, redact_url
from voiceplatform.base.rest import iso

_CALL_TYPES = {"inbound": "inboundPhoneCall", "outbound": "outboundPhoneCall", "web": "webCall"}


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A function call on its way, which the journal may not have stored yet."""

    tool_call_id: str
    name: str
    arguments_json: str


def phone_number_object(number: PhoneNumber) -> dict[str, Any]:
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
    if number.squad_id:
        document["squadId"] = str(number.squad_id)
    elif number.assistant_id:
        document["assistantId"] = str(number.assistant_id)
    return document


def customer_object(call: Call) -> dict[str, Any] | None:
    """Return the person at the other end, None when nothing is known of them."""
    number = call.callee if call.direction == "outbound" else call.caller
    return {"number": number} if number else None


def call_type(call: Call) -> str:
    """Return what Vapi calls a call of this direction."""
    return _CALL_TYPES.get(call.direction, "inboundPhoneCall")


def call_object(call: Call) -> dict[str, Any]:
    """Return the call as Vapi shows it, without what was said."""
    revision = call.revision
    past = imported_of(call) if call.stack == Call.Stack.VAPI else None
    assistant_id = revision.assistant_id if revision else past.assistant_id if past else None
    number_id = call.number_id or (past.number_id if past else None)
    optional = {
        "startedAt": iso(call.started_at),
        "endedAt": iso(call.ended_at),
        "endedReason": call.ended_reason or None,
        "assistantId": str(assistant_id) if assistant_id else None,
        "phoneNumberId": str(number_id) if number_id else None,
        "customer": customer_object(call),
        "monitor": monitor_object(call) or None,
    }
    return {
        "id": str(call.pk),
        "orgId": str(call.organisation_id),
        "createdAt": iso(call.created_at),
        "updatedAt": iso(max(filter(None, (call.created_at, call.started_at, call.ended_at)))),
        "type": call_type(call),
        "status": call.status,
        "phoneCallProvider": "twilio",
        "phoneCallTransport": "pstn",
        "phoneCallProviderId": call.call_sid if past is None else past.provider_sid,
        **{name: value for name, value in optional.items() if value is not None},
        "cost": float(call.cost_usd),
        "costs": costs(call),
    }


def transport_object(call: Call) -> dict[str, Any]:
    """Return ``call.transport``, which webhooks carry beside the legacy names."""
    return {
        "provider": "twilio",
        "conversationType": "voice",
        "accountSid": call.account.account_sid,
        "callSid": call.call_sid,
    }


def costs(call: Call) -> list[dict[str, Any]]:
    """Book the model's part on the model, as Vapi does for speech-to-speech, and Twilio's on the
    transport (vapi.md 6.5).
    """
    if not call.cost_usd or call.imported_at is not None:
        return []  # what a log says of its parts is another stack's bill
    model, carrier = _cost_parts(call)
    tokens_in, tokens_out = _tokens(call)
    return [
        {
            "type": "transport",
            "provider": "twilio",
            "minutes": round(call.duration_seconds / 60, 4),
            "cost": carrier,
        },
        {
            "type": "model",
            "model": {"provider": "openai", "model": call.connection.model}
            if call.connection
            else {"provider": "openai", "model": ""},
            "promptTokens": tokens_in,
            "completionTokens": tokens_out,
            "cost": model,
        },
        *map(_analysis_cost, _analysis_parts(call)),
    ]


def compliance_object(call: Call) -> dict[str, Any] | None:
    """Return ``compliance`` of a caller who was asked, in Vapi's words; None where nobody was.

    Without ``grantedAt`` it was not granted (the SDK's ``RecordingConsent``).
    """
    if not call.consent:
        return None
    granted = call.consent_state == Call.Consent.GRANTED
    at = {"grantedAt": call.consent["at"]} if granted else {}
    return {"recordingConsent": {"type": "verbal", **at}}


def _analysis_parts(call: Call) -> list[dict[str, Any]]:
    """Return what each question of the analysis used (``calls.services.analysis``)."""
    return list(as_object(call.metrics.get("analysis")).get("parts", ()))


def _analysis_cost(part: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "analysis",
        "analysisType": part["type"],
        "model": {"provider": "openai", "model": part["model"]},
        "promptTokens": part["prompt_tokens"],
        "completionTokens": part["completion_tokens"],
        "cachedPromptTokens": part["cached_tokens"],
        "cost": part["cost_microusd"] / 1_000_000,
    }


def _analysis_breakdown(call: Call) -> dict[str, Any]:
    """Return the analysis by type, as ``costBreakdown.analysisCostBreakdown`` has it."""
    sums: Counter[str] = Counter()
    for part in _analysis_parts(call):
        kind = part["type"]
        sums[kind] += part["cost_microusd"]
        sums[f"{kind}PromptTokens"] += part["prompt_tokens"]
        sums[f"{kind}CompletionTokens"] += part["completion_tokens"]
        sums[f"{kind}CachedPromptTokens"] += part["cached_tokens"]
    found = {name: n if name.endswith("Tokens") else n / 1_000_000 for name, n in sums.items()}
    return {"analysisCostBreakdown": found} if found else {}


def cost_breakdown(call: Call) -> dict[str, Any]:
    """Return the same sum by part, the other parts zero (vapi.md 6.5)."""
    model, carrier = _cost_parts(call)
    tokens_in, tokens_out = _tokens(call)
    return {
        **dict.fromkeys(("stt", "tts", "vapi", "chat"), 0),
        "transport": carrier,
        "llm": model,
        "llmPromptTokens": tokens_in,
        "llmCompletionTokens": tokens_out,
        "total": float(call.cost_usd),
        **_analysis_breakdown(call),
    }


def _cost_parts(call: Call) -> tuple[float, float]:
    """Return what the model and the carrier cost; all of it the model's where parts are unknown."""
    parts = call.metrics.get("cost_usd")
    if not isinstance(parts, dict):
        return float(call.cost_usd), 0.0
    return float(parts.get("model", 0)), float(parts.get("carrier", 0))


def _tokens(call: Call) -> tuple[int, int]:
    """Return the model's tokens, in and out, over all streams."""
    counters = [stream.get("counters", {}) for stream in call.metrics.get("streams", [])]
    return (
        sum(each.get("input_tokens", 0) for each in counters),
        sum(each.get("output_tokens", 0) for each in counters),
    )


def assistant_object(revision: AssistantRevision) -> dict[str, Any]:
    """Return the assistant as it was for a call, with its saved tools in ``model.tools``.

    Our own marks on tools are left out, as no server knows them.
    """
    shown = copy.copy(revision.assistant)
    shown.current_revision = revision
    document = assistant_json(shown)
    saved = [tool_json(tool) for tool in revision_tools(revision) if not tool.is_inline]
    model = document.get("model")
    model = dict(model) if isinstance(model, dict) else {}
    inline = model.get("tools")
    tools = [*(inline if isinstance(inline, list) else ()), *saved]
    if tools:
        document["model"] = model | {"tools": [_without_marks(tool) for tool in tools]}
    return document


def _without_marks(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    return {name: value for name, value in tool.items() if name not in OURS}


def tool_object(tool: Tool, *, url: str, timeout_seconds: float, call_id: str) -> dict[str, Any]:
    """Return the tool as it stands in ``toolWithToolCallList``, answered at ``url``.

    Vapi once echoed the server's secret there; this does not (vapi.md 4.1), nor our own marks.
    Among the headers of the server is the id of the call, as captures show it.
    """
    shown = tool.document_redacted or redact(tool_document(tool))
    document = {name: value for name, value in shown.items() if name not in OURS}
    server = document.get("server")
    server = dict(server) if isinstance(server, dict) else {}
    headers = server.get("headers")
    document["server"] = {
        **server,
        "url": redact_url(url),
        "timeoutSeconds": timeout_seconds,
        "headers": {
            "Content-Type": "application/json",
            "X-Call-Id": call_id,
            **(headers if isinstance(headers, dict) else {}),
        },
    }
    if not isinstance(document.get("messages"), list):
        document["messages"] = []
    return {"type": tool.type, "async": tool.is_async, **document}


def set_variables(call: Call) -> dict[str, Any]:
    """Return what results of tools have set in this call, and what was handed over with it.

    These win over all others (vapi.md 2.10, 8.2). A result that sets what was handed over has
    changed it there (``calls.services.extraction``).
    """
    values = call.variable_values if isinstance(call.variable_values, dict) else {}
    handed = call.activation.variables if call.activation is not None else None
    return {**values, **(handed or {})}


def artifact_object(
    call: Call, pending: Sequence[PendingCall] = (), *, told_ms: int | None = None
) -> dict[str, Any]:
    """Return what was said and what tools answered; text that was not heard is left out.

    Args:
        pending: calls that are put at the end, together, unless their answers are stored already.
        told_ms: how much of the call to tell, in ms from its first stream; all of it unless given.

    Nothing is told of an assistant in compliance mode, nor of a caller who was asked and refused.
    """
    if lacks_consent(call):
        return {"messages": [], "messagesOpenAIFormatted": [], "transcript": ""}
    # The redacted copy says it too, and a list of calls opens no sealed document for it.
    if call.revision is not None and keeps_no_words(call.revision.document_redacted):
        return {"messages": [], "messagesOpenAIFormatted": [], "transcript": ""}
    began_ms = round((call.started_at or call.created_at).timestamp() * 1000)
    prompt = call.revision.instructions if call.revision is not None else ""
    asked = {each.tool_call_id for each in pending}
    invocations = [
        tool
        for tool in call.tool_invocations.all()
        if tool.state != tool.State.RUNNING or tool.tool_call_id not in asked
    ]
    turns = list(call.turns.all())
    names = speaker_names(call, turns)
    speech, tools = heard_until(
        [speech_of(turn, names.get(turn.ordinal, "")) for turn in turns],
        map(tool_use_of, invocations),
        told_ms,
    )
    entries = in_order(speech, tools)
    messages = forms.vapi_messages(entries, began_ms=began_ms, prompt=prompt)
    formatted = forms.openai_messages(entries, prompt=prompt)
    known = {tool.tool_call_id for tool in tools}
    new = [each for each in pending if each.tool_call_id not in known]
    if new:
        now_ms = round(dt.datetime.now(dt.UTC).timestamp() * 1000)
        calls = [
            forms.called(ToolUse(each.tool_call_id, each.name, each.arguments_json, 0))
            for each in new
        ]
        messages.append(forms.calls_message(calls, began_ms, max(now_ms - began_ms, 0)))
        formatted.append({"role": "assistant", "content": "", "tool_calls": calls})
    artifact: dict[str, Any] = {"messages": messages, "messagesOpenAIFormatted": formatted}
    if call.activation_id is not None:
        artifact["assistantActivations"] = [
            {"assistantName": each.name}
            | ({"assistantId": each.assistant_id} if each.assistant_id else {})
            for each in activations_of(call)
            if told_ms is None or each.started_ms <= told_ms
        ]
    labels = transcript_labels(call.revision)
    if labels is not None:
        artifact["transcript"] = forms.plain_transcript(entries, labels)
    values = set_variables(call)
    if values:
        artifact["variableValues"] = values
    if told_ms is None and call.status == Call.Status.ENDED:
        artifact |= recording_artifact(call)
    return artifact


def transcript_labels(revision: AssistantRevision | None) -> forms.Labels | None:
    """Return how an assistant wants speakers named; None where it wants no transcript (2.9)."""
    document = revision.document_redacted if revision is not None else {}
    artifact_plan = as_object(as_object(document).get("artifactPlan"))
    plan = as_object(artifact_plan.get("transcriptPlan"))
    if plan.get("enabled") is False:
        return None
    usual = forms.Labels()
    return forms.Labels(
        assistant=as_text(plan.get("assistantName")) or usual.assistant,
        user=as_text(plan.get("userName")) or usual.user,
    )


def preceded_by_text(call: Call) -> bool:
    """Tell whether the assistant has spoken since the caller last did."""
    spoken: list[Spoken] = conversation(call.turns.all(), ())
    return bool(
        spoken
        and spoken[-1].turn is not None
        and spoken[-1].turn.role == Turn.Role.ASSISTANT
        and spoken[-1].turn.text
    )


def envelope_for(
    call: Call,
    *,
    timestamp_ms: int,
    pending: Sequence[PendingCall] = (),
    told_ms: int | None = None,
) -> Envelope:
    """Return what every server message about ``call`` carries, as the rows are now.

    ``told_ms`` limits what was said to a moment of the call (``artifact_object``).
    """
    return Envelope(
        timestamp_ms=timestamp_ms,
        call=call_object(call) | {"transport": transport_object(call)},
        artifact=artifact_object(call, pending, told_ms=told_ms),
        assistant=assistant_object(call.revision) if call.revision else None,
        phone_number=phone_number_object(call.number) if call.number else None,
        customer=customer_object(call),
    )
