"""``replay_call``: run a call's recorded inputs, or its tool requests, again and compare."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from calls.models import Call
from calls.services.replay import call_replay
from calls.services.tool_replay import ReplayedRequest, ReplayRefused, tools_replay
from voiceplatform.base.commands import ExampleCommand, logs_apart

EXAMPLES = """examples:
  manage.py replay_call 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
  manage.py replay_call 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --json
  manage.py replay_call 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --tools-to http://localhost:3000/vapi

With --tools-to nothing goes through the bridge: the stored requests to tool servers are sent to
that address, one after the other, marked as a replay and without secrets. It may be on this
machine. Shown is where the assistant would read something else than in the call.

exit codes: 0 the same outputs, 1 not so or nothing was recorded, 2 bad usage
"""


class Command(ExampleCommand):
    """Print, per stream, whether the bridge of today does what it did; exit 1 if not."""

    help = "Replay a recorded call through the bridge and show every difference."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("call_id", type=UUID, help="our call_id, as the call's page shows it")
        parser.add_argument(
            "--tools-to", default="", metavar="URL", help="send the tool requests of the call there"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay."""
        call = Call.objects.filter(pk=options["call_id"]).first()
        if call is None:
            raise CommandError(f"there is no call {options['call_id']}", returncode=1)
        if options["tools_to"]:
            self._replay_tools(call, options["tools_to"], as_json=options["json"])
            return
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

    def _replay_tools(self, call: Call, to_url: str, *, as_json: bool) -> None:
        requests = []
        try:
            with logs_apart():
                for request in tools_replay(call=call, to_url=to_url):
                    requests.append(request)
                    if not as_json:
                        self._print(request)
        except ReplayRefused as error:
            raise CommandError(str(error), returncode=1) from error
        same = all(each.is_same for request in requests for each in request.calls)
        if as_json:
            body = {"ok": same, "requests": [asdict(request) for request in requests]}
            self.stdout.write(json.dumps(body))
        if not same:
            sys.exit(1)

    def _print(self, request: ReplayedRequest) -> None:
        names = ", ".join(each.name for each in request.calls)
        answer = f"HTTP {request.status}" if request.status else request.error or "no answer"
        self.stdout.write(
            f"request {request.number} ({names}): {answer} after {request.duration_ms} ms, "
            f"then HTTP {request.status_then}"
        )
        for each in request.calls:
            if each.is_same:
                self.stdout.write(f"  {each.name}: the same")
            else:
                self.stdout.write(f"  {each.name}: DIFFERENT")
                self.stdout.write(f"    then: {each.then}")
                self.stdout.write(f"    now:  {each.now}")
