"""``prepare_instance``: the rows an instance needs before it takes calls."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from calls.services.seed import instance_seed, standins_seed
from voiceplatform.base.commands import ExampleCommand

EXAMPLES = """examples:
  manage.py prepare_instance
  manage.py prepare_instance --standins-url http://127.0.0.1:9100

The supervisor runs it at every start.
"""


class Command(ExampleCommand):
    """Seed default rows from the environment, and those of the stand-ins if they run."""

    help = "Seed the rows an instance needs. Harmless when repeated."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--standins-url",
            default="",
            help="origin of running stand-ins, e.g. http://127.0.0.1:9100: seed a number for them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed."""
        instance_seed()
        if options["standins_url"]:
            number = standins_seed(options["standins_url"].rstrip("/"))
            self.stdout.write(f"stand-in number {number.number_e164}")
