"""From an assistant's plan and its tools to the values a session is made of.

Owns how ``assistants.translate`` meets the wire: one function for a call and for a rehearsal on
paper (``render_session``), so that both send the same bytes. It must not read or write rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from assistants.speech_models import is_speech_model
from assistants.translate import SessionPlan, interrupt_voice_ms
from calls.bridge.plan import Filler, Greeting, HistoryItem, Idle, Interruption, Keypad
from calls.models import ProviderConnection
from calls.wire.realtime import (
    FunctionTool,
    McpServer,
    SessionConfig,
    TurnDetection,
    takes_reasoning,
)
from tools.argument_paths import encrypted_paths
from tools.handoffs import destinations_of, hands_over, offered_function
from tools.loose_json import as_list, as_object
from tools.messages import ToolMessage, read_messages, with_fillers
from tools.models import Tool
from tools.names import legal_name
from tools.normalise import function_of
from tools.offered import offered_schema
from tools.services import tool_document
from tools.spec import POSTED_KINDS, RUNNABLE_KINDS, SERVED_KINDS, ToolSpec
from tools.wire.api_request import read_api_request
from tools.wire.vapi_tool import ToolReading, read_tool
from voiceplatform.base.phones import dialable

Fill = Callable[[str], str]  # a text with its variables filled in

# What of a schema becomes part of a description: a template left in it would be said by the model.
_SAID: Final = frozenset({"description", "title", "pattern"})


def answering_model(connection: ProviderConnection, named: str) -> str:
    """Return the model that is dialled: the one a document names, if the connection has models.

    Azure's addresses name a deployment (openai_realtime.md 1.3), which is the connection's own;
    a model's name in its place would lead nowhere.
    """
    if connection.names_deployment or not is_speech_model(named):
        return connection.model
    return named


def tool_specs(
    tools: Iterable[Tool | ToolReading],
    fill: Fill,
    *,
    language: str = "",
    names: Mapping[str, str] | None = None,
) -> tuple[ToolSpec, ...]:
    """Return the tools that a model is offered, with legal names, each once.

    Args:
        tools: rows, or tools of a document that is not stored.
        fill: fills in the variables of a text.
        language: that of the call; words of ours for a tool without any exist in some.
        names: names of saved assistants by id, for tools that hand the call to them.
    """
    specs: dict[str, ToolSpec] = {}
    for tool in tools:
        if tool.type == "handoff" or (tool.type == "transferCall" and hands_over(_whole(tool))):
            _add_handoff(specs, tool, fill, language, names or {})
            continue
        if tool.type not in RUNNABLE_KINDS:
            # The import has said so; a model that is offered it would promise what cannot be.
            continue
        name = legal_name(tool.name, specs)
        reading = read_tool(tool_document(tool)) if isinstance(tool, Tool) else tool
        # A row's own column may lack fixed arguments.
        offered = offered_schema(reading.parameters)
        function = function_of(fill(tool.description), _filled(offered, fill))
        specs[name] = ToolSpec(
            name=name,
            posted_name=tool.name if name != tool.name else "",
            kind=tool.type,
            description=function.description,
            parameters=function.parameters,
            handle=str(tool.pk) if isinstance(tool, Tool) else "",
            timeout_seconds=tool.timeout_seconds,
            # Only a server that gets Vapi's message can be left to itself (vapi.md 3.2).
            is_async=tool.is_async and tool.type in POSTED_KINDS,
            idempotent=isinstance(tool, Tool) and _is_idempotent(tool),
            messages=_messages(tool, fill, language),
            rejection=reading.rejection,
            hidden=encrypted_paths(tool_document(tool)) if isinstance(tool, Tool) else (),
            **_transfer(tool, fill),
        )
    return tuple(specs.values())


def _whole(tool: Tool | ToolReading) -> Mapping[str, Any]:
    """Return of a tool's document what a handoff is read from."""
    if isinstance(tool, Tool):
        return tool_document(tool)
    parts = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    named = {} if tool.name == tool.type else {"function": parts}
    return {"type": tool.type, "destinations": list(tool.destinations), **named}


def _add_handoff(
    specs: dict[str, ToolSpec],
    tool: Tool | ToolReading,
    fill: Fill,
    language: str,
    names: Mapping[str, str],
) -> None:
    """Offer a tool that hands the call to another assistant (vapi.md 8.2).

    One with no assistant among its destinations is not offered: nobody would take over.
    """
    document = _whole(tool)
    places = destinations_of(document)
    if not places:
        return
    groups = sum(spec.name.startswith("handoff_to_group_") for spec in specs.values())
    wanted, description, parameters = offered_function(document, names=names, groups=groups)
    name = legal_name(wanted, specs)
    function = function_of(fill(description), _filled(offered_schema(parameters), fill))
    messages = read_messages(list(tool.messages), language=language, fill=fill)
    words = as_object(as_list(document.get("destinations"))[0]).get("message")
    if isinstance(words, str) and words and not any(each.kind == "start" for each in messages):
        messages = (*messages, ToolMessage("start", fill(words).strip()))
    reading = read_tool(document) if isinstance(tool, Tool) else tool
    specs[name] = ToolSpec(
        name=name,
        kind="handoff",
        description=function.description,
        parameters=function.parameters,
        handle=str(tool.pk) if isinstance(tool, Tool) else "",
        messages=messages,
        rejection=reading.rejection,
    )


