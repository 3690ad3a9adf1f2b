"""Which numbers are ready to be moved: the job that finds out, and what it found.

Owns the job and its rows. What the facts mean is ``calls.numbers.readiness``'s; it must not change
a number, a route or anything at Twilio.
"""

from __future__ import annotations

from calls.models import NumberReadiness, PhoneNumber


def readiness_of(number: PhoneNumber) -> NumberReadiness | None:
    """Return what was found of ``number`` when it was last checked, None if it never was."""
    return NumberReadiness.objects.filter(number=number).first()


def blockers_of(number: PhoneNumber) -> tuple[str, ...]:
    """Return what blocks ``number`` according to the last check, in sentences, the worst first.

    Empty when nothing does, and when it was never checked: ``readiness_of`` tells them apart.
    """
    row = readiness_of(number)
    found = row.findings if row is not None else []
    return tuple(str(each["short"]) for each in found if each.get("weight") == "blocks")
