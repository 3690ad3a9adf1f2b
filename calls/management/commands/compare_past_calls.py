"""``compare_past_calls``: an assistant's logged calls of Vapi against its calls here, no pairs."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import uuid
from typing import Any, Final

from django.core.management.base import CommandError
from django.utils import timezone

from assistants.models import Assistant
from assistants.selectors import assistant_list
from calls.parity.comparison import PastCompared
from calls.services.past_comparison import MOST_CALLS, past_comparison
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)

EXAMPLES: Final = f"""examples:
  manage.py compare_past_calls 6f1d8f0e-5a53-4c0e-9d0a-3a3f2f1f7c55
  manage.py compare_past_calls 6f1d8f0e-5a53-4c0e-9d0a-3a3f2f1f7c55 --days 7 --json

Asks whether it matters which stack answered: the order of the tools of all calls (a permutation
test), and each tool by itself (Fisher's exact test). Of each side at most {MOST_CALLS} calls, the
newest; logs come in by import_call_logs. Callers were not the same, so this opens no gate: a
difference is a reason for a parity run, and "cannot be told apart" is no proof.

exit codes: 0 compared, whatever it shows; 1 no such assistant, or one side has no call; 2 bad usage
"""
_MOST_DAYS: Final = 3650


class Command(ExampleCommand):
    """Compare past calls of both stacks."""

    help = "Compare an assistant's past calls on both stacks, without pairs."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("assistant", metavar="ID", help="the id of an assistant")
        parser.add_argument("--days", type=int, default=30, help="how far back (default: 30)")
        parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the comparison.

        Raises:
            CommandError: nothing can be compared (exit 1), or the arguments are wrong (exit 2).
        """
        if not 0 < options["days"] <= _MOST_DAYS:
            raise CommandError(
                f"--days {options['days']}: no number of days. Fix: 1 to {_MOST_DAYS}.",
                returncode=2,
            )
        assistant = self._assistant(options)
        since = timezone.now() - dt.timedelta(days=options["days"])
        found = past_comparison(assistant, since=since, seed=options["seed"])
        if not found.old or not found.new:
            raise CommandError(_nothing(found, options["days"]), returncode=1)
        if options["json"]:
            body = {**dataclasses.asdict(found), "words": found.order.words()}
            self.stdout.write(json.dumps(body, ensure_ascii=False))
            return
        self.stdout.write(f"Order of tools: {found.order.words()}.")
        for tool in found.tools:
            sides = [f"{side.k} of {side.n}" for side in (tool.old, tool.new)]
            self.stdout.write(
                f"  {tool.name}: {sides[0]} at Vapi, {sides[1]} here, "
                f"p = {tool.p_value:.3f}, {tool.words}"
            )
        if found.left_out:
            self.stdout.write(f"Left out, only their beginning is known: {found.left_out}.")

    def _assistant(self, options: dict[str, Any]) -> Assistant:
        organisation = organisation_named(options["organisation"])
        try:
            key = uuid.UUID(options["assistant"])
        except ValueError:
            raise CommandError(
                f"{options['assistant']!r} is no id of an assistant. Fix: copy it from its page.",
                returncode=2,
            ) from None
        found = assistant_list(organisation).filter(pk=key).first()
        if found is None:
            raise CommandError(f"no assistant {key} in this organisation.", returncode=1)
        return found


def _nothing(found: PastCompared, days: int) -> str:
    missing = "Vapi's logs (import_call_logs)" if not found.old else "calls answered here"
    return f"nothing to compare: the last {days} days hold no whole call of {missing}."
