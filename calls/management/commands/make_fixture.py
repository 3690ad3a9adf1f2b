"""``make_fixture``: a recorded call becomes a redacted test."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from calls.models import Call
from calls.services.call_fixture import FixtureRefused, call_fixture, fixture_noted
from voiceplatform.base.commands import ExampleCommand

EXAMPLES = """examples:
  manage.py make_fixture 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --out tests/recorded

Words, numbers and addresses are replaced, audio becomes silence. Read the data file before you
share it. Both files name the call, so that an erasure finds them.
exit codes: 0 written, 1 nothing could be made of this call, 2 bad usage
"""


class Command(ExampleCommand):
    """Write a test module and its data file."""

    help = "Make a redacted pytest module of a recorded call; it replays it through the bridge."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("call_id", type=UUID, help="our call_id, as the call's page shows it")
        parser.add_argument("--out", required=True, type=Path, help="folder of the two files")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write."""
        call = Call.objects.filter(pk=options["call_id"]).first()
        if call is None:
            raise CommandError(f"there is no call {options['call_id']}", returncode=1)
        try:
            written = call_fixture(call, options["out"])
            fixture_noted(call, written)
        except FixtureRefused as error:
            raise CommandError(str(error), returncode=1) from error
        for path in written:
            self.stdout.write(str(path))
