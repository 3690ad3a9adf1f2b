"""``restore_number``: put one number, or all of them, back as they were at Twilio before the move.

The way back when everything else is down: it needs the database and Twilio's credentials, no web
process, no worker and no Redis, and does the work in this process.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from calls.models import PhoneNumber
from calls.services.number_moves import RestoreResult, restorable
from calls.services.restore_jobs import restore_all
from voiceplatform.base.commands import ExampleCommand, logs_apart
from voiceplatform.base.models import Organisation

EXAMPLES = """examples:
  manage.py restore_number +14155550100
  manage.py restore_number +14155550100 --why "callers hear nothing"
  manage.py restore_number --all
  manage.py restore_number --all --organisation "Acme Dental" --json

The number's voice settings at Twilio are compared with what the move wrote, and the snapshot of
before the move is written in one request. Where somebody else has changed them meanwhile nothing is
written, and the output says what to do. Text messages are never touched. Calls in progress stay
where they are. With --all the numbers with the most calls come first, and one that fails does not
hold up the others; up to eight of an account are asked for at once. To run it again is harmless. It
needs no worker and no Redis.

exit codes: 0 back as they were (or nothing to put back), 1 one at least is not, 2 bad usage
"""


class Command(ExampleCommand):
    """Print what came of each number; exit 1 if one is not back."""

    help = "Put numbers back as they were at Twilio before they were moved here."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("number", nargs="?", help="with + and country code")
        which.add_argument("--all", action="store_true", help="every number that was moved here")
        parser.add_argument(
            "--organisation", default="", help="with --all: of this one only (default: of all)"
        )
        parser.add_argument("--why", default="restored by command", help="kept with the restore")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore and say what came of it."""
        numbers = self._numbers(options)
        is_json = options["json"]

        def told(number: PhoneNumber, result: RestoreResult) -> None:
            if not is_json:
                self.stdout.write(f"{number.number_e164}: {_words(result)}")

        with logs_apart():
            done = restore_all(
                numbers, actor="command", why=options["why"], told=told, tells_workers=False
            )
        failed = [each for each in done.results.values() if each.state not in ("done", "nothing")]
        if is_json:
            rows = [
                {"number": number, "state": each.state, "words": each.words}
                for number, each in done.results.items()
            ]
            self.stdout.write(json.dumps({"ok": not failed, "numbers": rows}))
        elif not numbers:
            self.stdout.write("no number was moved here, so there is nothing to put back")
        elif len(numbers) > 1:
            self.stdout.write(f"{done.back} of {len(numbers)} are back as they were")
        if failed:
            sys.exit(1)

    def _numbers(self, options: dict[str, Any]) -> list[PhoneNumber]:
        if not options["all"]:
            if options["organisation"]:
                raise CommandError("--organisation goes with --all alone", returncode=2)
            row = (
                PhoneNumber.objects.select_related("organisation")
                .defer("previous_target")
                .filter(number_e164=options["number"])
                .first()
            )
            if row is None:
                raise CommandError(f"there is no number {options['number']}", returncode=1)
            return [row]
        if not options["organisation"]:
            return restorable()
        named = Organisation.objects.filter(name=options["organisation"]).first()
        if named is None:
            known = ", ".join(repr(n) for n in Organisation.objects.values_list("name", flat=True))
            raise CommandError(
                f"no organisation {options['organisation']!r}. Known: {known}", returncode=1
            )
        return restorable(named.pk)


def _words(result: RestoreResult) -> str:
    if result.state == "done":
        return "back as it was"
    if result.state == "again":
        return f"NOT YET: {result.words}. Run this again; a worker that runs goes on by itself"
    if result.state == "person":
        return f"NOT BACK: {result.words}. Look at its move in the admin and decide"
    return result.words
