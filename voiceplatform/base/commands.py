"""What management commands share: examples that keep their lines, choosing an organisation, logs.

A command's own rules live in the services it calls.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from voiceplatform.base.models import DEFAULT_ORGANISATION_ID, Organisation


class ExampleCommand(BaseCommand):
    """A command whose ``--help`` ends with ``examples``, printed as written."""

    examples: ClassVar[str]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the line breaks of the examples."""
        return super().create_parser(
            prog_name,
            subcommand,
            epilog=self.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )


@contextmanager
def logs_apart() -> Iterator[None]:
    """Send log lines to stderr for as long as a command's stdout is read by a program."""
    moved = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout
    ]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(sys.stdout)


def add_organisation_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--organisation``; ``organisation_named`` reads it."""
    parser.add_argument(
        "--organisation", default="", help="its name (default: the first organisation)"
    )


def organisation_named(name: str) -> Organisation:
    """Return the organisation of that name, for '' the default or, without it, the oldest one.

    Raises:
        CommandError: there is none (exit 1).
    """
    if name:
        found = Organisation.objects.filter(name=name).first()
    else:
        found = (
            Organisation.objects.filter(pk=DEFAULT_ORGANISATION_ID).first()
            or Organisation.objects.order_by("created_at").first()
        )
    if found is None:
        known = ", ".join(repr(n) for n in Organisation.objects.values_list("name", flat=True))
        raise CommandError(f"no organisation {name!r}. Known: {known or 'none'}.", returncode=1)
    return found
