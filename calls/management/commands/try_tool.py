"""``try_tool``: send a tool's server one request that is marked as a test, and show what came."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from calls.services.tool_try import ToolTrial, TryRefused, tool_try
from tools.models import Tool
from tools.samples import sample_arguments
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    logs_apart,
    organisation_named,
)
from voiceplatform.base.selectors import uuids_in

EXAMPLES = """examples:
  manage.py try_tool book_appointment --arguments '{"day": "monday"}'
  manage.py try_tool book_appointment --to http://localhost:3000/vapi
  manage.py try_tool 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --json

Without --arguments the fewest that its schema needs are made up. With --to the request goes to that
address in place of the tool's own, which may be on this machine; no secret travels to it.

exit codes: 0 answered as an assistant needs it, 1 not so or nothing was sent, 2 bad usage
"""


class Command(ExampleCommand):
    """Print what was sent, what came back and what the assistant would read."""

    help = "Send one marked test request to a tool's server."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("tool", help="its name, or its id")
        parser.add_argument("--to", default="", metavar="URL", help="ask this server instead")
        parser.add_argument("--arguments", default="", metavar="JSON", help="a JSON object")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Send it."""
        tool = self._tool(options["tool"], options["organisation"])
        arguments = options["arguments"] or json.dumps(sample_arguments(tool.parameters))
        try:
            with logs_apart():
                trial = tool_try(
                    tool=tool,
                    arguments_json=arguments,
                    actor=None,
                    to_url=options["to"],
                    through="command",
                )
        except TryRefused as refusal:
            raise CommandError(f"nothing was sent. {refusal}", returncode=1) from refusal
        if options["json"]:
            self.stdout.write(json.dumps({"ok": trial.is_ok, **asdict(trial)}))
        else:
            self._print(trial)
        if not trial.is_ok:
            sys.exit(1)

    def _tool(self, name: str, organisation_name: str) -> Tool:
        organisation = organisation_named(organisation_name)
        rows = Tool.objects.for_organisation(organisation).filter(deleted_at__isnull=True)
        found = list(
            rows.select_related("organisation")
            .filter(Q(name=name) | Q(pk__in=uuids_in([name])))
            .order_by("is_inline", "-updated_at")[:5]
        )
        if not found:
            raise CommandError(f"there is no tool {name!r} in {organisation}", returncode=1)
        if len(found) > 1 and sum(not tool.is_inline for tool in found) != 1:
            ids = ", ".join(str(tool.pk) for tool in found)
            raise CommandError(
                f"several tools are called {name!r}; name one by its id: {ids}", returncode=1
            )
        tool: Tool = found[0]
        return tool

    def _print(self, trial: ToolTrial) -> None:
        answer = f"HTTP {trial.status}" if trial.status else trial.error or "no answer"
        self.stdout.write(f"{trial.method} {trial.url_shown}")
        self.stdout.write(trial.request)
        self.stdout.write(f"\n{answer} after {trial.duration_ms} ms")
        self.stdout.write(trial.response)
        self.stdout.write(f"\nthe assistant would read ({trial.outcome}): {trial.output}")
        for text in trial.spoken:
            self.stdout.write(f"and say: {text}")
        if trial.warning:
            self.stdout.write(f"bent to read it: {trial.warning}")
