"""``prepare_instance``: the rows an instance needs before it takes calls."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from assistants.redacted_copies import redacted_copies_refresh
from calls.services.seed import instance_seed, movable_seed, standins_seed
from voiceplatform.base.commands import ExampleCommand

EXAMPLES = """examples:
  manage.py prepare_instance
  manage.py prepare_instance --standins-url http://127.0.0.1:9100

The supervisor runs it at every start.
"""


class Command(ExampleCommand):
    """Seed default rows from the environment, and those of the stand-ins if they run."""

    help = "Seed the rows an instance needs, and renew stored copies. Harmless when repeated."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--standins-url",
            default="",
            help="origin of running stand-ins, e.g. http://127.0.0.1:9100: seed a number for them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed, and hide what older versions of the platform did not hide."""
        again = redacted_copies_refresh()
        if again:
            self.stdout.write(f"secrets hidden in {again} more stored copies")
        instance_seed()
        if options["standins_url"]:
            origin = options["standins_url"].rstrip("/")
            number = standins_seed(origin)
            movable_seed(origin)
            self.stdout.write(f"stand-in number {number.number_e164}")
