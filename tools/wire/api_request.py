"""The reader of the request that Vapi's ``apiRequest`` tool describes (vapi.md 3.5).

Owns which method, address and headers it has. Pure and total: whatever JSON arrives, nothing
raises. Where it may be sent, and with which values, is not decided here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tools.defaults import Render, filling_of
from tools.loose_json import as_object, as_text

METHODS: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What such a tool's document says of the request; ``method`` is '' where it is none of ours.

    ``headers`` are templates by name and may hold secrets.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_api_request(document: Any) -> ApiRequest:
    """Read the request of an ``apiRequest``; without a method, as in old exports, it is a POST."""
    whole = as_object(document)
    method = whole.get("method")
    known = method.upper() if isinstance(method, str) else ""
    if method is None:
        known = "POST"
    return ApiRequest(
        method=known if known in METHODS else "",
        url=as_text(as_object(whole.get("server")).get("url")) or as_text(whole.get("url")),
        headers=_headers(whole.get("headers")),
    )


def _headers(schema: Any) -> dict[str, str]:
    """Return header values by name, from a schema that fixes them or from a plain object."""
    whole = as_object(schema)
    properties = whole.get("properties")
    pairs: dict[str, Any] = {}
    if isinstance(properties, Mapping):
        for name, node in properties.items():
            filling = filling_of(whole, node)
            if filling is not None:
                pairs[name] = filling.value
    elif "type" not in whole:
        pairs = dict(whole)
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in pairs.items()
        if _HEADER_NAME.fullmatch(name)
        and name.lower() != "host"  # where a request goes is its address's business
        and isinstance(value, str | int | float)
    }


def filled_headers(headers: Mapping[str, str], render: Render) -> dict[str, str]:
    """Return headers with their templates filled in, each one line, those without a value left out.

    No value can begin another header. Beyond Latin-1 it is UTF-8, as servers expect it.
    """
    filled = {name: _CONTROLS.sub(" ", render(value)).strip() for name, value in headers.items()}
    return {
        name: value.encode("utf-8", "replace").decode("latin-1")
        for name, value in filled.items()
        if value
    }
