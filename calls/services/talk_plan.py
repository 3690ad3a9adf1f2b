"""What one talk needs: the plan of a call that nobody placed, and what its tools would be sent.

A talk is given to the same services as a call, as a call that is never saved: prompt, voice, tools
and ceilings come about exactly as on the phone. Owns that likeness and the dry run; saves nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError

from assistants.extraction import gathered
from assistants.models import Assistant
from calls.bridge.effects import DispatchTool, RecordTurn
from calls.bridge.plan import CallPlan
from calls.bridge.successor import Successor
from calls.media.database import in_database
from calls.media.realtime_client import Endpoint
from calls.models import Call, PhoneNumber, ProviderConnection, Talk, Turn, TwilioAccount
from calls.services.call_plan import endpoint_of, plan_for
from calls.services.contract import marks_of, talk_problem
from calls.services.extraction import Retold, messages_now, variables_in
from calls.services.seed import STANDIN_API_KEY
from calls.services.tool_kinds.handoff import handoff_result
from calls.services.tool_kinds.query import query_answer
from calls.services.tool_run import UNAVAILABLE, ToolPost, tool_post
from tools.dispatch import ArgumentsRefused, dispatch
from tools.spec import POSTED_KINDS, SERVED_KINDS, ToolResult, ToolSpec
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import redact, redact_url

ACCOUNT_SID = "web"
MAX_SECONDS = 900
MAX_TOOL_CALLS = 30
MAX_SPEND_USD = Decimal(2)

NO_SERVER = "This tool has no server to call."
# What the model goes on with when nothing was sent; in JSON, as most servers answer.
DRY_ANSWER = json.dumps(
    {
        "status": "success",
        "note": "This is a rehearsal and nothing was sent. Go on as if it had succeeded; where you "
        "need a detail of the answer, take a plausible one.",
    }
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TalkTicket:
    """Everything the socket of a talk needs, loaded once."""

    plan: CallPlan
    endpoint: Endpoint
    stream_sid: str
    is_free: bool  # no model is asked, so nothing is billed


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A request to a tool server as the page shows it, without anything secret."""

    url: str
    headers: tuple[str, ...]
    body: dict[str, Any]
    sent: bool
    method: str = "POST"


def is_standin(connection: ProviderConnection) -> bool:
    """Tell whether a connection leads to the stand-in for the model."""
    return connection.api_key == STANDIN_API_KEY


def call_like(talk: Talk, variables: Mapping[str, Any] | None = None) -> Call:
    """Return a talk in the shape of a call. Never save it.

    Its number has ceilings, and the marks of those that the assistant answers (design.md 11).

    Args:
        variables: what tools' results have set in the talk so far.
    """
    organisation = talk.organisation
    marks = marks_of(talk.revision.assistant)
    account = TwilioAccount(organisation=organisation, name="browser", account_sid=ACCOUNT_SID)
    return Call(
        id=talk.pk,
        organisation=organisation,
        call_sid=f"web-{talk.pk.hex[:28]}",
        twilio_account=account,
        number=PhoneNumber(
            organisation=organisation,
            name="browser",
            twilio_account=account,
            max_call_seconds=MAX_SECONDS,
            max_tool_calls=MAX_TOOL_CALLS,
            max_spend_usd=MAX_SPEND_USD,
            health_data=marks.health_data,
            eu_data=marks.eu_data,
        ),
        revision=talk.revision,
        connection=talk.connection,
        direction="web",
        status=Call.Status.IN_PROGRESS,
        # Hashed for the provider, who is to tell one misuser from an organisation.
        caller=f"user:{talk.user_id}",
        created_at=talk.created_at,
        started_at=talk.token_used_at,
        stream_count=1,
        variable_values=dict(variables or {}),
    )


def talk_ticket(*, talk: Talk) -> TalkTicket:
    """Load the plan and the endpoint of a talk."""
    call = call_like(talk)
    caller = call.caller
    # The caller is nobody's number: a prompt that speaks of one says nothing.
    call.caller = ""
    plan = plan_for(call)
    if not talk.calls_tools:
        plan = _without_mcp(plan)
    call.caller = caller
    endpoint = endpoint_of(call, plan)
    assert talk.connection is not None, "a talk without a connection is not opened"
    is_free = is_standin(talk.connection)
    if is_free:
        # Words of the stand-in travel in tones; through a microphone they do not arrive bit by bit.
        parts = urlsplit(endpoint.url)
        query = "&".join(filter(None, (parts.query, urlencode({"ear": "air"}))))
        endpoint = dataclasses.replace(endpoint, url=urlunsplit(parts._replace(query=query)))
    return TalkTicket(plan, endpoint, f"MZ{talk.pk.hex}", is_free)


def _nobodys(call: Call) -> Call:
    """Return a talk whose caller is nobody's number: a prompt that speaks of one says nothing."""
    call.caller = ""
    return call


def _without_mcp(plan: CallPlan) -> CallPlan:
    """Return the plan of a rehearsal: the model's own server would ask MCP servers for good."""
    return dataclasses.replace(plan, session=dataclasses.replace(plan.session, mcp_servers=()))


def _rehearsed(result: ToolResult) -> ToolResult:
    """Return the answer of a handoff with an assistant that asks nobody for good either."""
    if result.successor is None:
        return result
    successor = Successor.from_json(result.successor)
    successor = dataclasses.replace(successor, plan=_without_mcp(successor.plan))
    return dataclasses.replace(result, successor=successor.to_json())


