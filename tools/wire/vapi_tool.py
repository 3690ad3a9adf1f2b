"""The reader of Vapi's tool object and its server (vapi.md 2.5 and 3, checked 2026-11-22).

Owns which fields of a tool document the platform works with and how an edit in the admin is written
back into it. Pure and total: whatever JSON arrives, nothing raises; a value of the wrong type is
read as if it were absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tools import key_presses, text_messages
from tools.key_presses import key_parameters
from tools.knowledge import knowledge_description, query_parameters
from tools.loose_json import as_list, as_object, as_text, as_whole_number
from tools.servers import Backoff
from tools.text_messages import text_parameters

_TIMEOUT_SECONDS: Final = (1, 300)
_DEFAULT_TIMEOUT_SECONDS: Final = 20
# Of kinds whose exports say nothing of what they do.
_DESCRIPTIONS: Final = {"sms": text_messages.DESCRIPTION, "dtmf": key_presses.DESCRIPTION}


@dataclass(frozen=True, slots=True)
class ServerReading:
    """What the platform takes from a ``server`` object."""

    url: str = ""
    secret: str = ""
    headers: Mapping[str, str] | None = None
    timeout_seconds: int = _DEFAULT_TIMEOUT_SECONDS
    credential_id: str = ""
    backoff: Backoff | None = None


def read_server(server: Any, *, timeout_seconds: Any = None) -> ServerReading:
    """Read a ``server`` object, of a tool, an assistant, a number or an organisation.

    Args:
        timeout_seconds: what holds where the server names none.
    """
    whole = as_object(server)
    headers = {
        name: value for name, value in as_object(whole.get("headers")).items() if as_text(value)
    }
    return ServerReading(
        url=as_text(whole.get("url")),
        secret=as_text(whole.get("secret")),
        headers=headers or None,
        timeout_seconds=as_whole_number(
            whole.get("timeoutSeconds", timeout_seconds), _TIMEOUT_SECONDS, _DEFAULT_TIMEOUT_SECONDS
        ),
        credential_id=as_text(whole.get("credentialId")),
        backoff=_backoff(whole.get("backoffPlan")),
    )


def _backoff(value: Any) -> Backoff | None:
    """Read a plan of retries; the SDK types half of it as objects, Vapi takes plain values."""
    plan = as_object(value)
    retries = as_whole_number(plan.get("maxRetries"), (0, 10), 0)
    if not retries:
        return None
    codes = as_list(plan.get("excludedStatusCodes"))
    return Backoff(
        kind="exponential" if plan.get("type") == "exponential" else "fixed",
        max_retries=retries,
        base_delay_seconds=_seconds(plan.get("baseDelaySeconds")),
        excluded=frozenset(int(code) for code in codes if _is_status(code)),
    )


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0.0
    return float(min(max(value, 0), 10))


def _is_status(code: Any) -> bool:
    text = str(code) if isinstance(code, int | str) and not isinstance(code, bool) else ""
    return len(text) == 3 and text.isascii() and text.isdigit()


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
    rejection: Mapping[str, Any] = field(default_factory=dict)
    credential_id: str = ""
    backoff: Backoff | None = None


def read_tool(document: Any) -> ToolReading:
    """Read a tool document; a tool without a function name is called by its type."""
    whole = as_object(document)
    function = as_object(whole.get("function"))
    kind = as_text(whole.get("type")) or "function"
    # An apiRequest has its address and timeout at the top level (vapi.md trap 14).
    server = read_server(whole.get("server"), timeout_seconds=whole.get("timeoutSeconds"))
    # So has it its name: the function beside it is what Vapi's page made, the same for all.
    own, other = (whole, function) if kind == "apiRequest" else (function, whole)
    parameters = as_object(function.get("parameters"))
    if kind == "apiRequest":
        parameters = body_schema(whole)
    elif kind == "sms":
        parameters = text_parameters(parameters)
    elif kind == "dtmf":
        parameters = key_parameters(parameters)
    elif kind == "query":
        parameters = query_parameters(parameters)
    unsaid = knowledge_description(whole) if kind == "query" else _DESCRIPTIONS.get(kind, "")
    return ToolReading(
        type=kind,
        name=as_text(own.get("name")) or as_text(other.get("name")) or kind,
        description=as_text(own.get("description")) or as_text(other.get("description")) or unsaid,
        parameters=parameters,
        server_url=server.url or as_text(whole.get("url")),
        server_secret=server.secret,
        server_headers=server.headers,
        timeout_seconds=server.timeout_seconds,
        is_async=whole.get("async") is True,
        messages=tuple(as_list(whole.get("messages"))),
        destinations=tuple(as_list(whole.get("destinations"))),
        rejection=as_object(whole.get("rejectionPlan")),
        credential_id=server.credential_id or as_text(whole.get("credentialId")),
        backoff=server.backoff or _backoff(whole.get("backoffPlan")),
    )


def body_schema(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of an ``apiRequest``'s arguments, which is that of its body (3.5)."""
    body = as_object(document.get("body"))
    return body if body.get("type", "object") == "object" else {}


@dataclass(frozen=True, slots=True)
class TextMessage:
    """Whom an ``sms`` tool names, as templates; '' where it names nobody."""

    sender: str = ""
    receiver: str = ""


def read_text_message(document: Any) -> TextMessage:
    """Read ``metadata`` of an ``sms`` tool (vapi.md 3.5)."""
    metadata = as_object(as_object(document).get("metadata"))
    return TextMessage(as_text(metadata.get("from")), as_text(metadata.get("to")))


def write_tool(document: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool document with ``changes`` (fields of ``ToolReading``) written into it."""
    new = dict(as_object(document))
    if new.get("type") == "apiRequest":
        return _with_request(new, changes)
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


def _with_request(new: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Write into an ``apiRequest``, which has everything at its top level."""
    server = new.get("server")
    for key, value in changes.items():
        if key in {"name", "description"}:
            new[key] = value
        elif key == "parameters":
            _set_or_drop(new, "body", value or None)
        elif key == "server_secret":
            kept = dict(as_object(server))
            _set_or_drop(kept, "secret", value)
            if kept or server is not None:
                new["server"] = server = kept
        elif key in {"server_url", "timeout_seconds"}:
            _set_or_drop(new, _SERVER_KEYS[key], value)
            if isinstance(server, dict):
                new["server"] = server = {**server}
                server.pop(_SERVER_KEYS[key], None)
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
