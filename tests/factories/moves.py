"""Moves of numbers at Twilio and changes of routes, for tests: with a state that can be read."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from calls.models import Call, CallHandover, NumberChange, NumberMove, OldStack, PhoneNumber
from calls.numbers.switch import kept
from calls.numbers.switch.steps import Move, Step
from calls.numbers.switch.voice import Snapshot, VoiceConfig
from tests.factories.base import next_number, sid
from voiceplatform.base.models import Organisation

OLD_URL = "https://api.vapi.example/twilio/inbound_call?token=vapi-secret"


def make_move(number: PhoneNumber, *, step: str = "done", **columns: Any) -> NumberMove:
    """Make a move here whose number answers here now, as it is when its first caller has come."""
    before = VoiceConfig(
        number.twilio_sid or sid("PN"),
        number.twilio_account.account_sid,
        number.number_e164,
        voice_url=OLD_URL,
    )
    wanted = VoiceConfig(
        before.sid,
        before.account_sid,
        before.number_e164,
        voice_url="https://voice.example.com/twilio/voice",
        voice_fallback_url=OLD_URL,
        status_callback="https://voice.example.com/twilio/status",
    )
    move = Move("here", before, wanted, step=Step(step))
    snapshot = Snapshot(before, None, "us1", timezone.now().isoformat(), "user:anna")
    defaults: dict[str, Any] = {
        "organisation": number.organisation,
        "number": number,
        "direction": "here",
        "step": step,
        "state": kept.as_json(move),
        "snapshot": snapshot.as_json(),
        "route_before": {"route": "vapi", "canary_percent": 0},
        "may_be_written": True,
        "who": "user:anna",
        "finished_at": timezone.now() if step in ("done", "abandoned") else None,
    }
    return NumberMove.objects.create(**{**defaults, **columns})


def make_change(number: PhoneNumber, **columns: Any) -> NumberChange:
    """Make a change of a number's route, from vapi to direct."""
    defaults: dict[str, Any] = {
        "before": {"route": "vapi", "words": "vapi"},
        "after": {"route": "direct", "words": "direct"},
        "who": "user:anna",
        "why": "The canary was fine",
    }
    return NumberChange.objects.create(
        organisation=number.organisation, number=number, **{**defaults, **columns}
    )


def make_old_stack(organisation: Organisation, **columns: Any) -> OldStack:
    """Make an old stack of which nothing is known."""
    defaults: dict[str, Any] = {"origin": f"https://old-{next_number()}.example.com"}
    return OldStack.objects.create(organisation=organisation, **{**defaults, **columns})


def make_handover(call: Call, **columns: Any) -> CallHandover:
    """Make a hand-over of a call that the old stack answered."""
    voice = {"reason": "the previous stack answered the call", "elapsed_ms": 210}
    defaults: dict[str, Any] = {
        "attempt_ms": 10_000,
        "instead": "fallback",
        "ended_at": timezone.now(),
        "is_taken": True,
        "outcome": {"voice": voice},
        "status_url": "https://old.example.com/status?token=old-secret",
    }
    return CallHandover.objects.create(call=call, **{**defaults, **columns})
