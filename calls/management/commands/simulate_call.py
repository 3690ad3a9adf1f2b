"""``simulate_call``: place a signed, paced call against a running server as Twilio would."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from calls.services.simulate import SimulationError, call_simulate, call_stored, call_summary
from voiceplatform.base.commands import ExampleCommand

EXAMPLES = """examples:
  manage.py simulate_call --to +15550100001
  manage.py simulate_call --to +15550100001 --scenario barge_in
  manage.py simulate_call --to +15550100001 --scenario own.yaml --url https://voice.example.com
  manage.py simulate_call --to +15550100001 --answer silence --answer yes    asked for consent

shipped scenarios: hello, booking, barge_in, transfer, and ring, which fits any stack
exit codes: 0 the call went as planned, 1 it did not, 2 bad usage
"""

SPEAKERS = {"user": "caller", "assistant": "agent", "system": "system"}


class Command(ExampleCommand):
    """Print the call as it happens, then what was stored; exit 1 if it did not go as planned."""

    help = "Place a call against a running server as Twilio would, with words in the audio."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--to", required=True, help="the number to call, E.164")
        parser.add_argument("--from", dest="caller", default="+15550100099", help="who calls")
        parser.add_argument(
            "--url", default="", help="origin of the server; default: PUBLIC_BASE_URL"
        )
        parser.add_argument("--scenario", default="hello", help="a shipped scenario or a YAML file")
        parser.add_argument(
            "--answer",
            action="append",
            default=[],
            help="what the caller answers when asked for consent: a key (1, 2), words (yes), or "
            "silence; give it once for each question",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, **options: Any) -> None:
        """Place the call."""
        report: dict[str, Any] = {}
        try:
            for event in call_simulate(
                to=options["to"],
                caller=options["caller"],
                base_url=(options["url"] or settings.PUBLIC_BASE_URL).rstrip("/"),
                scenario=options["scenario"],
                answers=["" if each == "silence" else each for each in options["answer"]],
            ):
                if event["kind"] == "report":
                    report = dict(event)
                elif not options["json"]:
                    self._show(event)
        except SimulationError as error:
            raise CommandError(str(error), returncode=1) from error
        call = call_stored(report["call_sid"])
        summary = call_summary(call) if call is not None else None
        problems = [*report["failures"], *map(str, report["errors"]), *map(str, report["warnings"])]
        if summary is None:
            problems.append("the platform stored no call")
        elif summary["status"] != "ended":
            problems.append("the platform has not closed the call")
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not problems, "call": summary, "report": report}))
        else:
            self._summarise(summary, problems)
        if problems:
            sys.exit(1)

    def _show(self, event: Any) -> None:
        words = {"said": "caller says", "heard": "caller hears", "cut": "cut off", "say": "Twilio"}
        at = f"{event.get('at_ms', 0) / 1000:7.2f} s"
        kind = event["kind"]
        if kind in words:
            self.stdout.write(f"{at}  {words[kind]}: {event.get('text', '')}")
        elif kind in {"status", "stream", "ended", "error", "warning"}:
            details = {k: v for k, v in event.items() if k not in {"kind", "at_ms", "url"}}
            self.stdout.write(f"{at}  {kind}: {', '.join(map(str, details.values()))}")

    def _summarise(self, summary: dict[str, Any] | None, problems: list[str]) -> None:
        if summary is not None:
            if summary["consent"]:
                self.stdout.write(f"\nconsent: {summary['consent']}")
            self.stdout.write("\nstored transcript")
            for turn in summary["turns"]:
                latency = f"  ({turn['latency_ms']} ms)" if turn["latency_ms"] is not None else ""
                cut = f" [not heard: {turn['unheard']}]" if turn["unheard"] else ""
                self.stdout.write(
                    f"  {turn['started_ms'] / 1000:6.2f} s  {SPEAKERS[turn['role']]}: "
                    f"{turn['text']}{cut}{latency}"
                )
            for tool in summary["tool_calls"]:
                self.stdout.write(f"  tool {tool['name']} {tool['arguments']} -> {tool['output']}")
            self.stdout.write(
                f"call {summary['call_id']} ended: {summary['ended_reason']}, "
                f"{summary['duration_seconds']} s, first word {summary['first_word_ms']} ms, "
                f"turn latency P50 {summary['turn_latency_p50_ms']} / "
                f"P95 {summary['turn_latency_p95_ms']} ms, model cost {summary['cost_usd']:.4f} USD"
            )
        for problem in problems:
            self.stdout.write(f"PROBLEM: {problem}")
