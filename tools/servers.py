"""Who answers a tool and how it is asked: values that the reader, the dispatcher and pages share.

Pure, standard library only. Owns the defaults of Vapi's authentication and retry plans (vapi.md 2.5
and 4.2); what they do on the wire is ``tools.auth``'s and ``tools.dispatch``'s. No repr shows a
secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

TIMEOUT_SECONDS: Final = (1.0, 300.0)  # vapi.md 2.5
DEFAULT_TIMEOUT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Bearer:
    """A fixed token in a header; without the prefix it may stand for any shared secret."""

    token: str = field(repr=False)
    header_name: str = "Authorization"
    has_prefix: bool = True


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Client credentials: a token is fetched from ``url`` and sent as Bearer until it expires."""

    url: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Hmac:
    """A signature over the exact bytes that are sent, with Vapi's defaults (vapi.md 4.2).

    ``payload_format`` knows {body} {timestamp} {method} {url} {svix-id}; empty means
    ``{timestamp}.{body}``, or ``{body}`` where no timestamp is included.
    """

    secret_key: str = field(repr=False)
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    signature_header: str = "x-signature"
    timestamp_header: str = "x-timestamp"
    signature_prefix: str = ""
    include_timestamp: bool = True
    payload_format: str = ""
    message_id_header: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    secret_is_base64: bool = False


Credential = Bearer | OAuth2 | Hmac


@dataclass(frozen=True, slots=True)
class Passage:
    """How requests leave: a client certificate with its key (PEM), and a proxy to go through."""

    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    proxy_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Vapi's ``backoffPlan``: which answers are asked for again, and after how long."""

    kind: Literal["fixed", "exponential"] = "fixed"
    max_retries: int = 0
    base_delay_seconds: float = 0.0
    excluded: frozenset[int] = frozenset()

    def delay_seconds(self, retry: int) -> float:
        """Return the wait before a retry, counted from 1; exponential doubles (vapi.md 2.5)."""
        factor = 2 ** (retry - 1) if self.kind == "exponential" else 1
        return self.base_delay_seconds * factor

    def repeats(self, status: int) -> bool:
        """Tell whether a request with this answer is sent again; 0 is no answer at all."""
        return not 200 <= status < 300 and status not in self.excluded


@dataclass(frozen=True, slots=True)
class ToolServer:
    """Where a tool is answered; ``headers`` are sent verbatim. Its repr shows nothing secret.

    ``timeout_seconds`` holds for each request, 1 to 300. ``owner`` is the organisation's id: what
    one tenant's requests meet at a host says nothing to another's. ``url_shown`` stands in records
    for a URL that repeats what a caller said. ``is_ours_told``: it gets the headers that tell a
    tool server of the call; an API that somebody else made does not.
    """

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    credential: Credential | None = None
    passage: Passage | None = None
    backoff: Backoff | None = None
    owner: str = ""
    method: str = "POST"
    url_shown: str = ""
    is_ours_told: bool = True

    @property
    def bounded_seconds(self) -> float:
        """Return the timeout within Vapi's bounds."""
        return min(max(self.timeout_seconds, TIMEOUT_SECONDS[0]), TIMEOUT_SECONDS[1])
