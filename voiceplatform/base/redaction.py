"""Which leaves of a Vapi document are secret, how they are hidden and how they are kept.

Owns design decision 13 for raw documents, as pure functions on parsed JSON: no Django, no database,
no knowledge of any resource. A secret is write-only: ``redact`` leaves it out, ``keep_secrets``
carries the stored one over into a new version that does not mention it. What is secret in an
address is ``redaction_urls``'s. Names that a JSON Schema gives to arguments are no secrets, values
that it fixes for them are.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from voiceplatform.base.redaction_urls import MASK, keep_url_secrets, redact_url

__all__ = [
    "MASK",
    "REDACTION_VERSION",
    "ROOT",
    "Place",
    "hidden_keys",
    "is_secret_name",
    "keep_secrets",
    "partners",
    "place_below",
    "redact",
    "redact_url",
]

# Redacted copies are stored. Raise it whenever more is hidden, or less: an instance makes copies of
# an older version again at its next start (``assistants.redacted_copies``).
REDACTION_VERSION: Final = 2

# Endings of a name in lower case without separators: maxTokens and credentialId do not match.
_SECRET_ENDINGS: Final = (
    *("secret", "token", "password", "passphrase", "authorization", "cookie", "passwd", "pwd"),
    *("apikey", "accesskey", "privatekey", "secretkey", "signingkey", "accountkey", "gcpkey"),
    *("secrets", "passwords", "apikeys", "credentials"),
    *("subscriptionkey", "openaikey", "connectionstring"),  # Azure's credentials at Vapi
    "webhookurl",  # who knows the address may post there (Slack)
)
_SEPARATORS: Final = str.maketrans("", "", "-_. ")
_LONGEST_NAME: Final = 200
_SECRET_HEADER: Final = re.compile(r"(?i)auth|key|secret|token|cookie|password|signature")
# A list of credentials is one secret, whatever it holds.
_WHOLE: Final = frozenset({"credentials"})
_LABELS: Final = ("key", "name")
_IDENTITIES: Final = ("id", "name", "key", "provider", "type")

# JSON Schema: below these stand names that somebody gave to arguments, and not fields.
_NAMED: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
_NAMED_NEEDS: Final = frozenset({"dependentRequired", "dependencies"})  # name: names
_NAMES: Final = _NAMED | _NAMED_NEEDS
_SUBSCHEMAS: Final = frozenset(
    {
        *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
        *("additionalProperties", "unevaluatedProperties", "propertyNames", "contentSchema"),
        *("anyOf", "oneOf", "allOf", "not", "if", "then", "else"),
    }
)
# What describes an argument without being its value.
_DESCRIBES: Final = _SUBSCHEMAS | {
    *("type", "title", "description", "format", "pattern", "nullable", "required", "strict"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains"),
    *("minProperties", "maxProperties", "readOnly", "writeOnly", "deprecated", "$comment"),
    *("contentEncoding", "contentMediaType", "$ref", "$id", "$schema", "$anchor"),
}
_SCHEMA_VALUES: Final = frozenset({"value", "default", "const", "enum", "example", "examples"})
_OF_A_SCHEMA: Final = _DESCRIBES | _SCHEMA_VALUES | _NAMES


@dataclass(frozen=True, slots=True)
class Place:
    """What the way that led to an object says of it.

    ``in_headers``: more names are secret. ``names``: its keys name arguments; ``needs``: and their
    values are lists of such names. ``secret``: it is the schema of a secret, or holds such schemas.
    """

    in_headers: bool = False
    names: bool = False
    needs: bool = False
    secret: bool = False

    def hides(self, name: str) -> bool:
        """Tell whether a secret stands under ``name``."""
        return is_secret_name(name) or (self.in_headers and bool(_SECRET_HEADER.search(name)))


ROOT: Final = Place()


def is_secret_name(name: str) -> bool:
    """Tell whether a property of this name holds a secret, rather than a schema of one."""
    return _is_secret_ending(name[-_LONGEST_NAME:])


@lru_cache(maxsize=4096)
def _is_secret_ending(name: str) -> bool:
    plain = name.translate(_SEPARATORS).lower().rstrip("0123456789")
    return plain.endswith(_SECRET_ENDINGS)


def redact(document: Any) -> Any:
    """Return a deep copy of ``document`` without its secrets."""
    return _redact(document, ROOT)


def _redact(node: Any, place: Place) -> Any:
    if isinstance(node, str):
        return redact_url(node)
    if isinstance(node, list):
        return [_redact(child, place) for child in node]
    if not isinstance(node, dict):
        return node
    hidden = hidden_keys(node, place)
    return {
        name: _redact(value, place_below(name, value, place))
        for name, value in node.items()
        if name not in hidden
    }


def place_below(name: str, value: Any, place: Place) -> Place:
    """Return the place of what stands under ``name``."""
    if place.names:
        if place.needs and isinstance(value, list):
            return ROOT
        return _place_of(place.in_headers, secret=place.secret or place.hides(name))
    if isinstance(value, dict) and name in _NAMES:
        needs = name in _NAMED_NEEDS
        return _place_of(place.in_headers, names=True, needs=needs, secret=place.secret)
    if place.secret:
        return place
    # A secret under such a name is hidden as a whole, and a schema of one is not.
    is_schema = isinstance(value, dict) and place.hides(name)
    return _place_of(place.in_headers or name == "headers", secret=is_schema and bool(value))


@lru_cache(maxsize=16)
def _place_of(
    in_headers: bool, *, names: bool = False, needs: bool = False, secret: bool = False
) -> Place:
    return Place(in_headers, names, needs, secret)


def hidden_keys(node: dict[str, Any], place: Place) -> frozenset[str]:
    """Return the keys of ``node`` whose values are secret as a whole."""
    if place.names:
        hidden = {n for n, v in node.items() if _is_misplaced(n, v, place)}
    elif place.secret:
        hidden = {n for n, v in node.items() if _is_fixed(n, v, place)}
    else:
        hidden = {n for n, v in node.items() if _is_secret(n, v, place)}
        labels = (node.get(each) for each in _LABELS)
        if any(isinstance(each, str) and place.hides(each) for each in labels):
            # Static parameters and headers as pairs of key and value (vapi.md 3.2).
            hidden |= {n for n in ("value",) if n in node and _says_something(node[n])}
    return frozenset(hidden)


def _is_secret(name: str, value: Any, place: Place) -> bool:
    if not place.hides(name):
        return False
    is_schema = isinstance(value, dict) and name not in _WHOLE and value.keys() <= _OF_A_SCHEMA
    return not is_schema and _says_something(value)


def _is_misplaced(name: str, value: Any, place: Place) -> bool:
    """Tell whether a value stands where a schema of a secret belongs."""
    if isinstance(value, dict) or (place.needs and isinstance(value, list)):
        return False
    return (place.secret or place.hides(name)) and _says_something(value)


def _is_fixed(name: str, value: Any, place: Place) -> bool:
    """Tell whether a keyword in the schema of a secret gives a value of it."""
    if name in _DESCRIBES or (name in _NAMES and isinstance(value, dict)):
        return False
    if name == "enum" and isinstance(value, list) and len(value) > 1 and not place.in_headers:
        return False  # a choice, and no fixed value
    return _says_something(value)


def _says_something(value: Any) -> bool:
    """Tell whether ``value`` can be a secret: true, false, null and empty containers cannot."""
    nodes = [value]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
        elif node is not None and not isinstance(node, bool):
            return True
    return False


def keep_secrets(new: Any, stored: Any) -> Any:
    """Return ``new`` with every secret of ``stored`` that ``new`` does not mention.

    A property that is present, null included, counts as mentioned. A mask in a URL keeps what the
    stored one has there, unless it leads to another host. List elements are matched by id, name,
    key, provider and type, else by position; one that was merely renamed keeps the secret of the
    same address. Neither argument is changed.
    """
    return _keep(new, stored, ROOT)


def _keep(new: Any, stored: Any, place: Place) -> Any:
    if isinstance(new, str) and isinstance(stored, str):
        if new == stored or MASK not in new:
            return new
        return stored if new == redact_url(stored) else keep_url_secrets(new, stored)
    if isinstance(new, list) and isinstance(stored, list):
        pairs = zip(new, partners(new, stored, place), strict=True)
        return [_keep(child, other, place) for child, other in pairs]
    if not (isinstance(new, dict) and isinstance(stored, dict)):
        return new
    hidden = hidden_keys(stored, place)
    kept = {
        name: _keep(value, stored.get(name), _below_kept(name, stored, hidden, place))
        for name, value in new.items()
    }
    if place.names:
        return kept | {name: stored[name] for name in hidden if name not in new}
    if "headers" in stored and "headers" not in new:
        # Secret headers that were entered here: an export does not even have the object.
        headers = _keep({}, stored["headers"], _place_of(True))
        if headers:
            kept["headers"] = headers
    if isinstance(new.get("serverUrl"), str) and "server" in stored and "server" not in new:
        # The same for documents of the old form: only what was entered here made a `server`.
        server = _keep({}, stored["server"], ROOT)
        if server:
            kept["server"] = server
    return kept | {name: stored[name] for name in hidden if name not in new}


def _below_kept(name: str, stored: dict[str, Any], hidden: frozenset[str], place: Place) -> Place:
    # What was hidden as a whole is replaced, but for the secrets that it has by their own names.
    return (
        _place_of(place.in_headers)
        if name in hidden
        else place_below(name, stored.get(name), place)
    )


def partners(new: list[Any], stored: list[Any], place: Place) -> list[Any]:
    """Return for each of ``new`` the stored element that it is a new version of, or None."""
    if not any(isinstance(node, dict) for node in new):
        return [stored[index] if index < len(stored) else None for index in range(len(new))]
    known = [_identity(node, place) if isinstance(node, dict) else None for node in stored]
    wanted = [_identity(node, place) if isinstance(node, dict) else None for node in new]
    counts, claimed = Counter(known), set(wanted)
    places = {identity: index for index, identity in enumerate(known)}
    found: list[Any] = []
    for index, identity in enumerate(wanted):
        here = stored[index] if index < len(stored) else None
        if identity is not None and counts[identity] == 1:
            found.append(stored[places[identity]])
        elif identity is None or (index < len(stored) and known[index] == identity):
            found.append(here)
        else:
            # Renamed where it stood. A secret belongs to its address, so that must be the same.
            is_free = (
                not counts[identity] and isinstance(here, dict) and known[index] not in claimed
            )
            address = _address(here) if is_free else ""
            found.append(here if address and address == _address(new[index]) else None)
    return found


def _identity(node: dict[str, Any], place: Place) -> tuple[str, ...]:
    """Return what an element is known by, as far as it is shown."""
    hidden = hidden_keys(node, place)
    function = node.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    values = [None if key in hidden else node.get(key) for key in _IDENTITIES]
    return tuple(repr(_redact(value, place)) for value in (*values, name))


def _address(node: Any) -> str:
    """Return where an element's secrets are sent, as far as it is shown; '' if nowhere."""
    server = node.get("server")
    urls = (
        server.get("url") if isinstance(server, dict) else None,
        node.get("url"),
        node.get("serverUrl"),
    )
    return next((redact_url(url) for url in urls if isinstance(url, str) and url), "")
