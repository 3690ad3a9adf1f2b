"""The request of an ``apiRequest`` tool: its address, headers and body filled in for one call.

Owns which variables its templates see: those of the call, and the model's arguments as far as the
tool's schema names them. Reads rows, sends nothing; the answer is read by
``tools.api_answers``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from assistants.prompt import render
from calls.services.tool_encryption import sealed_arguments
from calls.services.tool_servers import own_server
from tools.addresses import AddressRefused, filled_address, template_address
from tools.defaults import Render, render_values
from tools.dispatch import ArgumentsRefused, checked_arguments
from tools.models import Tool
from tools.offered import judging_schema
from tools.servers import ToolServer
from tools.services import tool_document
from tools.spec import ToolSpec
from tools.wire.api_request import WITHOUT_BODY, filled_headers, read_api_request
from tools.wire.vapi_server import encode, static_parameters
from tools.wire.vapi_tool import read_tool

# What the platform says of a call; an argument of the same name is another thing.
_FACTS: Final = frozenset({"customer", "phoneNumber", "call", "transport", "now"})


def api_post(
    tool: Tool, arguments_json: str, variables: Callable[[], Mapping[str, Any]], now: dt.datetime
) -> tuple[ToolServer, bytes] | None:
    """Return who is asked for what, None where the tool names no address or no method.

    Args:
        variables: reads the variables of the call.

    Raises:
        ArgumentsRefused: the model's arguments cannot be sent.
        ValidationError: they cannot be encrypted as the tool wants it.
    """
    document = tool_document(tool)
    request = read_api_request(document)
    server = own_server(tool)
    if server is None or not request.method or not request.url:
        return None
    schema = judging_schema(read_tool(document).parameters)
    known = variables()

    def own(text: str) -> str:
        return render(text, known, now)

    spec = ToolSpec(name=tool.name, parameters=schema)
    arguments = checked_arguments(spec, arguments_json, static={}, render=own)
    given = _rendered(known, schema, arguments, now)
    try:
        url = filled_address(request.url, own, given)
    except AddressRefused:
        raise ArgumentsRefused(
            "The tool was not called: an argument cannot stand in an address. Correct it and call "
            "it again."
        ) from None
    static = {key: render_values(each, given) for key, each in static_parameters(document).items()}
    has_body = request.method not in WITHOUT_BODY
    body = b""
    if has_body:
        body = encode(sealed_arguments(tool, document, {**arguments, **static}))
    return replace(
        server,
        url=url,
        url_shown=template_address(request.url, own),
        method=request.method,
        headers={**server.headers, **filled_headers(request.headers, given)},
        # Vapi sends an API nothing of its own (vapi.md 3.5, 4.2); our key only guards against
        # doing a thing twice.
        is_ours_told=False,
    ), body


def _rendered(
    known: Mapping[str, Any],
    schema: Mapping[str, Any],
    arguments: Mapping[str, Any],
    now: dt.datetime,
) -> Render:
    """Return what renders with the arguments that the schema names beside the call's variables."""
    properties = schema.get("properties")
    named = set(properties if isinstance(properties, Mapping) else ()) - _FACTS
    scope = {**known, **{name: each for name, each in arguments.items() if name in named}}
    return lambda text: render(text, scope, now)
