"""Rows of parity: scenarios, runs and their calls."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone

from assistants.models import Assistant
from calls.models import (
    Call,
    CallerClip,
    CriticalMarks,
    ParityCall,
    ParityRun,
    ParityScenario,
    PhoneNumber,
    RunDial,
    ShadowCall,
    ShadowSwitch,
)
from calls.services.parity_pins import PINNED, pins_of
from tests.factories.assistants import make_assistant
from tests.factories.base import next_number, phone_e164, sid
from tests.factories.telephony import make_number

DOCUMENT: dict[str, Any] = {
    "caller": [
        {
            "say": "I would like to book a cleaning on Friday.",
            "expect": [{"tool": "check_availability", "arguments": {"date": "2026-11-27"}}],
            "agent": "Ten or eleven, which time suits you?",
        },
        {"say": "Ten. Goodbye.", "agent": "See you on Friday."},
        {"hang_up": True},
    ],
    "tools": {"check_availability": [{"result": "10:00 and 11:00 are free"}]},
}


def make_scenario(assistant: Assistant | None = None, **columns: Any) -> ParityScenario:
    """Make a scenario of two turns and one tool call."""
    assistant = assistant or make_assistant()
    defaults: dict[str, Any] = {"name": f"booking {next_number()}", "document": DOCUMENT}
    return ParityScenario.objects.create(
        assistant=assistant, organisation=assistant.organisation, **{**defaults, **columns}
    )


def make_run(assistant: Assistant | None = None, **columns: Any) -> ParityRun:
    """Make a rehearsal that nobody has begun."""
    assistant = assistant or make_assistant()
    revision = columns.get("revision", assistant.current_revision)
    assert revision is not None, "a run is of a revision"
    pins = pins_of(revision.pk, columns.get("number"), model=columns.get("model", ""))
    columns["options"] = {PINNED: pins} | columns.get("options", {})
    defaults: dict[str, Any] = {
        "kind": "rehearsal",
        "revision": revision,
        "seed": 7,
        "wanted": 1,
    }
    return ParityRun.objects.create(
        assistant=assistant, organisation=assistant.organisation, **{**defaults, **columns}
    )


def make_parity_call(run: ParityRun, **columns: Any) -> ParityCall:
    """Make a call of a run that waits."""
    defaults: dict[str, Any] = {
        "position": 0,
        "scenario": "booking",
        "index": 0,
        "stack": "direct",
        "document": DOCUMENT,
    }
    return ParityCall.objects.create(
        run=run, organisation=run.organisation, **{**defaults, **columns}
    )


def make_critical_marks(assistant: Assistant | None = None, **columns: Any) -> CriticalMarks:
    """Make a decision on a tool of an assistant's current revision."""
    assistant = assistant or make_assistant()
    defaults: dict[str, Any] = {
        "revision": assistant.current_revision,
        "tool": f"tool {next_number()}",
        "decisions": {"notes": "text"},
        "changed_by": "user:ada",
        "changed_at": timezone.now(),
    }
    return CriticalMarks.objects.create(
        organisation=assistant.organisation, **{**defaults, **columns}
    )


def make_shadow_switch(number: PhoneNumber, **columns: Any) -> ShadowSwitch:
    """Make a switch that is off."""
    return ShadowSwitch.objects.create(number=number, organisation=number.organisation, **columns)


def make_shadow_call(run: ParityRun, call: Call, **columns: Any) -> ShadowCall:
    """Make a call that is heard along now."""
    now = timezone.now()
    defaults: dict[str, Any] = {
        "position": 0,
        "state": "hearing",
        "token_expires_at": now + dt.timedelta(minutes=1),
        "alive_at": now,
        "begun_at": now,
    }
    return ShadowCall.objects.create(
        run=run, call=call, organisation=run.organisation, **{**defaults, **columns}
    )


def make_run_dial(place: ParityCall | None = None, **columns: Any) -> RunDial:
    """Make a call that a live run has placed and that is over."""
    place = place or make_parity_call(make_run(kind="live"))
    defaults: dict[str, Any] = {
        "caller_e164": phone_e164(),
        "caller_sid": sid("CA"),
        "stack": "direct",
        "state": "ended",
    }
    if "number" not in columns:
        defaults["number"] = place.run.number or make_number()
    return RunDial.objects.create(
        parity_call=place, organisation=place.organisation, **{**defaults, **columns}
    )


def make_caller_clip(run: ParityRun, **columns: Any) -> CallerClip:
    """Make a turn of a scripted caller as sound."""
    defaults: dict[str, Any] = {"scenario": "booking", "turn": 0, "audio_mulaw": b"\xff" * 800}
    return CallerClip.objects.create(run=run, **{**defaults, **columns})
