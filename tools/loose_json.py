"""Readers of JSON values that may be of any type, as hand-written Vapi documents are.

Pure and total: a value of the wrong type is read as if it were absent. Shared by the wire modules
of Vapi's objects; knows no object's fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def as_object(value: Any) -> Mapping[str, Any]:
    """Return an object, {} for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> Sequence[Any]:
    """Return an array, () for anything else."""
    return value if isinstance(value, list) else ()


def as_text(value: Any) -> str:
    """Return text, '' for anything else."""
    return value if isinstance(value, str) else ""


def as_whole_number(value: Any, bounds: tuple[int, int], default: int) -> int:
    """Return a number within ``bounds`` (inclusive), the nearest bound when it is outside."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    if isinstance(value, float) and not math.isfinite(value):
        return default
    return int(min(max(value, bounds[0]), bounds[1]))
