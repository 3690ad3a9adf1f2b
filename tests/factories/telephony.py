"""Accounts, connections, policies, phone numbers and what is kept beside them, for tests."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import (
    CallPolicy,
    CarrierCheck,
    MissedCall,
    NetFiring,
    NumberNet,
    OperatorDesk,
    PhoneNumber,
    PolicyWording,
    ProviderConnection,
    RefusedRequest,
    RenderedClip,
    TwilioAccount,
)
from calls.services.clips import Line
from tests.factories.assistants import make_assistant
from tests.factories.base import default_organisation, next_number, phone_e164, sid
from voiceplatform.base.models import Organisation


def make_account(organisation: Organisation | None = None, **columns: Any) -> TwilioAccount:
    """Make a Twilio account with a token."""
    defaults: dict[str, Any] = {
        "name": f"Twilio {next_number()}",
        "account_sid": sid("AC"),
        "auth_token": "twilio-auth-token-" + uuid.uuid4().hex,
    }
    return TwilioAccount.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_connection(organisation: Organisation | None = None, **columns: Any) -> ProviderConnection:
    """Make a model connection (OpenAI GA, not the default one)."""
    defaults: dict[str, Any] = {
        "name": f"OpenAI {next_number()}",
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
        "name": f"Policy {next_number()}",
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


def make_desk(organisation: Organisation | None = None, **columns: Any) -> OperatorDesk:
    """Make an operator destination that is open at all hours."""
    defaults: dict[str, Any] = {"name": f"Desk {next_number()}", "destination": "+15550100042"}
    return OperatorDesk.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
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
        "name": f"Line {next_number()}",
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


def make_net(number: PhoneNumber | None = None, **columns: Any) -> NumberNet:
    """Make the row of a number's net, which nobody has looked at."""
    number = number or make_number()
    return NumberNet.objects.create(
        number=number, **{"organisation_id": number.organisation_id, **columns}
    )


def make_firing(number: PhoneNumber, **columns: Any) -> NetFiring:
    """Make one time that a net was needed: a caller while our site was dead."""
    defaults: dict[str, Any] = {
        "organisation_id": number.organisation_id,
        "part": "a",
        "outcome": "held",
        "fired_at": timezone.now(),
        "call_sid": sid("CA"),
        "words": "Twilio asked the net, and it answered",
    }
    return NetFiring.objects.create(number=number, **{**defaults, **columns})
