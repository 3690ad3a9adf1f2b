"""An assistant with overrides on top (vapi.md 6.1, 8.1), and what of them are variables.

Pure and total. Owns the order of merging and how ``tools:append`` and ``assistantDestinations``
become tools of the document; what is stored of the result is ``assistants.derived``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tools.loose_json import as_list, as_object, as_text

VARIABLES: Final = "variableValues"
APPENDED: Final = "tools:append"
# What makes an entry of `assistantDestinations` a handoff tool; a plain one is a transfer (8.1).
_OF_HANDOFF: Final = ("assistantId", "contextEngineeringPlan", "variableExtractionPlan")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``over`` laid deep over ``base``, arrays replaced (vapi.md 6.1)."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def overridden(
    document: Mapping[str, Any], layers: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``document`` with each of ``layers`` on top, and the variables that they set.

    ``variableValues`` are merged apart from everything else; a later layer wins (vapi.md 8.1).
    """
    whole, variables = dict(document), dict[str, Any]()
    for layer in layers:
        rest = {key: value for key, value in layer.items() if key not in (VARIABLES, APPENDED)}
        whole = merged(whole, rest)
        variables |= as_object(layer.get(VARIABLES))
        appended = as_list(layer.get(APPENDED))
        if appended:
            whole = with_tools(whole, appended)
    return whole, variables


def with_tools(document: Mapping[str, Any], tools: Iterable[Any]) -> dict[str, Any]:
    """Return ``document`` with ``tools`` behind those that it has."""
    model = document.get("model")
    # An old short form names the model alone.
    short: dict[str, Any] = {"model": model}
    inside = short if isinstance(model, str) else dict(as_object(model))
    inside["tools"] = [*as_list(inside.get("tools")), *tools]
    return {**document, "model": inside}


def destination_tools(member: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools that a member's ``assistantDestinations`` stand for (vapi.md 8.1)."""
    tools: list[dict[str, Any]] = []
    for each in map(as_object, as_list(member.get("assistantDestinations"))):
        if not each:
            continue
        entry = {"type": "assistant", **each}
        if any(each.get(key) for key in _OF_HANDOFF):
            tools.append({"type": "handoff", "destinations": [entry]})
        elif as_text(each.get("assistantName")):
            tools.append({"type": "transferCall", "destinations": [entry]})
    return tools
