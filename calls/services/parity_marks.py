"""Which arguments of an assistant's tools are critical for parity.

Owns where the marks of a run come from: by rule from the schemas of the revision's tools, as
``calls.parity.fields`` reads them. A run keeps the marks it began with.
"""

from __future__ import annotations

from assistants.models import AssistantRevision
from calls.parity.fields import Kind, marks_of
from calls.services.call_plan import offered_tools
from tools.services import tool_document
from tools.wire.vapi_tool import read_tool


def marks_for(revision: AssistantRevision) -> dict[str, dict[str, Kind]]:
    """Return the critical arguments of each tool by path, tools without any left out."""
    found: dict[str, dict[str, Kind]] = {}
    for tool in offered_tools(revision):
        # A tool's own column may lack fixed arguments.
        marks = marks_of(read_tool(tool_document(tool)).parameters or tool.parameters)
        if marks:
            found[tool.name] = dict(marks)
    return found
