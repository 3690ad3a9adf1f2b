"""The open incident of a guard as JSON, and back. Pure.

Owns the stored form alone; what it means is ``incident``'s. A form that cannot be read raises
``ValueError``, so that the shell can pass over one row and go on with the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from calls.numbers.incident import Incident, Restore


def incident_json(incident: Incident | None) -> dict[str, Any]:
    """Return the stored form; {} where there is no incident."""
    if incident is None:
        return {}
    restore = incident.restore
    return {
        "key": incident.key,
        "opened_at": incident.opened_at.isoformat(),
        "signals": list(incident.signals),
        "words": incident.words,
        "call_ids": list(incident.call_ids),
        "told": sorted(incident.told),
        "restore": {
            "phase": restore.phase,
            "tries": restore.tries,
            "is_trying": restore.is_trying,
            "next_at": _text(restore.next_at),
            "done_at": _text(restore.done_at),
            "last_error": restore.last_error,
        },
    }


def incident_read(stored: Mapping[str, Any]) -> Incident | None:
    """Return the incident of a stored form, None where there is none.

    Raises:
        ValueError: it is no such form.
    """
    if not stored:
        return None
    try:
        restore = stored["restore"]
        return Incident(
            key=str(stored["key"]),
            opened_at=dt.datetime.fromisoformat(stored["opened_at"]),
            signals=tuple(stored["signals"]),
            words=str(stored["words"]),
            call_ids=tuple(map(str, stored["call_ids"])),
            told=frozenset(stored["told"]),
            restore=Restore(
                phase=restore["phase"],
                tries=int(restore["tries"]),
                is_trying=bool(restore["is_trying"]),
                next_at=_time(restore["next_at"]),
                done_at=_time(restore["done_at"]),
                last_error=str(restore["last_error"]),
            ),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the state of a guard cannot be read: {error!r}") from error


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
