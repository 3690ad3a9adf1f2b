"""``export_assistants``: write assistants and what belongs to them as files, without secrets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from assistants.export_services import (
    ExportRefused,
    export_of,
    export_write,
    left_out,
    without_live_revision,
)
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)

EXAMPLES = """examples:
  manage.py export_assistants config/                       everything of the organisation
  manage.py export_assistants config/ --assistant Reception one assistant and what it points at
  manage.py import_vapi config/                             and back: all unchanged

The folder gets one JSON file per object, in assistants/, tools/, squads/, phone-numbers/ and a
folder for each further kind. JSON, because it gives every value back exactly as it was. What
answers calls is exported, and numbers that are only kept; drafts, credentials, uploaded files and
decisions about voices are not, and the summary counts them. Routes, policies and model connections
belong to the installation and are in no export.

No secret is written. In its place stands ${SECRET:NAME}, and secrets.env.example lists the names.
import_vapi takes the values from secrets.env beside the files (keep it out of version control);
where a name has no value it keeps what is stored. So into the same organisation no secrets.env is
needed, into an empty one it is.

Exporting again replaces the files and deletes those whose object is gone, unless they were edited.
Files that no export wrote are never touched. With --portable the files have no ids and point at one
another by name, so that they can be imported as copies into another organisation.

exit codes: 0 done; 1 refused, nothing was written; 2 bad usage
"""


class Command(ExampleCommand):
    """Export assistants, tools, squads, phone numbers and stored resources."""

    help = "Write assistants and all that belongs to them into a folder, without secrets."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("folder", metavar="DIR", type=Path, help="made if it does not exist")
        parser.add_argument(
            "--assistant",
            action="append",
            default=[],
            metavar="ID_OR_NAME",
            help="only this one and what it points at; may be given several times",
        )
        parser.add_argument("--portable", action="store_true", help="no ids; names instead")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Export.

        Raises:
            CommandError: refused, or there is no such organisation (exit 1).
        """
        organisation = organisation_named(options["organisation"])
        only, folder = options["assistant"], options["folder"]
        try:
            exported = export_of(organisation, only=only, portable=options["portable"])
            done = export_write(folder, exported, is_whole=not only)
        except ExportRefused as error:
            raise CommandError(str(error), returncode=1) from error
        for verb, paths in (("wrote", done.written), ("deleted", done.deleted)):
            for path in paths:
                self.stdout.write(f"{verb:<8} {path}")
        for path in done.left:
            self.stdout.write(f"left     {path}  (its object is gone, but it was edited)")
        for name in without_live_revision(organisation):
            self.stdout.write(f"skipped  {name}  (a draft that was never published)")
        for words in () if only else left_out(organisation):
            self.stdout.write(f"left out {words}")
        self.stdout.write(
            f"{len(done.written)} written, {len(done.unchanged)} unchanged, "
            f"{len(done.deleted)} deleted in {folder}; "
            f"{len(exported.secret_names)} secrets left out."
        )
