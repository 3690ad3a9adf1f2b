"""When models are shut down (``model_dates.csv`` beside this file, which names its sources).

Owns reading that file. It must not know today's date, connections or what a provider lists.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

_FILE: Final = Path(__file__).with_name("model_dates.csv")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a model: ``shutdown`` is a day (ISO 8601)."""

    shutdown: str
    successor: str
    source: str


@cache
def endings() -> Mapping[str, Ending]:
    """Return the announced end of each model that has one, gone or to come."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return MappingProxyType(
            {row["model"]: Ending(row["shutdown"], row["successor"], row["source"]) for row in rows}
        )