def _is_idempotent(tool: Tool) -> bool:
    document = tool_document(tool)
    return (document.get("idempotent") is True or tool.type == "query") or (
        tool.type == "apiRequest" and read_api_request(document).method == "GET"
    )


def _messages(tool: Tool | ToolReading, fill: Fill, language: str) -> tuple[ToolMessage, ...]:
    """Return what is said around the calls of a tool; of one that is waited for, in any case."""
    messages = read_messages(list(tool.messages), language=language, fill=fill)
    if tool.type in SERVED_KINDS and not (tool.is_async and tool.type in POSTED_KINDS):
        return with_fillers(messages, language)
    return messages


def _filled(schema: Any, fill: Fill) -> Any:
    """Return a schema whose texts that reach the model have their variables filled in."""
    if isinstance(schema, Mapping):
        return {
            key: fill(value) if key in _SAID and isinstance(value, str) else _filled(value, fill)
            for key, value in schema.items()
        }
    return [_filled(each, fill) for each in schema] if isinstance(schema, list) else schema


def _transfer(tool: Tool | ToolReading, fill: Fill) -> dict[str, Any]:
    """Return where a transferCall goes: its one number, if it is one that may be dialled.

    Without any destination its server is asked for one (vapi.md 3.5).
    """
    if tool.type != "transferCall":
        return {}
    if not tool.destinations:
        return {"asks_where": True}
    for place in tool.destinations:
        if isinstance(place, dict) and place.get("type", "number") == "number":
            message = place.get("message")
            return {
                "transfer_to": dialable(fill(str(place.get("number", "")))),
                "transfer_message": fill(message) if isinstance(message, str) else "",
            }
    return {}


def session_config(
    plan: SessionPlan,
    *,
    model: str,
    transcription_model: str,
    tools: Iterable[ToolSpec],
    mcp_servers: tuple[McpServer, ...] = (),
) -> SessionConfig:
    """Return how a session of ``model`` is configured for an assistant's plan.

    Where to speak is not enough to interrupt, the server must not do so: the bridge does.
    """
    by_server = not interruption_of(plan).guards
    turns = (
        TurnDetection(kind="semantic_vad", interrupt_response=by_server)
        if plan.turns.kind == "semantic"
        else TurnDetection(silence_duration_ms=plan.turns.silence_ms, interrupt_response=by_server)
    )
    return SessionConfig(
        instructions=plan.instructions,
        voice=plan.voice,
        transcription_model=transcription_model,
        language=plan.language,
        noise_reduction=plan.noise_reduction,
        turn_detection=turns,
        tools=tuple(FunctionTool(t.name, t.description, t.parameters) for t in tools),
        speed=plan.speed,
        transcription_prompt=plan.transcription_prompt,
        keywords=plan.keywords,
        languages=plan.languages,
        max_output_tokens=plan.max_output_tokens,
        reasoning_effort=plan.reasoning_effort if takes_reasoning(model) else "",
        temperature=plan.temperature,
        mcp_servers=mcp_servers,
    )


def interruption_of(plan: SessionPlan) -> Interruption:
    """Return what it takes to interrupt an assistant."""
    return Interruption(
        words=plan.interrupt_words,
        voice_ms=interrupt_voice_ms(plan.interrupt_words, plan.interrupt_voice_seconds),
        backoff_ms=round((plan.interrupt_backoff_seconds or 0) * 1_000),
        acknowledgements=plan.acknowledgements,
        phrases=plan.interruptions,
    )


def assistant_parts(plan: SessionPlan) -> dict[str, Any]:
    """Return the fields of a call's plan that the assistant alone decides."""
    idle, keypad = plan.idle, plan.keypad
    return {
        "greeting": Greeting(plan.greeting_mode, plan.greeting, plan.greeting_interruptible),
        "end_call_message": plan.end_call_message,
        "end_call_phrases": plan.end_call_phrases,
        "examples": tuple(HistoryItem(turn.role, turn.text) for turn in plan.messages),
        "idle": Idle(
            messages=idle.messages,
            wait_ms=round(idle.wait_seconds * 1_000),
            most=idle.most,
            counts_anew=idle.counts_anew,
            silence_ms=plan.silence_timeout_seconds * 1_000,
            silence_message=idle.silence_message,
        ),
        "interruption": interruption_of(plan),
        "keypad": keypad and Keypad(round(keypad.timeout_seconds * 1_000), keypad.delimiters),
        "filler": Filler(asked=True),
    }
