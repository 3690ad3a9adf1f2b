"""``redeliver_events``: make events due again, by id or by time and kind."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Count
from django.utils import timezone

from calls.models import EventDestination, OutboxEvent
from calls.selectors.delivery import Selection
from calls.services.redelivery import events_redeliver
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    logs_apart,
    organisation_named,
)
from voiceplatform.base.models import Job
from voiceplatform.base.selectors import uuids_in

EXAMPLES = """examples:
  manage.py redeliver_events --dry-run
  manage.py redeliver_events --since 2026-11-20T00:00Z --until 2026-11-21T00:00Z
  manage.py redeliver_events --state dead --state delivered --kind call.ended --to "Call log"
  manage.py redeliver_events 6f9619ff-8b86-4d01-b42d-00cf4fc964ff

Without --state only events that were given up. Each keeps its id, so a receiver that remembers ids
acts once. More than 200 become a job that the worker does; its page in the admin shows how far it
is.

exit codes: 0 done or begun, 1 nothing fits, 2 bad usage
"""


class Command(ExampleCommand):
    """Say which events are meant and make them due."""

    help = "Deliver events again: those that were given up, or whichever you name."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        states = [str(value) for value in OutboxEvent.State.values]
        parser.add_argument("ids", nargs="*", metavar="ID", help="event ids")
        parser.add_argument(
            "--state", action="append", choices=states, help="may be given more than once"
        )
        parser.add_argument("--since", default="", metavar="TIME", help="written then or later")
        parser.add_argument("--until", default="", metavar="TIME", help="written before then")
        parser.add_argument("--kind", default="", help="e.g. end-of-call-report")
        parser.add_argument("--to", default="", metavar="NAME", help="a receiver, or a host")
        parser.add_argument("--dry-run", action="store_true", help="only say which")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Count them, and unless told otherwise make them due."""
        organisation = organisation_named(options["organisation"])
        selection = self._selection(organisation.pk, options)
        rows = selection.rows().order_by().values_list("kind", "state")
        counts = [
            {"kind": kind, "state": state, "events": total}
            for kind, state, total in rows.annotate(total=Count("pk")).order_by("kind", "state")
        ]
        total = sum(each["events"] for each in counts)
        said: dict[str, Any] = {"events": total, "by_kind": counts, "due": 0, "job": None}
        if total and not options["dry_run"]:
            with logs_apart():
                outcome = events_redeliver(
                    selection=selection, organisation=organisation, actor=None
                )
            if isinstance(outcome, Job):
                said["job"] = str(outcome.pk)
            else:
                said["due"] = outcome
        if options["json"]:
            self.stdout.write(json.dumps(said))
        else:
            for each in counts:
                self.stdout.write(f"{each['events']:>8}  {each['kind']}  {each['state']}")
            self.stdout.write(_words(said, dry=options["dry_run"]))
        if not total:
            raise CommandError("no event fits", returncode=1)

    def _selection(self, organisation_id: Any, options: dict[str, Any]) -> Selection:
        ids = uuids_in(options["ids"])
        if len(ids) != len(options["ids"]):
            raise CommandError("an event id is a UUID, as the Outbox shows it", returncode=2)
        rows = EventDestination.objects.for_organisation(organisation_id)
        receiver = rows.filter(name=options["to"]).first() if options["to"] else None
        every = tuple(str(value) for value in OutboxEvent.State.values)
        # Whoever names an event means it, whatever became of it.
        states = tuple(options["state"] or (every if ids else (OutboxEvent.State.DEAD,)))
        return Selection(
            organisation_id,
            states=states,
            since=_moment(options["since"], "--since"),
            until=_moment(options["until"], "--until"),
            kind=options["kind"],
            host="" if receiver else options["to"],
            receiver_id=receiver.pk if receiver else None,
            ids=tuple(ids),
        )


def _moment(text: str, name: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{name} {text!r} is no time; write 2026-11-20T15:00Z", returncode=2
        ) from None
    return moment if moment.tzinfo else timezone.make_aware(moment)


def _words(said: dict[str, Any], *, dry: bool) -> str:
    if dry:
        return f"{said['events']} fit; nothing was changed"
    if said["job"]:
        return f"{said['events']} fit; job {said['job']} makes them due"
    return f"{said['due']} of {said['events']} are due now"
