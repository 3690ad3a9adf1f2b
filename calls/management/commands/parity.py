"""``parity``: play scenarios on both stacks from a terminal or a build, and read what runs showed.

The command plays a rehearsal in its own process and needs no worker. What a run is, is
``calls.services.parity_runs``'; what it shows ``parity_reports``'.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from assistants.models import Assistant, AssistantRevision
from assistants.selectors import assistant_list
from calls.models import ParityRun, PhoneNumber
from calls.models.parity import OPEN_STATES
from calls.parity.lacking import too_few_words
from calls.parity.renames import RenameWrong, renames_read
from calls.services.live_checks import CALLER
from calls.services.live_tools import CONFIRMED, confirmation, tools_words
from calls.services.parity_choices import pairs_enough, past_calls
from calls.services.parity_exports import (
    report_csv,
    report_dump,
    report_json,
    report_junit,
    report_text,
)
from calls.services.parity_playing import run_play
from calls.services.parity_reports import report_of
from calls.services.parity_runs import (
    MOST_PAIRS,
    MOST_PARALLEL,
    RunRefused,
    run_begin,
    run_cancel,
    run_resume,
    scenarios_in_use,
)
from calls.services.parity_scenarios import ScenarioRefused, scenarios_of_paths
from calls.services.shadow_runs import shadow_begin
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    logs_apart,
    organisation_named,
)
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.phones import normalised
from voiceplatform.base.selectors import uuids_in

EXAMPLES: Final = """examples:
  manage.py parity run scenarios/ --assistant Harbour --junit out.xml
  manage.py parity run scenarios/ --assistant Harbour --revision 7 --pairs 76 --seed 1
  manage.py parity run --assistant Harbour --allow-undecided     scenarios of the admin
  manage.py parity run --kind replay --assistant Harbour --pairs 80 --cost-limit 20
  manage.py parity run --kind rehear --assistant Harbour --number +12025550143 --pairs 80
  manage.py parity shadow +15550100 --pairs 80 --cost-limit 20
  manage.py parity run --kind live --assistant Harbour --number +15550100001 \\
      --from +15550100003 --confirm-tools "Jo Ops" --parallel 3 --cost-limit 60
  manage.py parity resume 5f0c… --cost-limit 40
  manage.py parity list
  manage.py parity report 5f0c… --json

A rehearsal reaches nobody: both stacks are played on stand-ins, tools are answered by the
scenario. The kinds replay and rehear ask the model and are billed; so does shadow, which hears
calls along that the old stack answers, as they come, and returns at once. The kind live places
real calls to the number: Twilio, the model and the old stack are billed, and both stacks really
call their tools.

