"""Which secrets a document needs to be let in by other people's servers, and which it lacks.

Owns what counts as missing (vapi.md 4.2, trap 16: exports leave secrets out, tools mask them, and
credentials come as ids only) and where a value is written. Pure: parsed JSON in, values out. Which
rows there are, and whose a host is, is ``assistants.missing_secrets``'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from assistants.wire.files import step
from voiceplatform.base.redaction import is_secret_name, redact_url

SECRET_HEADER: Final = "X-Vapi-Secret"  # noqa: S105 - the name of a header
AUTHORIZATION: Final = "Authorization"

# Computed by Vapi and never stored, so only an import's finding remembers it.
OWN_SERVER: Final = "$.isServerUrlSecretSet"

State = Literal["set", "missing", "perhaps"]
Steps = tuple[str | int, ...]

# What people and tools write where a secret was: stars, dots, the word, or a placeholder to fill.
_MASKED: Final = re.compile(r"\*{3,}|[•●]{3,}|(?i:\bredacted\b|\bmasked\b)")
_PLACEHOLDER: Final = re.compile(
    r"\$\{[^}]*\}|<<[^>]*>>|<[A-Z][A-Z0-9_ -]+>|\b(?:YOUR|REPLACE)_[A-Z_]+"
)
_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|token) +(?=\S)")
_LIQUID: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_MOST_DEPTH: Final = 60
# Below these stand descriptions of data, not servers.
_NOT_SERVERS: Final = frozenset({"parameters", "schema", "body", "properties", "messages"})


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a document that sends, or should send, a secret to a server.

    ``header`` is empty for a credential that Vapi kept: how it was sent is not in an export.
    ``steps`` lead to the value, from the document's root.
    """

    path: str
    steps: Steps
    url: str = field(repr=False)
    header: str
    state: State
    why: str
    credential_id: str = ""
    is_schema: bool = False

    @property
    def host(self) -> str:
        """Host and port of the server, '' where the address is none."""
        return host_of(self.url)


def host_of(url: str) -> str:
    """Return host and port of ``url`` in lower case, '' for what is no http or https URL."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not name:
        return ""
    return f"{name}:{port}" if port else name


def slots(document: Any, told: Collection[str] = ()) -> list[Slot]:
    """Return every slot of an assistant, tool or squad document, in its order.

    Args:
        told: JSON paths of which an import said that a secret is missing there, since what was
            masked is not stored; ``OWN_SERVER`` stands for the document's own server.
    """
    found = list(_walk(document, "$", (), frozenset(told), 0))
    if not told:
        return found
    return [_sure(slot) if _is_told(slot, told) else slot for slot in found]


def _is_told(slot: Slot, told: Collection[str]) -> bool:
    is_own = slot.steps in (("server", "secret"), ("serverUrlSecret",))
    return slot.path in told or (is_own and OWN_SERVER in told)


def _sure(slot: Slot) -> Slot:
    if slot.state != "perhaps":
        return slot
    return Slot(slot.path, slot.steps, slot.url, slot.header, "missing", _TOLD)


def _walk(node: Any, path: str, steps: Steps, told: frozenset[str], depth: int) -> Iterator[Slot]:
    if depth > _MOST_DEPTH:
        return
    if isinstance(node, Mapping):
        yield from _server(node, path, steps, told)
        if node.get("type") == "apiRequest":
            yield from _api_request(node, path, steps)
        for name, child in node.items():
            if name not in _NOT_SERVERS and isinstance(child, Mapping | list):
                yield from _walk(child, step(path, name), (*steps, name), told, depth + 1)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            if isinstance(child, Mapping):
                yield from _walk(child, step(path, index), (*steps, index), told, depth + 1)


def _server(
    node: Mapping[str, Any], path: str, steps: Steps, told: frozenset[str]
) -> Iterator[Slot]:
    """Yield the slots of a ``server``, or of ``serverUrl``, the old form of one."""
    given = node.get("server")
    server: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    url = _text(server.get("url")) or _text(node.get("serverUrl"))
    if not url:
        return
    if server.get("url"):
        place, where = step(path, "server"), (*steps, "server")
        secret_at = (step(place, "secret"), (*where, "secret"))
    else:
        place, where = step(path, "serverUrl"), (*steps, "server")
        secret_at = (step(path, "serverUrlSecret"), (*steps, "serverUrlSecret"))
    secret = _text(server.get("secret")) or _text(node.get("serverUrlSecret"))
    headers = server.get("headers")
    named: list[Slot] = []
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        state = _header_state(name, value)
        if state:
            at = step(step(place, "headers"), name)
            to = (*where, "headers", name)
            named.append(Slot(at, to, url, name, state, _why(state)))
    named += [
        Slot(each, (*where, "headers", name), url, name, "missing", _TOLD)
        for each, name in _dropped_headers(step(place, "headers"), headers, told)
    ]
    credential = _text(server.get("credentialId"))
    if secret:
        state = "missing" if is_blank(secret) else "set"
        yield Slot(secret_at[0], secret_at[1], url, SECRET_HEADER, state, _why(state))
    elif secret_at[0] in told:
        yield Slot(secret_at[0], secret_at[1], url, SECRET_HEADER, "missing", _TOLD)
    elif credential and not named:
        at = step(place, "credentialId")
        yield Slot(at, (*where, "headers"), url, "", "missing", _CREDENTIAL, credential)
    elif not named and not credential and redact_url(url) == url:
        state = "perhaps"
        yield Slot(secret_at[0], secret_at[1], url, SECRET_HEADER, state, _why(state))
    yield from named


def _dropped_headers(place: str, headers: Any, told: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield (path, name) of headers that an import dropped because they were masked."""
    for path in sorted(told):
        match = _LAST_KEY.fullmatch(path.removeprefix(place)) if path.startswith(place) else None
        if match:
            name = match["plain"] or str(json.loads(match["quoted"]))
            if not (isinstance(headers, Mapping) and name in headers):
                yield path, name


