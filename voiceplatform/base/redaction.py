"""Which leaves of a Vapi document are secret, how they are hidden and how they are kept.

Owns design decision 13 for raw documents, as pure functions on parsed JSON: no Django, no database,
no knowledge of any resource. A secret is write-only: ``redact`` leaves it out, ``keep_secrets``
carries the stored one over into a new version that does not mention it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

MASK = "***"

# Endings of a name in lower case without separators: maxTokens and credentialId do not match.
_SECRET_ENDINGS = (
    *("secret", "token", "password", "passphrase", "authorization", "cookie"),
    *("apikey", "accesskey", "privatekey", "secretkey", "signingkey", "accountkey", "gcpkey"),
    *("subscriptionkey", "openaikey", "connectionstring"),  # Azure's credentials at Vapi
    "webhookurl",  # who knows the address may post there (Slack)
)
_SEPARATORS = str.maketrans("", "", "-_. ")
_SECRET_HEADER = re.compile(r"(?i)auth|key|secret|token|cookie|password|signature")
_SECRET_QUERY = re.compile(r"(?i)token|secret|password|signature|^(sig|auth|code|key)$|api[-_]?key")
# Liquid may hold blanks and question marks: `https://host/{{ id }}?api_key=…`. Nothing is tried
# twice (`*+`), so that no text, however long, takes longer than reading it.
_LIQUID = r"\{\{[^{}]*+\}\}|\{(?!\{[^{}]*+\}\})"
_URL = re.compile(
    r"(?P<head>\s*+(?:[a-zA-Z][a-zA-Z0-9+.-]*+:)?//)"
    rf"(?P<user>(?:[^/?#\s@{{]|{_LIQUID})*+@)?+(?P<place>(?:[^?#\s{{]|{_LIQUID})*+\??+)"
    rf"(?P<query>(?:[^#\s{{]|{_LIQUID})*+)(?P<tail>(?:\#(?:[^\s{{]|{_LIQUID})*+)?+\s*+)"
)
_PAIR_ENDS = re.compile(r"([&;])")
_WHOLE = frozenset({"credentials"})
_SCHEMA_VALUES = frozenset({"value", "default", "const", "example"})
_SCHEMA_LISTS = frozenset({"enum", "examples"})
_IDENTITIES = ("id", "name", "key", "provider", "type")


def is_secret_name(name: str) -> bool:
    """Tell whether a property of this name holds a secret when its value is text."""
    return name.translate(_SEPARATORS).lower().endswith(_SECRET_ENDINGS)


def _is_secret(name: str, value: Any, *, in_headers: bool) -> bool:
    if name in _WHOLE:
        return value is not None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return is_secret_name(name) or (in_headers and bool(_SECRET_HEADER.search(name)))


def redact_url(url: str) -> str:
    """Return ``url`` with its user part and the secret query values masked.

    Everything else stays as it is, character for character; text that is no URL is returned.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return url
    head, user, place, query, tail = match.group("head", "user", "place", "query", "tail")
    mark, fragment = tail[:1], tail[1:]
    tail = mark + (_masked(fragment) if mark == "#" else fragment)
    return f"{head}{MASK + '@' if user else ''}{place}{_masked(query)}{tail}"


def _masked(query: str) -> str:
    """Return a query string, or a fragment of that form, with its secret values masked."""
    pairs = (piece.partition("=") for piece in _PAIR_ENDS.split(query))
    return "".join(
        f"{name}={MASK}{value[len(value.rstrip()) :]}"
        if value.strip() and _SECRET_QUERY.search(unquote_plus(name))
        else name + mid + value
        for name, mid, value in pairs
    )


def redact(document: Any) -> Any:
    """Return a deep copy of ``document`` without its secrets."""
    return _redact(document, in_headers=False, under_secret_header=False)


def _redact(node: Any, *, in_headers: bool, under_secret_header: bool) -> Any:
    if isinstance(node, list):
        return [_redact(child, in_headers=in_headers, under_secret_header=False) for child in node]
    if isinstance(node, str):
        return redact_url(node)
    if not isinstance(node, dict):
        return node
    hidden = _hidden_keys(node, in_headers=in_headers, under_secret_header=under_secret_header)
    return {
        name: _redact(
            value,
            in_headers=in_headers or name == "headers",
            under_secret_header=in_headers and bool(_SECRET_HEADER.search(name)),
        )
        for name, value in node.items()
        if name not in hidden
    }


def _hidden_keys(
    node: dict[str, Any], *, in_headers: bool, under_secret_header: bool
) -> frozenset[str]:
    hidden = {n for n, v in node.items() if _is_secret(n, v, in_headers=in_headers)}
    if under_secret_header:  # apiRequest headers are a JSON Schema with fixed values
        hidden |= {n for n in _SCHEMA_VALUES if isinstance(node.get(n), str)}
        hidden |= {n for n in _SCHEMA_LISTS if isinstance(node.get(n), list)}
    key = node.get("key")
    if isinstance(key, str) and is_secret_name(key) and isinstance(node.get("value"), str):
        hidden.add("value")  # static parameters are key/value pairs (vapi.md 3.2)
    return frozenset(hidden)


def keep_secrets(new: Any, stored: Any) -> Any:
    """Return ``new`` with every secret of ``stored`` that ``new`` does not mention.

    A property that is present, null included, counts as mentioned. A URL equal to the masked form
    of the stored one keeps the stored one. List elements are matched by id, name, key, provider
    and type, else by position. Neither argument is changed.
    """
    return _keep(new, stored, in_headers=False, under_secret_header=False)


def _keep(new: Any, stored: Any, *, in_headers: bool, under_secret_header: bool) -> Any:
    if isinstance(new, str) and isinstance(stored, str):
        return stored if new != stored and new == redact_url(stored) else new
    if isinstance(new, list) and isinstance(stored, list):
        return [
            _keep(
                child,
                _partner(child, index, stored),
                in_headers=in_headers,
                under_secret_header=False,
            )
            for index, child in enumerate(new)
        ]
    if not (isinstance(new, dict) and isinstance(stored, dict)):
        return new
    kept = {
        name: _keep(
            value,
            stored.get(name),
            in_headers=in_headers or name == "headers",
            under_secret_header=in_headers and bool(_SECRET_HEADER.search(name)),
        )
        for name, value in new.items()
    }
    hidden = _hidden_keys(stored, in_headers=in_headers, under_secret_header=under_secret_header)
    if "headers" in stored and "headers" not in new:
        # Secret headers that were entered here: an export does not even have the object.
        headers = _keep({}, stored["headers"], in_headers=True, under_secret_header=False)
        if headers:
            kept["headers"] = headers
    if isinstance(new.get("serverUrl"), str) and "server" in stored and "server" not in new:
        # The same for documents of the old form: only what was entered here made a `server`.
        server = _keep({}, stored["server"], in_headers=False, under_secret_header=False)
        if server:
            kept["server"] = server
    return kept | {name: stored[name] for name in hidden if name not in new}


def _partner(child: Any, index: int, stored: list[Any]) -> Any:
    """Return the stored list element that ``child`` is a new version of, or None."""
    if not isinstance(child, dict):
        return stored[index] if index < len(stored) else None
    identity = _identity(child)
    same = [other for other in stored if isinstance(other, dict) and _identity(other) == identity]
    if len(same) == 1:
        return same[0]
    here = stored[index] if index < len(stored) else None
    return here if isinstance(here, dict) and _identity(here) == identity else None


def _identity(node: dict[str, Any]) -> tuple[Any, ...]:
    function = node.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return (*(repr(node.get(key)) for key in _IDENTITIES), repr(name))
