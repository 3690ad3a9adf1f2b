"""Numbers of a plan as rows on a moved clock: they are here, ready, and their calls are good.

Owns the world that the tests and the drill of plans share: it answers for callers and for parity,
and takes the ticks that the beat would. It must not touch a plan's own rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from calls.models import Call, MigrationPlan, NumberReadiness, PhoneNumber, PlanEntry
from calls.numbers.plan import Parity
from calls.services import plan_facts
from calls.services.plan_ticks import plans_tick
from tests import factories
from voiceplatform.base.models import Organisation

OLD = "https://api.vapi.ai/twilio/inbound_call"


def make_ready_number(organisation: Organisation | None = None, **columns: Any) -> PhoneNumber:
    """Make a number on route ``vapi`` whose calls come here and that nothing blocks."""
    usual: dict[str, Any] = {"route": PhoneNumber.Route.VAPI, "previous_voice_url": OLD}
    number = factories.make_number(organisation, **(usual | columns))
    make_readiness(number)
    make_calls(number, 1, stack=Call.Stack.VAPI)
    return number


def make_readiness(number: PhoneNumber, *blockers: str) -> NumberReadiness:
    """Make the newest look at a number."""
    columns = {
        "colour": "red" if blockers else "green",
        "reason": blockers[0] if blockers else "Ready",
        "findings": [{"short": each, "weight": "blocks"} for each in blockers],
        "checked_at": timezone.now(),
        "number_e164": number.number_e164,
        "organisation": number.organisation,
    }
    row, _ = NumberReadiness.objects.update_or_create(number=number, defaults=columns)
    return row


def make_calls(number: PhoneNumber, count: int, **columns: Any) -> list[Call]:
    """Make calls that ended well a moment ago, few queries however many."""
    now = timezone.now()
    usual: dict[str, Any] = {
        "status": Call.Status.ENDED,
        "ended_reason": "customer-ended-call",
        "ended_at": now,
        "started_at": now,
        "duration_seconds": 60,
        "first_word_ms": 900,
        "turn_latency_p95_ms": 1_100,
        "metrics": {"streams": [{"turn_latencies_ms": [700, 1_100], "counters": {}}]},
        "organisation": number.organisation,
        "number": number,
        "twilio_account_id": number.twilio_account_id,
    }
    rows = [Call(call_sid=factories.sid("CA"), **(usual | columns)) for _ in range(count)]
    return Call.objects.bulk_create(rows)


@dataclass
class Parities:
    """A source of parity that says what a test wants."""

    says: dict[Any, tuple[Parity, str]] = field(default_factory=dict)

    def __call__(self, number: PhoneNumber) -> tuple[Parity, str]:
        return self.says.get(number.pk, ("pass", "60 of 60 alike"))


@dataclass
class Week:
    """A plan that runs on a moved clock, and its callers."""

    row: MigrationPlan
    numbers: Sequence[PhoneNumber]
    clock: Any
    zone: str
    calls_a_tick: int = 20

    def run(
        self,
        first: dt.datetime,
        last: dt.datetime,
        every: dt.timedelta,
        events: Mapping[dt.datetime, Callable[[], Any]] | None = None,
    ) -> None:
        """Tick from ``first`` to ``last``; callers ring between the ticks."""
        moment = first
        while moment <= last:
            self.clock.move_to(moment)
            if events and moment in events:
                events[moment]()
            self.callers()
            plans_tick()
            moment += every

    def callers(self) -> None:
        """Let callers ring the numbers that are on their way to us."""
        ids = [number.pk for number in self.numbers]
        moving = PhoneNumber.objects.filter(
            pk__in=ids, route__in=("canary", "direct"), plan_places__phase="moving"
        )
        for number in moving:
            make_calls(number, self.calls_a_tick)

    def moves(self) -> list[tuple[str, str, str]]:
        """Return what moved when, on the wall of the plan's zone, numbers by their names."""
        tz = ZoneInfo(self.zone)
        kinds = ("step ordered", "number arrived", "number held", "number skipped")
        entries = PlanEntry.objects.filter(plan=self.row, kind__in=kinds).order_by("pk")
        return [
            (
                f"{entry.at.astimezone(tz):%a %d %H:%M}",
                entry.number.name if entry.number is not None else "",
                f"{entry.evidence['to']}%"
                if entry.kind == "step ordered"
                else entry.kind.removeprefix("number "),
            )
            for entry in entries.select_related("number")
        ]


def with_parity(monkeypatch: Any) -> Parities:
    """Have parity said by the returned source until the test ends."""
    source = Parities()
    monkeypatch.setattr(plan_facts._PARITY, "ask", source)
    return source
