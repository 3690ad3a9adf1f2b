"""``export_caller``: write all that is kept of one caller to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from calls.services.caller_export import caller_export
from calls.services.erasure import NotANumber
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)

EXAMPLES = """examples:
  manage.py export_caller +14155550100 --to caller.json

The file holds everything that was said; only you may read it. The export is noted in the audit.
exit codes: 0 written, 1 not, 2 bad usage
"""


class Command(ExampleCommand):
    """Write one JSON file."""

    help = "Write all that is kept of one caller to a JSON file."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("number", help="with + and country code, e.g. +14155550100")
        parser.add_argument("--to", required=True, type=Path, help="a file that does not exist")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Write."""
        organisation = organisation_named(options["organisation"])
        target: Path = options["to"]
        try:
            # Before anything is read: nobody else may open it, and nothing is written over.
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(
                f"{target} cannot be made ({error.strerror}). Fix: name a new file.", returncode=1
            ) from error
        try:
            found = caller_export(
                organisation=organisation, number=options["number"], actor="system"
            )
        except NotANumber as error:
            os.close(handle)
            target.unlink()
            raise CommandError(str(error), returncode=1) from error
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(found, file, ensure_ascii=False, indent=1)
            file.write("\n")
        self.stdout.write(f"{len(found['calls'])} calls written to {target}")
