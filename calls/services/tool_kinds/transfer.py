"""Asks a server where a ``transferCall`` without destinations transfers to (vapi.md 3.5, 5.2).

Owns the request and which answer counts: one destination that may be dialled. The transfer itself,
and what is heard before it, is the bridge's. Never raises into the call; what goes wrong is a
sentence for the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call
from calls.numbers.destinations import destination_of
from calls.services.call_variables import renderer_for
from calls.services.server_messages.asking import Question, ask
from calls.services.server_messages.targets import target_of
from calls.services.tool_posts import UNAVAILABLE, note_running
from calls.services.tool_servers import server_for
from calls.services.vapi_objects import PendingCall, envelope_for
from tools.models import Tool
from tools.spec import ToolResult, ToolSpec
from tools.wire import vapi_server
from tools.wire.vapi_requests import read_destination_answer
from voiceplatform.base.fields import DecryptionError

KIND: Final = "transfer-destination-request"
NOBODY: Final = "There is nobody to transfer this call to. Offer the caller another way."
FORBIDDEN: Final = (
    "The call was not transferred: the destination that was named may not be dialled. Offer the "
    "caller another way."
)

log = structlog.get_logger(__name__)


async def transfer_run(
    call_id: str, spec: ToolSpec, effect: DispatchTool, finished: Callable[[str, ToolResult], None]
) -> None:
    """Answer a call of the tool with the destination that its server names."""
    try:
        question = await in_database(_question_for, call_id, spec, effect)
    except (AnyDatabaseError, ObjectDoesNotExist, ValidationError, DecryptionError) as error:
        log.error("transfer_not_asked", call_id=call_id, error=type(error).__name__)
        finished(effect.tool_call_id, ToolResult(UNAVAILABLE, outcome="error"))
        return
    text = await ask(question) if question is not None else None
    finished(effect.tool_call_id, answer_of(text))


def answer_of(text: str | None) -> ToolResult:
    """Return what becomes of the call: a destination for the bridge, or words for the model.

    Args:
        text: what the server answered, None where nobody did.
    """
    if text is None:
        return ToolResult(NOBODY, outcome="error")
    answer = read_destination_answer(text)
    if answer.error:
        said = " ".join(answer.error.split())
        return ToolResult(f"The call was not transferred: {said}", outcome="error")
    if answer.destination is None:
        return ToolResult(NOBODY, outcome="error")
    to = destination_of(answer.destination.to)
    if not to:
        return ToolResult(FORBIDDEN, outcome="error")
    return ToolResult("", transfer_to=to, transfer_message=answer.destination.message)


def _question_for(call_id: str, spec: ToolSpec, effect: DispatchTool) -> Question | None:
    call = Call.objects.select_related(
        "organisation",
        "twilio_account",
        "number__twilio_account",
        "revision__assistant",
        "connection",
    ).get(pk=call_id)
    tool = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    note_running(call, spec, effect)
    target = target_of(call)
    if not tool.server_url and (target is None or KIND not in target.messages):
        return None  # the assistant does not want to be asked
    server = server_for(tool, call.revision, number=call.number, render=renderer_for(call))
    if server is None:
        return None
    pending = PendingCall(effect.tool_call_id, effect.name, effect.arguments_json)
    envelope = envelope_for(call, timestamp_ms=time.time_ns() // 1_000_000, pending=[pending])
    body = vapi_server.server_message(envelope, KIND, {})
    return Question(server, vapi_server.encode(body), KIND, call_id)
