"""What of a tool's server is secret: the values that no record, page or model may be shown.

Pure. Owns which of a server's values those are; how they are hidden in a text is
``tools.masking``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.masking import SHORTEST
from tools.servers import Bearer, Credential, Hmac, OAuth2, ToolServer
from tools.wire.vapi_server import static_parameters
from voiceplatform.base.redaction import is_secret_name, redact
from voiceplatform.base.redaction_urls import url_secrets


def server_secrets(server: ToolServer) -> frozenset[str]:
    """Return the secrets of a server: its own, its address's, its headers' and its credential's."""
    # What a caller's words filled in at a secret place of an address is no secret of ours.
    address = server.url_shown or server.url
    found = {server.secret, *url_secrets(address), *header_secrets(server.headers)}
    if server.passage is not None:
        found |= url_secrets(server.passage.proxy_url)
    return _known(found | _credential_secrets(server.credential))


def static_secrets(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the fixed arguments of a tool document that are secret by their names."""
    pairs = static_parameters(document).items()
    return _known({v for name, v in pairs if is_secret_name(name) and isinstance(v, str)})


def header_secrets(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the values of secret headers, with and without ``Bearer``."""
    given = dict(headers)
    shown = redact({"headers": given}).get("headers", {})
    values = {value for name, value in given.items() if name not in shown}
    return _known(values | {value.partition(" ")[2] for value in values if " " in value})


def _credential_secrets(credential: Credential | None) -> set[str]:
    match credential:
        case Bearer(token=token):
            return {token}
        case OAuth2(url=url, client_secret=client_secret):
            return {client_secret, *url_secrets(url)}
        case Hmac(secret_key=secret_key):
            return {secret_key}
    return set()


def _known(values: set[str]) -> frozenset[str]:
    return frozenset(each for each in values if len(each) >= SHORTEST)