def _api_request(tool: Mapping[str, Any], path: str, steps: Steps) -> Iterator[Slot]:
    """Yield the slots of an ``apiRequest``, whose headers are a schema with fixed values."""
    url = _text(tool.get("url"))
    schema = tool.get("headers")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    named = False
    for name, entry in properties.items() if isinstance(properties, Mapping) else ():
        for key in ("value", "default", "const"):
            state = _header_state(name, entry.get(key)) if isinstance(entry, Mapping) else None
            if state and url:
                named = True
                tail = ("headers", "properties", name, key)
                yield Slot(_path(path, tail), (*steps, *tail), url, name, state, _why(state))
    credential = _text(tool.get("credentialId"))
    if url and credential and not named:
        to = (*steps, "headers", "properties")
        at = step(path, "credentialId")
        yield Slot(at, to, url, "", "missing", _CREDENTIAL, credential, is_schema=True)


_LAST_KEY: Final = re.compile(r'\.(?P<plain>[\w$-]+)|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]')
_TOLD: Final = "A secret is set there at Vapi; the import did not bring it."
_CREDENTIAL: Final = "Vapi keeps it as a credential, of which exports hold the id only."
_WHY: Final[Mapping[str, str]] = {
    "set": "Stored sealed.",
    "missing": "Somebody masked it, or a placeholder stands in its place.",
    "perhaps": "Exports leave secrets out, so whether one was set cannot be told.",
}


def _why(state: State) -> str:
    return _WHY[state]


def _header_state(name: str, value: Any) -> State | None:
    """Return the state of one header; None for one that is no secret."""
    text = _text(value)
    if not text:
        return None
    if _MASKED.search(text) or (_PLACEHOLDER.search(text) and not _LIQUID.search(text)):
        return "missing"
    is_secret = is_secret_name(name) or bool(_SECRET_HEADER_NAME.search(name))
    return "set" if is_secret else None


_SECRET_HEADER_NAME: Final = re.compile(r"(?i)auth|key|secret|token|cookie|password|signature")


def is_blank(text: str) -> bool:
    """Tell whether a mask or a placeholder stands where a secret belongs."""
    return bool(_MASKED.search(text) or _PLACEHOLDER.search(text))


def with_value(
    document: Mapping[str, Any], slot: Slot, value: str, *, header: str = ""
) -> dict[str, Any]:
    """Return ``document`` with ``value`` in a slot.

    Of a header such as ``Bearer ${TOKEN}`` or ``Bearer ***`` only what was masked is replaced.

    Args:
        header: the header that a credential is sent as; ``Authorization`` puts ``Bearer`` before a
            value of one word.
    """
    steps: Steps = slot.steps
    new: Any = value
    if not slot.header:
        name = header or AUTHORIZATION
        steps = (*steps, name)
        if name.lower() == "authorization" and " " not in value:
            new = f"Bearer {value}"
        if slot.is_schema:
            new = {"type": "string", "value": new}
    else:
        old = _at(document, steps)
        if isinstance(old, str) and _PLACEHOLDER.search(old):
            new = _PLACEHOLDER.sub(lambda _: value, old, count=1)
        elif isinstance(old, str) and " " not in value and (scheme := _SCHEME.match(old)):
            new = scheme.group() + value
    replaced: dict[str, Any] = _replaced(document, steps, new)
    return replaced


def _replaced(node: Any, steps: Sequence[str | int], value: Any) -> Any:
    if not steps:
        return value
    head, rest = steps[0], steps[1:]
    if isinstance(head, int):
        return [
            _replaced(child, rest, value) if index == head else child
            for index, child in enumerate(node)
        ]
    mapping = node if isinstance(node, Mapping) else {}
    return {**mapping, head: _replaced(mapping.get(head), rest, value)}


def _at(node: Any, steps: Sequence[str | int]) -> Any:
    for each in steps:
        if isinstance(node, Mapping) and isinstance(each, str):
            node = node.get(each)
        elif isinstance(node, list) and isinstance(each, int) and each < len(node):
            node = node[each]
        else:
            return None
    return node


def secret_at(document: Any, slot: Slot) -> str:
    """Return the stored value of a slot, '' where there is none or only a mask."""
    if slot.state != "set":
        return ""
    found = _at(document, slot.steps)
    if isinstance(found, str):
        return found
    # A secret in the old place serves a server in the new form (`vapi_config.read_assistant`).
    if slot.steps[-1:] == ("secret",):
        return _text(_at(document, (*slot.steps[:-2], "serverUrlSecret")))
    return _text(_at(document, (*slot.steps[:-1], "server", "secret")))


def _path(path: str, steps: Steps) -> str:
    for each in steps:
        path = step(path, each)
    return path


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
