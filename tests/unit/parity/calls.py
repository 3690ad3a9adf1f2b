"""Short ways to write calls for the tests of parity."""

from __future__ import annotations

from typing import Any

from calls.parity.sequence import Outcome, Outcomes, Sequence, Stack, ToolCall


def tool(
    name: str, outcome: Outcome = "ok", message: int | None = None, **arguments: Any
) -> ToolCall:
    """A tool call with these arguments."""
    return ToolCall(name, arguments, outcome, message=message)


def call(*tools: ToolCall | str, stack: Stack = "vapi", **more: Any) -> Sequence:
    """A call that used these tools in this order; a text of letters is a tool for each letter."""
    listed: list[ToolCall] = []
    for each in tools:
        listed += [each] if isinstance(each, ToolCall) else [tool(name) for name in each]
    fields: dict[str, Any] = {"outcomes": Outcomes(True, False, "customer-ended-call"), **more}
    return Sequence(fields.pop("key", "k"), stack, tuple(listed), **fields)
