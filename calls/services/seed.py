"""First rows of an instance: from the environment once, and for the stand-ins at every start.

Environment values seed rows that are missing; afterwards the row wins (design.md 4).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from assistants.models import Assistant
from assistants.services import assistant_publish
from calls.models import (
    CallPolicy,
    NumberMove,
    PhoneNumber,
    PolicyWording,
    ProviderConnection,
    TwilioAccount,
)
from calls.numbers.switch.voice import Target
from calls.services.number_routes import previous_set
from voiceplatform.base.canary import canary_ensure
from voiceplatform.base.models import DEFAULT_ORGANISATION_ID, Organisation

STANDIN_API_KEY = "sk-standin"
STANDIN_NUMBER = "+15550100001"

EXAMPLE_LINES = {
    "en": "You are talking to an automated assistant. This call may be recorded.",
    "es": "Está hablando con un asistente automático. Esta llamada puede ser grabada.",
    "fr": "Vous parlez à un assistant automatique. Cet appel peut être enregistré.",
    "de": "Sie sprechen mit einem automatischen Assistenten. Dieses Gespräch kann aufgezeichnet "
    "werden.",
}
STANDIN_ASSISTANT: dict[str, Any] = {
    "name": "Stand-in receptionist",
    "firstMessage": "Good morning, Harbour Dental. How can I help?",
    "firstMessageMode": "assistant-speaks-first",
    "endCallMessage": "Goodbye.",
    "model": {
        "provider": "openai",
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You answer the phone for Harbour Dental. Be brief."}
        ],
        "tools": [{"type": "endCall"}],
    },
    "voice": {"provider": "openai", "voiceId": "marin"},
    "transcriber": {"provider": "deepgram", "model": "nova-3", "language": "en"},
}


def instance_seed() -> None:
    """Write the rows that every instance needs and the environment knows."""
    canary_ensure()
    organisation, _ = Organisation.objects.get_or_create(
        pk=DEFAULT_ORGANISATION_ID, defaults={"name": "Default"}
    )
    with transaction.atomic():
        _example_policy(organisation)
        sid = settings.TWILIO_ACCOUNT_SID
        if sid and settings.TWILIO_AUTH_TOKEN:
            TwilioAccount.objects.get_or_create(
                account_sid=sid,
                defaults={
                    "organisation": organisation,
                    "name": "Default account",
                    "auth_token": settings.TWILIO_AUTH_TOKEN,
                    "auth_token_secondary": settings.TWILIO_AUTH_TOKEN_SECONDARY,
                    "api_base_url": settings.TWILIO_API_BASE_URL,
                },
            )
        connections = ProviderConnection.objects.filter(organisation=organisation)
        if settings.OPENAI_API_KEY and not connections.exists():
            ProviderConnection.objects.create(
                organisation=organisation,
                name="OpenAI",
                realtime_url=settings.OPENAI_REALTIME_URL,
                rest_base_url=settings.OPENAI_BASE_URL,
                model=settings.OPENAI_REALTIME_MODEL,
                api_key=settings.OPENAI_API_KEY,
                is_default=True,
            )


def _example_policy(organisation: Organisation) -> None:
    """Write the example that an operator's counsel is to review; it counts for nothing before."""
    if CallPolicy.objects.filter(organisation=organisation).exists():
        return
    policy = CallPolicy.objects.create(
        organisation=organisation,
        name="Example: notice of AI and recording",
        country="US",
        effective_from=dt.date(2026, 11, 22),
        recording_consent=CallPolicy.Consent.NOTICE,
        opt_out_words=["stop calling me", "take me off your list"],
        is_default=True,
        source="An example. Have it reviewed by your counsel, then mark it as reviewed.",
    )
    PolicyWording.objects.bulk_create(
        PolicyWording(policy=policy, language=language, text=text)
        for language, text in EXAMPLE_LINES.items()
    )


