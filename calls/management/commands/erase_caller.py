"""``erase_caller``: erase all that is kept of one caller."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from calls.services.erasure import (
    CallerIsOnCall,
    NotANumber,
    caller_erase,
    erasure_preview,
)
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    logs_apart,
    organisation_named,
)

EXAMPLES = """examples:
  manage.py erase_caller +14155550100 --dry-run
  manage.py erase_caller +14155550100
  manage.py erase_caller +14155550100 --organisation "Acme Dental" --json

Erased are the calls of this number with their words, tool calls, recorded inputs and reports, the
tests made of them, and their recordings at Twilio. What receivers of reports keep is theirs. There
is no way back.
exit codes: 0 erased, 1 not, or something is left that the output names, 2 bad usage
"""


class Command(ExampleCommand):
    """Print what was erased, by kind; exit 1 if something is left."""

    help = "Erase all that is kept of one caller, here and in Twilio's recordings."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("number", help="with + and country code, e.g. +14155550100")
        parser.add_argument("--dry-run", action="store_true", help="count only, erase nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase, or count."""
        organisation = organisation_named(options["organisation"])
        is_dry = options["dry_run"]
        try:
            with logs_apart():
                if is_dry:
                    found = erasure_preview(organisation=organisation, number=options["number"])
                    counts, problems = dict(+found.counts), found.problems
                else:
                    tombstone = caller_erase(
                        organisation=organisation, number=options["number"], actor="system"
                    )
                    counts, problems = tombstone.counts, tombstone.problems
        except (NotANumber, CallerIsOnCall) as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            body = {"ok": not problems, "dry_run": is_dry, "erased": counts, "problems": problems}
            self.stdout.write(json.dumps(body))
        else:
            for kind, count in sorted(counts.items()):
                self.stdout.write(f"{kind}: {count}")
            if not counts:
                self.stdout.write("nothing is kept of this number")
            for problem in problems:
                self.stdout.write(f"LEFT: {problem}")
            self.stdout.write("nothing was erased (--dry-run)" if is_dry else "done")
        if problems:
            sys.exit(1)
