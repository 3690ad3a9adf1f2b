"""Moves of numbers at Twilio, for tests: with a state and a snapshot that can be read."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from calls.models import NumberMove, PhoneNumber
from calls.numbers.switch import kept
from calls.numbers.switch.steps import Move, Step
from calls.numbers.switch.voice import Snapshot, VoiceConfig
from tests.factories.base import sid

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
