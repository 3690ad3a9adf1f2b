"""Rows for tests, made by plain functions with working defaults.

Every function saves at least one row and returns it; a keyword overrides any column. Rows of an
belong to an organisation go to the default one unless told. Nothing here imports a test framework.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Q
from django.utils import timezone

from assistants.knowledge.words import words_of
from assistants.models import (
    Assistant,
    AssistantRevision,
    FileReading,
    RevisionTool,
    Squad,
    StoredResource,
    VoiceChoice,
)
from calls.events.signature import new_secret
from calls.models import (
    Call,
    CallControl,
    CallPolicy,
    CarrierCheck,
    DeliveryAttempt,
    EventDestination,
    MissedCall,
    OperatorDesk,
    OutboxEvent,
    PhoneNumber,
    PolicyWording,
    ProviderConnection,
    RedactionRule,
    RefusedRequest,
    RenderedClip,
    SilentHost,
    Talk,
    ToolCheck,
    ToolExchange,
    ToolInvocation,
    Turn,
    TwilioAccount,
)
from calls.services.clips import Line
from tools.models import Tool
from voiceplatform.base.models import (
    DEFAULT_ORGANISATION_ID,
    ApiKey,
    AuditEntry,
    Job,
    Membership,
    Organisation,
)

_counter = itertools.count(1)


def sid(prefix: str) -> str:
    """Return a fresh identifier of Twilio's form: two letters and 32 hex digits."""
    return prefix + uuid.uuid4().hex


def phone_e164() -> str:
    """Return a fresh US number."""
    return f"+1555{uuid.uuid4().int % 10_000_000:07d}"


def default_organisation() -> Organisation:
    """Return the organisation every installation has (made again if a test flushed it)."""
    return Organisation.objects.get_or_create(
        id=DEFAULT_ORGANISATION_ID, defaults={"name": "Default"}
    )[0]


def make_organisation(name: str = "", **columns: Any) -> Organisation:
    """Make an organisation."""
    return Organisation.objects.create(name=name or f"Organisation {next(_counter)}", **columns)


def make_user(username: str = "", *, password: str = "pass-Word-1", **columns: Any) -> Any:
    """Make a user who may not open the admin."""
    return get_user_model().objects.create_user(
        username or f"user-{uuid.uuid4().hex[:10]}", password=password, **columns
    )


def make_superuser(username: str = "", *, password: str = "pass-Word-1") -> Any:
    """Make a user who may do everything in every organisation."""
    return make_user(username, password=password, is_staff=True, is_superuser=True)


def make_staff(
    organisation: Organisation | None = None,
    permissions: Iterable[str] | str = (),
    **columns: Any,
) -> Any:
    """Make a staff user who is a member of ``organisation``.

    ``permissions`` are names such as ``"calls.view_call"``, or ``"all"``.
    """
    user = make_user(is_staff=True, **columns)
    Membership.objects.create(user=user, organisation=organisation or default_organisation())
    if permissions == "all":
        user.user_permissions.set(Permission.objects.all())
    else:
        for name in permissions:
            app_label, codename = name.split(".", 1)
            user.user_permissions.add(
                Permission.objects.get(Q(content_type__app_label=app_label) & Q(codename=codename))
            )
    return type(user).objects.get(pk=user.pk)  # without the permission cache


def make_api_key(
    organisation: Organisation | None = None,
    scopes: Sequence[str] = ("read", "write"),
    name: str = "test key",
) -> tuple[ApiKey, str]:
    """Make an API key; return the row and the clear key."""
    from voiceplatform.base import services  # late: rows must be importable before services are

    return services.api_key_create(
        organisation=organisation or default_organisation(), name=name, scopes=list(scopes)
    )


def make_job(organisation: Organisation | None = None, **columns: Any) -> Job:
    """Make a job."""
    defaults: dict[str, Any] = {"kind": "import", "total_count": 10, "done_count": 3}
    return Job.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_audit_entry(organisation: Organisation | None = None, **columns: Any) -> AuditEntry:
    """Make an audit entry."""
    defaults: dict[str, Any] = {"actor": "system", "action": "test", "target_label": "a thing"}
    return AuditEntry.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_account(organisation: Organisation | None = None, **columns: Any) -> TwilioAccount:
    """Make a Twilio account with a token."""
    defaults: dict[str, Any] = {
        "name": f"Twilio {next(_counter)}",
        "account_sid": sid("AC"),
        "auth_token": "twilio-auth-token-" + uuid.uuid4().hex,
    }
    return TwilioAccount.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_connection(organisation: Organisation | None = None, **columns: Any) -> ProviderConnection:
    """Make a model connection (OpenAI GA, not the default one)."""
    defaults: dict[str, Any] = {
        "name": f"OpenAI {next(_counter)}",
        "realtime_url": "wss://api.openai.com/v1/realtime",
        "rest_base_url": "https://api.openai.com/v1",
        "model": "gpt-realtime-2.1",
        "api_key": "sk-test-" + uuid.uuid4().hex,
    }
    return ProviderConnection.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_policy(
    organisation: Organisation | None = None,
    *,
    reviewed: bool = True,
    wordings: Mapping[str, str] | None = None,
    **columns: Any,
) -> CallPolicy:
    """Make a call policy with consent ``none``; ``wordings`` maps language to the line spoken."""
    defaults: dict[str, Any] = {
        "name": f"Policy {next(_counter)}",
        "country": "US",
        "effective_from": dt.date(2026, 1, 1),
        "recording_consent": CallPolicy.Consent.NONE,
        "reviewed_at": timezone.now() if reviewed else None,
    }
    policy = CallPolicy.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )
    for language, text in (wordings or {}).items():
        make_wording(policy, language=language, text=text)
    return policy


