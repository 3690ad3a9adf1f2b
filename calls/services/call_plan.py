"""From rows to the values a stream needs: the bridge's plan and the model's endpoint."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.prompt import render
from assistants.services import revision_document
from assistants.translate import SessionPlan, session_plan
from assistants.voice_table import realtime_voice
from calls.bridge.person_plan import PersonPlan
from calls.bridge.plan import CallPlan, Clip, Limits
from calls.media.realtime_client import Endpoint
from calls.models import Call, CallPolicy, PhoneNumber, PolicyWording, ProviderConnection
from calls.money.rates import price_for
from calls.privacy.keeping import EVERYTHING, Keeping
from calls.services.call_history import history_of
from calls.services.call_variables import renderer_for, variables_for
from calls.services.clips import apology_line, filler_line, greeting_line, recorded
from calls.services.contract import ContractForbids, contract_problem
from calls.services.handoffs import destination_names, handoffs_left, longest_call_seconds
from calls.services.mcp_servers import mcp_access, mcp_servers
from calls.services.operators import person_plan
from calls.services.privacy import keeping_for
from calls.services.server_messages.targets import Target, news_of, target_of
from calls.services.sessions import (
    answering_model,
    assistant_parts,
    session_config,
    tool_specs,
)
from calls.wire.realtime import MCP_DIALECTS
from tools.loose_json import as_text
from tools.models import Tool

PIECE_BYTES = 4_000  # 500 ms of mu-law in one message to Twilio (twilio.md 3.2)
LEAD_IN_MS = 200  # twilio.md T18b


@dataclass(frozen=True, slots=True)
class StreamTicket:
    """Everything one stream needs, loaded once. ``target`` and receivers get what it ``tells``."""

    plan: CallPlan
    endpoint: Endpoint
    stream_number: int
    keep_audio: bool
    target: Target | None = None
    keeping: Keeping = EVERYTHING


def connection_for(number: PhoneNumber) -> ProviderConnection | None:
    """Return the number's connection, else the organisation's default one."""
    if number.connection is not None:
        return number.connection
    return ProviderConnection.objects.filter(
        organisation=number.organisation, is_default=True
    ).first()


def wording_for(policy: CallPolicy, language: str) -> PolicyWording | None:
    """Return the newest wording in the language, else in English, else any."""
    wordings = list(policy.wordings.order_by("-version"))
    for wanted in (language, language.split("-")[0], "en"):
        for wording in wordings:
            if wording.language == wanted:
                return wording
    return wordings[0] if wordings else None


def clip_of(audio: bytes, text: str) -> Clip:
    """Return mu-law audio as a clip in pieces of half a second."""
    pieces = (audio[start : start + PIECE_BYTES] for start in range(0, len(audio), PIECE_BYTES))
    return Clip(payloads=tuple(base64.b64encode(piece).decode() for piece in pieces), text=text)


def endpoint_for(call: Call) -> Endpoint:
    """Return where the call's model lives. The caller is named only by a keyed hash.

    Raises:
        ContractForbids: the number's data may not go there (design.md 11).
    """
    connection, revision = call.connection, call.revision
    if connection is None or revision is None:
        raise ValueError("a direct call has a connection and a revision")
    # The last door before a socket: a contract may have ended since the call was routed.
    forbidden = contract_problem(call.number, connection) if call.number is not None else ""
    if forbidden:
        raise ContractForbids(forbidden)
    salted = f"{call.organisation_id}:{call.caller}".encode()
    return Endpoint(
        url=connection.realtime_url,
        dialect=connection.dialect,  # type: ignore[arg-type]  # the column's choices are the dialects
        model=answering_model(connection, revision.model),
        api_key=connection.api_key,
        safety_identifier=hmac.new(
            settings.SECRET_KEY.encode(), salted, hashlib.sha256
        ).hexdigest()[:32],
    )


def endpoint_of(call: Call, plan: CallPlan) -> Endpoint:
    """Return where the model of ``plan`` lives, with what its MCP servers are to be told.

    Raises:
        ContractForbids: the number's data may not go there (design.md 11).
    """
    endpoint = endpoint_for(call)
    if not plan.session.mcp_servers:
        return endpoint
    return replace(endpoint, mcp=mcp_access(call, plan, renderer_for(call)))


def line_of(connection: ProviderConnection, revision: AssistantRevision) -> str:
    """Return the name under which dials of ``revision`` over ``connection`` are remembered."""
    return Endpoint(
        url=connection.realtime_url,
        dialect=connection.dialect,  # type: ignore[arg-type]  # the column's choices are the dialects
        model=answering_model(connection, revision.model),
        api_key=connection.api_key,
    ).line


def offered_tools(revision: AssistantRevision) -> QuerySet[Tool]:
    """Return the tools of ``revision`` that are not deleted, in the order of its document."""
    rows: QuerySet[Tool] = revision.tools.filter(deleted_at__isnull=True)
    return rows.order_by("revisiontool__position")


def plan_for(call: Call, *, anew: bool = False, now: dt.datetime | None = None) -> CallPlan:
    """Build the plan of the call's newest stream.

    Ceilings count over all streams of a call; a resumed one is seeded with what was heard.

    Args:
        anew: for an assistant that takes over in a stream that goes on; it begins as a call does.
        now: the moment that prompts may name; the present one unless a past call is replayed.
    """
    revision, connection, number = call.revision, call.connection, call.number
    if revision is None or connection is None or number is None:
        raise ValueError("a direct call has a number, a connection and a revision")
    again = call.stream_count > 1 and not anew
    transfer_failed = bool(call.next_step.get("why"))
    now = now or timezone.now()
    variables = variables_for(call, now)
    document = revision_document(revision)
    assert call.organisation_id is not None, "every call has an organisation"
    plan = session_plan(
        document,
        voice=realtime_voice(call.organisation_id, document.get("voice")),
        variables=variables,
        now=now,
    )
    rows = list(offered_tools(revision))

    def fill(text: str) -> str:
        return render(text, variables, now)

    names = destination_names(call.organisation_id, rows)
    tools = tool_specs(rows, fill, language=plan.language, names=names)
    history, first_ordinal, elapsed_ms = history_of(call, tools) if again else ((), 0, 0)
    # A stream that nobody has said a word on is no interruption: the caller is greeted.
    resumed = again and (bool(history) or transfer_failed)
    wording = call.policy_wording
    line = None
    if wording is not None and wording.audio_mulaw and call.policy_played_at is None:
        line = clip_of(bytes(wording.audio_mulaw), wording.text)
    longest_seconds = max(plan.max_duration_seconds, longest_call_seconds(call))
    max_seconds = min(number.max_call_seconds, longest_seconds)
    model = answering_model(connection, revision.model)
    person = person_plan(call, max_seconds)
    parts = assistant_parts(plan)
    # Sound opens the way to the caller; where there was some, nothing of the first word is lost.
    speaks_first = line is not None or plan.greeting_mode != "wait"
    opens = not again and call.policy_played_at is None and call.direction != "web"
    return CallPlan(
        call_id=str(call.pk),
        call_sid=call.call_sid,
        account_sid=call.account.account_sid,
        dialect=connection.dialect,  # type: ignore[arg-type]  # the column's choices are the dialects
        model=model,
        session=session_config(
            plan,
            model=model,
            transcription_model=connection.transcription_model,
            tools=tools,
            mcp_servers=mcp_servers(rows, fill) if connection.dialect in MCP_DIALECTS else (),
        ),
        tools=tools,
        policy_line=line,
        limits=Limits(
            max_duration_ms=max_seconds * 1000,  # counted over all streams by elapsed_ms
            max_tool_calls=max(number.max_tool_calls - call.tool_invocations.count(), 0),
            max_spend_microusd=max(int((number.max_spend_usd - call.cost_usd) * 1_000_000), 0),
            max_handoffs=handoffs_left(call),
        ),
        price=price_for(model),
        resumed=resumed,
        resume_reason="transfer-failed" if transfer_failed else "lost",
        history=history,
        first_ordinal=first_ordinal,
        elapsed_ms=elapsed_ms,
        person=person,
        lead_in_ms=LEAD_IN_MS if speaks_first and opens else 0,
        assistant_name=as_text(document.get("name")),
        revision_id=str(revision.pk),
        **{**parts, **_clips(call, plan, person, parts)},
    )


def _clips(
    call: Call, plan: SessionPlan, person: PersonPlan, parts: dict[str, Any]
) -> dict[str, Any]:
    """Return the fields of a call's plan that have rendered speech."""
    assert call.revision is not None, "a direct call has a revision"
    greets = plan.greeting_mode == "exact"
    found = recorded(
        call,
        (
            greeting_line(plan) if greets else None,
            filler_line(plan),
            apology_line(plan, call.number, call.revision.language, reachable=person.reachable),
        ),
    )
    clips = {kind: clip_of(each.audio, each.text) for kind, each in found.items()}
    return {
        "greeting": replace(parts["greeting"], clip=clips.get("greeting")),
        "filler": replace(parts["filler"], clip=clips.get("filler")),
        "apology": clips.get("apology"),
    }


def ticket_for(call: Call) -> StreamTicket:
    """Load everything the newest stream of a call needs."""
    policy = call.policy_wording.policy if call.policy_wording is not None else None
    may_keep = policy is not None and call.policy_refused_at is None
    target = target_of(call)
    plan = replace(plan_for(call), tells=news_of(call, target))
    return StreamTicket(
        plan=plan,
        endpoint=endpoint_of(call, plan),
        stream_number=call.stream_count,
        keep_audio=may_keep and policy is not None and policy.record_replay_audio,
        target=target,
        keeping=keeping_for(call),
    )
