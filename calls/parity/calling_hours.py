"""The hours in which a policy lets calls be placed. Pure; ``now`` is aware."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_CALLEE: Final = "callee"


def why_quiet(hours: Mapping[str, Any], zones: Sequence[str], now: dt.datetime) -> str:
    """Return why no call is placed now, '' if one may be.

    Args:
        hours: ``{"from": "08:00", "to": "21:00", "zone": "callee"}``, or a zone by its name; empty:
            at any time. What cannot be read lets no call through.
        zones: where the callee may be; it has to be inside the hours in each of them.
    """
    if not hours:
        return ""
    try:
        begin, end = (dt.time.fromisoformat(str(hours[key])) for key in ("from", "to"))
    except (KeyError, ValueError):
        return "the policy's calling hours cannot be read. Fix: write from and to as 08:00"
    named = str(hours.get("zone") or _CALLEE)
    asked = tuple(zones) or ("UTC",) if named == _CALLEE else (named,)
    for name in asked:
        try:
            local = now.astimezone(ZoneInfo(name)).time()
        except (ZoneInfoNotFoundError, ValueError):
            return f"the policy's calling hours name no time zone: {name[:40]}"
        inside = begin <= local < end if begin < end else local >= begin or local < end
        if not inside:
            return (
                f"it is {local:%H:%M} in {name}, outside the policy's calling hours "
                f"({begin:%H:%M} to {end:%H:%M}). Fix: resume the run then"
            )
    return ""
