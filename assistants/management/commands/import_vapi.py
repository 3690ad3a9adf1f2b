"""``import_vapi``: import exported assistants, tools and phone numbers, and say what changes."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from django.core.management.base import CommandError

from assistants.findings import KEPT
from assistants.import_paths import PathProblem, read_paths
from assistants.import_services import REFUSED, ImportReport, ObjectResult, import_files
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)

EXAMPLES = """examples:
  manage.py import_vapi exports/                      a folder with everything below it
  manage.py import_vapi assistant.json tools.json     some files
  manage.py import_vapi exports/ --dry-run            what would happen; writes nothing
  manage.py import_vapi exports/ --json               for programs: every leaf with its state

Files are JSON, YAML, or Markdown with front matter, holding assistants, tools, squads and phone
numbers in any mix. Importing again updates what changed and leaves the rest alone.

outcomes: created, updated, unchanged, refused, ignored
findings: mapped (works as before), mapped-lossy (works differently), caller-audible (callers hear
  it), kept (stored only), unsupported (does not work yet), secret-missing, invalid (correct it)
exit codes: 0 done, findings or not; 1 something was refused; 2 bad usage
"""


class Command(ExampleCommand):
    """Import Vapi exports and print every object with its findings."""

    help = "Import exported Vapi assistants, tools and phone numbers."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("paths", nargs="+", metavar="PATH", help="a file or a folder")
        parser.add_argument("--dry-run", action="store_true", help="write nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import.

        Raises:
            CommandError: something was refused or there is no such organisation (exit 1), or a
                path does not exist (exit 2).
        """
        organisation = organisation_named(options["organisation"])
        try:
            files, is_folder = read_paths(options["paths"])
        except PathProblem as error:
            raise CommandError(str(error), returncode=2) from error
        report = import_files(
            organisation=organisation,
            files=files,
            actor=None,
            source="command",
            dry_run=options["dry_run"],
            is_folder=is_folder,
        )
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(report, dry_run=options["dry_run"])))
        else:
            self._print(report, dry_run=options["dry_run"])
        refused = report.counts()[REFUSED]
        if refused:
            raise CommandError(
                f"{refused} {'was' if refused == 1 else 'were'} refused; each says how to fix it.",
                returncode=1,
            )

    def _print(self, report: ImportReport, *, dry_run: bool) -> None:
        for result in report.results:
            self._print_one(result)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items())
        self.stdout.write(f"{counts}.{' Nothing was written: dry run.' if dry_run else ''}")
        if not report.results:
            self.stdout.write("No JSON, YAML or Markdown file was found there.")

    def _print_one(self, result: ObjectResult) -> None:
        place = result.file if result.where == "$" else f"{result.file} {result.where}"
        label = " ".join(filter(None, (result.kind, _printable(result.name), result.object_id)))
        self.stdout.write(f"{result.outcome:<10} {label}  ({_printable(place)})")
        if result.reason:
            self.stdout.write(_wrapped(result.reason, "  "))
        # What is merely stored comes last: it asks nothing of the reader.
        for finding in sorted(result.findings, key=lambda each: each.state == KEPT):
            self.stdout.write(f"  {finding.state:<14} {_printable(finding.path)}")
            self.stdout.write(_wrapped(finding.message, " " * 17))


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        _printable(text),
        100,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Keep what a file says from steering the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _as_json(report: ImportReport, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "counts": report.counts(),
        "objects": [
            {
                "kind": result.kind,
                "id": result.object_id,
                "name": result.name,
                "file": result.file,
                "path": result.where,
                "outcome": result.outcome,
                "reason": result.reason,
                "findings": [
                    {"path": f.path, "state": f.state, "message": f.message}
                    for f in result.findings
                ],
                "leaves": [{"path": path, "state": state} for path, state in result.leaves],
            }
            for result in report.results
        ],
    }
