"""The reader of Vapi's tool object (vapi.md 3, checked 2026-11-22).

Owns which fields of a tool document the platform works with and how an edit in the admin is written
back into it. Pure and total: whatever JSON arrives, nothing raises; a value of the wrong type is
read as if it were absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tools.loose_json import as_list, as_object, as_text, as_whole_number

_TIMEOUT_SECONDS: Final = (1, 300)
_DEFAULT_TIMEOUT_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class ToolReading:
    """What the platform takes from a tool document."""

    type: str = "function"
    name: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    server_url: str = ""
    server_secret: str = ""
    server_headers: Mapping[str, str] | None = None
    timeout_seconds: int = _DEFAULT_TIMEOUT_SECONDS
    is_async: bool = False
    messages: tuple[Any, ...] = ()
    destinations: tuple[Any, ...] = ()


def read_tool(document: Any) -> ToolReading:
    """Read a tool document; a tool without a function name is called by its type."""
    whole = as_object(document)
    function = as_object(whole.get("function"))
    server = as_object(whole.get("server"))
    kind = as_text(whole.get("type")) or "function"
    headers = {
        name: value for name, value in as_object(server.get("headers")).items() if as_text(value)
    }
    # An apiRequest has its address and timeout at the top level (vapi.md trap 14).
    timeout = server.get("timeoutSeconds", whole.get("timeoutSeconds"))
    return ToolReading(
        type=kind,
        name=as_text(function.get("name")) or as_text(whole.get("name")) or kind,
        description=as_text(function.get("description")) or as_text(whole.get("description")),
        parameters=as_object(function.get("parameters")),
        server_url=as_text(server.get("url")) or as_text(whole.get("url")),
        server_secret=as_text(server.get("secret")),
        server_headers=headers or None,
        timeout_seconds=as_whole_number(timeout, _TIMEOUT_SECONDS, _DEFAULT_TIMEOUT_SECONDS),
        is_async=whole.get("async") is True,
        messages=tuple(as_list(whole.get("messages"))),
        destinations=tuple(as_list(whole.get("destinations"))),
    )


def write_tool(document: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool document with ``changes`` (fields of ``ToolReading``) written into it."""
    new = dict(as_object(document))
    function = dict(as_object(new.get("function")))
    server = dict(as_object(new.get("server")))
    for key, value in changes.items():
        if key in {"name", "description", "parameters"}:
            function[key] = value
        elif key in _SERVER_KEYS:
            _set_or_drop(server, _SERVER_KEYS[key], value)
        elif key == "is_async":
            new["async"] = value
        elif key == "type":
            new["type"] = value
    new.setdefault("type", "function")
    new["function"] = function
    if server or "server" in new:
        new["server"] = server
    return new


_SERVER_KEYS: Final[Mapping[str, str]] = {
    "server_url": "url",
    "server_secret": "secret",
    "timeout_seconds": "timeoutSeconds",
}


def _set_or_drop(target: dict[str, Any], key: str, value: Any) -> None:
    if value in ("", None):
        target.pop(key, None)
    else:
        target[key] = value