def make_wording(policy: CallPolicy | None = None, **columns: Any) -> PolicyWording:
    """Make a wording; pass ``audio_mulaw`` for one that is rendered."""
    defaults: dict[str, Any] = {
        "language": "en",
        "text": "You are speaking with an automated assistant. This call may be recorded.",
    }
    if columns.get("audio_mulaw"):
        defaults["rendered_at"] = timezone.now()
    return PolicyWording.objects.create(policy=policy or make_policy(), **{**defaults, **columns})


def make_clip(revision: AssistantRevision | None = None, **columns: Any) -> RenderedClip:
    """Make a rendered line; its hash is that of its text."""
    revision = revision or make_assistant().current_revision
    assert revision is not None
    defaults: dict[str, Any] = {
        "kind": "filler",
        "language": "en",
        "voice": "marin",
        "speech_model": "gpt-4o-mini-tts",
        "text": "One moment, please.",
        "audio_mulaw": b"\xff" * 800,
        "rendered_at": timezone.now(),
    }
    columns = {**defaults, **columns}
    line = Line(columns["kind"], columns["text"], "", columns["voice"], columns.get("speed", 1.0))
    return RenderedClip.objects.create(revision=revision, text_hash=line.text_hash, **columns)


def make_tool(organisation: Organisation | None = None, **columns: Any) -> Tool:
    """Make a function tool with a server."""
    defaults: dict[str, Any] = {
        "name": f"tool_{next(_counter)}",
        "description": "Does a thing",
        "parameters": {
            "type": "object",
            "properties": {"when": {"type": "string"}},
            "required": ["when"],
        },
        "server_url": "https://tools.example.com/vapi",
        "server_url_host": "tools.example.com",
    }
    return Tool.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_revision(
    assistant: Assistant, *, tools: Sequence[Tool] = (), **columns: Any
) -> AssistantRevision:
    """Make the next revision of ``assistant``, current from now on."""
    newest = assistant.revisions.order_by("-number").first()
    defaults: dict[str, Any] = {
        "number": newest.number + 1 if newest else 1,
        "source": "seed",
        "instructions": "You are a helpful receptionist.",
        "first_message": "Hello, how can I help?",
        "document_redacted": columns.get("document") or {},
    }
    revision = AssistantRevision.objects.create(assistant=assistant, **{**defaults, **columns})
    for position, tool in enumerate(tools):
        RevisionTool.objects.create(revision=revision, tool=tool, position=position)
    assistant.current_revision = revision
    assistant.save(update_fields=["current_revision"])
    return revision


def make_assistant(
    organisation: Organisation | None = None,
    *,
    name: str = "",
    tools: Sequence[Tool] = (),
    **revision_columns: Any,
) -> Assistant:
    """Make an assistant with one revision; further keywords are columns of the revision."""
    now = timezone.now()
    assistant = Assistant.objects.create(
        organisation=organisation or default_organisation(),
        name=name or f"Assistant {next(_counter)}",
        created_at=now,
        updated_at=now,
    )
    make_revision(assistant, tools=tools, **revision_columns)
    return assistant


def make_squad(organisation: Organisation | None = None, **document: Any) -> Squad:
    """Make a squad of one written-out assistant; keywords are fields of its document."""
    whole = {
        "name": f"Squad {next(_counter)}",
        "members": [{"assistant": {"name": "Desk"}}],
        **document,
    }
    now = timezone.now()
    return Squad.objects.create(
        organisation=organisation or default_organisation(),
        name=whole["name"],
        document=whole,
        document_redacted=whole,
        created_at=now,
        updated_at=now,
    )


def make_resource(
    organisation: Organisation | None = None,
    kind: str = "structured-output",
    *,
    content: bytes | None = None,
    **document: Any,
) -> StoredResource:
    """Make a stored resource; keywords are fields of its document."""
    whole = {"name": f"Resource {next(_counter)}", **document}
    now = timezone.now()
    return StoredResource.objects.create(
        organisation=organisation or default_organisation(),
        kind=kind,
        name=whole["name"],
        document=whole,
        document_redacted=whole,
        content=content,
        created_at=now,
        updated_at=now,
    )


def make_file(organisation: Organisation | None = None, **columns: Any) -> FileReading:
    """Make an uploaded file that was read, with one passage; keywords are columns of its reading.

    The passage says "The pumpkin soup costs five euro."
    """
    name = f"file-{next(_counter)}.txt"
    file = make_resource(organisation, "file", content=b"bytes", name=name, bytes=5)
    reading = FileReading.objects.create(
        file=file,
        organisation=file.organisation,
        **{"state": FileReading.State.DONE, "passage_count": 1, **columns},
    )
    text = "The pumpkin soup costs five euro."
    reading.passages.create(ordinal=0, text=text, words=" ".join(words_of(text)))
    return reading


