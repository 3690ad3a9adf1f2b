"""Which arguments of an assistant's tools are critical for parity, and where its callers are.

Owns where the marks of a run come from: by rule from the schemas of the revision's tools, as
``calls.parity.fields`` reads them; and in which region a phone number without a country code is
read. A run keeps both as it began with them.
"""

from __future__ import annotations

from typing import Final

from assistants.models import Assistant, AssistantRevision
from calls.models import ParityRun, PhoneNumber
from calls.parity.fields import DEFAULT_REGION, Kind, marks_of
from calls.parity.forms import region_of
from calls.services.call_plan import offered_tools
from tools.services import tool_document
from tools.wire.vapi_tool import read_tool

# The option of a run in which no past call was the old stack's: it compares us with ourselves.
OURS_ALONE: Final = "ours_alone"


def marks_for(revision: AssistantRevision) -> dict[str, dict[str, Kind]]:
    """Return the critical arguments of each tool by path, tools without any left out."""
    found: dict[str, dict[str, Kind]] = {}
    for tool in offered_tools(revision):
        # A tool's own column may lack fixed arguments.
        marks = marks_of(read_tool(tool_document(tool)).parameters or tool.parameters)
        if marks:
            found[tool.name] = dict(marks)
    return found


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
