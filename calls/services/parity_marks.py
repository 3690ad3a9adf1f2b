"""In which region a run reads numbers, and which tools it takes as one.

Owns what a run keeps of both, as it began with them. Which arguments are critical is
``critical_marks``'.
"""

from __future__ import annotations

from typing import Final

from assistants.models import Assistant
from calls.models import ParityRun, PhoneNumber
from calls.parity.fields import DEFAULT_REGION
from calls.parity.forms import region_of

# The option of a run in which no past call was the old stack's: it compares us with ourselves.
OURS_ALONE: Final = "ours_alone"


def region_for(assistant: Assistant, number: PhoneNumber | None) -> str:
    """Return the region of a number, or of the first that the assistant answers; else US."""
    if number is not None:
        return region_of(number.number_e164)
    answered = PhoneNumber.objects.filter(assistant=assistant).order_by("created_at", "pk")
    first = answered.values_list("number_e164", flat=True).first()
    return region_of(first or "")


def run_region(run: ParityRun) -> str:
    """Return the region that a run began with."""
    region = run.options.get("region")
    return region if isinstance(region, str) and region else DEFAULT_REGION


def run_renames(run: ParityRun) -> dict[str, str]:
    """Return the names of tools that a person said mean the same, as ``differ`` reads them."""
    renames = run.options.get("renames")
    given = renames.items() if isinstance(renames, dict) else ()
    return {str(name): str(other) for name, other in given}
