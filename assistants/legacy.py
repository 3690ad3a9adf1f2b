"""Old and hand-written forms of tools, rewritten to the form Vapi's API takes today.

Owns: flattened tools (name and parameters beside ``type``), tools without a type, entries of the
old ``functions`` lists, and the switches that stood for whole tools. Pure and total; it must not
decide what a tool does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tools.switches import LEGACY

_FUNCTION_KEYS: Final = ("name", "description", "parameters", "strict")
# Types whose function stands in `function`; an apiRequest has name and description at the top.
_WITH_FUNCTION: Final = frozenset({"function", "code", "transferCall", "endCall", "handoff"})


def tool_today(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in today's form; one that has it already comes back equal.

    Args:
        document: one element of ``model.tools``, ``model.functions`` or their top-level variants.
    """
    tool = dict(document)
    if not isinstance(tool.get("type"), str) or not tool["type"]:
        tool = {"type": _guessed_type(tool)} | {k: v for k, v in tool.items() if k != "type"}
    flat = {key: tool[key] for key in _FUNCTION_KEYS if key in tool}
    if isinstance(flat.get("parameters"), list):
        del flat["parameters"]  # key/value pairs are static parameters and belong at the top
    if flat and tool["type"] in _WITH_FUNCTION and not isinstance(tool.get("function"), dict):
        tool = {key: value for key, value in tool.items() if key not in flat}
        tool["function"] = flat
    return _with_server(tool)


def _guessed_type(tool: Mapping[str, Any]) -> str:
    if isinstance(tool.get("destinations"), list):
        return "transferCall"
    if isinstance(tool.get("url"), str) and isinstance(tool.get("method"), str):
        return "apiRequest"
    return "function"


def _with_server(tool: dict[str, Any]) -> dict[str, Any]:
    """Move ``serverUrl`` and ``serverUrlSecret`` of an old function into ``server``."""
    moved = {"serverUrl": "url", "serverUrlSecret": "secret"}
    found = {key: tool[key] for key in moved if isinstance(tool.get(key), str)}
    if not found:
        return tool
    server = tool.get("server")
    rest = {key: value for key, value in tool.items() if key not in found}
    old = {moved[key]: value for key, value in found.items() if value}
    return rest | {"server": old | (server if isinstance(server, dict) else {})}


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name a model would call a tool in today's form by, '' when it has none."""
    function = tool.get("function")
    places = (function if isinstance(function, dict) else {}, tool)
    # The function beside an apiRequest is called the same for all of them (corpus.md, tools).
    for place in reversed(places) if tool.get("type") == "apiRequest" else places:
        name = place.get("name")
        if isinstance(name, str) and name:
            return name
    return ""


def inline_tools(document: Mapping[str, Any], model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every tool an assistant document carries, in today's form and Vapi's order.

    Switches (``endCallFunctionEnabled``, ``dialKeypadFunctionEnabled``,
    ``forwardingPhoneNumber``) become the tools they stood for (vapi.md 2.2). Of two equal
    function names the first stays, as at Vapi (vapi.md trap 11). Old functions are marked: their
    servers wait for the old message (vapi.md 4.4).
    """
    lists = (
        *((model.get("tools"), False), (model.get("functions"), True)),
        *((document.get("tools"), False), (document.get("functions"), True)),
    )
    tools: list[dict[str, Any]] = []
    names: set[str] = set()
    for each, is_old in lists:
        for entry in each if isinstance(each, list) else ():
            if not isinstance(entry, dict):
                continue
            tool = tool_today(entry)
            if is_old and tool["type"] == "function":
                tool = {**LEGACY, **tool}
            name = tool_name(tool)
            if not name or name not in names:
                tools.append(tool)
                names.add(name)
    return _with_switches(document, tools)


def _with_switches(
    document: Mapping[str, Any], tools: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    types = {tool["type"] for tool in tools}
    if document.get("endCallFunctionEnabled") is True and "endCall" not in types:
        tools.append({"type": "endCall"})
    if document.get("dialKeypadFunctionEnabled") is True and "dtmf" not in types:
        tools.append({"type": "dtmf"})
    numbers = forwarding_numbers(document)
    if not numbers:
        return tools
    for index, tool in enumerate(tools):
        if tool["type"] == "transferCall":
            stored = tool.get("destinations")
            tools[index] = tool | {
                "destinations": _with_destinations(
                    stored if isinstance(stored, list) else [], numbers
                )
            }
            return tools
    return [*tools, {"type": "transferCall", "destinations": _with_destinations([], numbers)}]


def forwarding_numbers(document: Mapping[str, Any]) -> list[str]:
    """Return the numbers of ``forwardingPhoneNumber`` and ``forwardingPhoneNumbers``."""
    many = document.get("forwardingPhoneNumbers")
    values: Iterable[Any] = (
        document.get("forwardingPhoneNumber"),
        *(many if isinstance(many, list) else ()),
    )
    return list(dict.fromkeys(v for v in values if isinstance(v, str) and v))


def _with_destinations(stored: list[Any], numbers: Iterable[str]) -> list[Any]:
    known = {entry.get("number") for entry in stored if isinstance(entry, dict)}
    return stored + [{"type": "number", "number": n} for n in numbers if n not in known]
