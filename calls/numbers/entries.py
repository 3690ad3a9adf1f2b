"""One line of the record of a number's move: who did what, why, and on what evidence. Pure; the
shell writes it as an audit row in the transaction of the change. It must hold ids and figures only,
never a caller's number or words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """``who``: ``user:name``, ``guard`` or ``plan:<id>``; ``number_id`` is '' for a whole plan."""

    at: dt.datetime
    who: str
    action: str
    number_id: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
