"""The story of ``make demo``: import sample exports, place three calls, compare both stacks.

Runs beside a platform that is up (``__main__``) and uses it as its users do: the import service,
the stand-ins' telephone, the database. The last line of stdout is one JSON object (design.md 3).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
gc.disable()  # what is imported stays; looking for garbage in it takes a quarter of the time
django.setup()

from django.conf import settings  # noqa: E402 - Django must be set up first

from assistants.import_services import ImportFile, import_files  # noqa: E402 - as above
from assistants.models import Assistant  # noqa: E402 - as above
from calls.models import Call, OutboxEvent, PhoneNumber, ToolInvocation  # noqa: E402 - as above
from calls.services.seed import STANDIN_NUMBER, number_like  # noqa: E402 - as above
from calls.services.simulate import (  # noqa: E402 - as above
    call_simulate,
    call_stored,
    call_summary,
)
from calls.services.wording import wordings_render_missing  # noqa: E402 - as above
from voiceplatform.base import http  # noqa: E402 - as above
from voiceplatform.base.models import DEFAULT_ORGANISATION_ID, Organisation  # noqa: E402 - as above
from voiceplatform.demo.rehearsal import rehearse  # noqa: E402 - as above

gc.freeze()
gc.enable()

SAMPLES = Path(__file__).resolve().parents[2] / "calls" / "demo"
DELIVERY_SECONDS = 20.0
ANSWERS: dict[str, Any] = {
    "check_availability": {"result": "Free on {date}: 10:00 and 11:00."},
    "book_appointment": {
        "result": "Booked for {name} on {date} at {time}. Booking GB-20261127-001."
    },
}
RECEPTION, DESK = "harbour-dental.json", "transfer-desk.json"
NUMBERS = {RECEPTION: "+15550100002", DESK: "+15550100003"}
# (sample, scenario, what the caller does)
CALLS = (
    # The shortest first: somebody is waiting to see a finished call.
    (DESK, "transfer", "asks for a person"),
    (RECEPTION, "booking", "books an appointment: two tool calls"),
    (RECEPTION, "barge_in", "talks over the agent"),
)


class Story:
    """Tells the story once."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.organisation = Organisation.objects.get(pk=DEFAULT_ORGANISATION_ID)
        account = PhoneNumber.objects.select_related("twilio_account").get(
            number_e164=STANDIN_NUMBER
        )
        self.standin_url = account.twilio_account.api_base_url
        self.results: list[dict[str, Any]] = []
        self._call_sid = ""

    def tell(self) -> bool:
        """Import, call, check; True if everything went as scripted."""
        self._import_samples()
        rendered = wordings_render_missing()
        self._step(f"policy line rendered to mu-law ({rendered} wording)")
        for sample, scenario, what in CALLS:
            self._call(NUMBERS[sample], scenario, what)
        arrived = self._ledger_ids()
        for result in self.results:
            missing = [event for event in result.pop("event_ids") if event not in arrived]
            if missing:
                result["problems"].append(f"{len(missing)} webhooks never reached the receiver")
            result["ok"] = not result["problems"]
        if not settings.DEMO_ONCE:  # `ONCE=1` stops after the calls (design.md 3)
            self._rehearse()
        return all(result["ok"] for result in self.results)

    def _import_samples(self) -> None:
        place = self.standin_url.encode()
        files = [
            ImportFile(path.name, path.read_bytes().replace(b"${TOOL_SERVER}", place))
            for path in sorted(SAMPLES.glob("*.json"))
        ]
        report = import_files(
            organisation=self.organisation, files=files, actor=None, source="command"
        )
        counts = ", ".join(f"{count} {word}" for word, count in report.counts().items() if count)
        findings = sum(len(result.findings) for result in report.results)
        self._step(f"sample Vapi exports imported: {counts}; {findings} findings")
        with http.client() as client:
            client.put(f"{self.standin_url}/tools/answers", json=ANSWERS)
            client.delete(f"{self.standin_url}/tools/ledger")
        for sample, number in NUMBERS.items():
            export = json.loads((SAMPLES / sample).read_text(encoding="utf-8"))
            assistant = Assistant.objects.get(pk=export["id"])
            number_like(STANDIN_NUMBER, number=number, assistant=assistant)

    def _rehearse(self) -> None:
        self._step("\nparity: the scenarios of examples/scenarios, on the old stack and on ours")
        export = json.loads((SAMPLES / RECEPTION).read_text(encoding="utf-8"))
        run = rehearse(Assistant.objects.get(pk=export["id"]), self._line)
        self._line(f"{settings.PUBLIC_BASE_URL}/admin/calls/parityrun/{run.pk}/change/")

    def _call(self, number: str, scenario: str, what: str) -> None:
        self._step(f"\ncall to {number}: the caller {what}")
        report: Mapping[str, Any] = {}
        shown: set[str] = set()
        for event in call_simulate(
            to=number,
            caller="+15550100099",
            base_url=settings.PUBLIC_BASE_URL,
            scenario=scenario,
        ):
            if event["kind"] == "report":
                report = event
            else:
                self._show(event)
            self._show_tools(str(event.get("call_sid", "")) or self._call_sid, shown)
        problems = [*report["failures"], *map(str, report["errors"]), *map(str, report["warnings"])]
        call = call_stored(report["call_sid"])
        if call is None or call.status != Call.Status.ENDED:
            self.results.append(
                {"scenario": scenario, "problems": [*problems, "not stored"], "event_ids": []}
            )
            return
        events = self._deliveries(call)
        summary = call_summary(call)
        undelivered = [event for event in events if event.state != OutboxEvent.State.DELIVERED]
        if undelivered or not events:
            problems.append(f"{len(undelivered)} of {len(events)} events were not delivered")
        for told in events:
            self._line(f"{told.state} {told.kind} in {told.attempt_count} attempt(s)")
        self._line(
            f"ended: {summary['ended_reason']}; first word {summary['first_word_ms']} ms, turn "
            f"latency P50 {summary['turn_latency_p50_ms']} / P95 {summary['turn_latency_p95_ms']} "
            f"ms, cost {summary['cost_usd']:.4f} USD"
        )
        self.results.append(
            {
                "scenario": scenario,
                "call_id": summary["call_id"],
                "ended_reason": summary["ended_reason"],
                "turns": len(summary["turns"]),
                "tool_calls": len(summary["tool_calls"]),
                "first_word_ms": summary["first_word_ms"],
                "turn_latency_p50_ms": summary["turn_latency_p50_ms"],
                "turn_latency_p95_ms": summary["turn_latency_p95_ms"],
                "cost_usd": summary["cost_usd"],
                "deliveries": len(events) - len(undelivered),
                "event_ids": [str(event.pk) for event in events],
                "problems": problems,
            }
        )

    def _deliveries(self, call: Call) -> list[OutboxEvent]:
        """Wait until everything there is to tell of a call has been told."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            events = list(OutboxEvent.objects.filter(call=call).order_by("created_at"))
            told = {event.kind for event in events}
            open_events = [each for each in events if each.state == OutboxEvent.State.PENDING]
            if ("end-of-call-report" in told and not open_events) or time.monotonic() > deadline:
                return events
            time.sleep(0.2)

    def _ledger_ids(self) -> set[str]:
        """Return the ids of the events that the receiver says it got."""
        with http.client() as client:
            ledger = client.get(f"{self.standin_url}/tools/ledger").json()
        return {
            entry["headers"]["x-voiceplatform-event-id"]
            for entry in ledger
            if "x-voiceplatform-event-id" in entry["headers"]
        }

    def _show_tools(self, call_sid: str, shown: set[str]) -> None:
        """Show the tool calls that have come back since the last look."""
        self._call_sid = call_sid
        rows = ToolInvocation.objects.filter(call__call_sid=call_sid).exclude(
            state=ToolInvocation.State.RUNNING
        )
        for tool in rows.order_by("started_ms", "pk"):
            if tool.tool_call_id not in shown:
                shown.add(tool.tool_call_id)
                at = f"{tool.started_ms / 1000:6.2f} s"
                took = f"{tool.duration_ms} ms"
                said = f"{tool.name} {tool.arguments_json} -> {tool.output}"
                self._line(f"{at}  tool          {said} ({took})")

    def _show(self, event: Mapping[str, Any]) -> None:
        words = {"said": "caller says ", "heard": "caller hears", "cut": "cut off     "}
        if event["kind"] in words:
            self._line(f"{event['at_ms'] / 1000:6.2f} s  {words[event['kind']]} {event['text']}")
        elif event["kind"] in {"dial", "stream"}:
            self._line(f"{event['at_ms'] / 1000:6.2f} s  {event['kind']}")

    def _step(self, text: str) -> None:
        head = "\n" if text.startswith("\n") else ""
        sys.stdout.write(f"{head}[{time.monotonic() - self.begun:5.1f} s] {text.lstrip()}\n")
        sys.stdout.flush()

    def _line(self, text: str) -> None:
        sys.stdout.write(f"    {text}\n")
        sys.stdout.flush()


def main() -> int:
    """Tell the story; exit 0 only if every call ended as scripted and every webhook arrived."""
    story = Story()
    ok = story.tell()
    for result in story.results:
        for problem in result["problems"]:
            sys.stdout.write(f"PROBLEM in {result['scenario']}: {problem}\n")
    sys.stdout.write(f"{json.dumps({'ok': ok, 'calls': story.results})}\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
