"""What the last check of readiness says to others: plans' gate, the dossier, programs.

Owns the one rule by which a stored row holds a number: what blocks it, what callers would hear
differently and nobody has accepted, and that what answers was published anew since. Reads only; a
number that was never checked has no standing, which is not the same as one that nothing holds.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistants.models import Assistant
from calls.models import NumberReadiness, PhoneNumber
from calls.services.readiness_here import REVISION

CHANGED: Final = (
    "what answers was published anew since the last check. Fix: check the numbers again on the "
    "page “Readiness”"
)
NOT_ACCEPTED: Final = (
    "{short}, and nobody has accepted that. Fix: open the number on the page “Readiness”, listen, "
    "and accept it"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the last check found of one number.

    Args:
        blockers: what blocks it, in sentences, the worst first.
        waits: what a person has to do first; empty when nothing is to be done.
        note: what was accepted, '' if nothing was.
    """

    checked_at: dt.datetime
    blockers: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    note: str = ""


def standings_of(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Standing]:
    """Return the standing of each number that was ever checked, in two queries."""
    columns = ("number", "number__assistant__current_revision", "number__squad")
    rows = list(
        NumberReadiness.objects.filter(number__in=ids).values_list(
            *columns, "checked_at", "findings", "sources"
        )
    )
    in_force = _in_force(source for *_, sources in rows for source in sources)
    found = {}
    for number_id, current, squad, checked_at, findings, sources in rows:
        alone = f"{REVISION}{current}" if current and not squad else ""
        is_changed = bool(sources) and (
            any(each.startswith(REVISION) and each not in in_force for each in sources)
            or (alone and alone not in sources)
        )
        found[number_id] = Standing(
            checked_at,
            blockers=_of_weight(findings, "blocks"),
            waits=(
                *((CHANGED,) if is_changed else ()),
                *(NOT_ACCEPTED.format(short=each) for each in _of_code(findings, "audible")),
            ),
            note="; ".join(_of_code(findings, "accepted")),
        )
    return found


def blockers_of(number: PhoneNumber) -> tuple[str, ...] | None:
    """Return what blocks ``number`` by its last check, in sentences; None: it was never checked."""
    standing = standings_of([number.pk]).get(number.pk)
    return None if standing is None else standing.blockers


def _in_force(sources: Iterable[str]) -> set[str]:
    """Return those of ``sources`` that are revisions which answer calls now."""
    texts = {each.removeprefix(REVISION) for each in sources if each.startswith(REVISION)}
    ids = [int(each) for each in texts if each.isdecimal()]
    current = Assistant.objects.filter(current_revision__in=ids, deleted_at__isnull=True)
    return {f"{REVISION}{pk}" for pk in current.values_list("current_revision", flat=True)}


def _of_weight(findings: Iterable[Mapping[str, Any]], weight: str) -> tuple[str, ...]:
    return tuple(str(each["short"]) for each in findings if each.get("weight") == weight)


def _of_code(findings: Iterable[Mapping[str, Any]], code: str) -> tuple[str, ...]:
    return tuple(str(each["short"]) for each in findings if each.get("code") == f"assistant_{code}")