def make_voice_choice(organisation: Organisation | None = None, **columns: Any) -> VoiceChoice:
    """Make a row of the voice table that somebody decided."""
    defaults: dict[str, Any] = {
        "provider": "11labs",
        "voice_id": f"clone-{next(_counter)}",
        "realtime_voice": "marin",
        "decided_at": timezone.now(),
    }
    return VoiceChoice.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_desk(organisation: Organisation | None = None, **columns: Any) -> OperatorDesk:
    """Make an operator destination that is open at all hours."""
    defaults: dict[str, Any] = {"name": f"Desk {next(_counter)}", "destination": "+15550100042"}
    return OperatorDesk.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


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


def make_refusal(account: TwilioAccount, **columns: Any) -> RefusedRequest:
    """Make a refused request of ``account`` in this minute."""
    now = timezone.now()
    defaults: dict[str, Any] = {
        "account_sid": account.account_sid,
        "cause": "wrong",
        "url": "https://voice.example.com/twilio/voice",
        "minute": now.replace(second=0, microsecond=0),
        "count": 1,
        "last_at": now,
    }
    return RefusedRequest.objects.create(
        organisation=account.organisation, account=account, **{**defaults, **columns}
    )


def make_number(organisation: Organisation | None = None, **columns: Any) -> PhoneNumber:
    """Make a number that answers directly, with account, assistant, connection and policy."""
    organisation = organisation or default_organisation()
    defaults: dict[str, Any] = {
        "number_e164": phone_e164(),
        "name": f"Line {next(_counter)}",
        "twilio_sid": sid("PN"),
        "route": PhoneNumber.Route.DIRECT,
    }
    for name, make in (
        ("twilio_account", make_account),
        ("assistant", make_assistant),
        ("connection", make_connection),
        ("policy", make_policy),
    ):
        if name not in columns:
            defaults[name] = make(organisation)
    return PhoneNumber.objects.create(organisation=organisation, **{**defaults, **columns})


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
        "host": f"https://silent-{next(_counter)}.example.com",
        "process": "here:1",
        "failures": 5,
        "since": now,
        "last_at": now,
    }
    return SilentHost.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_event(
    organisation: Organisation | None = None, *, call: Call | None = None, **columns: Any
) -> OutboxEvent:
    """Make an outbox event that is due now."""
    organisation = organisation or (call.organisation if call else default_organisation())
    defaults: dict[str, Any] = {
        "kind": "end-of-call-report",
        "dedupe_key": uuid.uuid4().hex,
        "destination": {"url": "https://hooks.example.com/vapi", "timeout_seconds": 20},
        "destination_host": "hooks.example.com",
        "payload": {"message": {"type": "end-of-call-report"}},
        "next_attempt_at": timezone.now(),
    }
    return OutboxEvent.objects.create(
        organisation=organisation, call=call, **{**defaults, **columns}
    )


def make_attempt(event: OutboxEvent | None = None, **columns: Any) -> DeliveryAttempt:
    """Make one try to deliver."""
    event = event or make_event()
    defaults: dict[str, Any] = {
        "number": event.attempts.count() + 1,
        "duration_ms": 120,
        "status_code": 200,
    }
    return DeliveryAttempt.objects.create(event=event, **{**defaults, **columns})


def make_destination(organisation: Organisation | None = None, **columns: Any) -> EventDestination:
    """Make a receiver of call.ended, with a secret."""
    defaults: dict[str, Any] = {
        "name": f"Receiver {next(_counter)}",
        "url": "https://hooks.example.com/log",
        "url_host": "hooks.example.com",
        "kinds": ["call.ended"],
        "secret": new_secret(),
    }
    return EventDestination.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_redaction_rule(organisation: Organisation | None = None, **columns: Any) -> RedactionRule:
    """Make a rule that masks every kind for every assistant of ``organisation``, in force."""
    defaults: dict[str, Any] = {"effective_from": dt.date(2026, 1, 1)}
    return RedactionRule.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_carrier_check(account: TwilioAccount, **columns: Any) -> CarrierCheck:
    """Make a comparison with Twilio's list that went well just now."""
    now = timezone.now()
    defaults: dict[str, Any] = {"checked_at": now, "tried_at": now, "listed": 3}
    return CarrierCheck.objects.create(
        account=account, organisation=account.organisation, **{**defaults, **columns}
    )


def make_missed_call(number: PhoneNumber, **columns: Any) -> MissedCall:
    """Make a call to ``number`` that never reached us."""
    defaults: dict[str, Any] = {
        "account": number.twilio_account,
        "call_sid": sid("CA"),
        "caller": phone_e164(),
        "called_at": timezone.now(),
        "carrier_status": "completed",
    }
    return MissedCall.objects.create(
        organisation=number.organisation, number=number, **{**defaults, **columns}
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
