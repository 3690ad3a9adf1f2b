"""What a call would send to the model first, without a call: for ``render_session``.

Owns the way from a stored assistant or an exported file to the opening events. The events come out
of the bridge itself, so they are those of a real call to the byte. Writes nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from assistants.assistant_account import account_assistant
from assistants.circumstances import Circumstances
from assistants.findings import INVALID, Finding, Notes
from assistants.import_paths import PathProblem, read_paths
from assistants.models import AssistantRevision
from assistants.prompt import clock_variables, render
from assistants.selectors import assistant_list
from assistants.services import revision_document
from assistants.translate import session_plan
from assistants.voice_table import decided_voices, realtime_voice
from assistants.wire import vapi_config
from assistants.wire.files import read_file
from assistants.yaml12 import parse_yaml
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.models import ProviderConnection
from calls.services.answering import answering_of
from calls.services.call_plan import offered_tools
from calls.services.call_variables import own_variables
from calls.services.clips import greeting_line, greeting_problem, is_rendered
from calls.services.handoffs import destination_names
from calls.services.mcp_servers import mcp_servers
from calls.services.sessions import (
    answering_model,
    assistant_parts,
    session_config,
    tool_specs,
)
from calls.wire.realtime import Dialect
from tools.models import Tool
from tools.selectors import tools_by_id
from tools.wire.vapi_tool import ToolReading, read_tool
from voiceplatform.base.models import Organisation

RENDERED = "It is rendered: calls play it at once, and the model is told of it."
NOT_RENDERED = "It is rendered when a number answers with it; until then the model says it."

_SID = "0" * 32


class PreviewProblem(Exception):
    """There is nothing to render; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class SessionPreview:
    """The opening of a call: what is sent, in order, and what is to be known of it.

    ``conversation`` holds the items that come between the configuration and the greeting; the
    greeting is None where the caller speaks first. Where ``greeting_audio`` says that it is
    rendered, a call plays it and tells the model of it instead of asking for it.
    """

    session_update: dict[str, Any]
    conversation: list[dict[str, Any]]
    greeting: dict[str, Any] | None
    tools: list[dict[str, Any]]
    findings: list[Finding]
    greeting_audio: str = ""


def preview_stored(
    *,
    organisation: Organisation,
    assistant_id: uuid.UUID,
    variables: Mapping[str, Any],
    dialect: Dialect | None = None,
) -> SessionPreview:
    """Return the opening of a call that the assistant's published revision would answer.

    Raises:
        PreviewProblem: there is no such assistant, or it has no revision.
    """
    assistant = assistant_list(organisation).filter(pk=assistant_id).first()
    revision = assistant.current_revision if assistant else None
    if revision is None:
        raise PreviewProblem(f"there is no assistant {assistant_id}. Fix: see /admin/ for its id.")
    return preview_document(
        revision_document(revision),
        offered_tools(revision),
        organisation=organisation,
        variables=variables,
        dialect=dialect,
        revision=revision,
    )


def preview_file(
    *,
    organisation: Organisation,
    path: str,
    variables: Mapping[str, Any],
    dialect: Dialect | None = None,
) -> SessionPreview:
    """Return the opening of a call for the one assistant of an exported file.

    Saved tools (``toolIds``) are taken from what ``organisation`` has stored.

    Raises:
        PreviewProblem: the file cannot be read, or holds no assistant or several.
    """
    kind, document = document_of_file(path)
    if kind != "assistant":
        raise PreviewProblem(f"{path}: 0 assistants in it, and one is rendered.")
    tools, missing = tools_of_document(document, organisation)
    return preview_document(
        document,
        tools,
        organisation=organisation,
        variables=variables,
        dialect=dialect,
        findings=missing,
    )


def document_of_file(path: str) -> tuple[str, Mapping[str, Any]]:
    """Return the kind and the value of the one assistant, or else the one squad, of a file.

    Raises:
        PreviewProblem: the file cannot be read, or holds none or several.
    """
    if Path(path).is_dir():
        raise PreviewProblem(f"{path} is a folder. Fix: give one file of it.")
    try:
        (file,) = read_paths([path])[0]
    except PathProblem as error:
        raise PreviewProblem(str(error)) from error
    reading = read_file(file.name, file.raw, parse_yaml)
    assistants = [found.value for found in reading.found if found.kind == "assistant"]
    squads = [found.value for found in reading.found if found.kind == "squad"]
    if len(assistants) == 1:
        return "assistant", assistants[0]
    if not assistants and len(squads) == 1:
        return "squad", squads[0]
    why = reading.problem or f"{len(assistants)} assistants in it, and one is rendered"
    raise PreviewProblem(f"{path}: {why}.")


