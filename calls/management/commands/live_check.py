"""``live_check``: ask the real services what their documentation leaves open."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from calls.doctor.live import LiveItem, account_of, live_items
from calls.models import PhoneNumber, ProviderConnection
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)
from voiceplatform.base.phones import is_e164

EXAMPLES = """examples:
  manage.py live_check
  manage.py live_check --number +15551230100
  manage.py live_check --number +15551230100 --call
  manage.py live_check --number +15551230100 --call --from +15551230199 --out verified.md
  manage.py live_check --json

Without --call it opens sessions without speech and reads: nothing is changed or bought. With it the
number, a spare one that is entered here and answers, is pointed here, called once for at most a
minute from another number of the account (well under 1 USD), and put back as it was. What real
services answered is written to docs/verified.md.
exit codes: 0 what could be asked was answered, 1 something failed or nothing could be asked,
2 bad usage
"""


class Command(ExampleCommand):
    """Print each question with its answer, or why it was not asked."""

    help = "Ask the model's provider and Twilio, with your own keys, what only they can answer."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--number", default="", help="a number of yours at Twilio, E.164")
        parser.add_argument("--call", action="store_true", help="place one real call to --number")
        parser.add_argument(
            "--from", default="", dest="caller", help="call from this number (default: another)"
        )
        parser.add_argument("--connection", default="", help="name (default: the default one)")
        parser.add_argument(
            "--out", default="", help="where answers are written (default: docs/verified.md)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask."""
        number = options["number"]
        if number and not is_e164(number):
            raise CommandError(f"{number} is not in the form +15551230100", returncode=2)
        caller = options["caller"]
        if caller and not is_e164(caller):
            raise CommandError(f"{caller} is not in the form +15551230100", returncode=2)
        account = account_of(number)
        if options["call"] and (not number or account is None):
            raise CommandError("--call takes --number, a number of an account here", returncode=2)
        connection = _connection(options["organisation"], options["connection"], number)
        items: list[LiveItem] = []
        found = live_items(connection, account, number, calls=options["call"], caller=caller)
        for item in found:
            items.append(item)
            if not options["json"]:
                by = f" (by {item.by})" if item.by else ""
                self.stdout.write(f"{item.state:11}  {item.source}  {item.question}")
                self.stdout.write(f"             {item.answer}{by}")
        good = _is_good(items)
        if options["json"]:
            self.stdout.write(json.dumps({"ok": good, "items": [asdict(item) for item in items]}))
        out = options["out"] or str(settings.BASE_DIR / "docs" / "verified.md")
        if options["out"] or Path(out).parent.is_dir():
            self._write(out, items)
        if not good:
            sys.exit(1)

    def _write(self, out: str, items: list[LiveItem]) -> None:
        real = [item for item in items if item.by != "the stand-in" and item.state == "answered"]
        if not real:
            self.stderr.write(f"{out} was not written: no real service has answered.")
            return
        lines = [
            "# Verified against the real services",
            "",
            f"By `manage.py live_check` on {timezone.now():%Y-%m-%d}.",
            "",
            "| source | question | state | answer |",
            "|---|---|---|---|",
            *(
                f"| {item.source} | {item.question} | {item.state} | {item.answer} |"
                for item in items
            ),
        ]
        Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_good(items: list[LiveItem]) -> bool:
    states = {item.state for item in items}
    return "failed" not in states and "answered" in states


def _connection(organisation: str, name: str, number: str) -> ProviderConnection | None:
    rows = ProviderConnection.objects.filter(organisation=organisation_named(organisation))
    found: list[ProviderConnection] = list(rows.filter(name=name)[:1] if name else ())
    if name and not found:
        raise CommandError(f"there is no connection {name!r}", returncode=2)
    if not found:
        numbers = PhoneNumber.objects.filter(number_e164=number, connection__isnull=False)
        found = list(ProviderConnection.objects.filter(numbers__in=numbers)[:1])
    if not found:
        found = list(rows.filter(is_default=True)[:1])
    return found[0] if found else None
