"""``replay_call``: run a call's recorded inputs through the bridge again and compare."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from calls.models import Call
from calls.services.replay import call_replay
from voiceplatform.base.commands import ExampleCommand

EXAMPLES = """examples:
  manage.py replay_call 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
  manage.py replay_call 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --json

exit codes: 0 the same outputs in every stream, 1 not so or nothing was recorded, 2 bad usage
"""


class Command(ExampleCommand):
    """Print, per stream, whether the bridge of today does what it did; exit 1 if not."""

    help = "Replay a recorded call through the bridge and show every difference."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("call_id", type=UUID, help="our call_id, as the call's page shows it")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay."""
        call = Call.objects.filter(pk=options["call_id"]).first()
        if call is None:
            raise CommandError(f"there is no call {options['call_id']}", returncode=1)
        try:
            streams = call_replay(call)
        except ValueError as error:
            raise CommandError(str(error), returncode=1) from error
        if not streams:
            raise CommandError("this call has no recorded inputs", returncode=1)
        same = all(stream.same for stream in streams)
        if options["json"]:
            body = {"ok": same, "streams": [asdict(stream) for stream in streams]}
            self.stdout.write(json.dumps(body))
        else:
            for stream in streams:
                word = "the same" if stream.same else "DIFFERENT"
                self.stdout.write(
                    f"stream {stream.stream_number}: {stream.records} records, outputs {word}"
                )
                for line in stream.difference:
                    self.stdout.write(f"  {line}")
        if not same:
            sys.exit(1)
