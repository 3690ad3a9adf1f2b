"""``route_number``: say who answers a number, and bring its calls here, the difference first."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from calls.models import NumberMove, PhoneNumber
from calls.services.number_moves import (
    MovePreview,
    MoveRefused,
    move_begin,
    move_continue,
    move_preview,
)
from calls.services.number_routes import (
    RouteOrder,
    RoutePreview,
    RouteRefused,
    route_preview,
    route_set,
)
from calls.telephony.twilio_rest import TwilioRefused, TwilioSilent
from voiceplatform.base.commands import ExampleCommand, logs_apart

EXAMPLES = """examples:
  manage.py route_number +14155550100 --to canary:10 --dry-run
  manage.py route_number +14155550100 --to canary:10 --yes-i-typed +14155550100
  manage.py route_number +14155550100 --to vapi --move-here
  manage.py route_number +14155550100 --to direct --move-here --yes-i-typed +14155550100 --json

--to says who answers calls that come here: vapi (handed over to what answered before), canary:N (N
percent here, the others handed over), direct (here), paused (nobody). --move-here also points the
number's voice settings at Twilio here: in one request, compared, tried with a call of its own, and
put back at once if that call does not come. Without --yes-i-typed the number is asked for.
restore_number is the way back.

exit codes: 0 done, or moved and waiting for the first caller; 1 refused or stopped; 2 bad usage
"""
_TO: Final = re.compile(r"(vapi|direct|paused)|canary:(\d{1,3})")
# The test call may take 45 s to come in.
_MOST_SECONDS: Final = 120.0


class Command(ExampleCommand):
    """Print the difference, change it, and follow a move until it waits or stops."""

    help = "Change who answers a number, and bring its calls here."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("number", help="with + and country code")
        parser.add_argument("--to", required=True, metavar="ROUTE", help="vapi, canary:N, direct …")
        parser.add_argument("--move-here", action="store_true", help="also point it here at Twilio")
        parser.add_argument("--dry-run", action="store_true", help="show the difference only")
        parser.add_argument("--yes-i-typed", default="", metavar="NUMBER", help="the number again")
        parser.add_argument("--why", default="", help="kept with the change")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Preview, confirm, change."""
        found = _TO.fullmatch(options["to"])
        if found is None or int(found[2] or 0) > 100:
            raise CommandError(
                "--to is vapi, canary:0 to canary:100, direct or paused", returncode=2
            )
        order = RouteOrder(found[1] or "canary", canary_percent=int(found[2] or 0))
        number = (
            PhoneNumber.objects.select_related("organisation", "twilio_account", "policy")
            .filter(number_e164=options["number"])
            .first()
        )
        if number is None:
            raise CommandError(f"there is no number {options['number']}", returncode=1)
        try:
            with logs_apart():
                body = self._run(number, order, options)
        except (RouteRefused, MoveRefused, TwilioSilent, TwilioRefused) as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(body))
        if not body["ok"]:
            sys.exit(1)

    def _run(
        self, number: PhoneNumber, order: RouteOrder, options: dict[str, Any]
    ) -> dict[str, Any]:
        route = route_preview(number, order)
        wanted = order if route.is_change else None
        body: dict[str, Any] = {
            "ok": True,
            "number": number.number_e164,
            "route": {"before": route.before, "after": route.after},
        }
        preview = move_preview(number=number, route=wanted) if options["move_here"] else None
        if preview is not None:
            body["twilio"] = [
                {"field": each.field, "before": each.old, "after": each.new}
                for each in preview.differences
                if each.is_changed
            ]
            body["findings"] = [
                {"code": each.code, "severity": each.severity, "cause": each.cause, "fix": each.fix}
                for each in preview.findings
            ]
        self._show(route, preview, options["json"])
        if preview is not None and not preview.can_begin:
            return {**body, "ok": False, "state": "blocked"}
        if preview is None and route.errors:
            raise RouteRefused(route.errors)
        if options["dry_run"]:
            return {**body, "state": "dry-run"}
        typed = self._typed(number, options)
        if preview is None:
            route_set(
                number_id=number.pk,
                order=order,
                actor="command",
                why=options["why"],
                expected_version=route.version,
            )
            self._say(f"route: {route.after}", options["json"])
            return {**body, "state": "done"}
        move = move_begin(
            number=number,
            actor="command",
            why=options["why"],
            fingerprint=preview.fingerprint,
            typed=typed,
            route=wanted,
        )
        return {**body, **self._follow(move, options["json"])}

    def _follow(self, move: NumberMove, is_json: bool) -> dict[str, Any]:
        until = time.monotonic() + _MOST_SECONDS
        told = ""
        while True:
            move = move_continue(move.pk, within_seconds=5.0)
            words = f"{move.get_step_display()}. {move.problem or move.test_words}".strip()
            if words != told:
                self._say(words, is_json)
                told = words
            waits = move.step == NumberMove.Step.TESTED
            if waits or move.finished_at or move.step == NumberMove.Step.STOPPED:
                break
            if time.monotonic() > until:
                break
            time.sleep(0.5)
        is_ok = move.step in (NumberMove.Step.TESTED, NumberMove.Step.DONE)
        back = NumberMove.objects.filter(restores=move, finished_at__isnull=True).first()
        if back is not None:
            self._say("It is being put back as it was.", is_json)
            move_continue(back.pk, within_seconds=30.0)
        elif not is_ok:
            self._say(f"Put it back: restore_number {move.number.number_e164}", is_json)
        return {"ok": is_ok, "state": move.step, "words": move.problem, "test": move.test_words}

    def _typed(self, number: PhoneNumber, options: dict[str, Any]) -> str:
        typed: str = options["yes_i_typed"]
        if not typed and sys.stdin.isatty():
            typed = input(f"Type the number, {number.number_e164}, to go on: ")
        if typed.strip() != number.number_e164:
            raise CommandError(
                f"nothing was changed. To go on: --yes-i-typed {number.number_e164}", returncode=2
            )
        return typed

    def _show(self, route: RoutePreview, preview: MovePreview | None, is_json: bool) -> None:
        self._say(f"route: {route.before} -> {route.after}", is_json)
        for problem in route.problems if preview is None else ():
            self._say(f"{problem.weight}: {problem.cause} {problem.fix}", is_json)
        if preview is None:
            return
        self._say(preview.effect, is_json)
        for each in preview.differences:
            if each.is_changed:
                self._say(f"  {each.field}: {each.old or '-'} -> {each.new or '-'}", is_json)
        for finding in preview.findings:
            self._say(f"{finding.severity}: {finding.cause}. Fix: {finding.fix}", is_json)

    def _say(self, words: str, is_json: bool) -> None:
        if not is_json:
            self.stdout.write(words)