exit codes: 0 the run passed (or is undecided and --allow-undecided was given), 1 it failed, is
undecided or could not be played to its end, 2 bad usage
"""
FAILED: Final = 1
BAD_USAGE: Final = 2
_LISTED: Final = 30
_USUAL_PAIRS: Final = 50
_LOOK_SECONDS: Final = 1.0


class Command(ExampleCommand):
    """Run scenarios on both stacks; list runs; print reports."""

    help = "Compare both stacks: run scenarios, list runs, print a run's report."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands."""
        deeds = parser.add_subparsers(dest="deed", required=True, metavar="run|resume|list|report")
        run = deeds.add_parser("run", help="play scenarios now, in this process")
        run.add_argument("paths", nargs="*", metavar="PATH", help="files and folders of scenarios")
        run.add_argument("--assistant", default="", help="its name or id (default: the only one)")
        run.add_argument("--revision", type=int, help="its number (default: the current one)")
        run.add_argument("--kind", default="rehearsal", help="rehearsal, replay, rehear, live")
        run.add_argument(
            "--pairs",
            type=int,
            help=f"1 to {MOST_PAIRS} (default: of a rehearsal as many as a pass takes if nothing "
            f"differs, else {_USUAL_PAIRS}); fewer than 76 can fail and never pass",
        )
        run.add_argument(
            "--number",
            default="",
            help="whose past calls, and whose gate; of live runs who is called: +1...",
        )
        run.add_argument(
            "--from",
            default="",
            dest="caller",
            metavar="+1...",
            help="of live runs: another number of the same Twilio account",
        )
        run.add_argument(
            "--confirm-tools",
            default="",
            metavar="NAME",
            help="of live runs: who answers for it that tools are really called",
        )
        run.add_argument("--seed", type=int, help="decides the order (default: drawn)")
        run.add_argument(
            "--parallel", type=int, default=20, help=f"calls at once, 1 to {MOST_PARALLEL}"
        )
        run.add_argument("--model", default="", help="another model than the revision's")
        run.add_argument("--cost-limit", type=_usd, default=Decimal(5), help="in USD")
        run.add_argument("--stop-early", action="store_true", help="end when it is decided")
        run.add_argument("--again", action="store_true", help="play the old stack twice")
        resume = deeds.add_parser("resume", help="play what a run still lacks, in this process")
        resume.add_argument("run", metavar="RUN", help="its id, or how it begins")
        resume.add_argument("--cost-limit", type=_usd, help="in USD (default: as it was begun)")
        for each in (run, resume):
            each.add_argument("--junit", default="", metavar="FILE", help="write JUnit XML")
            each.add_argument("--json", action="store_true", help="print the report as JSON")
            each.add_argument(
                "--allow-undecided", action="store_true", help="exit 0 if nothing failed"
            )
        shadow = deeds.add_parser("shadow", help="begin to hear calls of a number along")
        shadow.add_argument("number", metavar="NUMBER", help="e.g. +15550100")
        shadow.add_argument("--pairs", type=int, default=80, help=f"1 to {MOST_PAIRS} (default 80)")
        shadow.add_argument("--cost-limit", type=_usd, default=Decimal(20), help="in USD")
        for each in (run, shadow):
            each.add_argument(
                "--rename",
                action="append",
                default=[],
                metavar="OLD=NEW",
                help="tools that mean the same: a name, or a beginning with *, and what stands for "
                "it",
            )
        listing = deeds.add_parser("list", help="print the newest runs")
        listing.add_argument("--json", action="store_true", help="print a JSON list")
        report = deeds.add_parser("report", help="print a run's report")
        report.add_argument("run", metavar="RUN", help="its id, or how it begins")
        report.add_argument("--junit", default="", metavar="FILE", help="write JUnit XML")
        form = report.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print everything as JSON")
        form.add_argument("--csv", action="store_true", help="print one line a pair")
        for each in (run, resume, shadow, listing, report):
            add_organisation_argument(each)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked."""
        deeds = {
            "run": self._run,
            "resume": self._resume,
            "shadow": self._shadow,
            "list": self._list,
            "report": self._report,
        }
        wanted = options.get("junit", "")
        if wanted and not Path(wanted).resolve().parent.is_dir():
            # Before anything is played: a build that loses its result is worse than one that stops.
            raise CommandError(
                f"{wanted}: there is no such folder. Fix: make it.", returncode=BAD_USAGE
            )
        with logs_apart():
            deeds[options["deed"]](options)

    # ---- playing --------------------------------------------------------------------------------

    def _run(self, options: dict[str, Any]) -> None:
        organisation = organisation_named(options["organisation"])
        assistant = _assistant(organisation, options["assistant"])
        revision = _revision(assistant, options["revision"])
        kind, paths = options["kind"], options["paths"]
        if kind == ParityRun.Kind.SHADOW:
            raise CommandError(
                "calls are heard along when they come. Fix: parity shadow NUMBER",
                returncode=BAD_USAGE,
            )
        renames: dict[str, Any] = _renames(options["rename"])
        replays = kind in (ParityRun.Kind.REPLAY, ParityRun.Kind.REHEAR)
        number = _number(assistant, options["number"])
        if kind == ParityRun.Kind.LIVE:
            renames |= _live(revision, number, options)
            if CONFIRMED in renames:
                kept = renames[CONFIRMED]
                self.stderr.write(f"Confirmed. {tools_words(kept['tools'], kept['old_tools'])}")
        if replays and paths:
            raise CommandError(
                f"a {kind} plays past calls, not files. Fix: leave {paths[0]!r} away.",
                returncode=BAD_USAGE,
            )
        pairs = _USUAL_PAIRS if options["pairs"] is None else options["pairs"]
        try:
            documents = scenarios_of_paths(paths) if paths else None
            stored = () if paths or replays else scenarios_in_use(assistant)
            if options["pairs"] is None and kind == ParityRun.Kind.REHEARSAL and revision:
                pairs = pairs_enough(
                    documents or {row.name: row.document for row in stored}, revision
                )
            run = run_begin(
                kind=kind,
                assistant=assistant,
                revision=revision,
                number=number,
                documents=documents,
                scenarios=stored,
                calls=(
                    past_calls(assistant=assistant, number=number, kind=kind, most=max(pairs, 1))
                    if replays
                    else ()
                ),
                pairs=pairs,
                seed=options["seed"],
                parallel=options["parallel"],
                model=options["model"],
                stops_early=options["stop_early"],
                again=options["again"],
                cost_limit_usd=options["cost_limit"],
                options=renames,
                actor="command:parity",
                tells_workers=False,
            )
        except ScenarioRefused as refused:
            words = "\n".join(f"  {problem}" for problem in refused.problems)
            raise CommandError(f"nothing was played:\n{words}", returncode=BAD_USAGE) from refused
        except RunRefused as refused:
            raise CommandError(str(refused), returncode=BAD_USAGE) from refused
        few = too_few_words(run.wanted, has_marks=any(run.marks.values()))
        if few:
            self.stderr.write(f"Note: {few}.")
        self._play(run, options)

    def _resume(self, options: dict[str, Any]) -> None:
        run = _named_run(options)
        try:
            run_resume(
                run=run,
                actor="command:parity",
                cost_limit_usd=options["cost_limit"],
                tells_workers=False,
            )
        except RunRefused as refused:
            raise CommandError(str(refused), returncode=BAD_USAGE) from refused
        if run.kind == ParityRun.Kind.SHADOW:
            self.stdout.write(f"Run {run.pk} takes calls as they come.")
            return
        self._play(run, options)

    def _shadow(self, options: dict[str, Any]) -> None:
        organisation = organisation_named(options["organisation"])
        rows = PhoneNumber.objects.for_organisation(organisation).select_related(
            "assistant__current_revision", "policy", "connection"
        )
        number = rows.filter(number_e164=options["number"]).first()
        if number is None or number.assistant is None:
            told = "has no assistant" if number is not None else "is none of the organisation's"
            raise CommandError(
                f"{options['number']} {told}. Fix: a number with an assistant.",
                returncode=BAD_USAGE,
            )
        try:
            run = shadow_begin(
                assistant=number.assistant,
                number=number,
                actor="command:parity",
                pairs=options["pairs"],
                cost_limit_usd=options["cost_limit"],
                options=dict(_renames(options["rename"])),
            )
        except RunRefused as refused:
            raise CommandError(str(refused), returncode=BAD_USAGE) from refused
        if few := too_few_words(run.wanted, has_marks=any(run.marks.values())):
            self.stderr.write(f"Note: {few}.")
        self.stdout.write(
            f"Run {run.pk} takes calls as they come.\n"
            f"Import the old stack's call logs, then: parity report {run.pk}"
        )

    def _play(self, run: ParityRun, options: dict[str, Any]) -> None:
        try:
            _play_to_its_end(run)
        except KeyboardInterrupt:
            run_cancel(run=run, actor="command:parity")
            self.stderr.write(f"Cancelled. Fix: parity resume {run.pk}")
            sys.exit(FAILED)
        run = _fresh(run)
        report = report_of(run, with_words=False)
        _junit(options["junit"], report, options["allow_undecided"])
        if options["json"]:
            self.stdout.write(json.dumps(report_json(report)))
        else:
            self.stdout.write(f"{report_text(report)}\n  Run {run.pk}, seed {run.seed}.")
        if run.state != ParityRun.State.DONE:
            self.stderr.write(f"The run is {run.state}: {run.problem or 'it was stopped'}")
            sys.exit(FAILED)
        undecided = report.verdict == "undecided" and not options["allow_undecided"]
        if report.verdict == "fail" or undecided or report.missing:
            sys.exit(FAILED)

    # ---- reading --------------------------------------------------------------------------------

    def _list(self, options: dict[str, Any]) -> None:
        organisation = organisation_named(options["organisation"])
        runs = ParityRun.objects.for_organisation(organisation).select_related(
            "assistant", "revision__assistant"
        )
        rows = [
            {
                "id": str(run.pk),
                "created_at": run.created_at.isoformat(timespec="seconds"),
                "kind": run.kind,
                "assistant": run.assistant.name,
                "revision": run.revision.number,
                "state": run.state,
                "verdict": run.verdict,
                "done": run.done,
                "wanted": run.wanted,
            }
            for run in runs.order_by("-created_at")[:_LISTED]
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            told = row["verdict"] or row["state"]
            self.stdout.write(
                f"{row['id']}  {row['created_at']}  {told:9}  {row['kind']:9}  "
                f"{row['done']}/{row['wanted']}  {row['assistant']} r{row['revision']}"
            )
        if not rows:
            self.stdout.write("There is no run yet. Fix: parity run scenarios/")

    def _report(self, options: dict[str, Any]) -> None:
        run = _named_run(options)
        # A terminal knows no permissions: whoever has it reads the database as well.
        report = report_of(run, with_words=bool(options["json"]))
        _junit(options["junit"], report, False)
        if options["json"]:
            self.stdout.write(report_dump(report))
        elif options["csv"]:
            self.stdout.write(report_csv(report), ending="")
        else:
            self.stdout.write(report_text(report))


def _play_to_its_end(run: ParityRun) -> None:
    """Play a run here; if a worker was faster, or it is handed on after its time, wait for it."""
    run_play(run.job_id or "")
    going_on = ParityRun.objects.filter(pk=run.pk, state__in=OPEN_STATES, job__isnull=False)
    while going_on.exists():
        time.sleep(_LOOK_SECONDS)
        run_play(run.job_id or "")


def _usd(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in USD. Fix: such as 20")
    return amount


def _junit(path: str, report: Any, allows_undecided: bool) -> None:
    if not path:
        return
    try:
        text = report_junit(report, allows_undecided=allows_undecided)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{path}: it cannot be written ({error.strerror}). Fix: name a file in a folder that "
            "exists.",
            returncode=BAD_USAGE,
        ) from error


def _assistant(organisation: Any, named: str) -> Assistant:
    rows = assistant_list(organisation)
    found = list(rows.filter(pk__in=uuids_in([named])) if uuids_in([named]) else rows)
    if named and not uuids_in([named]):
        found = [row for row in found if row.name == named]
    if len(found) == 1:
        return found[0]
    known = ", ".join(repr(row.name) for row in rows[:10]) or "none"
    told = f"{len(found)} assistants are called {named!r}" if named else "several assistants exist"
    if not found:
        told = f"there is no assistant {named!r}" if named else "there is no assistant"
    raise CommandError(f"{told}. Fix: --assistant with one of {known}.", returncode=BAD_USAGE)


def _revision(assistant: Assistant, number: int | None) -> AssistantRevision | None:
    if number is None:
        return assistant.current_revision
    found = assistant.revisions.filter(number=number).first()
    if found is None:
        known = ", ".join(map(str, assistant.revisions.values_list("number", flat=True)[:10]))
        raise CommandError(
            f"{assistant.name} has no revision {number}. Fix: one of {known or 'none'}.",
            returncode=BAD_USAGE,
        )
    revision: AssistantRevision = found
    return revision


def _number(assistant: Assistant, named: str) -> PhoneNumber | None:
    if not named:
        return None
    rows = PhoneNumber.objects.for_organisation(assistant.organisation).filter(assistant=assistant)
    found: PhoneNumber | None = rows.filter(number_e164=normalised(named)).first()
    if found is None:
        known = ", ".join(rows.values_list("number_e164", flat=True)[:10]) or "none"
        raise CommandError(
            f"{assistant.name} answers no number {named!r}. Fix: --number with one of {known}.",
            returncode=BAD_USAGE,
        )
    return found


def _live(
    revision: AssistantRevision | None, number: PhoneNumber | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Return what a live run keeps: from where it calls, and who answers for the tools."""
    by = options["confirm_tools"].strip()
    found: dict[str, Any] = {CALLER: normalised(options["caller"])}
    if not by or revision is None:
        return found
    try:
        return found | confirmation(revision, number, by[:200])
    except DecryptionError as error:
        raise CommandError(
            "no key opens what says which tools are called. Fix: put the lost key back."
        ) from error


def _renames(given: list[str]) -> dict[str, dict[str, str]]:
    """Return what a run keeps of ``--rename``: its option, or nothing."""
    try:
        renames = renames_read(given)
    except RenameWrong as wrong:
        raise CommandError(f"--rename {wrong}", returncode=BAD_USAGE) from wrong
    return {"renames": renames} if renames else {}


def _named_run(options: dict[str, Any]) -> ParityRun:
    organisation = organisation_named(options["organisation"])
    named = options["run"].lower().replace("…", "")
    rows = ParityRun.objects.for_organisation(organisation).select_related(
        "assistant", "revision__assistant", "number", "job", "organisation"
    )
    found = [run for run in rows.order_by("-created_at")[:1_000] if str(run.pk).startswith(named)]
    if len(found) != 1 or not named:
        told = "several runs begin" if len(found) > 1 else "no run begins"
        raise CommandError(f"{told} with {named!r}. Fix: parity list", returncode=BAD_USAGE)
    run: ParityRun = found[0]
    return run


def _fresh(run: ParityRun) -> ParityRun:
    fresh: ParityRun = ParityRun.objects.select_related(
        "assistant", "revision__assistant", "number", "job", "organisation"
    ).get(pk=run.pk)
    return fresh
