"""``import_vapi``: import what a Vapi account holds, from files or its API; say what changes."""

from __future__ import annotations

import argparse
import json
import signal
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from assistants.findings import KEPT
from assistants.import_api import import_from_api
from assistants.import_paths import PathProblem, read_paths
from assistants.import_services import REFUSED, ImportReport, ObjectResult, import_files
from assistants.secret_files import read_secrets_beside
from assistants.vapi_api import VapiApi, VapiApiError
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
  manage.py import_vapi --from-api                    the whole account of VAPI_API_KEY
  manage.py import_vapi --from-api --id ID            one object and what it points at

Files are JSON, YAML, or Markdown with front matter, holding assistants, tools, squads and phone
numbers in any mix; the folder of Vapi's config-as-code tool comes in as it is, and with its state
files (.vapi-state.ENV.json) every object keeps Vapi's id. With VAPI_API_KEY set, tools that the
files only name are fetched. Importing again updates what changed and leaves the rest alone; what
both sides changed becomes a draft. An import that was interrupted continues the next time.

outcomes: created, updated, unchanged, refused, ignored
findings: mapped (works as before), mapped-lossy (works differently), caller-audible (callers hear
  it), kept (stored only), unsupported (does not work yet), secret-missing, invalid (correct it)
exit codes: 0 done, findings or not; 1 something was refused or the import ended early; 2 bad usage
"""
_BAR_CELLS = 30


class Command(ExampleCommand):
    """Import a Vapi account and print every object with its findings."""

    help = "Import Vapi's assistants, tools, squads and phone numbers, from files or its API."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("paths", nargs="*", metavar="PATH", help="a file or a folder")
        parser.add_argument(
            "--from-api", action="store_true", help="read the account of VAPI_API_KEY"
        )
        parser.add_argument(
            "--id", action="append", default=[], dest="ids", help="with --from-api: only this one"
        )
        parser.add_argument("--dry-run", action="store_true", help="write nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import.

        Raises:
            CommandError: something was refused, the import ended early or there is no such
                organisation (exit 1), or the arguments make no sense (exit 2).
        """
        if bool(options["paths"]) == options["from_api"]:
            raise CommandError("give files or folders, or --from-api, not both.", returncode=2)
        if options["ids"] and not options["from_api"]:
            raise CommandError("--id belongs to --from-api.", returncode=2)
        organisation = organisation_named(options["organisation"])
        with _stop_signal() as is_stopped, _Bar(self.stderr) as bar:
            common: dict[str, Any] = {
                "organisation": organisation,
                "actor": None,
                "dry_run": options["dry_run"],
                "progress": bar.show,
                "cancelled": is_stopped,
            }
            if options["from_api"]:
                report = _from_api(options["ids"], common)
            else:
                report = _from_files(options["paths"], common)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(report, dry_run=options["dry_run"])))
        else:
            self._print(report, dry_run=options["dry_run"])
        if report.problem:
            raise CommandError(f"The import ended early: {report.problem}.", returncode=1)
        if report.is_cancelled:
            raise CommandError(
                "Stopped. What was imported stays; run it again to go on.", returncode=1
            )
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


def _from_api(ids: list[str], common: dict[str, Any]) -> ImportReport:
    try:
        client = VapiApi(api_key=settings.VAPI_API_KEY, base_url=settings.VAPI_BASE_URL)
    except VapiApiError as error:
        raise CommandError(f"{error}, in VAPI_API_KEY and VAPI_BASE_URL.", returncode=2) from error
    with client:
        return import_from_api(client=client, source="api", ids=ids, **common)


def _from_files(paths: list[str], common: dict[str, Any]) -> ImportReport:
    client: VapiApi | None = None
    if settings.VAPI_API_KEY:
        client = VapiApi(api_key=settings.VAPI_API_KEY, base_url=settings.VAPI_BASE_URL)
    try:
        files, is_folder = read_paths(paths)
        secrets = read_secrets_beside(paths)
        return import_files(
            files=files,
            source="command",
            is_folder=is_folder,
            client=client,
            secrets=secrets,
            **common,
        )
    except PathProblem as error:
        raise CommandError(str(error), returncode=2) from error
    finally:
        if client is not None:
            client.close()


@contextmanager
def _stop_signal() -> Iterator[Any]:
    """Turn the first interrupt into a question that the import asks; the second one interrupts."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # not in the main thread, where nobody can interrupt
        yield lambda: False
        return
    try:
        yield lambda: bool(stopped)
    finally:
        signal.signal(signal.SIGINT, before)


class _Bar:
    """A line of progress on a terminal; nothing where the output goes to a file or a program."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_shown = bool(getattr(stream, "isatty", lambda: False)())
        self._cells = -1
        self._width = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r", ending="")

    def show(self, done: int, total: int, label: str) -> None:
        """Draw the line anew."""
        if not self._is_shown:
            return
        cells = _BAR_CELLS * done // max(total, 1)
        line = (
            f"[{'#' * cells}{'.' * (_BAR_CELLS - cells)}] {done}/{total} {_printable(label)[:40]}"
        )
        self._stream.write("\r" + line.ljust(self._width), ending="")
        self._width = max(self._width, len(line))


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
        "problem": report.problem,
        "cancelled": report.is_cancelled,
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
