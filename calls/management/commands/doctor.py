"""``doctor``: what is wrong with this installation, and how to mend it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from calls.doctor import run_checks
from voiceplatform.base.commands import ExampleCommand

EXAMPLES = """examples:
  manage.py doctor            every check, each failure with its fix
  manage.py doctor --json     for programs

exit codes: 0 nothing failed (warnings are printed), 1 something failed, 2 bad usage
"""
SIGNS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


class Command(ExampleCommand):
    """Print every check; exit 1 if one failed."""

    help = "Check public URL, signatures, sockets, keys and models; each failure comes with a fix."
    examples = EXAMPLES
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the checks."""
        results = run_checks()
        failed = any(result.state == "failed" for result in results)
        if options["json"]:
            body = {"ok": not failed, "results": [asdict(result) for result in results]}
            self.stdout.write(json.dumps(body))
        else:
            for result in results:
                self.stdout.write(f"{SIGNS[result.state]}  {result.check}: {result.detail}")
                if result.fix:
                    self.stdout.write(f"         fix: {result.fix}")
        if failed:
            sys.exit(1)