async def talk_tool_run(
    *,
    talk: Talk,
    plan: CallPlan,
    effect: DispatchTool,
    turns: Sequence[RecordTurn],
    load: Callable[[], Call] | None = None,
    variables: dict[str, Any] | None = None,
) -> tuple[ToolResult, ToolRequest | None]:
    """Answer a function call of a talk and say what was, or would have been, sent; never raises.

    Dry unless the talk calls tools: then the very request of a phone call is made and not sent.

    Args:
        load: makes the talk in the shape of a call as it is now, after a handoff too.
        variables: what results have set in the talk so far; a result may add to it.
    """
    bag = {} if variables is None else variables
    as_now = load or (lambda: call_like(talk, bag))
    spec = next((tool for tool in plan.tools if tool.name == effect.name), None)
    if spec is None:
        return ToolResult(f"There is no tool {effect.name!r}.", outcome="error"), None
    if spec.kind not in SERVED_KINDS:
        return ToolResult("This tool is not available on this line.", outcome="error"), None
    if spec.kind == "handoff":
        result = await handoff_result(plan.call_id, spec, effect, lambda: _nobodys(as_now()))
        return (result if talk.calls_tools else _rehearsed(result)), None
    if spec.kind == "sms":
        # Nobody is on the phone, so there is nobody to write to: always a rehearsal.
        return ToolResult(DRY_ANSWER), None
    try:
        if spec.kind == "query":
            # It only looks something up: in a rehearsal as in a call.
            return await in_database(_looked_up, as_now, spec, effect), None
        post = await in_database(_post_for, as_now, spec, effect, turns)
    except ArgumentsRefused as error:
        return ToolResult(str(error), outcome="error", sent=False), None
    except (AnyDatabaseError, ObjectDoesNotExist, ValidationError, DecryptionError) as error:
        log.error("tool_not_prepared", call_id=plan.call_id, error=type(error).__name__)
        return ToolResult(UNAVAILABLE, outcome="error"), None
    if post.server is None:
        return ToolResult(NO_SERVER, outcome="error"), None
    request = ToolRequest(
        url=redact_url(post.server.url),
        method=post.server.method,
        headers=tuple(
            sorted({*post.server.headers, *(("X-Vapi-Secret",) if post.server.secret else ())})
        ),
        body=_shown(spec, post.body),
        sent=talk.calls_tools,
    )
    if not talk.calls_tools:
        return ToolResult(DRY_ANSWER), request
    results = await dispatch(
        {effect.tool_call_id: spec},
        post.server,
        post.body,
        call_id=plan.call_id,
        read=post.read,
        secrets=post.secrets,
    )
    result = results[effect.tool_call_id]
    if effect.tool_call_id in post.extraction and result.outcome == "ok":
        taken = (post.extraction[effect.tool_call_id], result.output)
        retold = await in_database(_taken, as_now, plan, taken, bag)
        result = dataclasses.replace(result, retold=retold)
    return result, request


def _taken(
    load: Callable[[], Call], plan: CallPlan, taken: tuple[Any, str], bag: dict[str, Any]
) -> Retold:
    """Put what a result sets into ``bag`` and return what tools say from now on."""
    bag |= gathered(bag, variables_in(load(), [taken]))
    return messages_now(load(), plan)


def _looked_up(load: Callable[[], Call], spec: ToolSpec, effect: DispatchTool) -> ToolResult:
    return query_answer(load(), spec, effect)


def _shown(spec: ToolSpec, body: bytes) -> dict[str, Any]:
    """Return a body for the page; a tool's own may fix secrets, an envelope holds none."""
    whole: dict[str, Any] = json.loads(body or b"{}")
    return whole if spec.kind in POSTED_KINDS else dict(redact(whole))


def _post_for(
    load: Callable[[], Call],
    spec: ToolSpec,
    effect: DispatchTool,
    turns: Sequence[RecordTurn],
) -> ToolPost:
    call = load()
    call.number, call.caller = None, ""
    # What a stored call's rows would answer; the words of a talk are in memory only.
    spoken = [_turn(turn) for turn in sorted(turns, key=lambda turn: turn.ordinal)]
    vars(call)["_prefetched_objects_cache"] = {"turns": spoken, "tool_invocations": []}
    post = tool_post(call=call, spec=spec, effect=effect)
    if post.server is None or spec.kind not in POSTED_KINDS:
        return post
    body = json.loads(post.body)
    # No carrier is part of a web call (vapi.md 6.3).
    for name in ("phoneCallProvider", "phoneCallTransport", "phoneCallProviderId", "transport"):
        body["message"]["call"].pop(name, None)
    return dataclasses.replace(post, body=json.dumps(body, separators=(",", ":")).encode("ascii"))


def _turn(turn: RecordTurn) -> Turn:
    return Turn(
        ordinal=turn.ordinal,
        role=turn.role,
        text=turn.text,
        started_ms=turn.started_ms,
        ended_ms=turn.ended_ms,
    )


@dataclass(frozen=True, slots=True)
class TalkConnection:
    """A connection as the page offers it; ``problem`` says why a talk may not use it, or ''."""

    row: ProviderConnection
    problem: str


def talk_choices(assistant: Assistant) -> list[TalkConnection]:
    """Return the connections of a talk to ``assistant``, those it may use first."""
    marks = marks_of(assistant)
    found = [
        TalkConnection(row, talk_problem(marks, row))
        for row in talk_connections(assistant.organisation)
    ]
    return sorted(found, key=lambda each: bool(each.problem))


def talk_connections(organisation: Organisation) -> list[ProviderConnection]:
    """Return the connections of an organisation, its default first."""
    rows = ProviderConnection.objects.for_organisation(organisation)
    return list(rows.order_by("-is_default", "name"))
