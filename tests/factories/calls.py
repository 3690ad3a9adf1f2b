"""Calls, talks and what is recorded of both, for tests."""

from __future__ import annotations

import datetime as dt
import json
import uuid
import zlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import (
    Call,
    CallControl,
    PhoneNumber,
    RedactionRule,
    SilentHost,
    Talk,
    ToolCheck,
    ToolExchange,
    ToolInvocation,
    Turn,
)
from tests.factories.assistants import make_assistant
from tests.factories.base import default_organisation, make_staff, next_number, phone_e164, sid
from tests.factories.telephony import make_account, make_connection, make_number
from tools.models import Tool
from voiceplatform.base.models import Organisation


def make_control(call: Call, *, text: str = "One moment.", **columns: Any) -> CallControl:
    """Make a command to ``call`` that was carried out."""
    defaults: dict[str, Any] = {
        "kind": "say",
        "command": {"kind": "say", "text": text},
        "actor": "user:somebody",
        "state": CallControl.State.DONE,
        "settled_at": timezone.now(),
    }
    return CallControl.objects.create(
        organisation=call.organisation, call=call, **{**defaults, **columns}
    )


def make_call(
    organisation: Organisation | None = None,
    *,
    turns: Sequence[Mapping[str, Any]] = (),
    tool_invocations: Sequence[Mapping[str, Any]] = (),
    **columns: Any,
) -> Call:
    """Make a call; ``turns`` and ``tool_invocations`` are columns of each row, all optional.

    With ``status="ended"`` the end is filled in. A number (with its assistant) is made unless
    given; ``number=None`` makes a call without one.
    """
    number: PhoneNumber | None
    if "number" in columns:
        number = columns["number"]
    else:
        number = make_number(organisation)
    organisation = organisation or (number.organisation if number else default_organisation())
    account = number.twilio_account if number else None
    defaults: dict[str, Any] = {
        "call_sid": sid("CA"),
        "number": number,
        "caller": phone_e164(),
        "callee": number.number_e164 if number else phone_e164(),
        "started_at": timezone.now(),
        "status": Call.Status.IN_PROGRESS,
    }
    if "twilio_account" not in columns:
        defaults["twilio_account"] = account or make_account(organisation)
    if "revision" not in columns and number and number.assistant:
        defaults["revision"] = number.assistant.current_revision
    if "connection" not in columns and number:
        defaults["connection"] = number.connection
    if columns.get("status") == Call.Status.ENDED:
        defaults |= {
            "ended_at": timezone.now(),
            "ended_reason": "customer-ended-call",
            "duration_seconds": 42,
            "cost_usd": Decimal("0.042000"),
        }
    call = Call.objects.create(organisation=organisation, **{**defaults, **columns})
    for ordinal, turn in enumerate(turns):
        make_turn(call, **{"ordinal": ordinal, "started_ms": ordinal * 2000, **turn})
    for index, invocation in enumerate(tool_invocations):
        make_tool_invocation(call, **{"started_ms": 500 + index * 1000, **invocation})
    return call


def make_turn(call: Call, **columns: Any) -> Turn:
    """Make a turn of 1.5 s; even ordinals are the assistant's unless told."""
    ordinal = columns.setdefault("ordinal", call.turns.count())
    started_ms = columns.setdefault("started_ms", ordinal * 2000)
    defaults: dict[str, Any] = {
        "role": Turn.Role.CALLER if ordinal % 2 else Turn.Role.ASSISTANT,
        "text": f"Sentence {ordinal}",
        "item_id": f"item_{uuid.uuid4().hex[:12]}",
        "ended_ms": started_ms + 1500,
    }
    return Turn.objects.create(call=call, **{**defaults, **columns})


def make_tool_invocation(call: Call, **columns: Any) -> ToolInvocation:
    """Make a finished tool call."""
    defaults: dict[str, Any] = {
        "organisation": call.organisation,
        "tool_call_id": f"call_{uuid.uuid4().hex[:16]}",
        "name": "book_table",
        "arguments_json": '{"when": "tomorrow"}',
        "state": ToolInvocation.State.OK,
        "output": "Booked",
        "started_ms": 500,
        "duration_ms": 240,
    }
    return ToolInvocation.objects.create(call=call, **{**defaults, **columns})


def make_tool_exchange(
    call: Call, *, request: str = "", response: str = "", **columns: Any
) -> ToolExchange:
    """Make an answered request to a tool server with the bodies that are kept of it."""
    bodies = json.dumps({"request": request, "response": response})
    defaults: dict[str, Any] = {
        "content": zlib.compress(bodies.encode()),
        "host": "tools.example.com",
        "url_shown": "https://tools.example.com/vapi",
        "status": 200,
        "duration_ms": 180,
    }
    return ToolExchange.objects.create(call=call, **{**defaults, **columns})


def make_tool_check(tool: Tool, **columns: Any) -> ToolCheck:
    """Make the result of a check of ``tool`` that went well."""
    defaults: dict[str, Any] = {
        "verdict": ToolCheck.Verdict.OK,
        "checked_at": timezone.now(),
        "answers": [{"question": "Reachable", "state": "ok", "words": "It answers.", "fix": ""}],
    }
    return ToolCheck.objects.create(
        tool=tool, organisation=tool.organisation, **{**defaults, **columns}
    )


def make_silent_host(organisation: Organisation | None = None, **columns: Any) -> SilentHost:
    """Make a server that gives no answer at the moment."""
    now = timezone.now()
    defaults: dict[str, Any] = {
        "host": f"https://silent-{next_number()}.example.com",
        "process": "here:1",
        "failures": 5,
        "since": now,
        "last_at": now,
    }
    return SilentHost.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_redaction_rule(organisation: Organisation | None = None, **columns: Any) -> RedactionRule:
    """Make a rule that masks every kind for every assistant of ``organisation``, in force."""
    defaults: dict[str, Any] = {"effective_from": dt.date(2026, 1, 1)}
    return RedactionRule.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_talk(revision: AssistantRevision | None = None, **columns: Any) -> Talk:
    """Make a talk through the browser that has begun and whose socket is awaited."""
    revision = revision or make_assistant().current_revision
    assert revision is not None
    organisation = revision.assistant.organisation
    defaults: dict[str, Any] = {
        "user": columns.get("user") or make_staff(organisation),
        "connection": columns.get("connection") or make_connection(organisation),
        "token_expires_at": timezone.now() + dt.timedelta(seconds=30),
    }
    return Talk.objects.create(
        organisation=organisation, revision=revision, **{**defaults, **columns}
    )
