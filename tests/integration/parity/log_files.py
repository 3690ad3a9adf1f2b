"""An import of files of call logs, begun and carried to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calls.services import call_log_reading, call_logs
from calls.services.call_log_reading import Report, Source
from tests import factories


def run_files(*paths: Path, **watched: Any) -> Report:
    """Read files as the command does; return what became of their documents."""
    row = call_logs.files_import_begin(
        organisation=factories.default_organisation(),
        label=", ".join(path.name for path in paths),
        actor="system",
        since=None,
    )
    sources = [Source(path.name, lambda path=path: [path.read_bytes()]) for path in paths]  # type: ignore[misc]
    return call_log_reading.import_continue_files(row, sources, **watched)
