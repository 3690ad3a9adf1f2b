"""What becomes of an ``apiRequest`` tool: findings on its address, method, headers and body.

Owns the words on one tool type beside ``assistants.tool_account``. Pure; what they say follows
``tools.wire.api_request`` and ``tools.addresses`` and must change with them (vapi.md 3.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from assistants.address_account import account_url
from assistants.findings import (
    INVALID,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    Notes,
    has_placeholder,
    several,
    short,
)
from assistants.wire.files import step
from tools.argument_paths import encrypted_paths
from tools.normalise import normalise
from tools.wire.api_request import METHODS, WITHOUT_BODY, read_api_request
from tools.wire.vapi_tool import body_schema

_LIQUID: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def account_request(tool: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Add the findings on a tool that asks an address of its own."""
    marked = ("url", "method", "timeoutSeconds", "body", "headers")
    notes.mark(*(step(path, key) for key in marked))
    request = read_api_request(tool)
    if not request.url:
        notes.add(path, INVALID, "No address, so its calls go nowhere. Fix: set url.")
    else:
        _account_address(request.url, notes, step(path, "url"))
    if not request.method:
        notes.add(
            step(path, "method"),
            INVALID,
            f"No method that can be sent ({', '.join(METHODS)}), so its calls go nowhere. "
            "Fix: name one of them.",
        )
    elif "method" not in tool:
        notes.add(path, MAPPED, "It names no method; it is sent as a POST, as by Vapi.")
    _account_headers(tool, notes, step(path, "headers"))
    _account_body(tool, request.method, request.url, notes, path)
    if tool.get("credentialId"):
        notes.add(
            step(path, "credentialId"),
            SECRET_MISSING,
            "The credential itself is not in an export. Fix: enter all of it under Server "
            "credentials with this id.",
        )
    if tool.get("backoffPlan"):
        words = "A failed request is repeated as this says, with the same bytes."
        notes.add(step(path, "backoffPlan"), MAPPED, words)
    account_encryption(tool, tool, notes, path)
    if tool.get("async") is True:
        notes.add(step(path, "async"), MAPPED, "Its answer is always waited for, as by Vapi.")


def account_encryption(
    tool: Mapping[str, Any], holder: Mapping[str, Any], notes: Notes, path: str
) -> None:
    """Say what becomes of ``encryptedPaths`` in ``holder``, a server or an apiRequest.

    Args:
        path: the JSON path of ``holder``.
    """
    if not holder.get("encryptedPaths"):
        return
    at = step(path, "encryptedPaths")
    named = several([short(each) for each in encrypted_paths(tool)])
    if not named:
        notes.add(at, INVALID, "No path of an argument, so nothing is encrypted. Fix: write one.")
    elif not isinstance(holder.get("credentialId"), str):
        words = "No credential, so no key: as by Vapi these arguments are sent as they are"
        notes.add(at, LOSSY, f"{words}, and masked in our records: {named}. Fix: name one.")
    else:
        notes.add(
            at,
            SECRET_MISSING,
            f"Encrypted before they are sent, masked in our records: {named}. The key is not in an "
            "export, and nothing is sent without it. Fix: enter the public key under Server "
            "credentials with the credential's id.",
        )


def _account_address(url: str, notes: Notes, at: str) -> None:
    filled = _LIQUID.search(url) is not None
    # A base address that a variable says is judged when it is filled in.
    begins = "https://" if _LIQUID.match(url) else ""
    if account_url(begins + _LIQUID.sub("x", url), notes, at):
        words = "The model can call it; each call is one request to this address."
        more = " Variables in it are filled in and encoded; none that the model gives can change "
        notes.add(at, MAPPED, words + (more + "the host." if filled else ""))


def _account_headers(tool: Mapping[str, Any], notes: Notes, at: str) -> None:
    if not tool.get("headers"):
        return
    headers = read_api_request(tool).headers
    masked = [name for name, value in headers.items() if has_placeholder(_LIQUID.sub("", value))]
    if masked:
        notes.add(
            at,
            SECRET_MISSING,
            f"A placeholder stands where the value of {several(masked)} belongs. Fix: enter it in "
            "the admin or in the file.",
        )
    elif headers:
        names = several([short(name) for name in headers])
        notes.add(at, MAPPED, f"Sent with every request: {names}. The model never sees them.")
    else:
        notes.add(
            at, INVALID, "No header has a value, so none is sent. Fix: give value or default."
        )


def _account_body(tool: Mapping[str, Any], method: str, url: str, notes: Notes, path: str) -> None:
    body, at = tool.get("body"), step(path, "body")
    if body is None:
        return
    schema = body_schema(tool)
    if not schema:
        if body:
            words = "No schema of an object, so the model is told that there are no arguments."
            notes.add(at, INVALID, f"{words} Fix: write one.")
        return
    for note in normalise(dict(schema)).notes:
        place = at
        for part in note.path:
            place = step(place, part)
        notes.add(place, LOSSY if note.is_lost else MAPPED, note.message)
    properties = schema.get("properties")
    names = list(properties) if isinstance(properties, Mapping) else []
    named = re.findall(r"[\w-]+", " ".join(_LIQUID.findall(url)))
    unsent = [name for name in names if name not in named]
    if method in WITHOUT_BODY and unsent:
        notes.add(
            at,
            LOSSY,
            f"A {method} has no body, and the address does not name {several(unsent)}: not sent. "
            "Fix: put it into the address.",
        )
