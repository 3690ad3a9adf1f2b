"""The hours in which a policy lets calls be placed. Pure; ``now`` is aware."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_CALLEE: Final = "callee"


def why_quiet(hours: Mapping[str, Any], zone: str, now: dt.datetime) -> str:
    """Return why no call is placed now, '' if one may be.

    Args:
        hours: ``{"from": "08:00", "to": "21:00", "zone": "callee"}``, or a zone by its name; empty:
            at any time. What cannot be read lets no call through.
        zone: where the callee is, by its name; '' if nobody knows.
    """
    if not hours:
        return ""
    try:
        begin, end = (dt.time.fromisoformat(str(hours[key])) for key in ("from", "to"))
    except (KeyError, ValueError):
        return "the policy's calling hours cannot be read. Fix: write from and to as 08:00"
    named = str(hours.get("zone") or _CALLEE)
    name = zone if named == _CALLEE else named
    if not name:
        return (
            "the policy has calling hours, and nobody knows in which time zone the number is. Fix: "
            "give the number a desk with its zone, or write the zone into the hours"
        )
    try:
        local = now.astimezone(ZoneInfo(name)).time()
    except (ZoneInfoNotFoundError, ValueError):
        return f"the policy's calling hours name no time zone: {name[:40]}"
    if begin <= local < end if begin < end else local >= begin or local < end:
        return ""
    return (
        f"it is {local:%H:%M} in {name}, outside the policy's calling hours "
        f"({begin:%H:%M} to {end:%H:%M}). Fix: resume the run then"
    )
