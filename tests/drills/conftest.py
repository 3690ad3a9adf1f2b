"""Fixtures of the drills: those of the tiers they repeat, and the page with the figures.

``DRILL_SCALE`` is the share of the full counts; the page is written when it is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tests.integration.calls.conftest import (
    _call_database_template,
    _database_in_a_file,
    rig,
)
from tests.platform import ROOT

__all__ = ["_call_database_template", "_database_in_a_file", "rig"]

PAGE = ROOT / "docs" / "reliability.md"
HEAD = """# Reliability: what the drills showed

Written by `make drills`; the code is `tests/drills`, and `make test` runs the same code at small
counts. Every line below is a claim that the drill asserts: a drill that fails writes no line. Each
names its last run and its share of the full counts. Times are those of the machine it ran on, and
only limits of seconds are asserted (`tests/drills`). Everything ran against the stand-ins.

"""

Tell = Callable[[str, str], None]


ROW = re.compile(r"^\| (?P<drill>[^|]+) \| (?P<run>[^|]+) \| (?P<figures>[^|]+) \|$", re.MULTILINE)


@pytest.fixture(scope="session")
def _figures(drill_scale: float) -> Iterator[list[tuple[str, str]]]:
    figures: list[tuple[str, str]] = []
    yield figures
    if not figures or "DRILL_SCALE" not in os.environ:
        return
    rows = {row["drill"]: (row["run"], row["figures"]) for row in ROW.finditer(PAGE.read_text())}
    run = f"{datetime.now(UTC).date().isoformat()}, {drill_scale:.0%}, {os.cpu_count()} cores"
    rows |= {drill: (run, text) for drill, text in figures}
    rows.pop("drill", None)
    lines = ["| drill | run | figures |\n", "|---|---|---|\n"]
    lines += [f"| {drill} | {when} | {text} |\n" for drill, (when, text) in rows.items()]
    PAGE.write_text(HEAD + "".join(lines), encoding="utf-8")


@pytest.fixture
def tell(_figures: list[tuple[str, str]]) -> Tell:
    """Put one line on the page: ``tell(drill, figures)``."""
    return lambda name, text: _figures.append((name, text))


@pytest.fixture
def count(drill_scale: float) -> Callable[[int, int], int]:
    """Return how often to repeat: ``count(full, least)``."""
    return lambda full, least: max(least, round(full * drill_scale))