def standins_seed(origin: str) -> PhoneNumber:
    """Write a number, an assistant and connections that use the stand-ins at ``origin``."""
    organisation = Organisation.objects.get(pk=DEFAULT_ORGANISATION_ID)
    # Imported late: an installation without stand-ins never loads their server.
    from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN

    socket_origin = origin.replace("http", "ws", 1)
    with transaction.atomic():
        account, _ = TwilioAccount.objects.update_or_create(
            account_sid=DEFAULT_ACCOUNT_SID,
            defaults={
                "organisation": organisation,
                "name": "Stand-in",
                "auth_token": DEFAULT_AUTH_TOKEN,
                "api_base_url": origin,
            },
        )
        others = ProviderConnection.objects.filter(organisation=organisation, is_default=True)
        connection, _ = ProviderConnection.objects.update_or_create(
            organisation=organisation,
            name="Stand-in",
            defaults={
                "realtime_url": f"{socket_origin}/v1/realtime",
                "rest_base_url": f"{origin}/v1",
                "model": settings.OPENAI_REALTIME_MODEL,
                "api_key": STANDIN_API_KEY,
                "is_default": not others.exclude(name="Stand-in").exists(),
            },
        )
        policy, _ = CallPolicy.objects.get_or_create(
            organisation=organisation,
            name="Stand-in rehearsal",
            defaults={
                "country": "US",
                "effective_from": dt.date(2026, 11, 22),
                "recording_consent": CallPolicy.Consent.NOTICE,
                "record_replay_audio": True,
                "reviewed_at": timezone.now(),
                "source": "No real caller ever hears it.",
            },
        )
        PolicyWording.objects.get_or_create(
            policy=policy, language="en", version=1, defaults={"text": EXAMPLE_LINES["en"]}
        )
        number = PhoneNumber.objects.filter(number_e164=STANDIN_NUMBER).first()
        if number is None:
            number = PhoneNumber.objects.create(
                organisation=organisation,
                number_e164=STANDIN_NUMBER,
                name="Stand-in number",
                twilio_account=account,
                twilio_sid="PN" + "5" * 32,
                route=PhoneNumber.Route.DIRECT,
                assistant=_standin_assistant(organisation),
                connection=connection,
                policy=policy,
            )
    return number


def movable_seed(origin: str) -> int:
    """Write the numbers that the stand-in at ``origin`` has for rehearsals of moves.

    One that is here keeps what it knows; return how many there are.
    """
    # Imported late, as above.
    from calls.standins.twilio_numbers import MOVABLE, OLD_VOICE_PATH

    pattern = PhoneNumber.objects.select_related("assistant").get(number_e164=STANDIN_NUMBER)
    assert pattern.assistant is not None, "it was made with one"
    for place, number in enumerate(MOVABLE, 1):
        here = NumberMove.objects.filter(
            number__number_e164=number, direction=NumberMove.Direction.HERE, closed_at__isnull=True
        )
        if here.exists():
            continue
        row = PhoneNumber.objects.filter(number_e164=number).first()
        if row is None:
            row = number_like(STANDIN_NUMBER, number=number, assistant=pattern.assistant)
            row.name = f"Branch {place}, to be moved"
        row.route = PhoneNumber.Route.VAPI
        row.save(update_fields=["name", "route", "updated_at"])
        previous_set(row, Target("url", url=origin + OLD_VOICE_PATH))
    return len(MOVABLE)


def _standin_assistant(organisation: Organisation) -> Assistant:
    name = STANDIN_ASSISTANT["name"]
    known = Assistant.objects.filter(organisation=organisation, name=name).first()
    return known or assistant_publish(
        organisation=organisation, document=STANDIN_ASSISTANT, source="seed", actor=None
    )


def number_like(model: str, *, number: str, assistant: Assistant) -> PhoneNumber:
    """Return ``number`` with the account, connection and policy of another, and this assistant."""
    pattern = PhoneNumber.objects.get(number_e164=model)
    row, _ = PhoneNumber.objects.update_or_create(
        number_e164=number,
        defaults={
            "organisation": pattern.organisation,
            "name": assistant.name,
            "twilio_account": pattern.twilio_account,
            "route": PhoneNumber.Route.DIRECT,
            "assistant": assistant,
            "connection": pattern.connection,
            "policy": pattern.policy,
        },
    )
    return row
