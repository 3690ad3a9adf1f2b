"""``decommission``: leave Vapi, step by step, or say what keeps one from it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import Departure
from calls.numbers.leaving import CONFIRMATION, UNSEEN, Dependency, outstanding
from calls.selectors.leaving import open_departure
from calls.services.export_folder import FolderRefused
from calls.services.leaving import (
    NOT_UNDOABLE,
    LeavingRefused,
    Left,
    departure_accept,
    departure_begin,
    departure_export,
    departure_leave,
    departure_look,
    departure_undo,
    key_done,
    token_done,
)
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    logs_apart,
    organisation_named,
)

EXAMPLES = """examples:
  manage.py decommission --dry-run                    what still depends on Vapi; ends nothing
  manage.py decommission --export /srv/vapi-export    everything as files, with checksums
  manage.py decommission --accept scripts --why "looked through all repositories"
  manage.py decommission --confirm "leave vapi"       look again, arm the nets, leave
  manage.py decommission --undo --why "a partner still needs it"
  manage.py decommission --token-replaced             after that there is no way back
  manage.py decommission --keys-revoked

With VAPI_API_KEY set, Vapi's account is compared and exported too. An export that was interrupted
goes on when the command is run again. Everything can be undone until Twilio's token is replaced.
exit codes: 0 done, or with --dry-run nothing is in the way; 1 something is; 2 bad usage
"""


class Command(ExampleCommand):
    """Look, export, answer for, leave, undo: one step a run; exit 1 if it could not be done."""

    help = "Leave Vapi, or say what still depends on it."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments: exactly one step."""
        parser.usage = "%(prog)s STEP [--why WHY] [--organisation NAME] [--json]"
        step = parser.add_mutually_exclusive_group(required=True)
        step.add_argument("--dry-run", action="store_true", help="look only")
        step.add_argument("--export", metavar="DIR", type=Path, help="export everything into DIR")
        step.add_argument(
            "--accept", metavar="CODE", help="answer for something found; needs --why"
        )
        step.add_argument("--confirm", metavar="WORDS", help=f'leave; WORDS are "{CONFIRMATION}"')
        step.add_argument("--undo", action="store_true", help="undo a leave; needs --why")
        step.add_argument(
            "--token-replaced", action="store_true", help="Twilio's token is a new one"
        )
        step.add_argument("--keys-revoked", action="store_true", help="Vapi's keys are revoked")
        parser.add_argument("--why", default="", help="with --accept and --undo; it is kept")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one step.

        Raises:
            CommandError: it could not be done (exit 1), or the arguments make no sense (exit 2).
        """
        if options["why"] == "" and (options["accept"] is not None or options["undo"]):
            raise CommandError("--accept and --undo need --why.", returncode=2)
        if options["confirm"] is not None and options["confirm"].strip().lower() != CONFIRMATION:
            raise CommandError(f'--confirm takes the words "{CONFIRMATION}".', returncode=2)
        organisation = organisation_named(options["organisation"])
        departure = open_departure(organisation) or departure_begin(organisation=organisation)
        try:
            with logs_apart():
                body = self._step(departure, options)
        except LeavingRefused as refusal:
            body = _found(refusal.outstanding, {}) | {"ok": False, "problem": str(refusal)}
        except FolderRefused as refusal:
            body = {"ok": False, "problem": str(refusal)}
        if options["json"]:
            self.stdout.write(json.dumps(body))
        else:
            self._print(body)
        if not body["ok"]:
            sys.exit(1)

    def _step(self, departure: Departure, options: dict[str, Any]) -> dict[str, Any]:
        actor = "system"
        if options["accept"] is not None:
            departure_accept(
                departure=departure, key=options["accept"], actor=actor, why=options["why"]
            )
            return {"ok": True, "accepted": options["accept"]}
        if options["undo"]:
            return _left(departure_undo(departure=departure, actor=actor, why=options["why"]))
        if options["token_replaced"] or options["keys_revoked"]:
            done = token_done if options["token_replaced"] else key_done
            done(departure=departure, actor=actor)
            return {"ok": True, "state": departure.state}
        with _vapi() as vapi:
            if options["export"] is not None:
                folder = options["export"].resolve()
                report = departure_export(
                    departure=departure, folder=folder, actor=actor, vapi=vapi
                )
                return {
                    "ok": bool(report.digest),
                    "folder": str(folder),
                    "counts": dict(report.counts),
                    "files": report.files,
                    "bytes": report.size_bytes,
                    "sha256": report.digest,
                    "missing": report.missing,
                    "missing_count": report.missing_count,
                }
            if options["confirm"] is not None:
                return _left(
                    departure_leave(
                        departure=departure, typed=options["confirm"], actor=actor, vapi=vapi
                    )
                )
            found = departure_look(departure=departure, vapi=vapi)
            return _found(found, departure.accepted)

    def _print(self, body: dict[str, Any]) -> None:
        for each in body.get("found", ()):
            mark = "accepted" if each["accepted"] else each["weight"]
            subject = f" {each['subject']}" if each["subject"] else ""
            self.stdout.write(
                f"{mark:<9} {each['key'].partition(':')[0]}{subject}: {each['cause']}"
            )
            self.stdout.write(f"          Fix: {each['fix']}")
        for name in ("counts", "missing"):
            if body.get(name):
                self.stdout.write(f"{name}: {json.dumps(body[name])}")
        for problem in body.get("problems", ()):
            self.stdout.write(f"PROBLEM: {problem}")
        if body.get("folder"):
            self.stdout.write(f"{body['files']} files in {body['folder']}, each read back")
        for words in body.get("cannot_be_seen", ()):
            self.stdout.write(f"cannot be seen: {words}")
        for words in body.get("cannot_be_undone", ()):
            self.stdout.write(f"cannot be undone: {words}")
        self.stdout.write(str(body.get("problem") or ("done" if body["ok"] else "not done")))


def _found(found: tuple[Dependency, ...], accepted: dict[str, Any]) -> dict[str, Any]:
    return {
        "ok": not outstanding(found, accepted),
        "found": [
            {
                "key": each.key,
                "weight": each.weight,
                "subject": each.subject,
                "cause": each.cause,
                "fix": each.fix,
                "accepted": accepted.get(each.key),
            }
            for each in found
        ],
        "cannot_be_seen": list(UNSEEN),
    }


def _left(done: Left) -> dict[str, Any]:
    return {
        "ok": done.is_done,
        "numbers": done.numbers,
        "problems": list(done.problems),
        "cannot_be_undone": list(NOT_UNDOABLE),
    }


@contextmanager
def _vapi() -> Iterator[VapiApi | None]:
    if not settings.VAPI_API_KEY:
        yield None
        return
    try:
        client = VapiApi(api_key=settings.VAPI_API_KEY, base_url=settings.VAPI_BASE_URL)
    except VapiApiError as error:
        raise CommandError(f"{error}, in VAPI_API_KEY and VAPI_BASE_URL.", returncode=2) from error
    with client:
        yield client