def tools_of_document(
    document: Mapping[str, Any], organisation: Organisation
) -> tuple[list[Tool | ToolReading], list[Finding]]:
    """Return the inline tools, then the saved ones that are stored here, and what is missing."""
    wanted = vapi_config.read_assistant(document)
    known = tools_by_id(organisation, wanted.tool_ids)
    saved = [known[each] for each in dict.fromkeys(wanted.tool_ids) if each in known]
    types = {tool.type for tool in saved}
    tools: list[Tool | ToolReading] = [
        read_tool(tool)
        for tool in wanted.inline_tools
        if not (tool.keys() == {"type"} and tool["type"] in types)
    ]
    missing = [
        Finding("$.model.toolIds", INVALID, f"{each[:60]!r} is not stored here; it is left out.")
        for each in wanted.tool_ids
        if each not in known
    ]
    return [*tools, *saved], missing


def preview_document(
    document: Mapping[str, Any],
    tools: Iterable[Tool | ToolReading],
    *,
    organisation: Organisation,
    variables: Mapping[str, Any],
    dialect: Dialect | None = None,
    findings: Iterable[Finding] = (),
    revision: AssistantRevision | None = None,
) -> SessionPreview:
    """Return the opening of a call for a document, on the organisation's default connection.

    Args:
        revision: the row that the document is of, if it is stored: it may have rendered speech.
    """
    now = timezone.now()
    scope = {**clock_variables(now), **own_variables(document), **variables}
    connection = ProviderConnection.objects.filter(
        organisation=organisation, is_default=True
    ).first()
    plan = session_plan(
        document,
        voice=realtime_voice(organisation, document.get("voice")),
        variables=scope,
        now=now,
    )
    model = (
        answering_model(connection, plan.model)
        if connection
        else plan.model or settings.OPENAI_REALTIME_MODEL
    )
    offered = list(tools)

    def fill(text: str) -> str:
        return render(text, scope, now)

    specs = tool_specs(offered, fill, names=destination_names(organisation.pk, offered))
    config = session_config(
        plan,
        model=model,
        transcription_model=connection.transcription_model
        if connection
        else ProviderConnection._meta.get_field("transcription_model").default,
        tools=specs,
        mcp_servers=mcp_servers(offered, fill),
    )
    default: Any = connection.dialect if connection else "openai_ga"
    events = opening_events(
        CallPlan(
            call_id=str(uuid.UUID(int=0)),
            call_sid=f"CA{_SID}",
            account_sid=f"AC{_SID}",
            dialect=dialect or default,
            model=model,
            session=config,
            tools=specs,
            **assistant_parts(plan),
        )
    )
    notes = Notes()
    around = Circumstances(
        decided=decided_voices(organisation),
        answering=answering_of(connection) if connection else None,
    )
    account_assistant(document, notes, around)
    first, *others = events
    return SessionPreview(
        session_update=first,
        conversation=[e for e in others if e["type"] == "conversation.item.create"],
        greeting=next((e for e in others if e["type"] == "response.create"), None),
        tools=first["session"]["tools"],
        findings=[*notes.findings, *findings],
        greeting_audio=greeting_problem(document, plan, now)
        or (RENDERED if is_rendered(revision, greeting_line(plan)) else NOT_RENDERED),
    )


def opening_events(plan: CallPlan) -> list[dict[str, Any]]:
    """Return what the bridge sends to the model until it waits for the caller or an answer."""
    bridge = CallBridge(plan, 0)
    start = {
        "streamSid": f"MZ{_SID}",
        "callSid": plan.call_sid,
        "accountSid": plan.account_sid,
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    bridge.receive_twilio('{"event":"connected"}', 0)
    bridge.receive_twilio(
        json.dumps({"event": "start", "streamSid": start["streamSid"], "start": start}), 0
    )
    bridge.realtime_opened(0)
    bridge.receive_realtime('{"type":"session.created"}', 0)
    session = json.loads(bridge.to_realtime[0])["session"]
    bridge.receive_realtime(json.dumps({"type": "session.updated", "session": session}), 0)
    return [json.loads(text) for text in bridge.to_realtime]
