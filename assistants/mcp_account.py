"""What becomes of an ``mcp`` tool: findings on the server that the model asks for itself.

Owns the words on one tool type beside ``assistants.tool_account``. Pure; what they say follows
``calls.services.mcp_servers`` and the bridge, and must change with them (vapi.md 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from assistants.findings import AUDIBLE, INVALID, LOSSY, SECRET_MISSING, UNSUPPORTED, Notes
from assistants.wire.files import step
from tools.defaults import has_template

_BYPASSED: Final = (
    "The model's own server asks this one, not we: on connections to OpenAI itself (on Azure and "
    "old gateways the assistant has none of its tools), once for each call that the model makes. "
    "Nothing of ours stands between: no check of arguments or addresses, no envelope, no "
    "Idempotency-Key, no retry, no rejectionPlan. Its calls are recorded all the same. Fix, where "
    "that matters: offer its functions as function tools."
)


def account_mcp(tool: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Add the findings on a tool whose functions the model's server fetches and calls."""
    given = tool.get("server")
    server: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    at = step(path, "server")
    url = server.get("url")
    if not isinstance(url, str) or not url:
        notes.add(path, INVALID, "No address, so the assistant has no tools of it. Fix: set it.")
    elif not _is_https(url):
        notes.add(
            step(at, "url"),
            INVALID,
            "No https address without variables, so it is not handed over: the assistant has no "
            "tools of it. Fix: correct it and import again.",
        )
    else:
        notes.add(step(path, "type"), LOSSY, _BYPASSED)
    _account_proof(server, notes, at)
    if "timeoutSeconds" in server:
        words = "OpenAI decides how long it waits; after 60 seconds we go on without the answer."
        notes.add(step(at, "timeoutSeconds"), UNSUPPORTED, words)
    if server.get("backoffPlan"):
        notes.add(step(at, "backoffPlan"), UNSUPPORTED, "Nothing is sent a second time by us.")
    notes.mark(step(path, "metadata"), step(path, "function"))
    spoken = [key for key in ("messages", "toolMessages") if tool.get(key)]
    for key in spoken:
        words = "Not said: while the server is asked a caller hears our filler, if it takes long."
        notes.add(step(path, key), AUDIBLE, words)
    if tool.get("rejectionPlan"):
        words = "Not judged: the model's server has asked before we hear of it."
        notes.add(step(path, "rejectionPlan"), UNSUPPORTED, words)


def _account_proof(server: Mapping[str, Any], notes: Notes, at: str) -> None:
    if isinstance(server.get("credentialId"), str):
        notes.add(
            step(at, "credentialId"),
            SECRET_MISSING,
            "The credential itself is not in an export. Fix: enter a bearer token under Server "
            "credentials with this id; one that signs or fetches tokens cannot be handed over.",
        )
    elif not server.get("headers") and not server.get("secret") and server.get("url"):
        notes.add(
            at,
            SECRET_MISSING,
            "Exports leave secrets out. If this server wants a token it will refuse the model. "
            "Fix: enter it in the admin; ignore this when it wants none.",
        )


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and not has_template(url)
    except ValueError:
        return False
