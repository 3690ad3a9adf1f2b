"""What a layer above offers: storing and reading phone numbers, and which connection answers.

Assistants know nothing of numbers and connections, so the calls layer registers its services here
when it starts.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from assistants.circumstances import Answering
from assistants.findings import Finding
from voiceplatform.base.models import Organisation


class NumberImporter(Protocol):
    """Stores one of Vapi's phone number objects, or says what it would do."""

    def __call__(
        self,
        *,
        organisation: Organisation,
        document: Mapping[str, Any],
        number_id: uuid.UUID,
        created_at: dt.datetime | None,
        actor: Any,
        dry_run: bool,
        arriving: frozenset[str],
    ) -> tuple[str, str | Finding]:
        """Return (outcome, reason); outcomes are those of ``import_services``.

        A finding instead of a reason is one on the whole number.
        ``arriving`` holds the ids of assistants that come in the same import.
        """


_importers: list[NumberImporter] = []


def register_number_importer(importer: NumberImporter) -> None:
    """Make ``importer`` the one that imports use; the last one wins."""
    _importers[:] = [importer]


def number_importer() -> NumberImporter | None:
    """Return the registered importer."""
    return _importers[0] if _importers else None


class NumberExporter(Protocol):
    """Reads every phone number of an organisation in Vapi's shape."""

    def __call__(
        self, *, organisation: Organisation
    ) -> Iterable[tuple[uuid.UUID, str, dt.datetime, Mapping[str, Any]]]:
        """Return id, name, time of creation and document, with secrets, of each number."""


_exporters: list[NumberExporter] = []


def register_number_exporter(exporter: NumberExporter) -> None:
    """Make ``exporter`` the one that exports use; the last one wins."""
    _exporters[:] = [exporter]


def number_exporter() -> NumberExporter | None:
    """Return the registered exporter."""
    return _exporters[0] if _exporters else None


class AnsweringReader(Protocol):
    """Reads which connection of an organisation answers calls."""

    def __call__(self, *, organisation: Organisation) -> Answering | None:
        """Return the default connection, None when there is none."""


_answering: list[AnsweringReader] = []


def register_answering_reader(reader: AnsweringReader) -> None:
    """Make ``reader`` the one that findings use; the last one wins."""
    _answering[:] = [reader]


def answering_reader() -> AnsweringReader | None:
    """Return the registered reader."""
    return _answering[0] if _answering else None
