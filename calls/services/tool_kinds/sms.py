"""Sends the text message of an ``sms`` tool through the call's own Twilio account.

Owns to whom, from whom and how often: to the person at the other end or a number that the tool
names, never to one that the model gives, and once for each function call, whatever is repeated.
Never raises into the call; a refusal is a sentence for the model.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database, in_database_at_last
from calls.models import Call
from calls.services.call_variables import renderer_for
from calls.services.tool_posts import UNAVAILABLE, note_running
from calls.services.tool_records import exchange_begin, exchange_settle
from calls.services.vapi_objects import customer_object
from calls.telephony.twilio_client import TextSent, TwilioAccess, access_of, send_text
from tools.dispatch import ArgumentsRefused, checked_arguments
from tools.models import Tool
from tools.offered import judging_schema
from tools.services import tool_document
from tools.spec import Exchange, Outcome, ToolResult, ToolSpec
from tools.text_messages import MAX_CHARACTERS, text_argument
from tools.wire.vapi_server import static_parameters
from tools.wire.vapi_tool import read_text_message, read_tool
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.phones import dialable

SENT: Final = "The text message was accepted for delivery."
TWICE: Final = "This text message was sent before; it is not sent again."
UNKNOWN: Final = "It is not known whether the text message was sent. Do not send it again."
NO_RECEIVER: Final = "No text message was sent: the caller's number cannot receive one."
NO_SENDER: Final = "No text message was sent: this line cannot send any."
OPTED_OUT: Final = (
    "No text message was sent: this person has opted out of messages from this number. Do not try "
    "again."
)
REFUSED: Final = "No text message was sent: the carrier refused it."

# Twilio's error codes: what came of a message, in words for the model.
_WORDS: Final = {
    21610: OPTED_OUT,
    **dict.fromkeys((21211, 21217, 21612, 21614), NO_RECEIVER),
    **dict.fromkeys((21212, 21606, 21659, 21660, 21661), NO_SENDER),
    21408: "No text message was sent: this line may not send any to that country.",
    **dict.fromkeys((14107, 20429, 63038), "No text message was sent: too many at the moment."),
    21617: "No text message was sent: the text is too long. Write a shorter one.",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Message:
    access: TwilioAccess
    sender: str
    receiver: str
    text: str

    @property
    def shown(self) -> bytes:
        """Return the request for the records."""
        return json.dumps(self.form, ensure_ascii=False).encode()

    @property
    def form(self) -> dict[str, str]:
        """Return the fields that Twilio is sent."""
        return {"To": self.receiver, "From": self.sender, "Body": self.text}


async def text_run(
    call_id: str, spec: ToolSpec, effect: DispatchTool, finished: Callable[[str, ToolResult], None]
) -> None:
    """Send one text message and tell what came of it; never raises."""
    finished(effect.tool_call_id, await _result(call_id, spec, effect))


async def _result(call_id: str, spec: ToolSpec, effect: DispatchTool) -> ToolResult:
    try:
        prepared = await in_database(_prepared, call_id, spec, effect)
        if isinstance(prepared, ToolResult):
            return prepared
        begun = await in_database(
            exchange_begin,
            call_id,
            effect.tool_call_id,
            Exchange(_host(prepared.access), _url(prepared.access), prepared.shown),
        )
    except (AnyDatabaseError, ObjectDoesNotExist, ValidationError, DecryptionError) as error:
        log.error("tool_not_prepared", call_id=call_id, error=type(error).__name__)
        return ToolResult(UNAVAILABLE, outcome="error")
    if begun is None:
        return ToolResult(TWICE, outcome="error")
    began = time.monotonic()
    sent = await asyncio.to_thread(send_text, prepared.access, prepared.form)
    duration_ms = round((time.monotonic() - began) * 1000)
    output, outcome = _told(sent)
    exchange = Exchange(
        _host(prepared.access),
        _url(prepared.access),
        prepared.shown,
        status=sent.status,
        response_text=sent.shown,
        duration_ms=duration_ms,
        error=sent.error,
    )
    log.info(
        "text_message_sent" if outcome == "ok" else "text_message_not_sent",
        call_id=call_id,
        status=sent.status,
        code=sent.code,
        error=sent.error,
        duration_ms=duration_ms,
    )
    await in_database_at_last(exchange_settle, begun, exchange)
    return ToolResult(output, outcome, duration_ms, exchange=exchange)


def _told(sent: TextSent) -> tuple[str, Outcome]:
    if 200 <= sent.status < 300:
        return SENT, "ok"
    if sent.status and sent.status < 500:
        return _WORDS.get(sent.code, REFUSED), "error"
    return (UNKNOWN, "timeout") if sent.is_unknown else (REFUSED, "error")


def _host(access: TwilioAccess) -> str:
    return access.api_base_url.partition("://")[2].partition(":")[0] or "api.twilio.com"


def _url(access: TwilioAccess) -> str:
    base = access.api_base_url or "https://api.twilio.com"
    return f"{base}/2010-04-01/Accounts/{access.account_sid}/Messages.json"


def text_form(call: Call, spec: ToolSpec, arguments_json: str) -> dict[str, str] | ToolResult:
    """Return what Twilio would be sent for a function call, or why nothing can be.

    Raises:
        ArgumentsRefused: the model has to write it again.
        Tool.DoesNotExist: the tool is gone.
    """
    tool = Tool.objects.for_organisation(call.organisation).get(pk=spec.handle)
    document = tool_document(tool)
    render = renderer_for(call)
    parameters = read_tool(document).parameters
    arguments = checked_arguments(
        ToolSpec(name=spec.name, parameters=judging_schema(parameters)),
        arguments_json,
        static=static_parameters(document),
        render=render,
    )
    text = arguments.get(text_argument(parameters))
    if not isinstance(text, str) or not text.strip():
        raise ArgumentsRefused("No text message was sent: it has no text. Call it again with one.")
    if len(text) > MAX_CHARACTERS:
        raise ArgumentsRefused(
            f"No text message was sent: the text is longer than {MAX_CHARACTERS} characters. Call "
            "it again with a shorter one."
        )
    named = read_text_message(document)
    customer = (customer_object(call) or {}).get("number", "")
    receiver = dialable(render(named.receiver) if named.receiver else customer)
    own = call.number.number_e164 if call.number is not None else ""
    sender = dialable(render(named.sender) if named.sender else own)
    if not receiver or not sender:
        return ToolResult(NO_RECEIVER if sender else NO_SENDER, outcome="error")
    return {"To": receiver, "From": sender, "Body": text.replace("\x00", "")}


def _prepared(call_id: str, spec: ToolSpec, effect: DispatchTool) -> _Message | ToolResult:
    call = Call.objects.select_related(
        "organisation", "twilio_account", "number", "revision__assistant"
    ).get(pk=call_id)
    note_running(call, spec, effect)
    try:
        form = text_form(call, spec, effect.arguments_json)
    except ArgumentsRefused as error:
        return ToolResult(str(error), outcome="error", sent=False)
    if isinstance(form, ToolResult):
        return form
    account = call.account
    access = access_of(account)
    return _Message(access, form["From"], form["To"], form["Body"])
