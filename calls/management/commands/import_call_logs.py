"""``import_call_logs``: calls that Vapi answered, from its API or from logs, as history here."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError

from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import CallLogImport
from calls.services.call_log_reading import (
    Report,
    Source,
    import_continue_api,
    import_continue_files,
    words_of,
)
from calls.services.call_logs import (
    PIECE_BYTES,
    USUAL_DAYS,
    ImportRefused,
    api_import_here,
    files_import_begin,
    since_of,
)
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    logs_apart,
    organisation_named,
)

EXAMPLES: Final = """examples:
  manage.py import_call_logs --from-api                the last 30 days, with VAPI_API_KEY
  manage.py import_call_logs --from-api --since 90
  manage.py import_call_logs calls.ndjson.gz
  manage.py import_call_logs webhook-logs/ more.json --since all --json

Files: JSON of calls as GET /call answers them, or NDJSON (also .gz) of calls or of logged webhook
bodies: end-of-call-report, status-update, tool-calls, call.ended. Run it again after it was stopped
(Ctrl-C, kill): it goes on. What is here already is unchanged. Recordings are not fetched.
exit codes: 0 read to the end; 1 not to the end, or nothing in it was a call; 2 bad usage
"""
_SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".log", ".gz", ".txt")
_SHOWN: Final = 20
_EVERY: Final = 200


class Command(ExampleCommand):
    """Import; exit 1 if it could not be read to its end or held no call."""

    help = "Import calls of Vapi as history and as the baseline of parity."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments: paths, or the account, as ``import_vapi`` has them."""
        parser.add_argument(
            "paths", nargs="*", type=Path, metavar="PATH", help="a file or a folder of logs"
        )
        parser.add_argument(
            "--from-api", action="store_true", help="read the account of VAPI_API_KEY"
        )
        parser.add_argument(
            "--since",
            default=str(USUAL_DAYS),
            metavar="DAYS",
            help=f"calls of so many days, or: all (default: {USUAL_DAYS})",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, and say what became of each document.

        Raises:
            CommandError: a file or the key is missing (exit 2), or nothing could be read (exit 1).
        """
        if bool(options["paths"]) == options["from_api"]:
            raise CommandError("give files or folders, or --from-api, not both.", returncode=2)
        try:
            since = since_of(_days(options["since"]))
        except ImportRefused as refusal:
            raise CommandError(f"{refusal}.", returncode=2) from refusal
        organisation = organisation_named(options["organisation"])
        common: dict[str, Any] = {"organisation": organisation, "actor": "system", "since": since}
        with logs_apart(), _stopping() as stopped:
            watched: dict[str, Any] = {"progress": self._tell(options), "cancelled": stopped}
            if options["from_api"]:
                row, report = _from_api(common, watched)
            else:
                row, report = _from_files(options["paths"], common, watched)
        self._say(row, report, as_json=options["json"])
        if report.problem or report.is_cancelled or _was_useless(report):
            sys.exit(1)

    def _tell(self, options: dict[str, Any]) -> Callable[[int, int, str], None]:
        def tell(done: int, total: int, label: str) -> None:
            if done % _EVERY == 0 and not options["json"]:
                self.stderr.write(f"  {done} read, {label}")

        return tell

    def _say(self, row: CallLogImport, report: Report, *, as_json: bool) -> None:
        ok = not (report.problem or report.is_cancelled or _was_useless(report))
        if as_json:
            body = {
                "ok": ok,
                "import": str(row.pk),
                "counts": dict(report.counts),
                "problems": report.problems,
                "problem": report.problem,
                "cancelled": report.is_cancelled,
            }
            self.stdout.write(json.dumps(body))
            return
        for each in report.problems[:_SHOWN]:
            line = f", line {each['line']}" if each["line"] else ""
            self.stdout.write(f"{each['file']}{line}: {each['why']}")
        if len(report.problems) > _SHOWN:
            self.stdout.write(f"… and more: --json shows the first {len(report.problems)}")
        self.stdout.write(f"Calls: {words_of(report)}.")
        if report.is_cancelled:
            self.stdout.write("Stopped. Run it again: it goes on from here.")
        elif report.problem:
            self.stdout.write(f"Not read to the end: {report.problem}. Run it again: it goes on.")
        elif _was_useless(report):
            self.stdout.write("No call was in it.")


def _was_useless(report: Report) -> bool:
    return bool(report.counts["wrong"]) and report.counts["wrong"] == report.read


def _days(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise CommandError(
            f"--since {text!r}: a number of days, or: all. Fix: e.g. --since 30", returncode=2
        ) from None


def _from_api(common: dict[str, Any], watched: dict[str, Any]) -> tuple[CallLogImport, Report]:
    try:
        client = VapiApi(api_key=settings.VAPI_API_KEY, base_url=settings.VAPI_BASE_URL)
    except VapiApiError as error:
        raise CommandError(f"{error}, in VAPI_API_KEY.", returncode=2) from error
    label = urlsplit(settings.VAPI_BASE_URL).hostname or ""
    with client:
        row = api_import_here(label=label, **common)
        return row, import_continue_api(row, client, **watched)


def _from_files(
    paths: list[Path], common: dict[str, Any], watched: dict[str, Any]
) -> tuple[CallLogImport, Report]:
    files = [file for path in paths for file in _files_of(path)]
    label = ", ".join(str(path) for path in paths)
    row = files_import_begin(label=label, **common)
    sources = [Source(str(path), _reader(path)) for path in files]
    return row, import_continue_files(row, sources, **watched)


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        problem = f"{path}: there is no such file or folder. Fix: correct it."
        raise CommandError(problem, returncode=2)
    found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix in _SUFFIXES)
    if not found:
        problem = f"{path}: no file in it ends in {', '.join(_SUFFIXES)}. Fix: name a file."
        raise CommandError(problem, returncode=2)
    return found


def _reader(path: Path) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    return pieces


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop after the call at hand."""
    wanted: list[int] = []

    def note(number: int, frame: Any) -> None:
        wanted.append(number)
        if len(wanted) > 1:
            raise KeyboardInterrupt

    try:
        before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: nobody sends it signals
        before = {}
    try:
        yield lambda: bool(wanted)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
