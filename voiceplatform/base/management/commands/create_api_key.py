"""``create_api_key``: make a key for the REST surface and print it, once."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from voiceplatform.base import services
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)

_MAX_EXPIRES_DAYS = 3650

EXAMPLES = """examples:
  manage.py create_api_key --name "CI deploy"
  manage.py create_api_key --name reporting --scopes read,transcripts
  manage.py create_api_key --name contractor --scopes read --expires-days 30
  manage.py create_api_key --name partner --organisation "Acme Dental" --json

exit codes: 0 made, 1 failed (no such organisation), 2 bad usage
"""


class Command(ExampleCommand):
    """Make an API key; the key alone goes to stdout and is stored nowhere."""

    help = "Make an API key for the REST surface. Prints the key alone on stdout; it is shown once."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--name", required=True, help="what the key is for, shown in lists")
        parser.add_argument(
            "--scopes",
            default=",".join(services.DEFAULT_SCOPES),
            help=f"comma-separated: {', '.join(services.SCOPES)} (default: %(default)s)",
        )
        parser.add_argument(
            "--expires-days",
            type=int,
            metavar="N",
            help=f"the key stops working after N days, 1 to {_MAX_EXPIRES_DAYS} (default: never)",
        )
        add_organisation_argument(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON object instead")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the key.

        Raises:
            CommandError: no such organisation (exit 1), unknown scope, bad name or expiry (exit 2).
        """
        name = options["name"].strip()
        if not 0 < len(name) <= 100:
            raise CommandError("--name must have 1 to 100 characters.", returncode=2)
        scopes = [part.strip() for part in options["scopes"].split(",") if part.strip()]
        if not scopes:
            raise CommandError(
                f"--scopes is empty. Fix: use some of {', '.join(services.SCOPES)}.", returncode=2
            )
        days = options["expires_days"]
        if days is not None and not 1 <= days <= _MAX_EXPIRES_DAYS:
            raise CommandError(f"--expires-days must be 1 to {_MAX_EXPIRES_DAYS}.", returncode=2)
        expires_at = timezone.now() + dt.timedelta(days=days) if days else None
        organisation = organisation_named(options["organisation"])
        try:
            key, clear = services.api_key_create(
                organisation=organisation, name=name, scopes=scopes, expires_at=expires_at
            )
        except services.UnknownScope as error:
            raise CommandError(str(error), returncode=2) from error
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "id": str(key.pk),
                        "key": clear,
                        "name": key.name,
                        "scopes": key.scopes,
                        "expiresAt": expires_at.isoformat() if expires_at else None,
                        "organisation": organisation.name,
                        "orgId": str(organisation.pk),
                    }
                )
            )
        else:
            self.stdout.write(clear)
            if sys.stdout.isatty():
                self.stderr.write("Keep it now: it cannot be shown again.")
